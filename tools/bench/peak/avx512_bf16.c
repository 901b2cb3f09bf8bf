#include <immintrin.h>

#include "tools/bench/peak/peak_loop.h"

#define DPBF16(a) _mm512_dpbf16_ps(a, (__m512bh)_mm512_set1_ps(0.001f), (__m512bh)_mm512_set1_ps(0.001f))
BENCH_DEFINE_PEAK(bench_peak_bf16__avx512_bf16, __m512, _mm512_set1_ps, DPBF16, 64)
