/* Crop, bilinear resize and cast, in exactly the float32 arithmetic of TensorFlow's ResizeBilinear with half-pixel centres.
 *
 * Each result is the mix of four pixels: two neighbours in a row, mixed for two neighbouring rows, then the two mixes. Multiplication and
 * addition round separately (the build forbids fused ones), so the order below is part of the contract.
 *
 * Only rows that are sampled are touched. The pair of columns and the weight of every output column are found once; a row is then gathered
 * into two dense arrays, which leaves loops that the compiler turns into vector instructions. The last two mixed rows are kept, because
 * when a picture is enlarged neighbouring output rows share them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/image.h"

/* Where one output coordinate falls between two input coordinates: in[lower] + (in[upper] - in[lower]) * weight. */
typedef struct sample {
    int32_t lower, upper;
    float weight;
} sample;

static sample sample_at(int32_t i, int32_t in_size, float scale)
{
    const float at = ((float)i + 0.5f) * scale - 0.5f;
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
    uint8_t *left, *right; /* [n + 1]: the gathered neighbours, and room for a fourth byte of the last */
    void *memory;
} resizer;

/* Of a row resized to `full_w`, columns `left` to `left + out_w`. */
static rn_status resizer_init(resizer *out, int32_t in_w, int32_t full_w, int32_t left, int32_t out_w, int32_t c, rn_error *err)
{
    const size_t n = (size_t)out_w * (size_t)c;
    const size_t byte_count = (size_t)out_w * sizeof(sample) + 3 * n * sizeof(float) + 2 * (n + 1);
    char *memory = malloc(byte_count);
    if (!memory) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to resize a picture: %zu bytes", byte_count);

    resizer r = {.out_w = out_w, .c = c, .n = (int32_t)n, .memory = memory};
    r.columns = (sample *)memory;
    r.weights = (float *)(r.columns + out_w);
    r.rows[0] = (mixed_row){RN_NONE, r.weights + n};
    r.rows[1] = (mixed_row){RN_NONE, r.weights + 2 * n};
    r.left = (uint8_t *)(r.weights + 3 * n);
    r.right = r.left + n + 1;

    const float scale = (float)in_w / (float)full_w;
    for (int32_t x = 0; x < out_w; x++) {
        r.columns[x] = sample_at(left + x, in_w, scale);
        for (int32_t k = 0; k < c; k++) r.weights[x * c + k] = r.columns[x].weight;
        if (r.columns[x].upper + 1 < in_w) r.followed_w = x + 1; /* columns rise from left to right */
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

/* The cast truncates. The int between keeps it a vector instruction; the mixes stay in 0..255. */
static void mix_rows(const float *restrict top, const float *restrict bottom, float weight, int32_t n, uint8_t *restrict out)
{
    for (int32_t i = 0; i < n; i++) out[i] = (uint8_t)(int32_t)(top[i] + (bottom[i] - top[i]) * weight);
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

/* The part of a picture that the crop rule leaves. */
typedef struct window {
    int32_t top, left, h, w;
} window;

static window crop_window(rn_crop_rule rule, int32_t h, int32_t w)
{
    if (rule == RN_CROP_NONE) return (window){0, 0, h, w};
    const int32_t side = h < w ? h : w, round_up = rule == RN_CROP_CENTER_SQUARE_ROUND_UP;
    return (window){.top = (h - side + round_up) / 2, .left = (w - side + round_up) / 2, .h = side, .w = side};
}

rn_status rn_picture_fit(const rn_image_op *op, const rn_picture *picture, uint8_t *out, rn_error *err)
{
    if (picture->c != op->c) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "the picture has %d channel%s, the model takes %d", picture->c,
                       picture->c == 1 ? "" : "s", op->c);
    }

    const window crop = crop_window(op->crop, picture->h, picture->w);
    const size_t stride = (size_t)picture->w * (size_t)picture->c;
    const uint8_t *origin = picture->pixels + (size_t)crop.top * stride + (size_t)crop.left * (size_t)picture->c;
    const int32_t full_h = op->square ? op->square : op->h, full_w = op->square ? op->square : op->w;
    const int32_t first_row = (full_h - op->h) / 2, first_column = (full_w - op->w) / 2;
    const float scale = (float)crop.h / (float)full_h;

    resizer r = {0};
    RN_TRY(resizer_init(&r, crop.w, full_w, first_column, op->w, op->c, err));
    for (int32_t y = 0; y < op->h; y++) {
        const sample at = sample_at(first_row + y, crop.h, scale);
        const int top = resize_row(&r, origin + (size_t)at.lower * stride, at.lower, RN_NONE);
        const int bottom = resize_row(&r, origin + (size_t)at.upper * stride, at.upper, top);
        mix_rows(r.rows[top].values, r.rows[bottom].values, at.weight, r.n, out + (size_t)y * (size_t)r.n);
    }
    free(r.memory);
    return RN_STATUS_OK;
}
