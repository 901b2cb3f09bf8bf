/* The inner block of convolutions of f32 maps with chained bf16 weights (kernels/base/bf16.h): the products are those of floats, and the weights are half
 * as much to fetch. A step is a pair of neighbouring channels. Sixteen weights of the first channel, as floats, start two bytes before its bf16, those of
 * the second where the first one's bf16 are: what precedes a weight is its lower half. */
#include "kernels/cpu/avx512/float_tile.h"

enum { PARTS = 2 };

static inline __attribute__((always_inline)) __m512 load_weights(const char *from, int part)
{
    return _mm512_loadu_ps(from + 2 * (part - 1));
}

#define RN_TILE_KERNEL rn_conv2d_f32_chained__avx512_14x32
#include "kernels/cpu/avx512/conv2d_14x32.h"
