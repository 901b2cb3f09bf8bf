/* Four rows and four columns, weighted by a cubic that TensorFlow reads from a table of 1024 steps.
 *
 * With half-pixel centres the cubic is Keys' (a = -0.5), and what lies outside of the picture has no weight: the others are scaled up to a
 * sum of one. On the older grids a is -0.75, and the border's pixels are repeated.
 */
#include <float.h>
#include <stdlib.h>

#include "engine/image/resize.h"

enum { STEPS = 1024, TAPS = 4 };

typedef struct taps {
    int32_t at[TAPS];
    float weight[TAPS];
} taps;

/* The cubic at the distance of `step` / STEPS from a tap (near) and from the one behind it (far). Computed as TensorFlow fills its table:
 * in double where a stands, then rounded. */
static float near(double a, int32_t step)
{
    const float x = (float)(step * 1.0 / STEPS);
    return (float)(((a + 2) * x - (a + 3)) * x * x + 1);
}

static float far(double a, int32_t step)
{
    float x = (float)(step * 1.0 / STEPS);
    x += 1;
    return (float)(((a * x - 5 * a) * x + 8 * a) * x - 4 * a);
}

static taps taps_at(rn_resize_grid grid, int32_t i, int32_t in_size, float scale)
{
    const bool keys = grid == RN_GRID_HALF_PIXEL;
    const double a = keys ? -0.5 : -0.75;
    const float source = rn__resize_source(grid, i, scale);
    const int32_t below = (int32_t)floorf(source), step = (int32_t)lrintf((source - (float)below) * STEPS);
    taps t = {.weight = {far(a, step), near(a, step), near(a, STEPS - step), far(a, STEPS - step)}};
    for (int32_t k = 0; k < TAPS; k++) {
        const int32_t wanted = below - 1 + k, most = in_size - 1;
        t.at[k] = wanted < 0 ? 0 : wanted > most ? most : wanted;
        if (keys && t.at[k] != wanted) t.weight[k] = 0;
    }
    if (!keys) return t;
    const float sum = t.weight[0] + t.weight[1] + t.weight[2] + t.weight[3];
    if (fabsf(sum) < 1000 * FLT_MIN) return t;
    const float factor = 1 / sum;
    for (int32_t k = 0; k < TAPS; k++) t.weight[k] *= factor;
    return t;
}

static inline float mix(const taps *t, float a, float b, float c, float d)
{
    return a * t->weight[0] + b * t->weight[1] + c * t->weight[2] + d * t->weight[3];
}

/* One row: all columns of the window first, then along them. */
static void resize_row(const rn__resize *r, const taps *rows, const taps *columns, float *mixed, float *out)
{
    const int32_t c = r->op->c, n = r->in_w * c;
    const uint8_t *in[TAPS];
    for (int32_t k = 0; k < TAPS; k++) in[k] = r->pixels + (size_t)rows->at[k] * r->stride;
    for (int32_t i = 0; i < n; i++) mixed[i] = mix(rows, in[0][i], in[1][i], in[2][i], in[3][i]);
    for (int32_t x = 0; x < r->op->w; x++) {
        const taps *t = &columns[x];
        for (int32_t k = 0; k < c; k++)
            out[x * c + k] = mix(t, mixed[t->at[0] * c + k], mixed[t->at[1] * c + k], mixed[t->at[2] * c + k], mixed[t->at[3] * c + k]);
    }
}

rn_status rn__resize_bicubic(const rn__resize *r, rn_error *err)
{
    const size_t w = (size_t)r->op->w, c = (size_t)r->op->c;
    const size_t byte_count = w * sizeof(taps) + ((size_t)r->in_w + w) * c * sizeof(float);
    taps *columns = malloc(byte_count);
    if (!columns) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to resize a picture: %zu bytes", byte_count);
    float *mixed = (float *)(columns + w), *row = mixed + (size_t)r->in_w * c;
    const float scale_x = rn__resize_scale(r->op->grid, r->in_w, r->full_w), scale_y = rn__resize_scale(r->op->grid, r->in_h, r->full_h);
    for (int32_t x = 0; x < r->op->w; x++) columns[x] = taps_at(r->op->grid, r->left + x, r->in_w, scale_x);
    for (int32_t y = 0; y < r->op->h; y++) {
        const taps rows = taps_at(r->op->grid, r->top + y, r->in_h, scale_y);
        resize_row(r, &rows, columns, mixed, row);
        rn__resize_store(r, y, row);
    }
    free(columns);
    return RN_STATUS_OK;
}
