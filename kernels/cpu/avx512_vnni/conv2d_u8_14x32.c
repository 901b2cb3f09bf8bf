/* The inner block of int8 convolutions for AVX-512 VNNI: up to 14 output pixels x 32 output channels.
 *
 * A step is four channels of a pixel, which vpdpbusd multiplies with four weights of each output channel and adds to an int32 without saturation.
 * Registers, tile and addresses are those of the fp32 kernel (avx512/conv2d_f32_14x32.c), where they are explained; a step does four times
 * its work. The sums become real numbers in the epilogue, two multiply-adds and a rounding for each byte that is written.
 */
#include <immintrin.h>
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

enum { ROWS = 14, HALF = ROWS / 2, LANES = 32, VECTOR = 16, CHUNK = 8 };

#define INLINE static inline __attribute__((always_inline))

/* Walks the output pixels of a tile ahead of the epilogue. */
typedef struct {
    const char *residual, *y;
    int64_t residual_pixel, y_pixel; /* bytes */
    int32_t left;
} output_prefetch;

INLINE void prefetch_outputs(output_prefetch *o)
{
    for (int i = 0; i < 2; i++, o->left--, o->y += o->y_pixel, o->residual += o->residual_pixel) {
        if (o->left <= 0) return;
        _mm_prefetch(o->residual, _MM_HINT_T0);
        __builtin_prefetch(o->y, 1);
    }
}

/* acc[i][] += a[i][step] * panel[step][], for `count` steps; l: bytes between pixels. */
INLINE void multiply(const int pixels, __m512i acc[ROWS][2], const char *a0, const char *a1, const ptrdiff_t l, const char *panel, int count)
{
    const ptrdiff_t l3 = 3 * l, l5 = 5 * l;
    for (const char *stop = a0 + RN_STEP_BYTES * count; a0 != stop; a0 += RN_STEP_BYTES, a1 += RN_STEP_BYTES, panel += LANES * RN_STEP_BYTES) {
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

/* The values of one pixel. */
typedef struct {
    __m512 lo, hi;
} row;

/* What the epilogue has for all pixels. full: all channels are there, and loads and stores need no mask. */
typedef struct {
    __mmask16 lo, hi;
    bool full;
} lanes;

INLINE row load_row(const lanes l, const float *from)
{
    if (l.full) return (row){_mm512_loadu_ps(from), _mm512_loadu_ps(from + VECTOR)};
    return (row){_mm512_maskz_loadu_ps(l.lo, from), _mm512_maskz_loadu_ps(l.hi, from + VECTOR)};
}

INLINE row load_bytes(const lanes l, const uint8_t *from)
{
    const __m128i lo = l.full ? _mm_loadu_si128((const __m128i *)from) : _mm_maskz_loadu_epi8(l.lo, from);
    const __m128i hi = l.full ? _mm_loadu_si128((const __m128i *)(from + VECTOR)) : _mm_maskz_loadu_epi8(l.hi, from + VECTOR);
    return (row){_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(lo)), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(hi))};
}

INLINE row multiply_add(row x, row scale, row shift)
{
    return (row){_mm512_fmadd_ps(x.lo, scale.lo, shift.lo), _mm512_fmadd_ps(x.hi, scale.hi, shift.hi)};
}

INLINE row positive(row x) /* a NaN cannot be */
{
    return (row){_mm512_max_ps(x.lo, _mm512_setzero_ps()), _mm512_max_ps(x.hi, _mm512_setzero_ps())};
}

/* Rounds to the nearest, ties to even. The two packs clamp to 16 bits, then to 0 .. 255, and leave four bytes of each vector in turn. */
INLINE void store_bytes(const lanes l, uint8_t *to0, uint8_t *to1, row x0, row x1)
{
    const __m512i words0 = _mm512_packs_epi32(_mm512_cvtps_epi32(x0.lo), _mm512_cvtps_epi32(x0.hi));
    const __m512i words1 = _mm512_packs_epi32(_mm512_cvtps_epi32(x1.lo), _mm512_cvtps_epi32(x1.hi));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(words0, words1));
    const __m256i first = _mm512_castsi512_si256(bytes), second = _mm512_extracti64x4_epi64(bytes, 1);
    if (l.full) {
        _mm256_storeu_si256((__m256i *)to0, first);
        _mm256_storeu_si256((__m256i *)to1, second);
    } else {
        const __mmask32 mask = _mm512_kunpackw(l.hi, l.lo);
        _mm256_mask_storeu_epi8(to0, mask, first);
        _mm256_mask_storeu_epi8(to1, mask, second);
    }
}

INLINE void store_floats(const lanes l, float *to, row x)
{
    _mm512_mask_storeu_ps(to, l.lo, x.lo);
    _mm512_mask_storeu_ps(to + VECTOR, l.hi, x.hi);
}

/* Pixels i and i1, which may be the same one, of an output map. */
INLINE void store(const lanes l, void *base0, void *base1, int64_t pixel, rn_dtype dtype, int i, int i1, row x, row x1)
{
    const int64_t at = i % HALF * pixel, at1 = i1 % HALF * pixel;
    void *base = i < HALF ? base0 : base1;
    base1 = i1 < HALF ? base0 : base1;
    if (dtype == RN_DTYPE_U8) {
        store_bytes(l, (uint8_t *)base + at, (uint8_t *)base1 + at1, x, x1);
    } else {
        store_floats(l, (float *)base + at, x);
        store_floats(l, (float *)base1 + at1, x1);
    }
}

INLINE row finish(const lanes l, const __m512i acc[2], const rn_conv2d_tile_args *t, int i)
{
    row v = multiply_add((row){_mm512_cvtepi32_ps(acc[0]), _mm512_cvtepi32_ps(acc[1])}, load_row(l, t->multiplier), load_row(l, t->bias));
    if (t->residual0) {
        const __m512 scale = _mm512_set1_ps(t->residual_multiplier);
        const uint8_t *from = (const uint8_t *)(i < HALF ? t->residual0 : t->residual1) + i % HALF * t->residual_pixel;
        v = multiply_add(load_bytes(l, from), (row){scale, scale}, v);
    }
    return t->relu ? positive(v) : v;
}

INLINE void epilogue(const int pixels, const lanes l, __m512i acc[ROWS][2], const rn_conv2d_tile_args *t)
{
#pragma GCC unroll 7
    for (int i = 0; i < pixels; i += 2) {
        const int i1 = i + 1 < pixels ? i + 1 : i;
        const row v = finish(l, acc[i], t, i), v1 = finish(l, acc[i1], t, i1);
        if (t->y0) store(l, t->y0, t->y1, t->y_pixel, t->y_dtype, i, i1, v, v1);
        if (!t->z0) continue;
        const row scale = load_row(l, t->scale2), shift = load_row(l, t->shift2);
        row z = multiply_add(v, scale, shift), z1 = multiply_add(v1, scale, shift);
        if (t->y_dtype != RN_DTYPE_U8) z = positive(z), z1 = positive(z1);
        store(l, t->z0, t->z1, t->z_pixel, t->y_dtype, i, i1, z, z1);
    }
}

INLINE void tile(const int pixels, const rn_conv2d_tile_args *t)
{
    __m512i acc[ROWS][2];
#pragma GCC unroll 14
    for (int i = 0; i < pixels; i++) acc[i][0] = acc[i][1] = _mm512_setzero_si512();

    const char *y = t->y0 ? t->y0 : t->z0;
    const int64_t y_pixel = (t->y0 ? t->y_pixel : t->z_pixel) * (int64_t)(t->y_dtype == RN_DTYPE_U8 ? 1 : sizeof(float));
    output_prefetch outputs = {t->residual0 ? t->residual0 : y, y, t->residual0 ? t->residual_pixel : y_pixel, y_pixel, pixels};
    const char *panel = t->panel;
    const char *ahead = t->ahead;
    for (int32_t r = 0; r < t->tap_rows; r++) {
        for (int32_t s = 0; s < t->tap_columns; s++) {
            const int64_t tap = r * t->a_tap_row + s * t->a_tap_column;
            const char *a0 = (const char *)t->a0 + tap, *a1 = (const char *)t->a1 + tap;
            for (int32_t step = 0, count; step < t->steps; step += count) {
                count = t->steps - step < CHUNK ? t->steps - step : CHUNK;
                prefetch_outputs(&outputs);
                for (int32_t i = 0; i < count * t->ahead_bytes; i += 64, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T1);
                multiply(pixels, acc, a0, a1, t->a_pixel, panel, count);
                a0 += count * RN_STEP_BYTES;
                a1 += count * RN_STEP_BYTES;
                panel += count * LANES * RN_STEP_BYTES;
            }
        }
    }
    const int32_t high = t->channels - VECTOR;
    if (high == VECTOR) epilogue(pixels, (lanes){0xffff, 0xffff, true}, acc, t);
    else epilogue(pixels, (lanes){high >= 0 ? 0xffff : (1u << t->channels) - 1, high > 0 ? (1u << high) - 1 : 0, false}, acc, t);
}

void rn_conv2d_u8__avx512_vnni_14x32(const rn_conv2d_tile_args *t)
{
    switch (t->pixels) {
#define TILE(pixels) case pixels: tile(pixels, t); break;
        TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
#undef TILE
    }
}
