/* AVX-512 in terms of AVX2, for tests of its kernels on processors without it: SIMDe's functions in place of the intrinsics, and here the
 * few that its version 0.7.4 lacks. `make emulated` includes it before each source of kernels/cpu/avx512* and amx, before the processor's
 * detection and before the loops of tools/bench/peak. */
#ifndef RN_TESTS_SUPPORT_AVX512_STANDIN_H
#define RN_TESTS_SUPPORT_AVX512_STANDIN_H

#include <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <math.h>
#include <simde/x86/avx512.h>
#include <stdint.h>
#include <string.h>

/* Whatever the processor is asked for, AVX2 is enough. */
#define __builtin_cpu_supports(name) __builtin_cpu_supports("avx2")

/* ---- conversions, lane by lane ---- */

#define RN_AVX512_CONVERT(name, to, to_lane, from, from_lane, lanes, convert) \
    static inline to rn_avx512_##name(from operand)                           \
    {                                                                         \
        from_lane in[lanes];                                                  \
        to_lane out[lanes];                                                   \
        to result;                                                            \
        memcpy(in, &operand, sizeof in);                                      \
        for (int i = 0; i < lanes; i++) out[i] = (to_lane)convert(in[i]);     \
        memcpy(&result, out, sizeof result);                                  \
        return result;                                                        \
    }

/* What does not fit becomes the smallest number, as in the processor. */
static inline int32_t rn_avx512_to_int(float value)
{
    return value >= -0x1p31f && value < 0x1p31f ? (int32_t)value : INT32_MIN;
}

static inline int32_t rn_avx512_round(float value)
{
    return rn_avx512_to_int(nearbyintf(value));
}

/* VCVTNEPS2BF16 of Intel's manual: to the nearest, ties to even; denormals become zeros, NaNs quiet. */
static inline uint16_t rn_avx512_to_bf16(uint32_t bits)
{
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    if (magnitude < 0x00800000) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

RN_AVX512_CONVERT(cvtepi32_ps, __m512, float, __m512i, int32_t, 16, )
RN_AVX512_CONVERT(cvtepi32_epi16, __m256i, int16_t, __m512i, int32_t, 16, )
RN_AVX512_CONVERT(cvtepi32_epi8, __m128i, int8_t, __m512i, int32_t, 16, )
RN_AVX512_CONVERT(cvtepu8_epi32, __m512i, int32_t, __m128i, uint8_t, 16, )
RN_AVX512_CONVERT(cvtepu16_epi32, __m512i, int32_t, __m256i, uint16_t, 16, )
RN_AVX512_CONVERT(cvtps_pd, __m512d, double, __m256, float, 8, )
RN_AVX512_CONVERT(cvtpd_ps, __m256, float, __m512d, double, 8, )
RN_AVX512_CONVERT(cvtps_epi32, __m512i, int32_t, __m512, float, 16, rn_avx512_round)
RN_AVX512_CONVERT(cvttps_epi32, __m512i, int32_t, __m512, float, 16, rn_avx512_to_int)
RN_AVX512_CONVERT(cvtneps_pbh, __m256i, uint16_t, __m512, uint32_t, 16, rn_avx512_to_bf16)
#undef RN_AVX512_CONVERT

/* ---- memory by masks: lanes that are left out are not touched ---- */

#define RN_AVX512_LOAD(name, type, mask_type, lane, lanes)                                          \
    static inline type rn_avx512_##name(mask_type mask, const void *from)                           \
    {                                                                                               \
        lane in[lanes] = {0};                                                                       \
        type result;                                                                                \
        for (int i = 0; i < lanes; i++)                                                             \
            if (mask >> i & 1) memcpy(&in[i], (const char *)from + i * sizeof(lane), sizeof(lane)); \
        memcpy(&result, in, sizeof result);                                                         \
        return result;                                                                              \
    }
#define RN_AVX512_STORE(name, type, mask_type, lane, lanes)                                  \
    static inline void rn_avx512_##name(void *to, mask_type mask, type operand)              \
    {                                                                                        \
        lane out[lanes];                                                                     \
        memcpy(out, &operand, sizeof out);                                                   \
        for (int i = 0; i < lanes; i++)                                                      \
            if (mask >> i & 1) memcpy((char *)to + i * sizeof(lane), &out[i], sizeof(lane)); \
    }
RN_AVX512_LOAD(maskz_loadu_ps, __m512, __mmask16, float, 16)
RN_AVX512_LOAD(maskz_loadu_epi32, __m512i, __mmask16, int32_t, 16)
RN_AVX512_LOAD(maskz_loadu_epi8, __m512i, __mmask64, int8_t, 64)
RN_AVX512_LOAD(half_maskz_loadu_epi16, __m256i, __mmask16, int16_t, 16)
RN_AVX512_LOAD(quarter_maskz_loadu_epi8, __m128i, __mmask16, int8_t, 16)
RN_AVX512_STORE(mask_storeu_ps, __m512, __mmask16, float, 16)
RN_AVX512_STORE(mask_storeu_epi8, __m512i, __mmask64, int8_t, 64)
RN_AVX512_STORE(half_mask_storeu_epi16, __m256i, __mmask16, int16_t, 16)
RN_AVX512_STORE(half_mask_storeu_epi8, __m256i, __mmask32, int8_t, 32)
RN_AVX512_STORE(quarter_mask_storeu_epi8, __m128i, __mmask16, int8_t, 16)
#undef RN_AVX512_LOAD
#undef RN_AVX512_STORE

/* ---- the rest ---- */

static inline __m512i rn_avx512_madd_epi16(__m512i a, __m512i b)
{
    int16_t x[32], y[32];
    int32_t out[16];
    __m512i result;
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (int i = 0; i < 16; i++) out[i] = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
    memcpy(&result, out, sizeof result);
    return result;
}

static inline __mmask32 rn_avx512_kunpackw(__mmask32 high, __mmask32 low)
{
    return high << 16 | (low & 0xffff);
}

#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps rn_avx512_cvtepi32_ps
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 rn_avx512_cvtepi32_epi16
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 rn_avx512_cvtepi32_epi8
#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32 rn_avx512_cvtepu8_epi32
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 rn_avx512_cvtepu16_epi32
#undef _mm512_cvtps_pd
#define _mm512_cvtps_pd rn_avx512_cvtps_pd
#undef _mm512_cvtpd_ps
#define _mm512_cvtpd_ps rn_avx512_cvtpd_ps
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 rn_avx512_cvtps_epi32
#undef _mm512_cvttps_epi32
#define _mm512_cvttps_epi32 rn_avx512_cvttps_epi32
#undef _mm512_cvtneps_pbh
#define _mm512_cvtneps_pbh rn_avx512_cvtneps_pbh
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps rn_avx512_maskz_loadu_ps
#undef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32 rn_avx512_maskz_loadu_epi32
#undef _mm512_maskz_loadu_epi8
#define _mm512_maskz_loadu_epi8 rn_avx512_maskz_loadu_epi8
#undef _mm256_maskz_loadu_epi16
#define _mm256_maskz_loadu_epi16 rn_avx512_half_maskz_loadu_epi16
#undef _mm_maskz_loadu_epi8
#define _mm_maskz_loadu_epi8 rn_avx512_quarter_maskz_loadu_epi8
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps rn_avx512_mask_storeu_ps
#undef _mm512_mask_storeu_epi8
#define _mm512_mask_storeu_epi8 rn_avx512_mask_storeu_epi8
#undef _mm256_mask_storeu_epi16
#define _mm256_mask_storeu_epi16 rn_avx512_half_mask_storeu_epi16
#undef _mm256_mask_storeu_epi8
#define _mm256_mask_storeu_epi8 rn_avx512_half_mask_storeu_epi8
#undef _mm_mask_storeu_epi8
#define _mm_mask_storeu_epi8 rn_avx512_quarter_mask_storeu_epi8
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 rn_avx512_madd_epi16
#undef _mm512_kunpackw
#define _mm512_kunpackw rn_avx512_kunpackw

#endif
