/* What the AVX-512 tiles that multiply floats have in common: the including file's conv2d_14x32.h reads f32 pixels, and may write bf16 without
 * instructions for that. */
#include <immintrin.h>

typedef float element;

static inline __attribute__((always_inline)) __m512 broadcast(const char *from)
{
    return _mm512_set1_ps(*(const float *)from);
}

static inline __attribute__((always_inline)) __m512 multiply_add(__m512 sum, __m512 x, __m512 weights)
{
    return _mm512_fmadd_ps(x, weights, sum);
}

/* As rn_bf16_from_f32 does it. */
static inline void store_bf16(void *to, __mmask16 mask, __m512 value)
{
    const __m512i bits = _mm512_castps_si512(value), odd = _mm512_and_epi32(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    const __m512i result = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    _mm256_mask_storeu_epi16(to, mask, _mm512_cvtepi32_epi16(_mm512_srli_epi32(result, 16)));
}
