/* Winograd's transforms of f32 maps, compiled for AVX-512. */
#include <immintrin.h>

typedef __m512 vector;
typedef float element, point;
enum { LANES = 16 };

static inline vector load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline vector load_elements(const float *from)
{
    return load(from);
}

static inline void store_elements(float *to, vector v)
{
    _mm512_storeu_ps(to, v);
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
#define RN_WINOGRAD_KERNEL(side) rn_winograd_##side##_f32__avx512
#include "kernels/cpu/winograd_kernels.h"
