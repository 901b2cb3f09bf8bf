/* Winograd's transforms of bf16 maps, computed in f32. */
#include <immintrin.h>

#include "kernels/base/bf16.h"

typedef __m512 vector;
typedef rn_bf16 element, point;
enum { LANES = 16 };

static inline vector load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline vector load_elements(const rn_bf16 *from)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16));
}

static inline void store_elements(rn_bf16 *to, vector v)
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

/* The second operand of a maximum survives when one is NaN. */
static inline vector relu(vector v)
{
    return _mm512_max_ps(_mm512_setzero_ps(), v);
}

#define store_points store_elements
#define RN_WINOGRAD_KERNEL(side) rn_winograd_##side##_bf16__avx512_bf16
#include "kernels/cpu/winograd_kernels.h"
