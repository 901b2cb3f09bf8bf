/* Winograd's transforms of bf16 maps, computed in f32. */
#include "kernels/base/bf16.h"
#include "kernels/cpu/avx512/winograd_vector.h"

typedef rn_bf16 element, point;

static inline vector load_elements(const rn_bf16 *from)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16));
}

static inline void store_elements(rn_bf16 *to, vector v)
{
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(v));
}

#define store_points store_elements
#define RN_WINOGRAD_KERNEL(side) rn_winograd_##side##_bf16__avx512_bf16
#include "kernels/cpu/winograd_kernels.h"
