/* The memory-bound kernels for f32, compiled for AVX2. */
#define RN_PLAIN_KERNEL(operation) rn_##operation##_f32__avx2
#include "kernels/cpu/plain_f32.h"

void rn_scale_shift_u8__avx2(const rn_scale_shift_args *a)
{
    scale_u8_rows(a);
}
