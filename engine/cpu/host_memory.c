/* A convolution reads fourteen pixels far apart at once and streams its weights beside them: with pages of 4 KiB the address translation
 * misses all the time. Blocks that are large enough are aligned to a huge page and ask for them. They come from the system itself: its pages are
 * zeros already, and threads that fill a block together also share the work of clearing its pages. */
#include "engine/cpu/host_memory.h"

#include <stdint.h>
#include <sys/mman.h>

static const size_t page = 4096, huge_page = (size_t)2 << 20;

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

rn_status rn__host_memory_alloc(size_t bytes, const char *what, rn__host_memory *out, rn_error *err)
{
    const size_t unit = bytes >= huge_page ? huge_page : page;
    *out = (rn__host_memory){0};
    if (bytes > SIZE_MAX / 2) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu bytes of %s", bytes, what);
    const size_t wanted = bytes ? round_up(bytes, unit) : page, spare = unit - page; /* to move its start to the unit */
    char *memory = mmap(NULL, wanted + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu bytes of %s", bytes, what);
    const size_t before = round_up((uintptr_t)memory, unit) - (uintptr_t)memory;
    if (before > 0) munmap(memory, before);
    if (before < spare) munmap(memory + before + wanted, spare - before);
    *out = (rn__host_memory){memory + before, wanted};
    if (unit == huge_page) madvise(out->at, wanted, MADV_HUGEPAGE);
    return RN_STATUS_OK;
}

int32_t rn__host_memory_pieces(const rn__host_memory *memory)
{
    return (int32_t)((memory->bytes + huge_page - 1) / huge_page);
}

void rn__host_memory_touch(const rn__host_memory *memory, int32_t begin, int32_t end)
{
    const size_t stop = (size_t)end * huge_page < memory->bytes ? (size_t)end * huge_page : memory->bytes;
    for (size_t at = (size_t)begin * huge_page; at < stop; at += page) ((volatile char *)memory->at)[at] = 0;
}

void rn__host_memory_free(rn__host_memory *memory)
{
    if (memory->at) munmap(memory->at, memory->bytes);
    *memory = (rn__host_memory){0};
}
