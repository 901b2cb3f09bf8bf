/* Large blocks of host memory for weights and activations. */
#ifndef RN_ENGINE_CPU_HOST_MEMORY_H
#define RN_ENGINE_CPU_HOST_MEMORY_H

#include <stddef.h>

#include "kernels/base/error.h"

/* Zeroed memory, 64-byte aligned, on huge pages where the system has them; the caller frees it with free(). what: for the message. */
rn_status rn__host_memory_alloc(size_t bytes, const char *what, void **out, rn_error *err);

#endif
