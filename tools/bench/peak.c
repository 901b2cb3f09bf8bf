/* The peak of an instruction is a loop of nothing else on values that stay in registers; that of memory is memcpy. */
#include "tools/bench/peak.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "tools/bench/failure.h"
#include "tools/bench/timing.h"

enum { PEAK_TRIES = 20, COPY_BYTES = 64 << 20 };

double bench_peak_bandwidth(void)
{
    char *from = bench_allocate(COPY_BYTES), *to = bench_allocate(COPY_BYTES);
    double best = 0;
    memset(from, 1, COPY_BYTES); /* pages of its own, not all one page of zeros */
    for (int i = 0; i < PEAK_TRIES; i++) {
        const double start = bench_now();
        memcpy(to, from, COPY_BYTES);
        best = fmax(best, 2.0 * COPY_BYTES / (bench_now() - start));
    }
    free(from);
    free(to);
    return best;
}

#if defined(__x86_64__)
/* Twelve independent chains hide the latency of a multiply-add on every core so far. They start apart, or the compiler makes them one.
 * STEP(a): the next value of accumulator a; flops: of one step. */
enum { PEAK_ROUNDS = 1000000, PEAK_CHAINS = 12 };
#define DEFINE_PEAK(name, isa, vector, start_at, operands, STEP, flops)                                                                    \
    __attribute__((target(isa))) static double name(void)                                                                                  \
    {                                                                                                                                      \
        operands;                                                                                                                          \
        vector a0 = start_at(0), a1 = start_at(1), a2 = start_at(2), a3 = start_at(3), a4 = start_at(4), a5 = start_at(5);                 \
        vector a6 = start_at(6), a7 = start_at(7), a8 = start_at(8), a9 = start_at(9), a10 = start_at(10), a11 = start_at(11);             \
        const double start = bench_now();                                                                                                  \
        for (int i = 0; i < PEAK_ROUNDS; i++) {                                                                                            \
            a0 = STEP(a0), a1 = STEP(a1), a2 = STEP(a2), a3 = STEP(a3), a4 = STEP(a4), a5 = STEP(a5);                                      \
            a6 = STEP(a6), a7 = STEP(a7), a8 = STEP(a8), a9 = STEP(a9), a10 = STEP(a10), a11 = STEP(a11);                                  \
        }                                                                                                                                  \
        const double seconds = bench_now() - start;                                                                                        \
        const vector sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;                                                    \
        volatile float used = ((const float *)&sum)[0]; /* keeps the loop */                                                               \
        (void)used;                                                                                                                        \
        return (double)(flops) * PEAK_CHAINS * PEAK_ROUNDS / seconds;                                                                      \
    }
#define STEP_AVX2(a) _mm256_fmadd_ps(a, x, x)
#define STEP_AVX512(a) _mm512_fmadd_ps(a, x, x)
#define STEP_BF16(a) _mm512_dpbf16_ps(a, x, x)
DEFINE_PEAK(f32_avx2, "avx2,fma", __m256, _mm256_set1_ps, const __m256 x = _mm256_set1_ps(0.9f), STEP_AVX2, 16)
DEFINE_PEAK(f32_avx512, "avx512f", __m512, _mm512_set1_ps, const __m512 x = _mm512_set1_ps(0.9f), STEP_AVX512, 32)
DEFINE_PEAK(bf16_avx512, "avx512f,avx512bf16", __m512, _mm512_set1_ps, const __m512bh x = (__m512bh)_mm512_set1_ps(0.001f), STEP_BF16, 64)

static double best_of(double (*measure)(void))
{
    double best = 0;
    for (int i = 0; i < PEAK_TRIES; i++) best = fmax(best, measure());
    return best;
}

double bench_peak(rn_dtype dtype, rn_isa isa)
{
    if (isa == RN_ISA_SCALAR) return 0;
    if (dtype == RN_DTYPE_BF16) return best_of(bf16_avx512);
    return best_of(isa == RN_ISA_AVX2 ? f32_avx2 : f32_avx512);
}
#else
double bench_peak(rn_dtype dtype, rn_isa isa)
{
    (void)dtype;
    (void)isa;
    return 0;
}
#endif
