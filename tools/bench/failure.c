/* A benchmark that cannot go on has nothing to clean up that the system does not. */
#include "tools/bench/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) bench_fail("no memory for %zu bytes", bytes);
    return memory;
}
