/* Winograd's transforms of f32 maps, compiled for AVX-512. */
#include "kernels/cpu/avx512/winograd_vector.h"

typedef float element, point;

static inline vector load_elements(const float *from)
{
    return load(from);
}

static inline void store_elements(float *to, vector v)
{
    _mm512_storeu_ps(to, v);
}

#define store_points store_elements
#define RN_WINOGRAD_KERNEL(side) rn_winograd_##side##_f32__avx512
#include "kernels/cpu/winograd_kernels.h"
