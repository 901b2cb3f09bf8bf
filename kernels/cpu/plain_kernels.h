/* Kernels that are bound by memory, in plain C: each instruction set's folder compiles them once, under its own names, and the compiler
 * vectorises the loops over BLOCK channels, whose length it knows. The including file defines
 *
 *     RN_PLAIN_KERNEL(operation)           the symbol of a kernel
 *     element                              of the maps
 *     widen(element), narrow(float)        to and from float
 *
 * Rounding is that of the reference kernels: a product and a sum are rounded separately, because the build forbids the compiler to fuse them.
 */
#include <math.h>
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    BLOCK = 64,  /* channels whose values stay in registers: four vectors of AVX-512 */
    PATTERN = 48 /* scales of 1, 2, 3, 4, 6, 8, 12 or 16 channels, repeated to fill three vectors */
};

INLINE int32_t block_size(int32_t left)
{
    return left < BLOCK ? left : BLOCK;
}

INLINE float relu_if(bool relu, float x)
{
    return relu && x < 0 ? 0 : x;
}

/* ---- scale and shift ---- */

/* Scale and shift of `count` neighbouring values, of which the first belongs to channel `first`. */
typedef struct {
    float scale[BLOCK], shift[BLOCK];
} factors;

static factors factors_of(const rn_scale_shift_args *a, int32_t first, int32_t count)
{
    factors f;
    for (int32_t i = 0; i < count; i++) {
        const int32_t c = (first + i) % a->c;
        f.scale[i] = a->scale ? a->scale[a->scale_per_channel ? c : 0] : 1;
        f.shift[i] = a->shift ? a->shift[a->shift_per_channel ? c : 0] : 0;
    }
    return f;
}

#define DEFINE_SCALE(name, type, value)                                                                                                    \
    INLINE void name##_block(const type *x, element *y, const factors *f, int32_t count, bool relu)                                        \
    {                                                                                                                                      \
        for (int32_t i = 0; i < count; i++) y[i] = narrow(relu_if(relu, value(x[i]) * f->scale[i] + f->shift[i]));                          \
    }                                                                                                                                      \
    INLINE void name##_run(const type *x, element *y, const factors *f, int32_t count, bool relu)                                          \
    {                                                                                                                                      \
        if (count == BLOCK) name##_block(x, y, f, BLOCK, relu);                                                                            \
        else if (count == PATTERN) name##_block(x, y, f, PATTERN, relu);                                                                   \
        else name##_block(x, y, f, count, relu);                                                                                           \
    }                                                                                                                                      \
    /* `pixels` times `channels` values, x_pixel and y_pixel apart. */                                                                     \
    static void name##_row(const rn_scale_shift_args *a, const type *x, element *y, int32_t pixels, int32_t channels, int64_t x_pixel,     \
                           int64_t y_pixel)                                                                                                \
    {                                                                                                                                      \
        for (int32_t c = 0; c < channels; c += BLOCK) {                                                                                    \
            const int32_t count = block_size(channels - c);                                                                                \
            const factors f = factors_of(a, c, count);                                                                                     \
            for (int32_t i = 0; i < pixels; i++) name##_run(x + i * x_pixel + c, y + i * y_pixel + c, &f, count, a->relu);                  \
        }                                                                                                                                  \
    }                                                                                                                                      \
    static void name##_rows(const rn_scale_shift_args *a)                                                                                  \
    {                                                                                                                                      \
        const bool dense = a->x.pixel == a->c && a->y.pixel == a->c && PATTERN % a->c == 0;                                                \
        for (int32_t row = a->row_begin; row < a->row_end; row++) {                                                                        \
            const type *x = rn_map_at(&a->x, row / a->h * a->x.image + row % a->h * a->x.row);                                             \
            element *y = rn_map_at(&a->y, row / a->h * a->y.image + row % a->h * a->y.row);                                                \
            if (!dense) {                                                                                                                  \
                name##_row(a, x, y, a->w, a->c, a->x.pixel, a->y.pixel);                                                                   \
                continue;                                                                                                                  \
            }                                                                                                                              \
            const int32_t patterns = a->w * a->c / PATTERN, done = patterns * PATTERN, rest = a->w * a->c - done;                          \
            name##_row(a, x, y, patterns, PATTERN, PATTERN, PATTERN);                                                                      \
            name##_row(a, x + done, y + done, 1, rest, rest, rest);                                                                        \
        }                                                                                                                                  \
    }
DEFINE_SCALE(scale, element, widen)

/* ---- add ---- */

INLINE void add_pixel(const element *a, const element *b, element *y, int32_t channels, bool relu)
{
    for (int32_t c = 0; c < channels; c++) y[c] = narrow(relu_if(relu, widen(a[c]) + widen(b[c])));
}

void RN_PLAIN_KERNEL(add)(const rn_add_args *args)
{
    for (int32_t row = args->row_begin; row < args->row_end; row++) {
        const int64_t i = row / args->h, h = row % args->h;
        const element *a = rn_map_at(&args->a, i * args->a.image + h * args->a.row), *b = rn_map_at(&args->b, i * args->b.image + h * args->b.row);
        element *y = rn_map_at(&args->y, i * args->y.image + h * args->y.row);
        for (int32_t w = 0; w < args->w; w++, a += args->a.pixel, b += args->b.pixel, y += args->y.pixel) {
            add_pixel(a, b, y, args->c, args->relu);
        }
    }
}

/* ---- pooling ---- */

INLINE void max_into(float *restrict max, const element *restrict x, int32_t count)
{
    for (int32_t i = 0; i < count; i++) max[i] = widen(x[i]) > max[i] ? widen(x[i]) : max[i];
}

/* `count` channels of one output pixel, whose window starts at (h0, w0). */
INLINE void max_window(const rn_max_pool_args *a, const element *x, element *y, int32_t h0, int32_t w0, int32_t count)
{
    const bool border = h0 < 0 || w0 < 0 || h0 + a->r > a->h || w0 + a->s > a->w;
    float max[BLOCK];
    for (int32_t i = 0; i < count; i++) max[i] = border && a->pad_zero ? 0 : -INFINITY;
    for (int32_t h = h0 < 0 ? 0 : h0; h < h0 + a->r && h < a->h; h++) {
        for (int32_t w = w0 < 0 ? 0 : w0; w < w0 + a->s && w < a->w; w++) max_into(max, x + h * a->x.row + w * a->x.pixel, count);
    }
    for (int32_t i = 0; i < count; i++) y[i] = narrow(max[i]);
}

void RN_PLAIN_KERNEL(max_pool)(const rn_max_pool_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int32_t i = row / a->p, p = row % a->p;
        const element *x = rn_map_at(&a->x, i * a->x.image);
        element *y = rn_map_at(&a->y, i * a->y.image + p * a->y.row);
        for (int32_t q = 0; q < a->q; q++, y += a->y.pixel) {
            const int32_t h0 = p * a->stride_h - a->pad_top, w0 = q * a->stride_w - a->pad_left;
            int32_t c = 0;
            for (; c + BLOCK <= a->c; c += BLOCK) max_window(a, x + c, y + c, h0, w0, BLOCK);
            if (c < a->c) max_window(a, x + c, y + c, h0, w0, a->c - c);
        }
    }
}

INLINE void average(const rn_global_average_pool_args *a, const element *x, float *y, int32_t count)
{
    const float area = (float)a->h * (float)a->w;
    float sum[BLOCK] = {0};
    for (int32_t h = 0; h < a->h; h++) {
        for (int32_t w = 0; w < a->w; w++) {
            const element *pixel = x + h * a->x.row + w * a->x.pixel;
            for (int32_t i = 0; i < count; i++) sum[i] += widen(pixel[i]);
        }
    }
    for (int32_t i = 0; i < count; i++) y[i] = sum[i] / area;
}

void RN_PLAIN_KERNEL(global_average_pool)(const rn_global_average_pool_args *a)
{
    for (int32_t i = a->image_begin; i < a->image_end; i++) {
        const element *x = rn_map_at(&a->x, i * a->x.image);
        float *y = rn_map_at(&a->y, i * a->y.image);
        int32_t c = 0;
        for (; c + BLOCK <= a->c; c += BLOCK) average(a, x + c, y + c, BLOCK);
        if (c < a->c) average(a, x + c, y + c, a->c - c);
    }
}

/* ---- class map ---- */

INLINE void multiply_into(float *restrict sum, const element *restrict x, const float *restrict weights, int32_t count)
{
    for (int32_t i = 0; i < count; i++) sum[i] += widen(x[i]) * weights[i];
}

/* Every channel of a block has a sum of its own; they are added up in halves. */
INLINE float weighted_sum(const element *x, const float *weights, int32_t channels)
{
    float sum[BLOCK] = {0};
    int32_t c = 0;
    for (; c + BLOCK <= channels; c += BLOCK) multiply_into(sum, x + c, weights + c, BLOCK);
    if (c < channels) multiply_into(sum, x + c, weights + c, channels - c);
    for (int32_t half = BLOCK / 2; half > 0; half /= 2) {
        for (int32_t i = 0; i < half; i++) sum[i] += sum[i + half];
    }
    return sum[0];
}

void RN_PLAIN_KERNEL(class_map)(const rn_class_map_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int64_t i = row / a->h, h = row % a->h;
        const element *x = rn_map_at(&a->x, i * a->x.image + h * a->x.row);
        float *y = a->y + (int64_t)row * a->w;
        for (int32_t w = 0; w < a->w; w++, x += a->x.pixel) y[w] = weighted_sum(x, a->weights + i * a->c, a->c);
    }
}
