/* What Winograd's transforms for AVX-512 have in common, whatever the type of the maps (winograd_kernels.h). */
#ifndef RN_KERNELS_CPU_AVX512_WINOGRAD_VECTOR_H
#define RN_KERNELS_CPU_AVX512_WINOGRAD_VECTOR_H

#include <immintrin.h>

typedef __m512 vector;
enum { LANES = 16 };

static inline vector load(const float *from)
{
    return _mm512_loadu_ps(from);
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

#endif
