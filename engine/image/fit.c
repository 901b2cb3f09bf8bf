/* The geometry of a picture front end: which part of a picture is kept, what size it is resized to, and which part of that is the result.
 */
#include <math.h>
#include <string.h>

#include "engine/image/resize.h"
#include "kernels/image/image_kernels.h"

rn_status rn_picture_crop(const rn_image_op *op, const rn_picture *picture, rn_picture_window *out, rn_error *err)
{
    if (picture->c != op->c) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "the picture has %d channel%s, the model takes %d", picture->c,
                       picture->c == 1 ? "" : "s", op->c);
    }
    const int32_t h = picture->h, w = picture->w, side = h < w ? h : w, round_up = op->crop == RN_CROP_CENTER_SQUARE_ROUND_UP;
    const size_t stride = (size_t)w * (size_t)picture->c;
    *out = (rn_picture_window){.pixels = picture->pixels, .h = h, .w = w, .row_bytes = stride};
    if (op->crop == RN_CROP_NONE) return RN_STATUS_OK;
    out->h = out->w = side;
    out->pixels += (size_t)((h - side + round_up) / 2) * stride + (size_t)((w - side + round_up) / 2) * (size_t)picture->c;
    return RN_STATUS_OK;
}

/* The size that a window is resized to. */
static rn_status full_size(const rn_image_op *op, const rn_picture_window *crop, int32_t *h, int32_t *w, rn_error *err)
{
    *h = op->full_h, *w = op->full_w;
    if (op->shorter == 0) return RN_STATUS_OK;
    const int32_t shorter = crop->h < crop->w ? crop->h : crop->w;
    *h = rn_image_op_side(op, crop->h, shorter);
    *w = rn_image_op_side(op, crop->w, shorter);
    if (*h >= op->h && *w >= op->w && *h < INT32_MAX && *w < INT32_MAX) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "a picture of %d x %d pixels becomes %d x %d, and %d x %d cannot be cut out of that",
                   crop->w, crop->h, *w, *h, op->w, op->h);
}

static void reverse_channels(float *row, int32_t w, int32_t c)
{
    for (int32_t x = 0; x < w; x++) {
        for (int32_t k = 0; k < c / 2; k++) {
            const float first = row[x * c + k];
            row[x * c + k] = row[x * c + c - 1 - k];
            row[x * c + c - 1 - k] = first;
        }
    }
}

static void clip(float *row, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        const float low = row[i] > 0 ? row[i] : 0;
        row[i] = low < 255 ? low : 255;
    }
}

void rn__resize_store(const rn__resize *r, int32_t y, float *row)
{
    const rn_image_op *op = r->op;
    const int32_t n = op->w * op->c;
    if (op->reverse) reverse_channels(row, op->w, op->c);
    if (op->clip) clip(row, n);
    if (op->as_float) /* else the cast truncates, and keeps the low 8 bits of what is outside of 0..255, as TensorFlow's does on x86 */
        memcpy((float *)r->out + (size_t)y * (size_t)n, row, (size_t)n * sizeof *row);
    else
        rn_image_kernels_best->cast(row, n, (uint8_t *)r->out + (size_t)y * (size_t)n);
}

rn_status rn_picture_fit(const rn_image_op *op, const rn_picture *picture, void *out, rn_error *err)
{
    static rn_status (*const methods[])(const rn__resize *r, rn_error *err) = {
        [RN_RESIZE_BILINEAR] = rn__resize_bilinear,
        [RN_RESIZE_NEAREST] = rn__resize_nearest,
        [RN_RESIZE_BICUBIC] = rn__resize_bicubic,
        [RN_RESIZE_AREA] = rn__resize_area,
    };
    rn_picture_window crop = {0};
    RN_TRY(rn_picture_crop(op, picture, &crop, err));
    rn__resize r = {.op = op, .pixels = crop.pixels, .stride = crop.row_bytes, .in_h = crop.h, .in_w = crop.w, .out = out};
    RN_TRY(full_size(op, &crop, &r.full_h, &r.full_w, err));
    r.top = (r.full_h - op->h) / 2;
    r.left = (r.full_w - op->w) / 2;
    return methods[op->method](&r, err);
}
