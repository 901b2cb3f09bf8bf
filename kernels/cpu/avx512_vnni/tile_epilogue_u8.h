/* What every convolution tile on bytes does with its integer sums, which become real numbers here: two multiply-adds and a rounding for
 * each byte that is written. The sums lie in memory, so that the multiplication alone decides over its registers. The including file
 * defines
 *
 *     HALF, LANES, VECTOR             pixels of half a tile, output channels of a tile, of a vector
 */
#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

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

INLINE row finish(const lanes l, const int32_t *sums, const rn_conv2d_tile_args *t, int i)
{
    const row sum = {_mm512_cvtepi32_ps(_mm512_load_si512(sums)), _mm512_cvtepi32_ps(_mm512_load_si512(sums + VECTOR))};
    row v = multiply_add(sum, load_row(l, t->multiplier), load_row(l, t->bias));
    if (t->residual0) {
        const __m512 scale = _mm512_set1_ps(t->residual_multiplier);
        const uint8_t *from = (const uint8_t *)(i < HALF ? t->residual0 : t->residual1) + i % HALF * t->residual_pixel;
        v = multiply_add(load_bytes(l, from), (row){scale, scale}, v);
    }
    return t->relu ? positive(v) : v;
}

INLINE void epilogue_lanes(const lanes l, const int32_t (*sums)[LANES], const rn_conv2d_tile_args *t)
{
    for (int i = 0; i < t->pixels; i += 2) {
        const int i1 = i + 1 < t->pixels ? i + 1 : i;
        const row v = finish(l, sums[i], t, i), v1 = finish(l, sums[i1], t, i1);
        if (t->y0) store(l, t->y0, t->y1, t->y_pixel, t->y_dtype, i, i1, v, v1);
        if (!t->z0) continue;
        const row scale = load_row(l, t->scale2), shift = load_row(l, t->shift2);
        row z = multiply_add(v, scale, shift), z1 = multiply_add(v1, scale, shift);
        if (t->z_dtype != RN_DTYPE_U8) z = positive(z), z1 = positive(z1);
        store(l, t->z0, t->z1, t->z_pixel, t->z_dtype, i, i1, z, z1);
    }
}

/* sums: [pixels], 64-byte aligned. */
static void epilogue(const int32_t (*sums)[LANES], const rn_conv2d_tile_args *t)
{
    const int32_t high = t->channels - VECTOR;
    if (high == VECTOR)
        epilogue_lanes((lanes){0xffff, 0xffff, true}, sums, t);
    else
        epilogue_lanes((lanes){high >= 0 ? 0xffff : (1u << t->channels) - 1, high > 0 ? (1u << high) - 1 : 0, false}, sums, t);
}
