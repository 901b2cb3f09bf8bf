/* Convolution and dense layer by their definitions. The sums run in double precision: this is the oracle against which the fast kernels'
 * rounding is measured. Output channels are the inner loop, because a filter's rows are contiguous there. */
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

enum { BLOCK = 64 }; /* output channels summed together on the stack */

static float relu(float x)
{
    return x < 0 ? 0 : x;
}

static int32_t min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* sums[j] += x[c] * filter[c][j] */
static void multiply(double *sums, int32_t count, const float *x, int32_t channels, const float *filter, int64_t filter_row)
{
    for (int32_t c = 0; c < channels; c++, filter += filter_row) {
        for (int32_t j = 0; j < count; j++) sums[j] += (double)x[c] * filter[j];
    }
}

/* Output channels [k, k + count) of one pixel, all in one group; (y, x) is where its window starts. */
static void sum_window(const rn_conv2d_args *a, const float *image, int32_t y, int32_t x, int32_t k, int32_t count, double *sums)
{
    const int32_t channels = a->c / a->groups, first = k / (a->k / a->groups) * channels;
    for (int32_t j = 0; j < count; j++) sums[j] = a->bias ? a->bias[k + j] : 0;
    for (int32_t r = 0; r < a->r; r++) {
        for (int32_t s = 0; s < a->s; s++) {
            const int32_t h = y + r, w = x + s;
            if (h < 0 || h >= a->h || w < 0 || w >= a->w) continue;
            multiply(sums, count, image + h * a->x.row + w * a->x.pixel + first, channels,
                     a->filter + ((int64_t)r * a->s + s) * channels * a->k + k, a->k);
        }
    }
}

/* Element k of pixel (i, p, q), or NULL where the map is not there. */
static float *element(const rn_map *map, int64_t i, int64_t p, int64_t q, int32_t k)
{
    return map->data ? rn_map_at(map, i * map->image + p * map->row + q * map->pixel + k) : NULL;
}

static void store(const rn_conv2d_args *a, int64_t i, int64_t p, int64_t q, int32_t k, int32_t count, const double *sums)
{
    const float *residual = element(&a->residual, i, p, q, k);
    float *y = element(&a->y, i, p, q, k), *y2 = element(&a->y2, i, p, q, k);
    for (int32_t j = 0; j < count; j++) {
        float value = (float)(residual ? sums[j] + residual[j] : sums[j]);
        if (a->relu) value = relu(value);
        if (y) y[j] = value;
        if (y2) y2[j] = relu(value * a->scale2[k + j] + a->shift2[k + j]);
    }
}

void rn_conv2d_f32__ref(const rn_conv2d_args *a)
{
    const int32_t group = a->k / a->groups;
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int32_t i = row / a->p, p = row % a->p;
        const float *image = rn_map_at(&a->x, i * a->x.image);
        for (int32_t q = 0; q < a->q; q++) {
            double sums[BLOCK];
            for (int32_t k = 0, count; k < a->k; k += count) {
                count = min(BLOCK, group - k % group);
                sum_window(a, image, p * a->stride_h - a->pad_top, q * a->stride_w - a->pad_left, k, count, sums);
                store(a, i, p, q, k, count, sums);
            }
        }
    }
}

void rn_dense_f32__ref(const rn_dense_args *a)
{
    for (int32_t i = a->image_begin; i < a->image_end; i++) {
        for (int32_t k = 0; k < a->k; k += BLOCK) {
            const int32_t count = min(BLOCK, a->k - k);
            double sums[BLOCK];
            for (int32_t j = 0; j < count; j++) sums[j] = a->bias ? a->bias[k + j] : 0;
            multiply(sums, count, rn_map_at(&a->x, i * a->x.image), a->c, a->weights + k, a->k);
            float *y = rn_map_at(&a->y, i * a->y.image + k);
            for (int32_t j = 0; j < count; j++) y[j] = a->relu ? relu((float)sums[j]) : (float)sums[j];
        }
    }
}
