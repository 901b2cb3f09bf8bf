/* The inner block of convolutions for AVX-512, for inputs of any type: up to 14 output pixels x 32 output channels, sums and outputs in f32
 * or bf16. The including file defines
 *
 *     RN_TILE_KERNEL                           the kernel's symbol
 *     element                                  an input channel
 *     PARTS                                    of a step: so many multiply-adds, each with the next four bytes of a pixel
 *     load_weights(from, part)                 weights of sixteen output channels; from: where the step's are
 *     broadcast(from)                          four bytes of one pixel, in every lane
 *     multiply_add(sum, x, weights)            sum + the products of one part
 *     store_bf16(to, mask, v)                  16 floats as bf16, rounded to nearest even
 *
 * 28 accumulators, two vectors of weights and one or two broadcast inputs fill the 32 registers. A part costs 28 multiply-adds and 16 loads,
 * so that a core with two of each a cycle is bound by the multiply-adds, and the weights stream at 128 bytes in 14 cycles, which the second
 * cache level can feed. 14 divides 56, 28, 14 and two rows of 7: the pictures of a ResNet at 224 leave no thin tile at an edge.
 *
 * Inputs are read where they are: a pixel's address is one of two bases plus 0 .. 6 times the pixel distance, which x86 addressing reaches
 * from three registers holding 1, 3 and 5 distances. Every number of pixels has its own straight-line code, all from one inline function.
 */
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/tile_prefetch.h"

enum { ROWS = 14, HALF = ROWS / 2, LANES = 32, VECTOR = 16, PART_BYTES = 4, PIXEL_STEP_BYTES = PARTS * PART_BYTES };

#include "kernels/cpu/avx512/tile_epilogue.h"

/* acc[i][] += a[i][step] * panel[step][], for `count` steps; l: bytes between pixels. */
INLINE void multiply(const int pixels, __m512 acc[ROWS][2], const char *a0, const char *a1, const ptrdiff_t l, const char *panel, int count)
{
    const ptrdiff_t l3 = 3 * l, l5 = 5 * l;
    for (const char *stop = a0 + PIXEL_STEP_BYTES * count; a0 != stop; a0 += PIXEL_STEP_BYTES, a1 += PIXEL_STEP_BYTES, panel += LANES * RN_STEP_BYTES) {
#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            const __m512 lo = load_weights(panel, part), hi = load_weights(panel + VECTOR * RN_STEP_BYTES, part);
#pragma GCC unroll 14
            for (int i = 0; i < pixels; i++) {
                const int j = i % HALF;
                const ptrdiff_t offset = j == 0 ? 0 : j == 1 ? l : j == 2 ? 2 * l : j == 3 ? l3 : j == 4 ? 4 * l : j == 5 ? l5 : 2 * l3;
                const __m512 x = broadcast((i < HALF ? a0 : a1) + offset + part * PART_BYTES);
                acc[i][0] = multiply_add(acc[i][0], x, lo);
                acc[i][1] = multiply_add(acc[i][1], x, hi);
            }
        }
    }
}

INLINE void tile(const int pixels, const rn_conv2d_tile_args *t)
{
    __m512 acc[ROWS][2];
    const __mmask16 low = t->channels >= VECTOR ? 0xffff : (__mmask16)((1u << t->channels) - 1);
    const __mmask16 high = t->channels >= LANES ? 0xffff : t->channels <= VECTOR ? 0 : (__mmask16)((1u << (t->channels - VECTOR)) - 1);
    const __m512 bias0 = t->bias ? _mm512_maskz_loadu_ps(low, t->bias) : _mm512_setzero_ps();
    const __m512 bias1 = t->bias ? _mm512_maskz_loadu_ps(high, t->bias + VECTOR) : _mm512_setzero_ps();
#pragma GCC unroll 14
    for (int i = 0; i < pixels; i++) {
        acc[i][0] = bias0;
        acc[i][1] = bias1;
    }

    rn_tile_prefetch prefetch = rn_tile_prefetch_of(t, LANES);
    const char *panel = t->panel;
    const ptrdiff_t l = t->a_pixel * (ptrdiff_t)sizeof(element);
    for (int32_t r = 0; r < t->tap_rows; r++) {
        for (int32_t s = 0; s < t->tap_columns; s++) {
            const ptrdiff_t tap = (r * t->a_tap_row + s * t->a_tap_column) * (ptrdiff_t)sizeof(element);
            const char *a0 = (const char *)t->a0 + tap, *a1 = (const char *)t->a1 + tap;
            for (int32_t step = 0, count; step < t->steps; step += count) {
                count = t->steps - step < RN_PREFETCH_CHUNK ? t->steps - step : RN_PREFETCH_CHUNK;
                rn_tile_prefetch_chunk(&prefetch, count);
                multiply(pixels, acc, a0, a1, l, panel, count);
                a0 += count * PIXEL_STEP_BYTES;
                a1 += count * PIXEL_STEP_BYTES;
                panel += count * LANES * RN_STEP_BYTES;
            }
        }
    }
    epilogue(pixels, acc, t);
}

void RN_TILE_KERNEL(const rn_conv2d_tile_args *t)
{
    switch (t->pixels) {
#define TILE(pixels) case pixels: tile(pixels, t); break;
        TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
#undef TILE
    }
}
