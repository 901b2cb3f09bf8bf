/* The front end of numeric inputs: crop, bilinear resize, crop, and channels that come first put last. The resize is TensorFlow's
 * ResizeBilinear on floats: two mixes along a row, one between rows, each product and sum rounded on its own.
 */
#include <math.h>
#include <stdlib.h>

#include "engine/image/image.h"

/* Where one output coordinate falls between two input coordinates. */
typedef struct sample {
    int32_t lower, upper;
    float weight;
} sample;

static float scale_of(const rn_fit_op *op, int32_t in, int32_t out)
{
    if (op->grid == RN_GRID_ALIGNED && out > 1) return (float)(in - 1) / (float)(out - 1);
    return (float)in / (float)out;
}

static sample sample_at(const rn_fit_op *op, int32_t i, int32_t in, int32_t out)
{
    const float scale = scale_of(op, in, out), at = op->grid == RN_GRID_HALF_PIXEL ? ((float)i + 0.5f) * scale - 0.5f : (float)i * scale,
                below = floorf(at);
    const int32_t lower = (int32_t)below, upper = (int32_t)ceilf(at);
    return (sample){.lower = lower > 0 ? lower : 0, .upper = upper < in ? upper : in - 1, .weight = at - below};
}

/* A row of the input with its strides, of either type. */
typedef struct source {
    const void *at;
    bool bytes;
    int64_t row, column, channel; /* elements from one to the next */
} source;

static float read(const source *s, int64_t y, int64_t x, int64_t c)
{
    const int64_t i = y * s->row + x * s->column + c * s->channel;
    return s->bytes ? (float)((const uint8_t *)s->at)[i] : ((const float *)s->at)[i];
}

static void copy(const rn_fit_op *op, const source *s, int32_t channels, float *out)
{
    for (int32_t y = 0; y < op->h; y++) {
        for (int32_t x = 0; x < op->w; x++) {
            for (int32_t c = 0; c < channels; c++) *out++ = read(s, op->top + y, op->left + x, c);
        }
    }
}

static rn_status resize(const rn_fit_op *op, const source *s, int32_t channels, float *out, rn_error *err)
{
    sample *columns = malloc((size_t)op->w * sizeof *columns);
    if (!columns) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to resize to %d columns", op->w);
    for (int32_t x = 0; x < op->w; x++) columns[x] = sample_at(op, op->after_left + x, op->crop_w, op->resize_w);
    for (int32_t y = 0; y < op->h; y++) {
        const sample row = sample_at(op, op->after_top + y, op->crop_h, op->resize_h);
        const int64_t upper = op->top + row.lower, lower = op->top + row.upper;
        for (int32_t x = 0; x < op->w; x++) {
            const int64_t left = op->left + columns[x].lower, right = op->left + columns[x].upper;
            for (int32_t c = 0; c < channels; c++) {
                const float tl = read(s, upper, left, c), bl = read(s, lower, left, c);
                const float top = tl + (read(s, upper, right, c) - tl) * columns[x].weight;
                const float bottom = bl + (read(s, lower, right, c) - bl) * columns[x].weight;
                *out++ = top + (bottom - top) * row.weight;
            }
        }
    }
    free(columns);
    return RN_STATUS_OK;
}

rn_status rn_fit_run(const rn_fit_op *op, const rn_plan_tensor *x, const void *row, float *out, rn_error *err)
{
    source s = {.at = row, .bytes = x->dtype == RN_DTYPE_U8, .row = (int64_t)x->w * x->c, .column = x->c, .channel = 1};
    if (op->channels_first) s = (source){row, s.bytes, .row = x->c, .column = 1, .channel = (int64_t)x->w * x->c};
    const int32_t channels = op->channels_first ? x->h : x->c;
    if (op->resize_h) return resize(op, &s, channels, out, err);
    copy(op, &s, channels, out);
    return RN_STATUS_OK;
}
