#include <immintrin.h>

#include "tools/bench/peak/peak_loop.h"

#define FMADD(a) _mm256_fmadd_ps(a, _mm256_set1_ps(0.9f), _mm256_set1_ps(0.9f))
BENCH_DEFINE_PEAK(bench_peak_f32__avx2, __m256, _mm256_set1_ps, FMADD, 16)
