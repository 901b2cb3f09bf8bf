/* The memory-bound kernels for bf16 maps. */
#include "kernels/base/bf16.h"

typedef rn_bf16 element;

static inline float widen(rn_bf16 x)
{
    return rn_bf16_to_f32(x);
}

static inline rn_bf16 narrow(float x)
{
    return rn_bf16_from_f32(x);
}

#define RN_PLAIN_KERNEL(operation) rn_##operation##_bf16__avx512_bf16
#include "kernels/cpu/plain_kernels.h"

DEFINE_SCALE(scale_f32, float, (float))

void rn_scale_shift_bf16__avx512_bf16(const rn_scale_shift_args *a)
{
    if (a->x.dtype == RN_DTYPE_F32) scale_f32_rows(a);
    else scale_rows(a);
}
