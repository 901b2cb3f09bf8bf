/* The inner block of fp32 convolutions for AVX-512: up to 14 output pixels x 32 output channels.
 *
 * 28 accumulators, two vectors of weights and one or two broadcast inputs fill the 32 registers. A step costs 28 multiply-adds and 16 loads,
 * so that a core with two of each a cycle is bound by the multiply-adds, and the weights stream at 128 bytes in 14 cycles, which the second
 * cache level can feed. 14 divides 56, 28, 14 and two rows of 7: the pictures of a ResNet at 224 leave no thin tile at an edge.
 *
 * Inputs are read where they are: a pixel's address is one of two bases plus 0 .. 6 times the pixel distance, which x86 addressing reaches
 * from three registers holding 1, 3 and 5 distances. Every number of pixels has its own straight-line code, all from one inline function.
 *
 * The lines of the residual and the output are asked for during the multiplication, two pixels every CHUNK steps: the epilogue would come too
 * late, and asking for all 56 lines at once fills the core's miss buffers and stalls the multiplication.
 */
#include <immintrin.h>
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

enum { ROWS = 14, HALF = ROWS / 2, LANES = 32, VECTOR = 16, CHUNK = 8 };

#define INLINE static inline __attribute__((always_inline))

/* Walks the output pixels of a tile ahead of the epilogue. */
typedef struct {
    const float *residual, *y;
    int64_t residual_pixel, y_pixel;
    int32_t left;
} output_prefetch;

INLINE void prefetch_outputs(output_prefetch *o)
{
    for (int i = 0; i < 2; i++, o->left--, o->y += o->y_pixel, o->residual += o->residual_pixel) {
        if (o->left <= 0) return;
        _mm_prefetch(o->residual, _MM_HINT_T0);
        _mm_prefetch(o->residual + VECTOR, _MM_HINT_T0);
        __builtin_prefetch(o->y, 1);
        __builtin_prefetch(o->y + VECTOR, 1);
    }
}

/* acc[i][] += a[i][step] * panel[step][], for `count` steps; l: bytes between pixels. */
INLINE void multiply(const int pixels, __m512 acc[ROWS][2], const char *a0, const char *a1, const ptrdiff_t l, const float *panel, int count)
{
    const ptrdiff_t l3 = 3 * l, l5 = 5 * l;
    for (const char *stop = a0 + sizeof(float) * count; a0 != stop; a0 += sizeof(float), a1 += sizeof(float), panel += LANES) {
        const __m512 lo = _mm512_load_ps(panel), hi = _mm512_load_ps(panel + VECTOR);
#pragma GCC unroll 14
        for (int i = 0; i < pixels; i++) {
            const int j = i % HALF;
            const ptrdiff_t offset = j == 0 ? 0 : j == 1 ? l : j == 2 ? 2 * l : j == 3 ? l3 : j == 4 ? 4 * l : j == 5 ? l5 : 2 * l3;
            const __m512 x = _mm512_set1_ps(*(const float *)((i < HALF ? a0 : a1) + offset));
            acc[i][0] = _mm512_fmadd_ps(x, lo, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(x, hi, acc[i][1]);
        }
    }
}

/* A full store where possible: some cores are slow at masked ones. */
INLINE void store(float *to, __mmask16 mask, __m512 value)
{
    if (mask == 0xffff) _mm512_storeu_ps(to, value);
    else _mm512_mask_storeu_ps(to, mask, value);
}

INLINE void epilogue(const int pixels, __m512 acc[ROWS][2], const rn_conv2d_tile_args *t, const int half)
{
    const int channels = t->channels - half * VECTOR;
    if (channels <= 0) return;
    const __mmask16 mask = channels >= VECTOR ? 0xffff : (__mmask16)((1u << channels) - 1);
    const int64_t first = half * VECTOR;
    const __m512 zero = _mm512_setzero_ps();
    if (t->residual0) {
#pragma GCC unroll 14
        for (int i = 0; i < pixels; i++) {
            const float *from = (const float *)(i < HALF ? t->residual0 : t->residual1) + i % HALF * t->residual_pixel + first;
            acc[i][half] = _mm512_add_ps(acc[i][half], _mm512_maskz_loadu_ps(mask, from));
        }
    }
    if (t->relu) { /* the second operand of a maximum survives when one is NaN */
#pragma GCC unroll 14
        for (int i = 0; i < pixels; i++) acc[i][half] = _mm512_max_ps(zero, acc[i][half]);
    }
    if (t->y0) {
#pragma GCC unroll 14
        for (int i = 0; i < pixels; i++) store((float *)(i < HALF ? t->y0 : t->y1) + i % HALF * t->y_pixel + first, mask, acc[i][half]);
    }
    if (t->z0) {
        const __m512 scale = _mm512_maskz_loadu_ps(mask, t->scale2 + first), shift = _mm512_maskz_loadu_ps(mask, t->shift2 + first);
#pragma GCC unroll 14
        for (int i = 0; i < pixels; i++) {
            const __m512 z = _mm512_max_ps(zero, _mm512_fmadd_ps(acc[i][half], scale, shift));
            store((float *)(i < HALF ? t->z0 : t->z1) + i % HALF * t->z_pixel + first, mask, z);
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

    float *y = t->y0 ? t->y0 : t->z0;
    const int64_t y_pixel = t->y0 ? t->y_pixel : t->z_pixel;
    output_prefetch outputs = {t->residual0 ? t->residual0 : y, y, t->residual0 ? t->residual_pixel : y_pixel, y_pixel, pixels};
    const float *panel = t->panel;
    const char *ahead = t->ahead;
    const ptrdiff_t l = t->a_pixel * (ptrdiff_t)sizeof(float);
    for (int32_t r = 0; r < t->tap_rows; r++) {
        for (int32_t s = 0; s < t->tap_columns; s++) {
            const int64_t tap = r * t->a_tap_row + s * t->a_tap_column;
            const char *a0 = (const char *)((const float *)t->a0 + tap), *a1 = (const char *)((const float *)t->a1 + tap);
            for (int32_t step = 0, count; step < t->steps; step += count) {
                count = t->steps - step < CHUNK ? t->steps - step : CHUNK;
                prefetch_outputs(&outputs);
                for (int32_t i = 0; i < count * t->ahead_bytes; i += 64, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T1);
                multiply(pixels, acc, a0, a1, l, panel, count);
                a0 += count * sizeof(float);
                a1 += count * sizeof(float);
                panel += count * LANES;
            }
        }
    }
    epilogue(pixels, acc, t, 0);
    epilogue(pixels, acc, t, 1);
}

void rn_conv2d_f32__avx512_14x32(const rn_conv2d_tile_args *t)
{
    switch (t->pixels) {
#define TILE(pixels) case pixels: tile(pixels, t); break;
        TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
#undef TILE
    }
}
