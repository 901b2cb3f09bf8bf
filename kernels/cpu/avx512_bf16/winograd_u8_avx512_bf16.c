/* Winograd's transforms of bytes: the points of the inputs are bf16, which holds every byte exactly and is multiplied at half the rate of bytes. */
#include <stdint.h>

#include "kernels/base/bf16.h"
#include "kernels/cpu/avx512/winograd_vector.h"

typedef uint8_t element;
typedef rn_bf16 point;

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

#define RN_WINOGRAD_KERNEL(side) rn_winograd_##side##_u8__avx512_bf16
#include "kernels/cpu/winograd_kernels.h"
