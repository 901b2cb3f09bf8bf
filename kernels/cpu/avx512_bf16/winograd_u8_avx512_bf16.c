/* Winograd's transforms of bytes: the points of the inputs are bf16, which holds every byte exactly and is multiplied at half the rate of bytes. */
#include <immintrin.h>
#include <stdint.h>

#include "kernels/base/bf16.h"

typedef __m512 vector;
typedef uint8_t element;
typedef rn_bf16 point;
enum { LANES = 16 };

static inline vector load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline vector load_elements(const uint8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from)));
}

/* Rounded to the nearest, ties to even, and clamped. */
static inline void store_elements(uint8_t *to, vector v)
{
    const __m512i clamped = _mm512_min_epi32(_mm512_max_epi32(_mm512_cvtps_epi32(v), _mm512_setzero_si512()), _mm512_set1_epi32(UINT8_MAX));
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(clamped));
}

static inline void store_points(rn_bf16 *to, vector v)
{
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(v));
}

static inline vector splat(float x)
{
    return _mm512_set1_ps(x);
}

static inline vector multiply_add(vector a, vector b, vector c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vector relu(vector v)
{
    return _mm512_max_ps(v, _mm512_setzero_ps());
}

#define RN_WINOGRAD_KERNEL(side) rn_winograd_##side##_u8__avx512_bf16
#include "kernels/cpu/winograd_kernels.h"
