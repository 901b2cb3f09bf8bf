/* IEEE 754 binary16 as stored numbers: nothing is computed in it here. */
#ifndef RN_KERNELS_BASE_F16_H
#define RN_KERNELS_BASE_F16_H

#include <stdint.h>
#include <string.h>

/* Rounded to nearest even; beyond 65504 infinite; NaN stays NaN. */
static inline uint16_t rn_f16_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and more */
    if (magnitude >= 0x38800000u) {                                  /* normal: 2^-14 and more */
        const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
        return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
    }
    if (magnitude < 0x33000000u) return sign; /* less than half of the smallest, 2^-24 */
    const uint32_t shift = 126u - (magnitude >> 23), mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t whole = mantissa >> shift, rest = mantissa & ((1u << shift) - 1u), half = 1u << (shift - 1u);
    return (uint16_t)(sign | (whole + (rest > half || (rest == half && (whole & 1u)))));
}

static inline float rn_f16_to_f32(uint16_t stored)
{
    const uint32_t sign = (uint32_t)(stored & 0x8000u) << 16, exponent = stored >> 10 & 0x1fu, mantissa = stored & 0x3ffu;
    float value;
    if (exponent == 0) { /* zero and subnormal: exact in float */
        value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    const uint32_t bits = sign | (exponent == 0x1f ? 0x7f800000u : (exponent + 112u) << 23) | mantissa << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
