/* Large blocks of host memory for weights and activations. */
#ifndef RN_ENGINE_CPU_HOST_MEMORY_H
#define RN_ENGINE_CPU_HOST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

/* A block, or zeros. */
typedef struct rn__host_memory {
    void *at;
    size_t bytes;           /* that it takes: whole pages */
} rn__host_memory;

/* Zeroed memory at the start of a page, on huge pages where the system has them. The system hands out each page when it is first touched, by
 * whoever fills the block or by rn__host_memory_touch. OUT_OF_MEMORY; what: for the message. */
rn_status rn__host_memory_alloc(size_t bytes, const char *what, rn__host_memory *out, rn_error *err);
/* Touches every page of pieces [begin, end) now, so that no request waits for it later. Threads may share the pieces. */
void rn__host_memory_touch(const rn__host_memory *memory, int32_t begin, int32_t end);
int32_t rn__host_memory_pieces(const rn__host_memory *memory); /* how many there are */
void rn__host_memory_free(rn__host_memory *memory); /* zeros allowed */

#endif
