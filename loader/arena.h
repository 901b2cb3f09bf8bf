/* Memory for everything that one load builds: taken piece by piece, given back at once, never more than a limit.
 *
 * The limit is what stands between a hostile file and the machine's memory; callers derive it from the file's size. One thread.
 */
#ifndef RN_LOADER_ARENA_H
#define RN_LOADER_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

typedef struct rn__arena rn__arena;

/* NULL when out of memory. */
rn__arena *rn__arena_create(size_t limit_bytes);
void rn__arena_destroy(rn__arena *arena);      /* NULL allowed */
size_t rn__arena_used(const rn__arena *arena); /* bytes handed out */

/* `bytes` of uninitialised memory, 16-byte aligned, 64-byte where it is 4 KiB or more. NULL when the limit or the machine forbids it. */
void *rn__arena_take(rn__arena *arena, size_t bytes);

/* `count` zeroed elements of `size` bytes; NULL with OUT_OF_MEMORY in *err, naming `what`. A count of 0 gives a valid pointer. */
void *rn__arena_array(rn__arena *arena, uint64_t count, size_t size, const char *what, rn_error *err);
/* The same, not zeroed: for large data that is written at once. */
void *rn__arena_raw_array(rn__arena *arena, uint64_t count, size_t size, const char *what, rn_error *err);

#endif
