/* What every convolution tile does with its sums: residual, ReLU, outputs, each in f32 or bf16. The including file defines
 *
 *     ROWS, HALF, VECTOR              pixels of a tile, of half a tile, channels of a vector
 *     store_bf16(to, mask, v)         16 floats as bf16, rounded to nearest even
 */
#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

INLINE __m512 load_bf16(__mmask16 mask, const void *from)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)), 16));
}

/* Sixteen channels of a residual and of an output. A full store where possible: some cores are slow at masked ones. */
INLINE __m512 load_outputs(const bool bf16, __mmask16 mask, const void *from)
{
    return bf16 ? load_bf16(mask, from) : _mm512_maskz_loadu_ps(mask, from);
}

INLINE void store_outputs(const bool bf16, void *to, __mmask16 mask, __m512 value)
{
    if (bf16)
        store_bf16(to, mask, value);
    else if (mask == 0xffff)
        _mm512_storeu_ps(to, value);
    else
        _mm512_mask_storeu_ps(to, mask, value);
}

/* Channels 16 * half and on of pixel i, where pixels 0 and HALF are at the bases. */
INLINE char *output_at(const bool bf16, const void *base0, const void *base1, int i, int64_t pixel, const int half)
{
    return (char *)(i < HALF ? base0 : base1) + (i % HALF * pixel + half * VECTOR) * (bf16 ? 2 : 4);
}

INLINE void add_residual(const int pixels, const bool bf16, __mmask16 mask, __m512 acc[ROWS][2], const rn_conv2d_tile_args *t,
                         const int half)
{
#pragma GCC unroll 14
    for (int i = 0; i < pixels; i++) {
        const void *from = output_at(bf16, t->residual0, t->residual1, i, t->residual_pixel, half);
        acc[i][half] = _mm512_add_ps(acc[i][half], load_outputs(bf16, mask, from));
    }
}

INLINE void store_first(const int pixels, const bool bf16, __mmask16 mask, __m512 acc[ROWS][2], const rn_conv2d_tile_args *t,
                        const int half)
{
#pragma GCC unroll 14
    for (int i = 0; i < pixels; i++) store_outputs(bf16, output_at(bf16, t->y0, t->y1, i, t->y_pixel, half), mask, acc[i][half]);
}

INLINE void store_second(const int pixels, const bool bf16, __mmask16 mask, __m512 acc[ROWS][2], const rn_conv2d_tile_args *t,
                         const int half)
{
    const __m512 scale = _mm512_maskz_loadu_ps(mask, t->scale2 + half * VECTOR),
                 shift = _mm512_maskz_loadu_ps(mask, t->shift2 + half * VECTOR);
#pragma GCC unroll 14
    for (int i = 0; i < pixels; i++) {
        const __m512 z = _mm512_max_ps(_mm512_setzero_ps(), _mm512_fmadd_ps(acc[i][half], scale, shift));
        store_outputs(bf16, output_at(bf16, t->z0, t->z1, i, t->z_pixel, half), mask, z);
    }
}

INLINE void epilogue_half(const int pixels, __m512 acc[ROWS][2], const rn_conv2d_tile_args *t, const int half)
{
    const int channels = t->channels - half * VECTOR;
    if (channels <= 0) return;
    const __mmask16 mask = channels >= VECTOR ? 0xffff : (__mmask16)((1u << channels) - 1);
    if (t->residual0) {
        if (t->residual_dtype == RN_DTYPE_BF16)
            add_residual(pixels, true, mask, acc, t, half);
        else
            add_residual(pixels, false, mask, acc, t, half);
    }
    if (t->relu) { /* the second operand of a maximum survives when one is NaN */
#pragma GCC unroll 14
        for (int i = 0; i < pixels; i++) acc[i][half] = _mm512_max_ps(_mm512_setzero_ps(), acc[i][half]);
    }
    if (t->y0) {
        if (t->y_dtype == RN_DTYPE_BF16)
            store_first(pixels, true, mask, acc, t, half);
        else
            store_first(pixels, false, mask, acc, t, half);
    }
    if (t->z0) {
        if (t->z_dtype == RN_DTYPE_BF16)
            store_second(pixels, true, mask, acc, t, half);
        else
            store_second(pixels, false, mask, acc, t, half);
    }
}

INLINE void epilogue(const int pixels, __m512 acc[ROWS][2], const rn_conv2d_tile_args *t)
{
    epilogue_half(pixels, acc, t, 0);
    epilogue_half(pixels, acc, t, 1);
}
