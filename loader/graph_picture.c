/* The picture front end, found by what it does and not by how it is written.
 *
 * A loop body is run on pictures of several known sizes. Its integer arithmetic then is constant folding, whatever form it takes, and what
 * is left of the picture is a rectangle that was cut out and the size that it was resized to. The crop rule is the one that explains every
 * rectangle.
 */
#include "loader/graph_picture.h"

#include <string.h>

#include "loader/graph_fit.h"

static const int32_t sizes[][2] = {{1, 1},     {1, 7},     {6, 1},     {8, 8},     {9, 9},     {7, 4},    {4, 7},
                                   {8, 5},     {5, 8},     {31, 64},   {64, 31},   {100, 34},  {33, 100}, {101, 256},
                                   {257, 100}, {480, 640}, {641, 480}, {224, 224}, {333, 500}, {500, 334}};

int32_t rn__picture_probe_count(void)
{
    return (int32_t)(sizeof sizes / sizeof *sizes);
}

rn__picture rn__picture_probe(int32_t index)
{
    const int64_t h = sizes[index][0], w = sizes[index][1];
    return (rn__picture){.source_h = h, .source_w = w, .crop_h = h, .crop_w = w, .h = h, .w = w, .c = 3};
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
    const bool whole = top == 0 && left == 0 && h == x->h && w == x->w;
    if (x->resized && !whole) return RN__REFUSE(call, "a crop after the resize");
    if (h < 1 || w < 1) return RN__REFUSE(call, "a crop of %lldx%lld", (long long)h, (long long)w);
    rn__picture *y = copy(call);
    if (whole) return RN_STATUS_OK;
    y->top += top, y->left += left;
    y->crop_h = y->h = h, y->crop_w = y->w = w;
    return RN_STATUS_OK;
}

rn_status rn__picture_strided_slice(const rn__op_call *call)
{
    const rn__picture *x = &call->in[0]->u.picture;
    const int64_t dims[] = {1, x->h, x->w, x->c};
    const int32_t skipped = !x->leading_one, rank = 4 - skipped;
    rn__slice_spec spec;
    RN_TRY(rn__slice_read(call, rank, dims + skipped, &spec));
    bool plain = spec.out_rank == rank;
    for (int32_t i = 0; plain && i < rank; i++) plain = spec.step[i] == 1 && spec.from[i] == i;
    if (!plain || spec.count[rank - 1] != x->c) return RN__REFUSE(call, "of a picture, other than a rectangle of it");
    const int32_t row = rank - 3;
    return cut(call, spec.start[row], spec.start[row + 1], spec.count[row], spec.count[row + 1]);
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

/* uint8 to float before the resize changes nothing, the resize computes in float; after it the cast to uint8 truncates. */
rn_status rn__picture_cast(const rn__op_call *call, int32_t dtype)
{
    if (dtype != RN__DT_UINT8 && dtype != RN__DT_FLOAT) return RN__REFUSE(call, "a picture as %s", rn__dtype_text(dtype));
    copy(call)->is_float = dtype == RN__DT_FLOAT;
    return RN_STATUS_OK;
}

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
    if (!rn__attr_bool(call->node, "half_pixel_centers", false) || rn__attr_bool(call->node, "align_corners", false)) {
        return RN__REFUSE(call, "half_pixel_centers is false or align_corners true: the resize of TensorFlow 1");
    }
    RN_TRY(rn__fold_ints(call, 1, size, 2, &count));
    if (count != 2 || size[0] < 1 || size[1] < 1 || size[0] > RN_PLAN_MAX_SIDE || size[1] > RN_PLAN_MAX_SIDE) {
        return RN__REFUSE(call, "the new size is no pair of 1 to %d", RN_PLAN_MAX_SIDE);
    }
    rn__picture *y = copy(call);
    y->h = size[0], y->w = size[1];
    y->resized = y->is_float = true;
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

rn_status rn__picture_explain(const rn__op_call *call, const rn__picture *results, rn_image_op *out)
{
    static const rn_crop_rule rules[] = {RN_CROP_NONE, RN_CROP_CENTER_SQUARE_ROUND_UP, RN_CROP_CENTER_SQUARE_ROUND_DOWN};
    const int32_t count = rn__picture_probe_count();
    const rn__picture *first = &results[0];
    for (int32_t i = 0; i < count; i++) {
        const rn__picture *x = &results[i];
        if (!x->resized) return RN__REFUSE(call, "its pictures are not resized to one size");
        if (x->is_float) return RN__REFUSE(call, "its pictures are not cast to uint8 after the resize");
        if (x->leading_one) return RN__REFUSE(call, "its pictures have a dimension too many");
        if (x->h != first->h || x->w != first->w || x->decode_channels != first->decode_channels)
            return RN__REFUSE(call, "its pictures differ in size");
    }
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        bool all = true;
        for (int32_t i = 0; all && i < count; i++) all = obeys(rules[r], &results[i]);
        if (!all) continue;
        *out = (rn_image_op){.crop = rules[r],
                             .h = (int32_t)first->h,
                             .w = (int32_t)first->w,
                             .c = (int32_t)first->c,
                             .decode_channels = first->decode_channels};
        return RN_STATUS_OK;
    }
    const rn__picture *last = &results[count - 1];
    return RN__REFUSE(call, "no known rule crops %lldx%lld to %lldx%lld at (%lld,%lld)", (long long)last->source_h,
                      (long long)last->source_w, (long long)last->crop_h, (long long)last->crop_w, (long long)last->top,
                      (long long)last->left);
}
