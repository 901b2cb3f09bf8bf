/* Layers with windows or weights: convolution, pooling, dense.
 *
 * TensorFlow pads in three ways that all become four numbers: SAME puts the odd row at the bottom and right, EXPLICIT lists them, and a Pad
 * of zeros in front of a layer is taken up by it.
 */
#include <float.h>
#include <math.h>

#include "loader/fold.h"
#include "loader/graph_emit.h"

typedef struct window {
    int32_t r, s, stride_h, stride_w;
    int32_t top, left, bottom, right; /* padding: all of it */
    bool own;                         /* the layer itself pads, by SAME or EXPLICIT */
    int32_t p, q;                     /* size of the result */
} window;

/* Height and width out of an attribute of four: [1,h,w,1], or [1,1,h,w] where channels come first. */
static rn_status read_pair(const rn__op_call *call, const rn__activation *x, const char *key, bool required, int32_t *h, int32_t *w)
{
    size_t count;
    const int64_t *list = rn__attr_ints(call->node, key, &count);
    const int32_t at = rn__height_axis(x), channels = rn__channel_axis(x);
    *h = *w = 1;
    RN_TRY(rn__check_format(call, x));
    if (!list && !required) return RN_STATUS_OK;
    if (count != 4 || list[0] != 1 || list[channels] != 1 || list[at] < 1 || list[at + 1] < 1 || list[at] > RN_PLAN_MAX_SIDE ||
        list[at + 1] > RN_PLAN_MAX_SIDE) {
        return RN__REFUSE(call, "%s of %zu numbers, expected 1 for batch and channels", key, count);
    }
    *h = (int32_t)list[at];
    *w = (int32_t)list[at + 1];
    return RN_STATUS_OK;
}

/* SAME: as many outputs as strides begin in the input, the window's overhang split with the odd one after. */
static void pad_same(int64_t size, int32_t window, int32_t stride, int32_t *before, int32_t *after)
{
    const int64_t outputs = (size + stride - 1) / stride, overhang = (outputs - 1) * stride + window - size;
    *before = overhang > 0 ? (int32_t)(overhang / 2) : 0;
    *after = overhang > 0 ? (int32_t)(overhang - overhang / 2) : 0;
}

/* Reads padding and strides of a layer on x with a window of r x s that is already in *w. */
static rn_status read_window(const rn__op_call *call, const rn__activation *x, window *w)
{
    RN_TRY(read_pair(call, x, "strides", true, &w->stride_h, &w->stride_w));
    const int32_t at = rn__height_axis(x);
    w->top = w->left = w->bottom = w->right = 0;
    if (rn__attr_is(call->node, "padding", "", "SAME")) {
        pad_same(x->dims[at], w->r, w->stride_h, &w->top, &w->bottom);
        pad_same(x->dims[at + 1], w->s, w->stride_w, &w->left, &w->right);
    } else if (rn__attr_is(call->node, "padding", "", "EXPLICIT")) {
        size_t count;
        const int64_t *pads = rn__attr_ints(call->node, "explicit_paddings", &count);
        bool valid = count == 8;
        for (size_t i = 0; valid && i < count; i++) {
            const bool spatial = (int32_t)i / 2 == at || (int32_t)i / 2 == at + 1;
            valid = pads[i] >= 0 && pads[i] <= (spatial ? RN_PLAN_MAX_SIDE : 0);
        }
        if (!valid) return RN__REFUSE(call, "explicit_paddings of %zu numbers, expected two for each dimension, and zeros for batch and channels", count);
        pads += 2 * at;
        w->top = (int32_t)pads[0], w->bottom = (int32_t)pads[1], w->left = (int32_t)pads[2], w->right = (int32_t)pads[3];
    } else if (!rn__attr_is(call->node, "padding", "", "VALID")) {
        return RN__REFUSE(call, "padding is neither SAME, VALID nor EXPLICIT");
    }
    w->own = w->top || w->left || w->bottom || w->right;
    w->top += x->pad_top, w->left += x->pad_left, w->bottom += x->pad_bottom, w->right += x->pad_right;
    const rn_plan_tensor *tensor = &call->import->plan->tensors[x->tensor];
    w->p = rn_plan_window_output(tensor->h, w->r, w->stride_h, w->top, w->bottom);
    w->q = rn_plan_window_output(tensor->w, w->s, w->stride_w, w->left, w->right);
    if (w->p >= 1 && w->q >= 1) return RN_STATUS_OK;
    return RN__REFUSE(call, "a window of %dx%d does not fit %lldx%lld", w->r, w->s, (long long)x->dims[at], (long long)x->dims[at + 1]);
}

/* y = x W, both [1,1,c]. Output 0 becomes y, seen with `rank` dimensions. */
static rn_status emit_dense(const rn__op_call *call, const rn__activation *x, int64_t c, int64_t k, const float *weights, bool lasting,
                            int32_t rank)
{
    rn_op op = {.kind = RN_OP_DENSE, .inputs = {x->tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    op.u.dense = (rn_dense_op){.bias = RN_NONE};
    RN_TRY(rn__emit_weights(call, "weights", 2, (int64_t[]){c, k}, weights, lasting, &op.u.dense.weights));
    int32_t y;
    RN_TRY(rn__emit_op(call, &op, RN_DTYPE_F32, 1, 1, (int32_t)k, &y));
    call->out[0] = rn__activation_value(call->import->plan, y, rank == 4 && x->channels_first);
    call->out[0].u.activation.rank = rank;
    if (rank == 2) call->out[0].u.activation.dims[1] = k;
    return RN_STATUS_OK;
}

rn_status rn__op_conv2d(const rn__op_call *call)
{
    rn__activation x;
    const rn__constant *filter;
    int32_t dilation_h, dilation_w;
    if (call->in[0]->kind == RN__PART) return rn__part_conv2d(call);
    RN_TRY(rn__take_activation(call, 0, 4, true, &x));
    RN_TRY(rn__take_floats(call, 1, &filter));
    if (x.pad_low && rn__is_padded(&x)) return RN__REFUSE(call, "a border of minus infinity before a convolution");
    RN_TRY(read_pair(call, &x, "dilations", false, &dilation_h, &dilation_w));
    if (dilation_h != 1 || dilation_w != 1) return RN__REFUSE(call, "dilations of %dx%d, expected 1", dilation_h, dilation_w);
    char shape[128];
    const int64_t *f = filter->dims, c = x.dims[rn__channel_axis(&x)];
    if (filter->rank != 4 || filter->count == 0 || f[0] > RN_PLAN_MAX_SIDE || f[1] > RN_PLAN_MAX_SIDE || f[3] > RN_PLAN_MAX_CHANNELS ||
        c % f[2] != 0) {
        return RN__REFUSE(call, "a filter of shape %s on %lld channels", rn__shape_text(filter->rank, f, shape, sizeof shape),
                          (long long)c);
    }
    window w = {.r = (int32_t)f[0], .s = (int32_t)f[1]};
    RN_TRY(read_window(call, &x, &w));
    const bool padded = w.top || w.left || w.bottom || w.right;
    if (x.pooled && w.r == 1 && w.s == 1 && !padded && f[2] == c) { /* a classifier written as a convolution */
        return emit_dense(call, &x, c, f[3], filter->data.floats, filter->lasting, 4);
    }
    rn_op op = {.kind = RN_OP_CONV2D, .inputs = {x.tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    op.u.conv2d = (rn_conv2d_op){.r = w.r,
                                 .s = w.s,
                                 .stride_h = w.stride_h,
                                 .stride_w = w.stride_w,
                                 .pad_top = w.top,
                                 .pad_left = w.left,
                                 .pad_bottom = w.bottom,
                                 .pad_right = w.right,
                                 .groups = (int32_t)(c / f[2]),
                                 .bias = RN_NONE,
                                 .scale2 = RN_NONE,
                                 .shift2 = RN_NONE};
    int32_t y;
    RN_TRY(rn__emit_weights(call, "filter", 4, f, filter->data.floats, filter->lasting, &op.u.conv2d.filter));
    RN_TRY(rn__emit_op(call, &op, RN_DTYPE_F32, w.p, w.q, (int32_t)f[3], &y));
    call->out[0] = rn__activation_value(call->import->plan, y, x.channels_first);
    return RN_STATUS_OK;
}

rn_status rn__op_max_pool(const rn__op_call *call)
{
    rn__activation x;
    window w;
    RN_TRY(rn__take_activation(call, 0, 4, true, &x));
    RN_TRY(read_pair(call, &x, "ksize", true, &w.r, &w.s));
    RN_TRY(read_window(call, &x, &w));
    const bool zeros = rn__is_padded(&x) && !x.pad_low;
    if (zeros && w.own) return RN__REFUSE(call, "zero padding before a pooling that pads as well");
    rn_op op = {.kind = RN_OP_MAX_POOL, .inputs = {x.tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    op.u.max_pool = (rn_max_pool_op){.r = w.r,
                                     .s = w.s,
                                     .stride_h = w.stride_h,
                                     .stride_w = w.stride_w,
                                     .pad_top = w.top,
                                     .pad_left = w.left,
                                     .pad_bottom = w.bottom,
                                     .pad_right = w.right,
                                     .pad_zero = zeros};
    int32_t y;
    RN_TRY(rn__emit_op(call, &op, RN_DTYPE_F32, w.p, w.q, (int32_t)x.dims[rn__channel_axis(&x)], &y));
    call->out[0] = rn__activation_value(call->import->plan, y, x.channels_first);
    return RN_STATUS_OK;
}

/* The mean or the maximum of each channel over the whole map. */
static rn_status emit_global_pool(const rn__op_call *call, const rn__activation *x, bool maximum, bool keep_dims)
{
    const rn_plan_tensor in = call->import->plan->tensors[x->tensor];
    rn_op op = {.kind = RN_OP_GLOBAL_AVERAGE_POOL, .inputs = {x->tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    if (maximum) {
        op.kind = RN_OP_MAX_POOL;
        op.u.max_pool = (rn_max_pool_op){.r = in.h, .s = in.w, .stride_h = 1, .stride_w = 1};
    }
    int32_t y;
    RN_TRY(rn__emit_op(call, &op, RN_DTYPE_F32, 1, 1, in.c, &y));
    call->out[0] = rn__activation_value(call->import->plan, y, keep_dims && x->channels_first);
    rn__activation *out = &call->out[0].u.activation;
    out->pooled = true;
    if (!keep_dims) out->rank = 2, out->dims[1] = in.c;
    return RN_STATUS_OK;
}

rn_status rn__op_average_pool(const rn__op_call *call)
{
    rn__activation x;
    window w;
    RN_TRY(rn__take_activation(call, 0, 4, false, &x));
    RN_TRY(read_pair(call, &x, "ksize", true, &w.r, &w.s));
    RN_TRY(read_window(call, &x, &w));
    const int32_t at = rn__height_axis(&x);
    if (w.r == x.dims[at] && w.s == x.dims[at + 1] && !w.own && w.p == 1 && w.q == 1) return emit_global_pool(call, &x, false, true);
    return RN__REFUSE(call, "an average over %dx%d of a map of %lldx%lld, expected all of it", w.r, w.s, (long long)x.dims[at],
                      (long long)x.dims[at + 1]);
}

/* Mean, or Max (variant 1), over height and width. */
rn_status rn__op_reduce(const rn__op_call *call)
{
    rn__activation x;
    int64_t axes[4];
    int32_t count;
    bool over[4] = {0};
    const char *what = call->variant ? "maximum" : "mean";
    RN_TRY(rn__take_activation(call, 0, 4, false, &x));
    RN_TRY(rn__fold_ints(call, 1, axes, 4, &count));
    for (int32_t i = 0; i < count; i++) {
        int32_t axis;
        RN_TRY(rn__fold_axis(call, axes[i], 4, &axis));
        over[axis] = true;
    }
    const int32_t at = rn__height_axis(&x);
    if (over[0]) return RN__REFUSE(call, "a %s over the batch: one picture's result would depend on its neighbours", what);
    if (!over[at] || !over[at + 1] || over[rn__channel_axis(&x)]) return RN__REFUSE(call, "a %s over other than height and width", what);
    return emit_global_pool(call, &x, call->variant == 1, rn__attr_bool(call->node, "keep_dims", false));
}

rn_status rn__op_mat_mul(const rn__op_call *call)
{
    rn__activation x;
    const rn__constant *w;
    char shape[128];
    RN_TRY(rn__take_activation(call, 0, 2, false, &x));
    RN_TRY(rn__take_floats(call, 1, &w));
    if (rn__attr_bool(call->node, "transpose_a", false)) return RN__REFUSE(call, "the activation is transposed");
    const bool transposed = rn__attr_bool(call->node, "transpose_b", false);
    const int64_t c = x.dims[1], rows = w->rank == 2 ? w->dims[transposed] : 0, k = w->rank == 2 ? w->dims[!transposed] : 0;
    if (rows != c || k < 1 || k > RN_PLAN_MAX_CHANNELS) {
        return RN__REFUSE(call, "weights of shape %s on %lld channels", rn__shape_text(w->rank, w->dims, shape, sizeof shape),
                          (long long)c);
    }
    if (!transposed) return emit_dense(call, &x, c, k, w->data.floats, w->lasting, 2);
    RN_TRY(rn__fold_spend(call, w->count));
    float *turned = rn__arena_raw_array(call->import->lasting, (uint64_t)w->count, sizeof *turned, call->node->name, call->err);
    if (!turned) return RN_STATUS_OUT_OF_MEMORY;
    for (int64_t i = 0; i < c; i++) {
        for (int64_t j = 0; j < k; j++) turned[i * k + j] = w->data.floats[j * c + i];
    }
    return emit_dense(call, &x, c, k, turned, true, 2);
}

/* What a Pad puts round the map: zeros, or minus infinity (PyTorch's border of a pooling). PadV2's third input is the value. */
static rn_status read_border(const rn__op_call *call, rn__activation *x)
{
    const rn__constant *value;
    if (call->in_count < 3) return RN_STATUS_OK;
    RN_TRY(rn__take_floats(call, 2, &value));
    const float border = value->count == 1 ? value->data.floats[0] : NAN;
    if (border == 0) return RN_STATUS_OK;
    if (!(border <= -FLT_MAX)) return RN__REFUSE(call, "it pads with %g, expected 0 or minus infinity", (double)border);
    x->pad_low = true;
    return RN_STATUS_OK;
}

/* A border round the map, left to the next layer. */
rn_status rn__op_pad(const rn__op_call *call)
{
    rn__activation x;
    RN_TRY(rn__take_activation(call, 0, 4, true, &x));
    const rn__value *table = call->in[1];
    const rn__constant *pads = &table->u.constant;
    if (table->kind != RN__CONSTANT || pads->element_class != RN__INTS || pads->rank != 2 || pads->dims[0] != 4 || pads->dims[1] != 2 ||
        pads->batch_mask) {
        return RN__REFUSE(call, "paddings are no constant of shape [4,2]");
    }
    const bool padded = rn__is_padded(&x), low = x.pad_low;
    x.pad_low = false;
    RN_TRY(read_border(call, &x));
    if (padded && low != x.pad_low) return RN__REFUSE(call, "a second border of another value");
    const int64_t *p = pads->data.ints;
    const int32_t at = rn__height_axis(&x);
    bool valid = true;
    for (int i = 0; valid && i < 8; i++) valid = p[i] >= 0 && p[i] <= (i / 2 == at || i / 2 == at + 1 ? RN_PLAN_MAX_SIDE : 0);
    if (!valid) return RN__REFUSE(call, "it pads other than height and width");
    p += 2 * at;
    x.pad_top += (int32_t)p[0], x.pad_bottom += (int32_t)p[1], x.pad_left += (int32_t)p[2], x.pad_right += (int32_t)p[3];
    x.dims[at] += p[0] + p[1];
    x.dims[at + 1] += p[2] + p[3];
    if (x.dims[at] > RN_PLAN_MAX_SIDE || x.dims[at + 1] > RN_PLAN_MAX_SIDE)
        return RN__REFUSE(call, "a map of more than %d rows", RN_PLAN_MAX_SIDE);
    call->out[0] = (rn__value){.kind = RN__ACTIVATION, .u.activation = x};
    return RN_STATUS_OK;
}
