/* Operations that work on one element at a time, by their definitions. */
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

static float relu(float x)
{
    return x < 0 ? 0 : x;
}

static float scaled(const rn_scale_shift_args *a, float x, int32_t c)
{
    if (a->scale) x *= a->scale[a->scale_per_channel ? c : 0];
    if (a->shift) x += a->shift[a->shift_per_channel ? c : 0];
    return a->relu ? relu(x) : x;
}

void rn_scale_shift_f32__ref(const rn_scale_shift_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const float *x = rn_map_at(&a->x, row / a->h * a->x.image + row % a->h * a->x.row);
        float *y = rn_map_at(&a->y, row / a->h * a->y.image + row % a->h * a->y.row);
        for (int32_t w = 0; w < a->w; w++, x += a->x.pixel, y += a->y.pixel) {
            for (int32_t c = 0; c < a->c; c++) y[c] = scaled(a, x[c], c);
        }
    }
}

void rn_scale_shift_u8__ref(const rn_scale_shift_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const uint8_t *x = rn_map_at(&a->x, row / a->h * a->x.image + row % a->h * a->x.row);
        float *y = rn_map_at(&a->y, row / a->h * a->y.image + row % a->h * a->y.row);
        for (int32_t w = 0; w < a->w; w++, x += a->x.pixel, y += a->y.pixel) {
            for (int32_t c = 0; c < a->c; c++) y[c] = scaled(a, x[c], c);
        }
    }
}

void rn_add_f32__ref(const rn_add_args *args)
{
    for (int32_t row = args->row_begin; row < args->row_end; row++) {
        const int64_t i = row / args->h, h = row % args->h;
        const float *a = rn_map_at(&args->a, i * args->a.image + h * args->a.row), *b = rn_map_at(&args->b, i * args->b.image + h * args->b.row);
        float *y = rn_map_at(&args->y, i * args->y.image + h * args->y.row);
        for (int32_t w = 0; w < args->w; w++, a += args->a.pixel, b += args->b.pixel, y += args->y.pixel) {
            for (int32_t c = 0; c < args->c; c++) y[c] = args->relu ? relu(a[c] + b[c]) : a[c] + b[c];
        }
    }
}
