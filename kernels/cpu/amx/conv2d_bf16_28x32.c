/* The inner block of bf16 convolutions for AMX. Not run on AMX hardware yet: tests/kernels/amx_test.c runs this source over stand-ins for
 * the tile instructions.
 */
#define RN_TILE_PRODUCT(sum, pixels, weights) _tile_dpbf16ps(sum, pixels, weights)
#include "kernels/cpu/amx/tile_sums.h"

static inline void store_bf16(void *to, __mmask16 mask, __m512 value)
{
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(value);
    if (mask == 0xffff)
        _mm256_storeu_si256(to, rounded);
    else
        _mm256_mask_storeu_epi16(to, mask, rounded);
}

#include "kernels/cpu/avx512/tile_epilogue.h"

INLINE __mmask16 channel_mask(const rn_conv2d_tile_args *t, int half)
{
    const int channels = t->channels - half * VECTOR;
    return channels >= VECTOR ? 0xffff : channels <= 0 ? 0 : (__mmask16)((1u << channels) - 1);
}

void rn_conv2d_bf16__amx_28x32(const rn_conv2d_tile_args *t)
{
    __m512 sums[ROWS][2];
    sum_tile(t, (ptrdiff_t)rn_dtype_bytes(RN_DTYPE_BF16), sums);
    for (int half = 0; half < 2 && t->bias; half++) {
        const __m512 bias = _mm512_maskz_loadu_ps(channel_mask(t, half), t->bias + half * VECTOR);
        for (int32_t i = 0; i < t->pixels; i++) sums[i][half] = _mm512_add_ps(sums[i][half], bias);
    }
    epilogue(t->pixels, sums, t);
}
