/* Seconds and what is said about many of them. */
#ifndef RN_TOOLS_BENCH_TIMING_H
#define RN_TOOLS_BENCH_TIMING_H

#include <stdint.h>

enum { BENCH_MAX_RUNS = 100000 }; /* times kept of one measurement */

double bench_now(void); /* seconds of a clock that never goes back */

/* For bench_percentile: in rising order. */
void bench_sort(double *times, int32_t count);
/* Of sorted times: the smallest that `percent` percent of them do not exceed. 50 is the median. */
double bench_percentile(const double *times, int32_t count, double percent);

/* Calls run(context) for `seconds` and at least 3 times, after one call to warm up. Writes the sorted times, at most BENCH_MAX_RUNS, and
 * returns how many. */
int32_t bench_time(void (*run)(void *context), void *context, double seconds, double *times);

#endif
