/* The loop that measures one instruction: nothing else, on values that stay in registers. Each instruction set has its own file, compiled with its flags. */
#ifndef RN_TOOLS_BENCH_PEAK_PEAK_LOOP_H
#define RN_TOOLS_BENCH_PEAK_PEAK_LOOP_H

#include "tools/bench/timing.h"

/* Operations a second of one core, a multiply-add counting two. */
double bench_peak_f32__avx2(void);
double bench_peak_f32__avx512(void);
double bench_peak_u8__avx512_vnni(void);
double bench_peak_bf16__avx512_bf16(void);

/* Twelve independent chains hide the latency of a multiply-add on every core so far. They start apart, or the compiler makes them one.
 * start_at(i): where a chain starts; step(a): the next value of accumulator a; operations: of one step. */
enum { PEAK_ROUNDS = 100000, PEAK_CHAINS = 12 };
#define BENCH_DEFINE_PEAK(name, vector, start_at, step, operations)                                                                        \
    double name(void)                                                                                                                      \
    {                                                                                                                                      \
        vector a0 = start_at(0), a1 = start_at(1), a2 = start_at(2), a3 = start_at(3), a4 = start_at(4), a5 = start_at(5);                 \
        vector a6 = start_at(6), a7 = start_at(7), a8 = start_at(8), a9 = start_at(9), a10 = start_at(10), a11 = start_at(11);             \
        const double start = bench_now();                                                                                                  \
        for (int i = 0; i < PEAK_ROUNDS; i++) {                                                                                            \
            a0 = step(a0), a1 = step(a1), a2 = step(a2), a3 = step(a3), a4 = step(a4), a5 = step(a5);                                      \
            a6 = step(a6), a7 = step(a7), a8 = step(a8), a9 = step(a9), a10 = step(a10), a11 = step(a11);                                  \
        }                                                                                                                                  \
        const double seconds = bench_now() - start;                                                                                        \
        const vector sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;                                                    \
        __asm__ volatile("" : : "m"(sum)); /* keeps the loop */                                                                            \
        return (double)(operations) * PEAK_CHAINS * PEAK_ROUNDS / seconds;                                                                 \
    }

#endif
