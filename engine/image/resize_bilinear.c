/* Each result is the mix of four pixels: two neighbours in a row, mixed for two neighbouring rows, then the two mixes. Multiplication and
 * addition round separately, so the order below is part of the contract.
 *
 * Only rows that are sampled are touched. The pair of columns and the weight of every output column are found once; a row is then gathered
 * into two dense arrays, which leaves loops that the compiler turns into vector instructions. The last two mixed rows are kept, because
 * when a picture is enlarged neighbouring output rows share them.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/image/resize.h"

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
    int32_t out_w, c, n;
    int32_t followed_w;    /* columns, from the left, after whose neighbours the input row has another pixel */
    sample *columns;       /* [out_w] */
    float *weights;        /* [n]: the columns', repeated for each channel */
    mixed_row rows[2];     /* [n] each */
    float *result;         /* [n] */
    uint8_t *left, *right; /* [n + 1]: the gathered neighbours, and room for a fourth byte of the last */
    void *memory;
} resizer;

static rn_status resizer_init(resizer *out, const rn__resize *of, rn_error *err)
{
    const int32_t out_w = of->op->w, c = of->op->c;
    const size_t n = (size_t)out_w * (size_t)c;
    const size_t byte_count = (size_t)out_w * sizeof(sample) + 4 * n * sizeof(float) + 2 * (n + 1);
    char *memory = malloc(byte_count);
    if (!memory) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to resize a picture: %zu bytes", byte_count);

    resizer r = {.out_w = out_w, .c = c, .n = (int32_t)n, .memory = memory};
    r.columns = (sample *)memory;
    r.weights = (float *)(r.columns + out_w);
    r.rows[0] = (mixed_row){RN_NONE, r.weights + n};
    r.rows[1] = (mixed_row){RN_NONE, r.weights + 2 * n};
    r.result = r.weights + 3 * n;
    r.left = (uint8_t *)(r.weights + 4 * n);
    r.right = r.left + n + 1;

    const rn_resize_grid grid = of->op->grid;
    const float scale = rn__resize_scale(grid, of->in_w, of->full_w);
    for (int32_t x = 0; x < out_w; x++) {
        r.columns[x] = sample_at(grid, of->left + x, of->in_w, scale);
        for (int32_t k = 0; k < c; k++) r.weights[x * c + k] = r.columns[x].weight;
        if (r.columns[x].upper + 1 < of->in_w) r.followed_w = x + 1; /* columns rise from left to right */
    }
    *out = r;
    return RN_STATUS_OK;
}
/* Left and right neighbours of columns `from` to `to`, `moved` bytes each. The pointers are parameters because a store to bytes could
 * otherwise change what the resizer points to, and everything would be read again for each pixel. */
static inline void gather_columns(const sample *restrict columns, const uint8_t *restrict row, int32_t from, int32_t to, int32_t c,
                                  size_t moved, uint8_t *restrict left, uint8_t *restrict right)
{
    for (int32_t x = from; x < to; x++) {
        memcpy(left + x * c, row + columns[x].lower * c, moved);
        memcpy(right + x * c, row + columns[x].upper * c, moved);
    }
}

/* RGB moves four bytes at a time: the fourth is the next pixel's, and the next pixel overwrites it. Where the row has no next pixel, it is
 * three. 600 x 512 to 224 x 224 takes 0.16 ms in place of 0.22 (one Xeon core, best of 3000). */
static void gather(const resizer *r, const uint8_t *row)
{
    if (r->c == 3) {
        gather_columns(r->columns, row, 0, r->followed_w, 3, 4, r->left, r->right);
        gather_columns(r->columns, row, r->followed_w, r->out_w, 3, 3, r->left, r->right);
    } else {
        gather_columns(r->columns, row, 0, r->out_w, r->c, (size_t)r->c, r->left, r->right);
    }
}

static void mix_columns(const uint8_t *restrict left, const uint8_t *restrict right, const float *restrict weights, int32_t n,
                        float *restrict out)
{
    for (int32_t i = 0; i < n; i++) {
        const float l = (float)left[i], r = (float)right[i];
        out[i] = l + (r - l) * weights[i];
    }
}

static void mix_rows(const float *restrict top, const float *restrict bottom, float weight, int32_t n, float *restrict out)
{
    for (int32_t i = 0; i < n; i++) out[i] = top[i] + (bottom[i] - top[i]) * weight;
}

/* The mixed row of input row y, made now or kept from before. `busy` is the slot that may not be overwritten. */
static int resize_row(resizer *r, const uint8_t *row, int32_t y, int busy)
{
    for (int slot = 0; slot < 2; slot++) {
        if (r->rows[slot].y == y) return slot;
    }
    const int slot = busy == 0 ? 1 : 0;
    gather(r, row);
    mix_columns(r->left, r->right, r->weights, r->n, r->rows[slot].values);
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
        mix_rows(r.rows[top].values, r.rows[bottom].values, at.weight, r.n, r.result);
        rn__resize_store(of, y, r.result);
    }
    free(r.memory);
    return RN_STATUS_OK;
}
