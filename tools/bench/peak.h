/* What the processor can do at best, measured: benchmarks state their share of it. */
#ifndef RN_TOOLS_BENCH_PEAK_H
#define RN_TOOLS_BENCH_PEAK_H

#include "kernels/base/cpu_features.h"
#include "kernels/base/dtype.h"

/* Operations a second of one core (a multiply-add counts two) with registers only, by the instructions that kernels of this type and set
 * multiply with: the best of a few measurements. 0 where none is known. */
double bench_peak(rn_dtype dtype, rn_isa isa);

/* Bytes a second of one core that copies more memory than its own caches hold; what it reads and what it writes both count. */
double bench_peak_bandwidth(void);

#endif
