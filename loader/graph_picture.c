/* The picture front end, found by what it does and not by how it is written.
 *
 * A loop body is run on pictures of several known sizes. Its integer arithmetic then is constant folding, whatever form it takes, and what
 * is left of the picture is a rectangle that was cut out and the size that it was resized to. The crop rule is the one that explains every
 * rectangle.
 */
#include "loader/graph_picture.h"

#include <math.h>
#include <string.h>

#include "loader/graph_fit.h"

static const int32_t sizes[][2] = {{1, 1},
                                   {1, 7},
                                   {6, 1},
                                   {8, 8},
                                   {9, 9},
                                   {7, 4},
                                   {4, 7},
                                   {8, 5},
                                   {5, 8},
                                   {31, 64},
                                   {64, 31},
                                   {100, 34},
                                   {33, 100},
                                   {101, 256},
                                   {257, 100},
                                   {480, 640},
                                   {641, 480},
                                   {224, 224},
                                   {333, 500},
                                   {500, 334},
                                   /* sides of small multiples, where rounding tells one way to keep a ratio from the next */
                                   {49, 98},
                                   {98, 49},
                                   {123, 246},
                                   {249, 83},
                                   {107, 321},
                                   {161, 483},
                                   {375, 500},
                                   {427, 640},
                                   {683, 1024},
                                   {1023, 766}};

int32_t rn__picture_probe_count(void)
{
    return (int32_t)(sizeof sizes / sizeof *sizes);
}

rn__picture rn__picture_probe(int32_t index)
{
    const int64_t h = sizes[index][0], w = sizes[index][1];
    rn__picture picture = {.source_h = h, .source_w = w, .crop_h = h, .crop_w = w, .h = h, .w = w, .c = 3};
    for (int32_t k = 0; k < RN__PICTURE_CHANNELS; k++) picture.scale[k] = 1;
    return picture;
}

/* ---- operations ---- */

/* Output 0: the picture of input 0, to be changed. */
static rn__picture *copy(const rn__op_call *call)
{
    call->out[0] = *call->in[0];
    return &call->out[0].u.picture;
}

/* DecodeImage, DecodeJpeg (variant 1), DecodePng (variant 2): the content decides the format in all of them. */
rn_status rn__op_decode(const rn__op_call *call)
{
    const Sm__NodeDef *node = call->node;
    const rn__picture *probe = call->import->probe;
    if (call->in[0]->kind != RN__ENCODED || !probe)
        return RN__REFUSE(call, "it decodes %s, expected one element of a vector of pictures", rn__value_text(call->in[0]));
    const int64_t channels = rn__attr_int(node, "channels", 0);
    if (channels != 0 && channels != 1 && channels != 3)
        return RN__REFUSE(call, "channels is %lld, expected 0, 1 or 3", (long long)channels);
    if (call->variant == 0 && rn__attr_bool(node, "expand_animations", true)) return RN__REFUSE(call, "expand_animations is true");
    if (call->variant != 1 && rn__attr_type(node, "dtype", RN__DT_UINT8) != RN__DT_UINT8) return RN__REFUSE(call, "dtype is not uint8");
    if (call->variant == 1 && (rn__attr_int(node, "ratio", 1) != 1 || !rn__attr_bool(node, "fancy_upscaling", true) ||
                               rn__attr_bool(node, "try_recover_truncated", false) || rn__attr_float(node, "acceptable_fraction", 1) != 1 ||
                               !rn__attr_is(node, "dct_method", "", ""))) {
        return RN__REFUSE(call, "ratio, fancy_upscaling, try_recover_truncated, acceptable_fraction or dct_method is not the default");
    }
    call->out[0] = (rn__value){.kind = RN__PICTURE, .u.picture = *probe};
    call->out[0].u.picture.decode_channels = (int32_t)channels;
    if (channels) call->out[0].u.picture.c = channels;
    return RN_STATUS_OK;
}

rn_status rn__picture_shape(const rn__op_call *call)
{
    const rn__picture *x = &call->in[0]->u.picture;
    const int64_t dims[] = {1, x->h, x->w, x->c};
    const int64_t rank = 3 + x->leading_one;
    void *data;
    RN_TRY(rn__fold_result(call, 0, RN__INTS, 1, &rank, &data));
    memcpy(data, dims + !x->leading_one, (size_t)rank * sizeof *dims);
    return RN_STATUS_OK;
}

rn_status rn__picture_squeeze(const rn__op_call *call, size_t axes, const int64_t *axis)
{
    const rn__picture *x = &call->in[0]->u.picture;
    const bool first = axes == 1 && (axis[0] == 0 || axis[0] == -4);
    if (!x->leading_one || !first) return RN__REFUSE(call, "of a picture, expected its first dimension");
    copy(call)->leading_one = false;
    return RN_STATUS_OK;
}

rn_status rn__picture_expand_dims(const rn__op_call *call)
{
    int64_t axis;
    int32_t count;
    RN_TRY(rn__fold_ints(call, 1, &axis, 1, &count));
    if (call->in[0]->u.picture.leading_one || count != 1 || (axis != 0 && axis != -4))
        return RN__REFUSE(call, "of a picture, expected a first dimension");
    copy(call)->leading_one = true;
    return RN_STATUS_OK;
}

/* Cuts [top, top + h) x [left, left + w), which lies inside the picture. */
static rn_status cut(const rn__op_call *call, int64_t top, int64_t left, int64_t h, int64_t w)
{
    const rn__picture *x = &call->in[0]->u.picture;
    if (h < 1 || w < 1) return RN__REFUSE(call, "a crop of %lldx%lld", (long long)h, (long long)w);
    rn__picture *y = copy(call);
    y->h = h, y->w = w;
    if (x->resized) {
        y->cut_top += top, y->cut_left += left;
    } else {
        y->top += top, y->left += left;
        y->crop_h = h, y->crop_w = w;
    }
    return RN_STATUS_OK;
}

static rn_status reverse(const rn__op_call *call)
{
    const rn__picture *x = &call->in[0]->u.picture;
    rn__picture *y = copy(call);
    for (int64_t k = 0; k < x->c; k++) {
        y->scale[k] = x->scale[x->c - 1 - k];
        y->shift[k] = x->shift[x->c - 1 - k];
    }
    y->reverse = !x->reverse;
    return RN_STATUS_OK;
}

rn_status rn__picture_reverse(const rn__op_call *call)
{
    int64_t axis;
    int32_t count;
    if (call->in[0]->kind != RN__PICTURE) return RN__REFUSE(call, "it reverses %s, expected a picture", rn__value_text(call->in[0]));
    const int64_t last = 2 + call->in[0]->u.picture.leading_one;
    RN_TRY(rn__fold_ints(call, 1, &axis, 1, &count));
    if (count != 1 || (axis != last && axis != -1)) return RN__REFUSE(call, "of a picture, expected its channels alone");
    return reverse(call);
}

/* Whether a slice leaves height, width and channels in their order, and how many dimensions the result has before them: 0 or 1. */
static bool keeps_order(const rn__slice_spec *spec, int32_t skipped, int32_t *leading)
{
    *leading = spec->out_rank - 3;
    if (*leading < 0 || *leading > 1) return false;
    bool plain = true;
    for (int32_t i = 0; i < 3; i++) plain = plain && spec->from[*leading + i] == 1 - skipped + i;
    return plain && (*leading == 0 || spec->from[0] == RN_NONE || spec->from[0] == 0);
}

/* A rectangle, the channels reversed, or a first dimension more or less. */
rn_status rn__picture_strided_slice(const rn__op_call *call)
{
    const rn__picture *x = &call->in[0]->u.picture;
    const int64_t dims[] = {1, x->h, x->w, x->c};
    const int32_t skipped = !x->leading_one, rank = 4 - skipped, row = rank - 3, channel = rank - 1;
    int32_t leading;
    rn__slice_spec spec;
    RN_TRY(rn__slice_read(call, rank, dims + skipped, &spec));
    const bool plain =
        keeps_order(&spec, skipped, &leading) && spec.count[channel] == x->c && spec.step[row] == 1 && spec.step[row + 1] == 1;
    const bool reversed = plain && spec.step[channel] == -1;
    if (!plain || (spec.step[channel] != 1 && !reversed))
        return RN__REFUSE(call, "of a picture, other than a rectangle of it or its channels reversed");
    RN_TRY(reversed ? reverse(call) : cut(call, spec.start[row], spec.start[row + 1], spec.count[row], spec.count[row + 1]));
    call->out[0].u.picture.leading_one = leading == 1;
    if (reversed && (spec.count[row] != x->h || spec.count[row + 1] != x->w))
        return RN__REFUSE(call, "a rectangle of a picture and its channels reversed at once");
    return RN_STATUS_OK;
}

rn_status rn__picture_slice(const rn__op_call *call)
{
    const rn__picture *x = &call->in[0]->u.picture;
    const int64_t dims[] = {1, x->h, x->w, x->c};
    const int32_t skipped = !x->leading_one, rank = 4 - skipped;
    int64_t start[4], count[4];
    int32_t starts, counts;
    RN_TRY(rn__fold_ints(call, 1, start, 4, &starts));
    RN_TRY(rn__fold_ints(call, 2, count, 4, &counts));
    if (starts != rank || counts != rank) return RN__REFUSE(call, "begin and size of %d and %d elements for rank %d", starts, counts, rank);
    for (int32_t i = 0; i < rank; i++) {
        const int64_t dim = dims[i + skipped];
        if (start[i] < 0 || start[i] > dim) return RN__REFUSE(call, "it begins outside dimension %d", i);
        if (count[i] == -1) count[i] = dim - start[i];
        if (count[i] < 0 || count[i] > dim - start[i]) return RN__REFUSE(call, "it ends outside dimension %d", i);
    }
    const int32_t row = rank - 3;
    if (count[rank - 1] != x->c || (row == 1 && count[0] != 1)) return RN__REFUSE(call, "of a picture, other than a rectangle of it");
    return cut(call, start[row], start[row + 1], count[row], count[row + 1]);
}

static bool is_unchanged(const rn__picture *x)
{
    bool same = true;
    for (int64_t k = 0; k < x->c; k++) same = same && x->scale[k] == 1 && x->shift[k] == 0;
    return same;
}

/* uint8 to float before the resize changes nothing, the resize computes in float; after it the cast to uint8 truncates. */
rn_status rn__picture_cast(const rn__op_call *call, int32_t dtype)
{
    const rn__picture *x = &call->in[0]->u.picture;
    if (dtype != RN__DT_UINT8 && dtype != RN__DT_FLOAT) return RN__REFUSE(call, "a picture as %s", rn__dtype_text(dtype));
    if (dtype == RN__DT_UINT8 && x->is_float && !is_unchanged(x))
        return RN__REFUSE(call, "a picture as uint8 after arithmetic on its values");
    rn__picture *y = copy(call);
    y->is_float = dtype == RN__DT_FLOAT;
    y->truncated = x->truncated || (x->resized && x->is_float && dtype == RN__DT_UINT8);
    return RN_STATUS_OK;
}

/* Minimum and maximum with the lowest and highest value that a pixel can have. */
static rn_status clip(const rn__op_call *call, const double bound[RN__PICTURE_CHANNELS])
{
    const rn__picture *x = &call->in[0]->u.picture;
    const bool high = call->variant == RN__MINIMUM;
    bool fits = true;
    for (int64_t k = 0; k < x->c; k++)
        fits = fits && fabs(bound[k] - (x->shift[k] + (high ? 255 * x->scale[k] : 0))) < 1e-6 * 255 * fabs(x->scale[k]);
    if (!fits) return RN__REFUSE(call, "of a picture and other than the range of its values");
    rn__picture *y = copy(call);
    if (high)
        y->clip_high = true;
    else
        y->clip_low = true;
    return RN_STATUS_OK;
}

/* in[0] is the picture, in[1] a constant of one value or one a channel; in[1] may come first in the graph (constant_first). */
rn_status rn__picture_scale(const rn__op_call *call, const rn__constant *constant, bool constant_first)
{
    const rn__picture *x = &call->in[constant_first]->u.picture;
    bool fits = constant->count == 1 || constant->count == x->c;
    for (int32_t i = 0; fits && i < constant->rank - 1; i++) fits = constant->dims[i] == 1;
    if (!fits || constant->rank > 3 + x->leading_one) return RN__REFUSE(call, "of a picture, expected one value or one for each channel");
    if (!x->is_float) return RN__REFUSE(call, "arithmetic on the bytes of a picture");
    double value[RN__PICTURE_CHANNELS];
    for (int64_t k = 0; k < x->c; k++) value[k] = (double)constant->data.floats[constant->count == 1 ? 0 : k];
    if (call->variant == RN__MINIMUM || call->variant == RN__MAXIMUM) return clip(call, value);
    if (call->variant == RN__DIV && constant_first) return RN__REFUSE(call, "a constant divided by a picture");
    call->out[0] = *call->in[constant_first];
    rn__picture *y = &call->out[0].u.picture;
    for (int64_t k = 0; k < x->c; k++) {
        const double sign = call->variant == RN__SUB && constant_first ? -1 : 1;
        const double factor = call->variant == RN__MUL ? value[k] : call->variant == RN__DIV ? 1 / value[k] : sign;
        const double added = call->variant == RN__ADD ? value[k] : call->variant == RN__SUB ? -sign * value[k] : 0;
        y->scale[k] = x->scale[k] * factor;
        y->shift[k] = x->shift[k] * factor + added;
    }
    return RN_STATUS_OK;
}

/* Variants: rn_resize_method. */
rn_status rn__op_resize(const rn__op_call *call)
{
    const rn__value *in = call->in[0];
    int64_t size[2];
    int32_t count;
    if (in->kind == RN__ACTIVATION) return rn__fit_resize(call);
    if (in->kind != RN__PICTURE)
        return RN__REFUSE(call, "it resizes %s: only pictures of a picture front end are resized", rn__value_text(in));
    if (!in->u.picture.leading_one || in->u.picture.resized)
        return RN__REFUSE(call, "a second resize, or one of a picture without its first dimension");
    RN_TRY(rn__fold_ints(call, 1, size, 2, &count));
    if (count != 2 || size[0] < 1 || size[1] < 1 || size[0] > INT32_MAX || size[1] > INT32_MAX)
        return RN__REFUSE(call, "the new size is no pair of positive numbers");
    rn__picture *y = copy(call);
    y->method = (rn_resize_method)call->variant;
    y->grid = rn__attr_bool(call->node, "align_corners", false)        ? RN_GRID_ALIGNED
              : rn__attr_bool(call->node, "half_pixel_centers", false) ? RN_GRID_HALF_PIXEL
                                                                       : RN_GRID_CORNER;
    y->full_h = y->h = size[0], y->full_w = y->w = size[1];
    y->is_float = y->is_float || y->method != RN_RESIZE_NEAREST;
    y->resized = true;
    return RN_STATUS_OK;
}

/* ---- the rule ---- */

static bool obeys(rn_crop_rule rule, const rn__picture *x)
{
    int64_t h = x->source_h, w = x->source_w, top = 0, left = 0;
    if (rule != RN_CROP_NONE) {
        const int64_t side = h < w ? h : w, up = rule == RN_CROP_CENTER_SQUARE_ROUND_UP;
        top = (h - side + up) / 2;
        left = (w - side + up) / 2;
        h = w = side;
    }
    return x->top == top && x->left == left && x->crop_h == h && x->crop_w == w;
}

/* Whether the resize of x is that of the rule in `op`: to one size, or to one shorter side. */
static bool is_resized_by(const rn_image_op *op, const rn__picture *x)
{
    if (op->shorter == 0) return x->full_h == op->full_h && x->full_w == op->full_w;
    const int32_t h = (int32_t)x->crop_h, w = (int32_t)x->crop_w, shorter = h < w ? h : w;
    return x->full_h == rn_image_op_side(op, h, shorter) && x->full_w == rn_image_op_side(op, w, shorter);
}

static bool all_resized_by(const rn_image_op *op, const rn__picture *results)
{
    bool all = true;
    for (int32_t i = 0; all && i < rn__picture_probe_count(); i++) all = is_resized_by(op, &results[i]);
    return all;
}

/* The first probe is one pixel, of which any rule makes a square of the shorter side. */
static rn_status explain_resize(const rn__op_call *call, const rn__picture *results, rn_image_op *out)
{
    static const rn_longer_rule rules[] = {RN_LONGER_INTEGER, RN_LONGER_FLOAT, RN_LONGER_ROUNDED};
    out->full_h = (int32_t)results[0].full_h, out->full_w = (int32_t)results[0].full_w;
    bool found = all_resized_by(out, results);
    if (!found && out->full_h == out->full_w) {
        out->shorter = out->full_h;
        out->full_h = out->full_w = 0;
        for (size_t i = 0; !found && i < sizeof rules / sizeof *rules; i++) {
            out->longer = rules[i];
            found = all_resized_by(out, results);
        }
    }
    const rn__picture *last = &results[rn__picture_probe_count() - 1];
    if (!found) {
        return RN__REFUSE(call, "no known rule resizes %lldx%lld to %lldx%lld", (long long)last->crop_h, (long long)last->crop_w,
                          (long long)last->full_h, (long long)last->full_w);
    }
    for (int32_t i = 0; i < rn__picture_probe_count(); i++) {
        const rn__picture *x = &results[i];
        if (x->cut_top != (x->full_h - x->h) / 2 || x->cut_left != (x->full_w - x->w) / 2) {
            return RN__REFUSE(call, "it cuts %lldx%lld at (%lld,%lld) out of %lldx%lld: not the centre", (long long)x->h, (long long)x->w,
                              (long long)x->cut_top, (long long)x->cut_left, (long long)x->full_h, (long long)x->full_w);
        }
    }
    return RN_STATUS_OK;
}

static rn_status explain_crop(const rn__op_call *call, const rn__picture *results, rn_crop_rule *out)
{
    static const rn_crop_rule rules[] = {RN_CROP_NONE, RN_CROP_CENTER_SQUARE_ROUND_UP, RN_CROP_CENTER_SQUARE_ROUND_DOWN};
    const int32_t count = rn__picture_probe_count();
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        bool all = true;
        for (int32_t i = 0; all && i < count; i++) all = obeys(rules[r], &results[i]);
        *out = rules[r];
        if (all) return RN_STATUS_OK;
    }
    const rn__picture *last = &results[count - 1];
    return RN__REFUSE(call, "no known rule crops %lldx%lld to %lldx%lld at (%lld,%lld)", (long long)last->source_h,
                      (long long)last->source_w, (long long)last->crop_h, (long long)last->crop_w, (long long)last->top,
                      (long long)last->left);
}

rn_status rn__picture_explain(const rn__op_call *call, const rn__picture *results, rn__pictures *out)
{
    const rn__picture *first = &results[0];
    for (int32_t i = 0; i < rn__picture_probe_count(); i++) {
        const rn__picture *x = &results[i];
        if (!x->resized) return RN__REFUSE(call, "its pictures are not resized to one size");
        if (x->leading_one) return RN__REFUSE(call, "its pictures have a dimension too many");
        if (x->h != first->h || x->w != first->w || x->decode_channels != first->decode_channels || x->method != first->method ||
            x->grid != first->grid || x->truncated != first->truncated || x->is_float != first->is_float || x->reverse != first->reverse) {
            return RN__REFUSE(call, "what it does to a picture depends on the picture's size");
        }
    }
    if (first->h > RN_PLAN_MAX_SIDE || first->w > RN_PLAN_MAX_SIDE)
        return RN__REFUSE(call, "pictures of %lldx%lld, expected at most %d a side", (long long)first->h, (long long)first->w,
                          RN_PLAN_MAX_SIDE);
    if (first->method == RN_RESIZE_BICUBIC && first->clip_low != first->clip_high)
        return RN__REFUSE(call, "values are clipped at one end of their range only");
    *out = (rn__pictures){.is_float = first->is_float,
                          .image = {.method = first->method,
                                    .grid = first->grid,
                                    .h = (int32_t)first->h,
                                    .w = (int32_t)first->w,
                                    .c = (int32_t)first->c,
                                    .decode_channels = first->decode_channels,
                                    .reverse = first->reverse,
                                    .as_float = first->is_float && !first->truncated}};
    /* What TensorFlow's cast makes of values outside of 0..255 depends on their position; in its vector instructions they are clipped. */
    out->image.clip = first->method == RN_RESIZE_BICUBIC && (first->clip_low || !out->image.as_float);
    memcpy(out->scale, first->scale, sizeof out->scale);
    memcpy(out->shift, first->shift, sizeof out->shift);
    out->unchanged = is_unchanged(first);
    RN_TRY(explain_crop(call, results, &out->image.crop));
    return explain_resize(call, results, &out->image);
}
