/* Ends the program with a sentence: resnet-bench measures or says why it cannot. */
#ifndef RN_TOOLS_BENCH_FAILURE_H
#define RN_TOOLS_BENCH_FAILURE_H

#include <stddef.h>

#include "kernels/base/error.h"

/* "resnet-bench: <sentence>" on stderr, exit code 1. */
_Noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Fails with the error's message unless `status` is OK. */
void bench_check(rn_status status, const rn_error *err);

/* Zeroed memory, 64-byte aligned, for the caller, who frees it; fails when there is none. */
void *bench_allocate(size_t bytes);

#endif
