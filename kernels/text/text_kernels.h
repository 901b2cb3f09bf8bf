/* Kernels that work on bytes of text instead of tensors. The list is text_kernels.def; the instruction sets' folders of kernels/cpu hold the
 * code, because they alone are compiled for them.
 */
#ifndef RN_KERNELS_TEXT_TEXT_KERNELS_H
#define RN_KERNELS_TEXT_TEXT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/cpu_features.h"

/* Decodes groups of four characters of base64 (RFC 4648, standard alphabet) as long as all four are in the alphabet, and returns how many
 * characters that were. text: [bytes]. out: three quarters of `bytes`, and three more, may be written; it may begin where the text begins. */
typedef size_t rn_base64_decode_fn(const char *text, size_t bytes, uint8_t *out);

/* The reverse: every whole group of three bytes as four characters. Returns how many bytes that were. bytes: [count]. text: [count / 3 * 4]. */
typedef size_t rn_base64_encode_fn(const uint8_t *bytes, size_t count, char *text);

/* Where a checker of JSON stands: a value is expected at p, inside `depth` brackets; bit d of `objects` says that level d is an object. */
typedef struct rn_json_place {
    const char *p;
    size_t depth; /* at most 64 */
    uint64_t objects;
} rn_json_place;

/* Moves on while whole blocks hold nothing but plain numbers (digits, point, minus), arrays of them, commas and single blanks behind commas,
 * and stops where a value is expected again. It never leaves the array at level RN_JSON_SKIP_DEPTH - 1, and where anything looks unusual,
 * or wrong, it stays for others to look. */
enum { RN_JSON_SKIP_DEPTH = 3 };
typedef void rn_json_skip_fn(rn_json_place *place, const char *limit);

/* Reads numbers of a checked text from *at on, the first byte of one: up to `count` of them, in arrays of `row` numbers each, with a comma and
 * at most one blank between numbers and between arrays; `left` numbers (at least one) are still to come in the array that *at lies in. A flat
 * array has row = left = count. Returns how many were read; *at is behind the last of them, unmoved when there is none. What stops it is for
 * others to look at: another kind of value, an exponent, a number that double precision cannot decide, the last bytes before `limit`. Each
 * result is the float nearest to the nearest double. out: [count]. */
typedef int64_t rn_json_floats_fn(const char **at, const char *limit, int64_t count, int64_t row, int64_t left, float *out);

#define RN_TEXT_KERNEL(slot, symbol, needs) rn_##slot##_fn symbol;
#include "kernels/text/text_kernels.def"
#undef RN_TEXT_KERNEL

typedef struct rn_text_kernels {
    rn_base64_decode_fn *base64_decode;
    rn_base64_encode_fn *base64_encode;
    rn_json_skip_fn *json_skip;
    rn_json_floats_fn *json_floats;
} rn_text_kernels;

/* The best kernels of an instruction set. */
void rn_text_kernels_select(rn_isa isa, rn_text_kernels *out);

/* Those of this machine, chosen before main. */
extern const rn_text_kernels *const rn_text_kernels_best;

#endif
