/* Operations on bytes by their definitions: sums are integers, and every rounding of the float arithmetic after them is stated in cpu_kernels.h, so
 * that a fast kernel must give the same bits. */
#include <math.h>
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

enum { BLOCK = 64 }; /* output channels summed together on the stack */

static int32_t min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* sums[j] += x[c] * filter[c][j]; x NULL: `zero` for all channels. */
static void multiply(int32_t *sums, int32_t count, const uint8_t *x, int32_t zero, int32_t channels, const int8_t *filter, int64_t filter_row)
{
    for (int32_t c = 0; c < channels; c++, filter += filter_row) {
        const int32_t value = x ? x[c] : zero;
        for (int32_t j = 0; j < count; j++) sums[j] += value * filter[j];
    }
}

/* Output channels [k, k + count) of one pixel, all in one group; (y, x) is where its window starts. */
static void sum_window(const rn_conv2d_args *a, const uint8_t *image, int32_t y, int32_t x, int32_t k, int32_t count, int32_t *sums)
{
    const int32_t channels = a->c / a->groups, first = k / (a->k / a->groups) * channels;
    for (int32_t j = 0; j < count; j++) sums[j] = 0;
    for (int32_t r = 0; r < a->r; r++) {
        for (int32_t s = 0; s < a->s; s++) {
            const int32_t h = y + r, w = x + s;
            const bool outside = h < 0 || h >= a->h || w < 0 || w >= a->w;
            multiply(sums, count, outside ? NULL : image + h * a->x.row + w * a->x.pixel + first, a->x_zero, channels,
                     a->filter8 + ((int64_t)r * a->s + s) * channels * a->k + k, a->k);
        }
    }
}

static uint8_t to_byte(float value)
{
    return (uint8_t)rintf(fminf(fmaxf(value, 0), 255));
}

static void put(const rn_map *map, int64_t at, float value)
{
    if (map->dtype == RN_DTYPE_U8) *(uint8_t *)rn_map_at(map, at) = to_byte(value);
    else *(float *)rn_map_at(map, at) = value;
}

static int64_t place(const rn_map *map, int64_t i, int64_t p, int64_t q)
{
    return i * map->image + p * map->row + q * map->pixel;
}

static void store(const rn_conv2d_args *a, int64_t i, int64_t p, int64_t q, int32_t k, const int32_t *sums, int32_t count)
{
    const uint8_t *residual = a->residual.data ? rn_map_at(&a->residual, place(&a->residual, i, p, q)) : NULL;
    for (int32_t j = 0; j < count; j++, k++) {
        float y = fmaf((float)sums[j], a->multiplier[k], a->bias[k]);
        if (residual) y = fmaf((float)residual[k], a->residual_multiplier, y);
        if (a->relu) y = fmaxf(y, 0);
        if (a->y.data) put(&a->y, place(&a->y, i, p, q) + k, y);
        if (a->y2.data) put(&a->y2, place(&a->y2, i, p, q) + k, fmaxf(fmaf(y, a->scale2[k], a->shift2[k]), 0));
    }
}

void rn_conv2d_u8__ref(const rn_conv2d_args *a)
{
    const int32_t group = a->k / a->groups;
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int32_t i = row / a->p, p = row % a->p;
        const uint8_t *image = rn_map_at(&a->x, i * a->x.image);
        for (int32_t q = 0; q < a->q; q++) {
            int32_t sums[BLOCK];
            for (int32_t k = 0, count; k < a->k; k += count) {
                count = min(BLOCK, group - k % group);
                sum_window(a, image, p * a->stride_h - a->pad_top, q * a->stride_w - a->pad_left, k, count, sums);
                store(a, i, p, q, k, sums, count);
            }
        }
    }
}

void rn_max_pool_u8__ref(const rn_max_pool_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int32_t i = row / a->p, p = row % a->p;
        const uint8_t *image = rn_map_at(&a->x, i * a->x.image);
        for (int32_t at = 0; at < a->q * a->c; at++) {
            const int32_t q = at / a->c, c = at % a->c;
            uint8_t largest = 0;
            for (int32_t tap = 0; tap < a->r * a->s; tap++) {
                const int32_t h = p * a->stride_h - a->pad_top + tap / a->s, w = q * a->stride_w - a->pad_left + tap % a->s;
                const bool outside = h < 0 || h >= a->h || w < 0 || w >= a->w;
                const uint8_t x = !outside ? image[h * a->x.row + w * a->x.pixel + c] : a->pad_zero ? a->zero : 0;
                if (x > largest) largest = x;
            }
            *(uint8_t *)rn_map_at(&a->y, place(&a->y, i, p, q) + c) = largest;
        }
    }
}

void rn_quantize_f32__ref(const rn_quantize_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const float *x = rn_map_at(&a->x, place(&a->x, row / a->h, row % a->h, 0));
        uint8_t *y = rn_map_at(&a->y, place(&a->y, row / a->h, row % a->h, 0));
        for (int32_t w = 0; w < a->w; w++, x += a->x.pixel, y += a->y.pixel) {
            for (int32_t c = 0; c < a->c; c++) {
                const float value = rintf(x[c] * a->multiplier) + a->zero;
                y[c] = (uint8_t)(value > 0 ? value < 255 ? value : 255 : 0); /* NaN: 0 */
            }
            for (int32_t c = a->c; c < a->y_c; c++) y[c] = a->zero;
        }
    }
}
