/* The inner block of int8 convolutions for AVX-512 VNNI: up to 14 output pixels x 32 output channels.
 *
 * A step is four channels of a pixel, which vpdpbusd multiplies with four weights of each output channel and adds to an int32 without
 * saturation. Registers, tile and addresses are those of the fp32 kernel (avx512/conv2d_f32_14x32.c), where they are explained; a step does
 * four times its work. The sums become real numbers in the epilogue, two multiply-adds and a rounding for each byte that is written.
 */
#include <immintrin.h>
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/tile_prefetch.h"

enum { ROWS = 14, HALF = ROWS / 2, LANES = 32, VECTOR = 16 };

#include "kernels/cpu/avx512_vnni/tile_epilogue_u8.h"

/* acc[i][] += a[i][step] * panel[step][], for `count` steps; l: bytes between pixels. */
INLINE void multiply(const int pixels, __m512i acc[ROWS][2], const char *a0, const char *a1, const ptrdiff_t l, const char *panel,
                     int count)
{
    const ptrdiff_t l3 = 3 * l, l5 = 5 * l;
    for (const char *stop = a0 + RN_STEP_BYTES * count; a0 != stop;
         a0 += RN_STEP_BYTES, a1 += RN_STEP_BYTES, panel += LANES * RN_STEP_BYTES) {
        const __m512i lo = _mm512_load_si512(panel), hi = _mm512_load_si512(panel + 64);
#pragma GCC unroll 14
        for (int i = 0; i < pixels; i++) {
            const int j = i % HALF;
            const ptrdiff_t offset = j == 0 ? 0 : j == 1 ? l : j == 2 ? 2 * l : j == 3 ? l3 : j == 4 ? 4 * l : j == 5 ? l5 : 2 * l3;
            const __m512i x = _mm512_set1_epi32(*(const int *)((i < HALF ? a0 : a1) + offset));
            acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], x, lo);
            acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], x, hi);
        }
    }
}

/* `pixels` rows of sums. The functions that this becomes are not inlined, so that the registers are all its own: beside the epilogue, gcc kept a part of
 * the sums in memory, at half the speed. */
INLINE void tile(const int pixels, const rn_conv2d_tile_args *t, int32_t (*sums)[LANES])
{
    __m512i acc[ROWS][2];
#pragma GCC unroll 14
    for (int i = 0; i < pixels; i++) acc[i][0] = acc[i][1] = _mm512_setzero_si512();

    rn_tile_prefetch prefetch = rn_tile_prefetch_of(t, LANES);
    const char *panel = t->panel;
    for (int32_t r = 0; r < t->tap_rows; r++) {
        for (int32_t s = 0; s < t->tap_columns; s++) {
            const int64_t tap = r * t->a_tap_row + s * t->a_tap_column;
            const char *a0 = (const char *)t->a0 + tap, *a1 = (const char *)t->a1 + tap;
            for (int32_t step = 0, count; step < t->steps; step += count) {
                count = t->steps - step < RN_PREFETCH_CHUNK ? t->steps - step : RN_PREFETCH_CHUNK;
                rn_tile_prefetch_chunk(&prefetch, count);
                multiply(pixels, acc, a0, a1, t->a_pixel, panel, count);
                a0 += count * RN_STEP_BYTES;
                a1 += count * RN_STEP_BYTES;
                panel += count * LANES * RN_STEP_BYTES;
            }
        }
    }
#pragma GCC unroll 14
    for (int i = 0; i < pixels; i++) {
        _mm512_store_si512(sums[i], acc[i][0]);
        _mm512_store_si512(sums[i] + VECTOR, acc[i][1]);
    }
}

/* One function for each height of a tile. */
#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DEFINE_TILE(pixels)                                                                                  \
    static __attribute__((noinline)) void tile_##pixels(const rn_conv2d_tile_args *t, int32_t(*sums)[LANES]) \
    {                                                                                                        \
        tile(pixels, t, sums);                                                                               \
    }
TILES(DEFINE_TILE)
#undef DEFINE_TILE

void rn_conv2d_u8__avx512_vnni_14x32(const rn_conv2d_tile_args *t)
{
    _Alignas(64) int32_t sums[ROWS][LANES];
    switch (t->pixels) {
#define TILE(pixels)            \
    case pixels:                \
        tile_##pixels(t, sums); \
        break;
        TILES(TILE)
#undef TILE
    }
    epilogue((const int32_t(*)[LANES])sums, t);
}
