/* bfloat16: the upper half of a float. Rounding is to nearest, ties to even; a NaN stays one.
 *
 * A chain is a row of bf16 each of which is read together with the one before it, as the float that the two are: whoever multiplies floats then loads
 * weights of half the size and has nothing to convert. It loses nothing: the lower half is known when the upper one is rounded. */
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

/* The float whose upper half is `value` and whose lower half is `before`. */
static inline float rn_bf16_chained_to_f32(rn_bf16 value, rn_bf16 before)
{
    const uint32_t bits = (uint32_t)value << 16 | before;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* The upper half with which that float is nearest to `value`. Zero and what is nearly zero become 2^-64 or a little more: a float whose upper half is
 * zero is denormal, and slow. What is not finite becomes NaN. */
static inline rn_bf16 rn_bf16_chained_from_f32(float value, rn_bf16 before)
{
    enum { LEAST = 0x1f80, INFINITE = 0x7f80, QUIET_NAN = 0x7fc0, SIGN = 0x8000 }; /* upper halves */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & SIGN, magnitude = bits & 0x7fffffffu;
    if (magnitude >= (uint32_t)INFINITE << 16) return QUIET_NAN;
    if (magnitude < ((uint32_t)LEAST << 16) + 0xffffu) return (rn_bf16)(sign | LEAST);
    const uint32_t upper = (magnitude - before + 0x8000u) >> 16;
    return (rn_bf16)(sign | (upper < INFINITE ? upper : INFINITE - 1));
}

#endif
