/* Arrays of numbers checked 64 bytes at a time: what most of a predict call's body consists of. */
#ifndef RN_HTTP_JSON_BLOCKS_H
#define RN_HTTP_JSON_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

/* Where the checker stands: a value is expected at p, inside `depth` brackets; bit d of `objects` says that level d is an object. */
typedef struct rn__json_place {
    const char *p;
    size_t depth; /* at most 64 */
    uint64_t objects;
} rn__json_place;

/* Moves on while whole blocks hold nothing but plain numbers (digits, point, minus), arrays of them, commas and single blanks behind commas,
 * and stops where a value is expected again. It never leaves the array at level RN__JSON_BLOCK_DEPTH - 1, and where anything looks
 * unusual, or wrong, it stays for others to look. */
enum { RN__JSON_BLOCK_DEPTH = 3 };
void rn__json_skip_blocks(rn__json_place *place, const char *limit);

#endif
