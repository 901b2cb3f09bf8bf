/* The inner block of bf16 convolutions: a step is a pair of neighbouring channels, which VDPBF16PS multiplies and adds to a float. */
#include <immintrin.h>

#include "kernels/base/bf16.h"

typedef rn_bf16 element;
enum { PARTS = 1 };

static inline __attribute__((always_inline)) __m512 load_weights(const char *from, int part)
{
    (void)part;
    return _mm512_load_ps(from);
}

static inline __attribute__((always_inline)) __m512 broadcast(const char *from)
{
    int pair;
    memcpy(&pair, from, sizeof pair);
    return _mm512_castsi512_ps(_mm512_set1_epi32(pair));
}

static inline __attribute__((always_inline)) __m512 multiply_add(__m512 sum, __m512 x, __m512 weights)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)weights);
}

static inline void store_bf16(void *to, __mmask16 mask, __m512 value)
{
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(value);
    if (mask == 0xffff) _mm256_storeu_si256(to, rounded);
    else _mm256_mask_storeu_epi16(to, mask, rounded);
}

#define RN_TILE_KERNEL rn_conv2d_bf16__avx512_bf16_14x32
#include "kernels/cpu/avx512/conv2d_14x32.h"
