/* The network's last steps, which see one short vector a picture: plain C is fast enough on every machine. */
#include <math.h>
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

static void softmax(const float *x, float *y, int32_t c)
{
    float max = x[0], sum = 0;
    for (int32_t i = 1; i < c; i++) {
        if (x[i] > max) max = x[i];
    }
    for (int32_t i = 0; i < c; i++) sum += y[i] = expf(x[i] - max);
    for (int32_t i = 0; i < c; i++) y[i] /= sum;
}

void rn_softmax_f32__ref(const rn_softmax_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int64_t i = row / a->h, h = row % a->h;
        for (int32_t w = 0; w < a->w; w++) {
            softmax(rn_map_at(&a->x, i * a->x.image + h * a->x.row + w * a->x.pixel),
                    rn_map_at(&a->y, i * a->y.image + h * a->y.row + w * a->y.pixel), a->c);
        }
    }
}

/* Whether value a at index i comes before value b at index j. */
static bool before(float a, int32_t i, float b, int32_t j)
{
    if (isnan(a) || isnan(b)) return isnan(a) == isnan(b) ? i < j : isnan(b);
    return a > b || (a == b && i < j);
}

/* Lets the entry at `hole` sink until no child of it comes later: the heap's root is the entry that comes last. */
static void sink(float *values, int32_t *indexes, int32_t count, int32_t hole)
{
    const float value = values[hole];
    const int32_t index = indexes[hole];
    for (int32_t child; (child = 2 * hole + 1) < count; hole = child) {
        if (child + 1 < count && before(values[child], indexes[child], values[child + 1], indexes[child + 1])) child++;
        if (!before(value, index, values[child], indexes[child])) break;
        values[hole] = values[child];
        indexes[hole] = indexes[child];
    }
    values[hole] = value;
    indexes[hole] = index;
}

/* The result arrays hold a heap of the best entries so far, then are sorted in place: no memory is needed, and k = c sorts fast too. */
static void top_k(const float *x, float *values, int32_t *indexes, int32_t c, int32_t k)
{
    for (int32_t i = 0; i < k; i++) {
        values[i] = x[i];
        indexes[i] = i;
    }
    for (int32_t i = k / 2 - 1; i >= 0; i--) sink(values, indexes, k, i);
    for (int32_t i = k; i < c; i++) {
        if (!before(x[i], i, values[0], indexes[0])) continue;
        values[0] = x[i];
        indexes[0] = i;
        sink(values, indexes, k, 0);
    }
    for (int32_t last = k - 1; last > 0; last--) {
        const float value = values[0];
        const int32_t index = indexes[0];
        values[0] = values[last];
        indexes[0] = indexes[last];
        values[last] = value;
        indexes[last] = index;
        sink(values, indexes, last, 0);
    }
}

void rn_top_k_f32__ref(const rn_top_k_args *a)
{
    for (int32_t i = a->image_begin; i < a->image_end; i++) {
        top_k(rn_map_at(&a->x, i * a->x.image), rn_map_at(&a->values, i * a->values.image), a->indexes + i * a->index_image, a->c, a->k);
    }
}
