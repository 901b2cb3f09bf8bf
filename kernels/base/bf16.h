/* bfloat16: the upper half of a float. Rounding is to nearest, ties to even; a NaN stays one. */
#ifndef RN_KERNELS_BASE_BF16_H
#define RN_KERNELS_BASE_BF16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t rn_bf16; /* its bits */

static inline float rn_bf16_to_f32(rn_bf16 value)
{
    const uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* A NaN is made quiet: its upper half alone might be an infinity. */
static inline rn_bf16 rn_bf16_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    return (rn_bf16)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded);
}

#endif
