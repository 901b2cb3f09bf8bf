/* A benchmark that cannot go on has nothing to clean up that the system does not. */
#include "tools/bench/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void bench_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("resnet-bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void bench_check(rn_status status, const rn_error *err)
{
    if (status != RN_STATUS_OK) bench_fail("%s", err->message);
}

void *bench_allocate(size_t bytes)
{
    enum { LINE_BYTES = 64 };
    const size_t lines = bytes / LINE_BYTES + 1;
    void *memory = bytes <= PTRDIFF_MAX ? aligned_alloc(LINE_BYTES, lines * LINE_BYTES) : NULL;
    if (!memory) bench_fail("no memory for %zu bytes", bytes);
    return memset(memory, 0, bytes);
}
