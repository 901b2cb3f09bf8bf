/* What a convolution tile asks the memory for while it multiplies, for the AVX-512 micro-kernels.
 *
 * The lines of the next tile's residual and outputs, which its epilogue wants in the first cache level: to ask for all of them at once would fill the
 * core's miss buffers and stall the multiplication, so that they are spread over the chunks of steps, a few pixels each. And, for the second level, the
 * weights that come next and inputs that nobody has read yet.
 */
#ifndef RN_KERNELS_CPU_TILE_PREFETCH_H
#define RN_KERNELS_CPU_TILE_PREFETCH_H

#include <immintrin.h>

#include "kernels/cpu/cpu_kernels.h"

enum { RN_PREFETCH_LINE = 64, RN_PREFETCH_CHUNK = 8, RN_PREFETCH_PIXELS = 2 };

typedef struct rn_tile_prefetch {
    const char *residual, *y, *z;
    int64_t residual_pixel, y_pixel, z_pixel; /* bytes */
    int32_t residual_bytes, y_bytes, z_bytes; /* of a pixel's channels */
    int32_t left, pixels;                     /* pixels still to come, and in one chunk */
    const char *weights, *inputs;
    int32_t weight_bytes, input_bytes; /* of a step */
} rn_tile_prefetch;

static inline __attribute__((always_inline)) rn_tile_prefetch rn_tile_prefetch_of(const rn_conv2d_tile_args *t, int32_t lanes)
{
    const int64_t residual_size = (int64_t)rn_dtype_bytes(t->residual_dtype), y_size = (int64_t)rn_dtype_bytes(t->y_dtype);
    const int64_t z_size = (int64_t)rn_dtype_bytes(t->z_dtype);
    const int32_t chunks = t->tap_rows * t->tap_columns * ((t->steps + RN_PREFETCH_CHUNK - 1) / RN_PREFETCH_CHUNK);
    const int32_t share = chunks > 0 ? (t->pixels + chunks - 1) / chunks : t->pixels;
    return (rn_tile_prefetch){
        .residual = t->residual_next,
        .y = t->y_next,
        .z = t->z_next,
        .residual_pixel = t->residual_pixel * residual_size,
        .y_pixel = t->y_pixel * y_size,
        .z_pixel = t->z_pixel * z_size,
        .residual_bytes = lanes * (int32_t)residual_size,
        .y_bytes = lanes * (int32_t)y_size,
        .z_bytes = lanes * (int32_t)z_size,
        .left = t->pixels,
        .pixels = share > RN_PREFETCH_PIXELS ? share : RN_PREFETCH_PIXELS,
        .weights = t->ahead,
        .inputs = t->inputs_ahead,
        .weight_bytes = t->ahead_bytes,
        .input_bytes = t->inputs_ahead_bytes,
    };
}

static inline __attribute__((always_inline)) void rn_tile_prefetch_chunk(rn_tile_prefetch *p, int32_t steps)
{
    for (int32_t i = 0; i < p->pixels && p->left > 0; i++, p->left--) {
        if (p->residual) {
            for (int32_t at = 0; at < p->residual_bytes; at += RN_PREFETCH_LINE) _mm_prefetch(p->residual + at, _MM_HINT_T0);
            p->residual += p->residual_pixel;
        }
        if (p->y) {
            for (int32_t at = 0; at < p->y_bytes; at += RN_PREFETCH_LINE) __builtin_prefetch(p->y + at, 1);
            p->y += p->y_pixel;
        }
        if (p->z) {
            for (int32_t at = 0; at < p->z_bytes; at += RN_PREFETCH_LINE) __builtin_prefetch(p->z + at, 1);
            p->z += p->z_pixel;
        }
    }
    const char *weights_end = p->weights + (int64_t)steps * p->weight_bytes, *inputs_end = p->inputs + (int64_t)steps * p->input_bytes;
    for (; p->weights < weights_end; p->weights += RN_PREFETCH_LINE) _mm_prefetch(p->weights, _MM_HINT_T1);
    for (; p->inputs < inputs_end; p->inputs += RN_PREFETCH_LINE) _mm_prefetch(p->inputs, _MM_HINT_T1);
}

#endif
