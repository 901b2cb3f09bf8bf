#include <immintrin.h>

#include "tools/bench/peak/peak_loop.h"

#define FMADD(a) _mm512_fmadd_ps(a, _mm512_set1_ps(0.9f), _mm512_set1_ps(0.9f))
BENCH_DEFINE_PEAK(bench_peak_f32__avx512, __m512, _mm512_set1_ps, FMADD, 32)
