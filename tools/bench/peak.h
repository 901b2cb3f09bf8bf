/* What the processor can do at best, measured: benchmarks state their share of it. */
#ifndef RN_TOOLS_BENCH_PEAK_H
#define RN_TOOLS_BENCH_PEAK_H

#include "kernels/base/cpu_features.h"

/* Operations a second of one core (a multiply-add counts two) with registers only: the best of a few measurements. 0 where none is known. */
double bench_peak_f32(rn_isa isa);

#endif
