/* Winograd's filter transform, compiled for AVX2. */
#include <immintrin.h>

typedef __m256d doubles;
enum { DOUBLES = 4 };

static inline doubles load_doubles(const float *from)
{
    return _mm256_cvtps_pd(_mm_loadu_ps(from));
}

static inline doubles splat_double(double x)
{
    return _mm256_set1_pd(x);
}

static inline void store_floats(float *to, doubles v)
{
    _mm_store_ps(to, _mm256_cvtpd_ps(v));
}

#define RN_WINOGRAD_FILTER_KERNEL rn_winograd_filter_f32__avx2
#include "kernels/cpu/winograd_filter_kernel.h"
