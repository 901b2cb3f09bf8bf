/* Medians and percentiles: means would be drawn by what else the machine does. */
#include "tools/bench/timing.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { LEAST_RUNS = 3 };

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_sort(double *times, int32_t count)
{
    qsort(times, (size_t)count, sizeof *times, by_value);
}

double bench_percentile(const double *times, int32_t count, double percent)
{
    const int32_t rank = (int32_t)ceil(percent / 100 * count);
    return times[rank > 0 ? rank - 1 : 0];
}

int32_t bench_time(void (*run)(void *context), void *context, double seconds, double *times)
{
    int32_t count = 0;
    run(context);
    for (const double start = bench_now(); count < BENCH_MAX_RUNS && (count < LEAST_RUNS || bench_now() - start < seconds); count++) {
        const double before = bench_now();
        run(context);
        times[count] = bench_now() - before;
    }
    bench_sort(times, count);
    return count;
}
