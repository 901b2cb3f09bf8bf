/* A convolution reads fourteen pixels far apart at once and streams its weights beside them: with pages of 4 KiB the address translation
 * misses all the time. Blocks that are large enough are aligned to a huge page and ask for them. Every page is touched here, not while the
 * first request waits. */
#include "engine/cpu/host_memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

rn_status rn__host_memory_alloc(size_t bytes, const char *what, void **out, rn_error *err)
{
    const size_t huge = (size_t)2 << 20, alignment = bytes >= huge ? huge : 64;
    if (bytes > SIZE_MAX - huge) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu bytes of %s", bytes, what);
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, rounded ? rounded : alignment);
    if (!memory) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu bytes of %s", bytes, what);
    if (alignment == huge) madvise(memory, rounded, MADV_HUGEPAGE);
    memset(memory, 0, rounded ? rounded : alignment);
    *out = memory;
    return RN_STATUS_OK;
}
