/* plain_kernels.h for f32 maps, and the scale and shift of bytes, which make f32 too. */
#include <stdint.h>

typedef float element;

static inline float widen(float x)
{
    return x;
}

static inline float narrow(float x)
{
    return x;
}

#include "kernels/cpu/plain_kernels.h"

void RN_PLAIN_KERNEL(scale_shift)(const rn_scale_shift_args *a)
{
    scale_rows(a);
}

DEFINE_SCALE(scale_u8, uint8_t, (float))
