/* Kernels for bytes that are bound by memory, in plain C: each instruction set's folder compiles them once, as it does those of plain_kernels.h. The
 * including file defines RN_PLAIN_KERNEL(name), the symbol of a kernel. Results equal the reference's bit by bit.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "kernels/cpu/cpu_kernels.h"

#define INLINE static inline __attribute__((always_inline))

enum { BLOCK = 64 }; /* channels whose maximum stays in registers, and values that are rounded together */

/* ---- max pool ---- */

INLINE void max_into(uint8_t *restrict max, const uint8_t *restrict x, int32_t count)
{
    for (int32_t i = 0; i < count; i++) max[i] = x[i] > max[i] ? x[i] : max[i];
}

/* `count` channels of one output pixel, whose window starts at (h0, w0). */
INLINE void max_window(const rn_max_pool_args *a, const uint8_t *x, uint8_t *y, int32_t h0, int32_t w0, int32_t count)
{
    const bool border = h0 < 0 || w0 < 0 || h0 + a->r > a->h || w0 + a->s > a->w;
    uint8_t max[BLOCK];
    memset(max, border && a->pad_zero ? a->zero : 0, sizeof max);
    for (int32_t h = h0 < 0 ? 0 : h0; h < h0 + a->r && h < a->h; h++) {
        for (int32_t w = w0 < 0 ? 0 : w0; w < w0 + a->s && w < a->w; w++) max_into(max, x + h * a->x.row + w * a->x.pixel, count);
    }
    memcpy(y, max, (size_t)count);
}

void RN_PLAIN_KERNEL(rn_max_pool_u8)(const rn_max_pool_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int32_t i = row / a->p, p = row % a->p;
        const uint8_t *x = rn_map_at(&a->x, i * a->x.image);
        uint8_t *y = rn_map_at(&a->y, i * a->y.image + p * a->y.row);
        for (int32_t q = 0; q < a->q; q++, y += a->y.pixel) {
            const int32_t h0 = p * a->stride_h - a->pad_top, w0 = q * a->stride_w - a->pad_left;
            int32_t c = 0;
            for (; c + BLOCK <= a->c; c += BLOCK) max_window(a, x + c, y + c, h0, w0, BLOCK);
            if (c < a->c) max_window(a, x + c, y + c, h0, w0, a->c - c);
        }
    }
}

/* ---- quantize ---- */

INLINE uint8_t to_byte(float x, float multiplier, float zero)
{
    const float value = rintf(x * multiplier) + zero;
    const float low = value > 0 ? value : 0; /* NaN: 0 */
    return (uint8_t)(int32_t)(low < 255 ? low : 255);
}

INLINE void quantize(const float *restrict x, uint8_t *restrict y, int32_t count, float multiplier, float zero)
{
    for (int32_t i = 0; i < count; i++) y[i] = to_byte(x[i], multiplier, zero);
}

INLINE void quantize_run(const float *x, uint8_t *y, int32_t count, float multiplier, float zero)
{
    int32_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK) quantize(x + i, y + i, BLOCK, multiplier, zero);
    quantize(x + i, y + i, count - i, multiplier, zero);
}

/* Three channels become four: the first layer of nearly every network. */
INLINE void quantize_picture(const rn_quantize_args *a, const float *x, uint8_t *y)
{
    for (int32_t w = 0; w < a->w; w++, x += a->x.pixel, y += a->y.pixel) {
        for (int32_t c = 0; c < 3; c++) y[c] = to_byte(x[c], a->multiplier, a->zero);
        y[3] = a->zero;
    }
}

void RN_PLAIN_KERNEL(rn_quantize_f32)(const rn_quantize_args *a)
{
    const bool dense = a->x.pixel == a->c && a->y.pixel == a->c && a->y_c == a->c;
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const float *x = rn_map_at(&a->x, row / a->h * a->x.image + row % a->h * a->x.row);
        uint8_t *y = rn_map_at(&a->y, row / a->h * a->y.image + row % a->h * a->y.row);
        if (dense) {
            quantize_run(x, y, a->w * a->c, a->multiplier, a->zero);
        } else if (a->c == 3 && a->y_c == 4) {
            quantize_picture(a, x, y);
        } else {
            for (int32_t w = 0; w < a->w; w++, x += a->x.pixel, y += a->y.pixel) {
                quantize_run(x, y, a->c, a->multiplier, a->zero);
                memset(y + a->c, a->zero, (size_t)(a->y_c - a->c));
            }
        }
    }
}
