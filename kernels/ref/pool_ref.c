/* Pooling by its definition. */
#include <math.h>
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

static float window_max(const rn_max_pool_args *a, const float *x, int32_t h0, int32_t w0)
{
    float max = -INFINITY;
    for (int32_t h = h0; h < h0 + a->r; h++) {
        for (int32_t w = w0; w < w0 + a->s; w++) {
            const bool inside = h >= 0 && h < a->h && w >= 0 && w < a->w;
            if (!inside && !a->pad_zero) continue;
            const float value = inside ? x[h * a->x.row + w * a->x.pixel] : 0;
            if (value > max) max = value;
        }
    }
    return max;
}

void rn_max_pool_f32__ref(const rn_max_pool_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int64_t i = row / a->p;
        const int32_t p = row % a->p;
        for (int32_t q = 0; q < a->q; q++) {
            float *y = rn_map_at(&a->y, i * a->y.image + p * a->y.row + q * a->y.pixel);
            for (int32_t c = 0; c < a->c; c++) {
                y[c] = window_max(a, (const float *)a->x.data + i * a->x.image + c, p * a->stride_h - a->pad_top, q * a->stride_w - a->pad_left);
            }
        }
    }
}

void rn_global_average_pool_f32__ref(const rn_global_average_pool_args *a)
{
    for (int32_t i = a->image_begin; i < a->image_end; i++) {
        const float *x = rn_map_at(&a->x, i * a->x.image);
        float *y = rn_map_at(&a->y, i * a->y.image);
        for (int32_t c = 0; c < a->c; c++) {
            double sum = 0;
            for (int32_t h = 0; h < a->h; h++) {
                for (int32_t w = 0; w < a->w; w++) sum += x[h * a->x.row + w * a->x.pixel + c];
            }
            y[c] = (float)(sum / ((double)a->h * a->w));
        }
    }
}
