/* The inner block of fp32 convolutions for AVX-512. The first layer of a network in bf16 reads f32 and runs here too. */
#include "kernels/cpu/avx512/float_tile.h"

enum { PARTS = 1 };

static inline __attribute__((always_inline)) __m512 load_weights(const char *from, int part)
{
    (void)part;
    return _mm512_load_ps(from);
}

#define RN_TILE_KERNEL rn_conv2d_f32__avx512_14x32
#include "kernels/cpu/avx512/conv2d_14x32.h"
