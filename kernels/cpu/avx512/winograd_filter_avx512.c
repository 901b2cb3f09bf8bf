/* Winograd's filter transform, compiled for AVX-512. */
#include <immintrin.h>

typedef __m512d doubles;
enum { DOUBLES = 8 };

static inline doubles load_doubles(const float *from)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(from));
}

static inline doubles splat_double(double x)
{
    return _mm512_set1_pd(x);
}

static inline void store_floats(float *to, doubles v)
{
    _mm256_store_ps(to, _mm512_cvtpd_ps(v));
}

#define RN_WINOGRAD_FILTER_KERNEL rn_winograd_filter_f32__avx512
#include "kernels/cpu/winograd_filter_kernel.h"
