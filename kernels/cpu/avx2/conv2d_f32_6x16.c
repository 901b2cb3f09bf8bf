/* The inner block of fp32 convolutions for AVX2 with FMA: up to 6 output pixels x 16 output channels.
 *
 * 12 accumulators, two vectors of weights and a broadcast input fill 15 of the 16 registers; a step costs 12 multiply-adds and 8 loads. For the
 * rest it is the AVX-512 tile at half the width: two bases of three pixels each, one straight-line variant for every number of pixels.
 *
 * A tile is a fifth of what the AVX-512 one is, so that whatever is done once a tile or once a few steps weighs five times as much: prefetches have no
 * branches here. Zen 3 (family 25, model 1), two cores of a shared host, ResNet-101 V1: 1.2 times as fast at a batch of 8 as with the prefetches of
 * tile_prefetch.h, 1.15 times at 1.
 */
#include <immintrin.h>
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

enum { ROWS = 6, HALF = ROWS / 2, LANES = 16, VECTOR = 8, STEPS = 2 };

#define INLINE static inline __attribute__((always_inline))

/* The first `count` lanes, for masked loads and stores. */
INLINE __m256i first_lanes(int count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* Full loads and stores where possible: masked stores are slow on many cores. */
INLINE __m256 load(const float *from, int channels)
{
    return channels >= VECTOR ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, first_lanes(channels));
}

INLINE void store(float *to, int channels, __m256 value)
{
    if (channels >= VECTOR) _mm256_storeu_ps(to, value);
    else _mm256_maskstore_ps(to, first_lanes(channels), value);
}

/* acc[i][] += a[i] * panel[]; l: bytes between pixels. */
INLINE void multiply(const int pixels, __m256 acc[ROWS][2], const char *a0, const char *a1, const ptrdiff_t l, const float *panel)
{
    const __m256 lo = _mm256_load_ps(panel), hi = _mm256_load_ps(panel + VECTOR);
#pragma GCC unroll 6
    for (int i = 0; i < pixels; i++) {
        const __m256 x = _mm256_broadcast_ss((const float *)((i < HALF ? a0 : a1) + i % HALF * l));
        acc[i][0] = _mm256_fmadd_ps(x, lo, acc[i][0]);
        acc[i][1] = _mm256_fmadd_ps(x, hi, acc[i][1]);
    }
}

/* The line of each of the next tile's pixels, which its epilogue wants. */
INLINE void prefetch_pixels(const int pixels, const float *next, int64_t pixel)
{
    if (!next) return;
#pragma GCC unroll 6
    for (int i = 0; i < pixels; i++) _mm_prefetch(next + i * pixel, _MM_HINT_T0);
}

INLINE void epilogue(const int pixels, __m256 acc[ROWS][2], const rn_conv2d_tile_args *t, const int half)
{
    const int channels = t->channels - half * VECTOR;
    if (channels <= 0) return;
    const int64_t first = half * VECTOR;
    const __m256 zero = _mm256_setzero_ps();
    if (t->residual0) {
#pragma GCC unroll 6
        for (int i = 0; i < pixels; i++) {
            const float *from = (const float *)(i < HALF ? t->residual0 : t->residual1) + i % HALF * t->residual_pixel + first;
            acc[i][half] = _mm256_add_ps(acc[i][half], load(from, channels));
        }
    }
    if (t->relu) { /* the second operand of a maximum survives when one is NaN */
#pragma GCC unroll 6
        for (int i = 0; i < pixels; i++) acc[i][half] = _mm256_max_ps(zero, acc[i][half]);
    }
    if (t->y0) {
#pragma GCC unroll 6
        for (int i = 0; i < pixels; i++) store((float *)(i < HALF ? t->y0 : t->y1) + i % HALF * t->y_pixel + first, channels, acc[i][half]);
    }
    if (t->z0) {
        const __m256 scale = load(t->scale2 + first, channels), shift = load(t->shift2 + first, channels);
#pragma GCC unroll 6
        for (int i = 0; i < pixels; i++) {
            const __m256 z = _mm256_max_ps(zero, _mm256_fmadd_ps(acc[i][half], scale, shift));
            store((float *)(i < HALF ? t->z0 : t->z1) + i % HALF * t->z_pixel + first, channels, z);
        }
    }
}

INLINE void tile(const int pixels, const rn_conv2d_tile_args *t)
{
    __m256 acc[ROWS][2], bias[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    if (t->bias) {
        bias[0] = load(t->bias, t->channels);
        if (t->channels > VECTOR) bias[1] = load(t->bias + VECTOR, t->channels - VECTOR);
    }
#pragma GCC unroll 6
    for (int i = 0; i < pixels; i++) {
        acc[i][0] = bias[0];
        acc[i][1] = bias[1];
    }

    prefetch_pixels(pixels, t->residual_next, t->residual_pixel);
    prefetch_pixels(pixels, t->y_next, t->y_pixel);
    prefetch_pixels(pixels, t->z_next, t->z_pixel);
    const char *ahead = t->ahead, *inputs_ahead = t->inputs_ahead ? t->inputs_ahead : t->ahead;
    const ptrdiff_t ahead_bytes = (ptrdiff_t)t->ahead_bytes * STEPS, inputs_ahead_bytes = (ptrdiff_t)t->inputs_ahead_bytes * STEPS;

    const ptrdiff_t size = sizeof(float), l = t->a_pixel * size;
    const float *panel = t->panel;
    for (int32_t r = 0; r < t->tap_rows; r++) {
        for (int32_t s = 0; s < t->tap_columns; s++) {
            const ptrdiff_t tap = (r * t->a_tap_row + s * t->a_tap_column) * size;
            const char *a0 = (const char *)t->a0 + tap, *a1 = (const char *)t->a1 + tap;
            int32_t left = t->steps;
            for (; left >= STEPS; left -= STEPS, a0 += STEPS * size, a1 += STEPS * size, panel += STEPS * LANES) {
                _mm_prefetch(ahead, _MM_HINT_T1);
                _mm_prefetch(inputs_ahead, _MM_HINT_T1);
                ahead += ahead_bytes;
                inputs_ahead += inputs_ahead_bytes;
#pragma GCC unroll 2
                for (int i = 0; i < STEPS; i++) {
                    __asm__("" : "+r"(a0), "+r"(a1)); /* or gcc spends registers on the addresses of both steps */
                    multiply(pixels, acc, a0 + i * size, a1 + i * size, l, panel + i * LANES);
                }
            }
            for (; left > 0; left--, a0 += size, a1 += size, panel += LANES) multiply(pixels, acc, a0, a1, l, panel);
        }
    }
    epilogue(pixels, acc, t, 0);
    epilogue(pixels, acc, t, 1);
}

void rn_conv2d_f32__avx2_6x16(const rn_conv2d_tile_args *t)
{
    switch (t->pixels) {
#define TILE(pixels) case pixels: tile(pixels, t); break;
        TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#undef TILE
    }
}
