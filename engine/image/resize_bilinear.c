/* Each result is the mix of four pixels: two neighbours in a row, mixed for two neighbouring rows, then the two mixes. Multiplication and
 * addition round separately, so the order below is part of the contract.
 *
 * Only rows that are sampled are touched. The pair of columns and the weight of every output column are found once; the mixing itself is
 * the kernels' (kernels/image). The last two mixed rows are kept, because when a picture is enlarged neighbouring output rows share them.
 */
#include <stdlib.h>

#include "engine/image/resize.h"
#include "kernels/image/image_kernels.h"

/* Where one output coordinate falls between two input coordinates: in[lower] + (in[upper] - in[lower]) * weight. */
typedef struct sample {
    int32_t lower, upper;
    float weight;
} sample;

static sample sample_at(rn_resize_grid grid, int32_t i, int32_t in_size, float scale)
{
    const float at = rn__resize_source(grid, i, scale);
    const float below = floorf(at);
    const int32_t lower = (int32_t)below, upper = (int32_t)ceilf(at);
    return (sample){.lower = lower > 0 ? lower : 0, .upper = upper < in_size ? upper : in_size - 1, .weight = at - below};
}

/* A horizontally resized input row. */
typedef struct mixed_row {
    int32_t y; /* input row that `values` was made from, RN_NONE at first */
    float *values;
} mixed_row;

/* Everything that a picture of one size needs, in one allocation. n = output width * channels. */
typedef struct resizer {
    rn_column_pairs columns;
    int32_t n;
    mixed_row rows[2]; /* [n] each */
    float *result;     /* [n] */
    void *memory;
} resizer;

/* Follows from the columns what kernels ask of them all. */
static void measure_columns(rn_column_pairs *p)
{
    for (int32_t x = 0; x < p->w; x++) {
        if (p->upper[x] + 4 <= p->row_bytes) p->followed_w = x + 1; /* columns rise from left to right */
        const int32_t reach = p->upper[x] + p->c - p->lower[x - x % RN_COLUMN_BLOCK];
        if (reach > p->reach) p->reach = reach;
    }
}

static rn_status resizer_init(resizer *out, const rn__resize *of, rn_error *err)
{
    const int32_t w = of->op->w, c = of->op->c;
    const size_t n = (size_t)w * (size_t)c;
    const size_t byte_count = 4 * n * sizeof(float) + 2 * (size_t)w * sizeof(int32_t) + 2 * (n + 1);
    char *memory = malloc(byte_count);
    if (!memory) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to resize a picture: %zu bytes", byte_count);

    float *weights = (float *)memory;
    int32_t *lower = (int32_t *)(weights + 4 * n), *upper = lower + w;
    uint8_t *gathered = (uint8_t *)(upper + w);
    const rn_resize_grid grid = of->op->grid;
    const float scale = rn__resize_scale(grid, of->in_w, of->full_w);
    for (int32_t x = 0; x < w; x++) {
        const sample at = sample_at(grid, of->left + x, of->in_w, scale);
        lower[x] = at.lower * c;
        upper[x] = at.upper * c;
        for (int32_t k = 0; k < c; k++) weights[x * c + k] = at.weight;
    }
    *out = (resizer){.columns = {.w = w,
                                 .c = c,
                                 .row_bytes = of->in_w * c,
                                 .lower = lower,
                                 .upper = upper,
                                 .weights = weights,
                                 .left = gathered,
                                 .right = gathered + n + 1},
                     .n = (int32_t)n,
                     .rows = {{RN_NONE, weights + n}, {RN_NONE, weights + 2 * n}},
                     .result = weights + 3 * n,
                     .memory = memory};
    measure_columns(&out->columns);
    return RN_STATUS_OK;
}

/* The mixed row of input row y, made now or kept from before. `busy` is the slot that may not be overwritten. */
static int resize_row(resizer *r, const uint8_t *row, int32_t y, int busy)
{
    for (int slot = 0; slot < 2; slot++) {
        if (r->rows[slot].y == y) return slot;
    }
    const int slot = busy == 0 ? 1 : 0;
    rn_image_kernels_best->mix_columns(&r->columns, row, r->rows[slot].values);
    r->rows[slot].y = y;
    return slot;
}

rn_status rn__resize_bilinear(const rn__resize *of, rn_error *err)
{
    const float scale = rn__resize_scale(of->op->grid, of->in_h, of->full_h);
    resizer r;
    RN_TRY(resizer_init(&r, of, err));
    for (int32_t y = 0; y < of->op->h; y++) {
        const sample at = sample_at(of->op->grid, of->top + y, of->in_h, scale);
        const int top = resize_row(&r, of->pixels + (size_t)at.lower * of->stride, at.lower, RN_NONE);
        const int bottom = resize_row(&r, of->pixels + (size_t)at.upper * of->stride, at.upper, top);
        rn_image_kernels_best->mix_rows(r.rows[top].values, r.rows[bottom].values, at.weight, r.n, r.result);
        rn__resize_store(of, y, r.result);
    }
    free(r.memory);
    return RN_STATUS_OK;
}
