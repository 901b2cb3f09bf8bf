/* A peak is a loop of nothing but the instruction in question on values that stay in registers. */
#include "tools/bench/peak.h"

#include <math.h>
#include <stddef.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "tools/bench/timing.h"

#if defined(__x86_64__)
/* Twelve independent chains hide the latency of a multiply-add on every core so far. They start apart, or the compiler makes them one. */
enum { PEAK_ROUNDS = 1000000, PEAK_CHAINS = 12, PEAK_TRIES = 20 };
#define DEFINE_PEAK(name, isa, vector, set1, fmadd, lanes)                                                                                 \
    __attribute__((target(isa))) static double name(void)                                                                                  \
    {                                                                                                                                      \
        const vector x = set1(0.999f), y = set1(0.001f);                                                                                   \
        vector a0 = set1(0), a1 = set1(1), a2 = set1(2), a3 = set1(3), a4 = set1(4), a5 = set1(5), a6 = set1(6), a7 = set1(7);             \
        vector a8 = set1(8), a9 = set1(9), a10 = set1(10), a11 = set1(11);                                                                 \
        const double start = bench_now();                                                                                                  \
        for (int i = 0; i < PEAK_ROUNDS; i++) {                                                                                            \
            a0 = fmadd(a0, x, y), a1 = fmadd(a1, x, y), a2 = fmadd(a2, x, y), a3 = fmadd(a3, x, y);                                        \
            a4 = fmadd(a4, x, y), a5 = fmadd(a5, x, y), a6 = fmadd(a6, x, y), a7 = fmadd(a7, x, y);                                        \
            a8 = fmadd(a8, x, y), a9 = fmadd(a9, x, y), a10 = fmadd(a10, x, y), a11 = fmadd(a11, x, y);                                    \
        }                                                                                                                                  \
        const double seconds = bench_now() - start;                                                                                        \
        const vector sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;                                                    \
        volatile float used = ((const float *)&sum)[0]; /* keeps the loop */                                                               \
        (void)used;                                                                                                                        \
        return 2.0 * lanes * PEAK_CHAINS * PEAK_ROUNDS / seconds;                                                                          \
    }
DEFINE_PEAK(f32_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, 8)
DEFINE_PEAK(f32_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, 16)
#undef DEFINE_PEAK

static double best_of(double (*measure)(void))
{
    double best = 0;
    for (int i = 0; i < PEAK_TRIES; i++) best = fmax(best, measure());
    return best;
}

double bench_peak_f32(rn_isa isa)
{
    return isa == RN_ISA_SCALAR ? 0 : best_of(isa == RN_ISA_AVX2 ? f32_avx2 : f32_avx512);
}
#else
double bench_peak_f32(rn_isa isa)
{
    (void)isa;
    return 0;
}
#endif
