/* Shapes of activations: asked for, and changed without moving an element. What would move elements is refused, but for
 * channels in another order. */
#include <string.h>

#include "loader/fold.h"
#include "loader/graph_emit.h"
#include "loader/graph_fit.h"
#include "loader/graph_picture.h"

static rn_status refuse_shape(const rn__op_call *call, const rn__activation *x, int32_t rank, const int64_t *dims)
{
    char from[128], to[128];
    return RN__REFUSE(call, "%s seen as %s: only a pooled map, [-1,1,1,c] or [-1,c,1,1], and [-1,c] can take each other's place",
                      rn__shape_text(x->rank, x->dims, from, sizeof from), rn__shape_text(rank, dims, to, sizeof to));
}

/* The activation of input 0, of any element type. */
static rn_status take_any(const rn__op_call *call, rn__activation *x)
{
    const rn__value *in = call->in[0];
    if (in->kind != RN__ACTIVATION) return RN__REFUSE(call, "input 0 is %s, expected an activation", rn__value_text(in));
    *x = in->u.activation;
    return RN_STATUS_OK;
}

rn_status rn__op_shape(const rn__op_call *call)
{
    const rn__value *in = call->in[0];
    if (in->kind == RN__PICTURE) return rn__picture_shape(call);
    int64_t dims[4] = {-1};
    int32_t rank = 1;
    if (in->kind == RN__ACTIVATION) {
        rank = in->u.activation.rank;
        memcpy(dims, in->u.activation.dims, sizeof dims);
    } else if (in->kind == RN__SORTED || in->kind == RN__LABELS) {
        rank = in->u.sorted.rank;
        dims[1] = in->u.sorted.k;
    } else if (in->kind != RN__ENCODED_BATCH) {
        return RN__REFUSE(call, "the shape of %s", rn__value_text(in));
    }
    void *data;
    RN_TRY(rn__fold_result(call, 0, RN__INTS, 1, &(int64_t){rank}, &data));
    memcpy(data, dims, (size_t)rank * sizeof *dims);
    call->out[0].u.constant.batch_mask = 1;
    return RN_STATUS_OK;
}

rn_status rn__op_rank(const rn__op_call *call)
{
    rn__activation x = {0};
    void *data;
    RN_TRY(take_any(call, &x));
    RN_TRY(rn__fold_result(call, 0, RN__INTS, 0, NULL, &data));
    *(int64_t *)data = x.rank;
    return RN_STATUS_OK;
}

/* Output 0: x with these dimensions, if they hold the same elements in the same order. */
static rn_status view(const rn__op_call *call, const rn__activation *x, int32_t rank, const int64_t *dims)
{
    rn__activation y = *x;
    const bool padded = rn__is_padded(x);
    const rn_plan_tensor *t = &call->import->plan->tensors[x->tensor];
    const bool vector = t->h == 1 && t->w == 1 && !padded;
    const bool same = rank == x->rank && memcmp(dims, x->dims, (size_t)rank * sizeof *dims) == 0;
    const bool flat = vector && rank == 2 && dims[0] == -1 && dims[1] == t->c;
    const bool square = vector && rank == 4 && dims[0] == -1 && dims[1] == 1 && dims[2] == 1 && dims[3] == t->c;
    const bool first = vector && rank == 4 && dims[0] == -1 && dims[1] == t->c && dims[2] == 1 && dims[3] == 1;
    if (!same && !flat && !square && !first) return refuse_shape(call, x, rank, dims);
    y.rank = rank;
    if (!same) y.channels_first = !flat && !square;
    memcpy(y.dims, dims, (size_t)rank * sizeof *dims);
    call->out[0] = (rn__value){.kind = RN__ACTIVATION, .u.activation = y};
    return RN_STATUS_OK;
}

rn_status rn__op_reshape(const rn__op_call *call)
{
    rn__activation x;
    RN_TRY(take_any(call, &x));
    const rn__value *shape = call->in[1];
    const rn__constant *c = &shape->u.constant;
    if (shape->kind != RN__CONSTANT || c->element_class != RN__INTS || c->rank != 1 || c->count < 1 || c->count > 4) {
        return RN__REFUSE(call, "the shape is %s, expected a known vector of at most 4", rn__value_text(shape));
    }
    int64_t dims[4], row = 1, known = 1;
    int32_t open = RN_NONE;
    for (int32_t i = 1; i < x.rank; i++) row *= x.dims[i];
    memcpy(dims, c->data.ints, (size_t)c->count * sizeof *dims);
    const bool batch_first = c->batch_mask == 1 || (c->batch_mask == 0 && dims[0] == -1);
    for (int32_t i = 1; i < c->count; i++) {
        if (dims[i] == -1 && open == RN_NONE)
            open = i;
        else if (dims[i] < 1 || __builtin_mul_overflow(known, dims[i], &known))
            return refuse_shape(call, &x, (int32_t)c->count, dims);
    }
    if (!batch_first || (open != RN_NONE && c->batch_mask == 0)) return refuse_shape(call, &x, (int32_t)c->count, dims);
    dims[0] = -1;
    if (open != RN_NONE) dims[open] = row / known;
    return view(call, &x, (int32_t)c->count, dims);
}

rn_status rn__op_squeeze(const rn__op_call *call)
{
    rn__activation x;
    size_t axes;
    const int64_t *axis = rn__attr_ints(call->node, "squeeze_dims", &axes);
    if (call->in[0]->kind == RN__PICTURE) return rn__picture_squeeze(call, axes, axis);
    RN_TRY(take_any(call, &x));
    bool drop[4] = {0};
    int64_t dims[4];
    int32_t rank = 0;
    for (size_t i = 0; i < axes; i++) {
        int32_t a;
        RN_TRY(rn__fold_axis(call, axis[i], x.rank, &a));
        if (x.dims[a] != 1) return RN__REFUSE(call, "dimension %d is %lld, expected 1", a, (long long)x.dims[a]);
        drop[a] = true;
    }
    for (int32_t i = 0; i < x.rank; i++) {
        if (axes ? !drop[i] : x.dims[i] != 1) dims[rank++] = x.dims[i];
    }
    return view(call, &x, rank, dims);
}

rn_status rn__op_expand_dims(const rn__op_call *call)
{
    if (call->in[0]->kind == RN__PICTURE) return rn__picture_expand_dims(call);
    return RN__REFUSE(call, "a new dimension for %s", rn__value_text(call->in[0]));
}

rn_status rn__op_transpose(const rn__op_call *call)
{
    rn__activation x;
    int64_t axes[4];
    int32_t count;
    RN_TRY(take_any(call, &x));
    RN_TRY(rn__fold_ints(call, 1, axes, 4, &count));
    if (count != x.rank) return RN__REFUSE(call, "a permutation of %d of %d dimensions", count, x.rank);
    bool same = true, first = x.rank == 4, last = x.rank == 4;
    for (int32_t i = 0; i < x.rank; i++) {
        same = same && axes[i] == i;
        first = first && axes[i] == (const int64_t[]){0, 3, 1, 2}[i];
        last = last && axes[i] == (const int64_t[]){0, 2, 3, 1}[i];
    }
    if (same) return view(call, &x, x.rank, x.dims);
    /* What changes is how the graph sees the map: in the plan it stays as it is. */
    if (!(first && !x.channels_first) && !(last && x.channels_first)) return RN__REFUSE(call, "a permutation other than between NHWC and NCHW");
    rn__activation y = x;
    for (int32_t i = 0; i < 4; i++) y.dims[i] = x.dims[axes[i]];
    y.channels_first = first;
    call->out[0] = (rn__value){.kind = RN__ACTIVATION, .u.activation = y};
    return RN_STATUS_OK;
}

enum { MAX_PICKED_CHANNELS = 16 };

/* Channels of a tensor in another order (RGB to BGR): a 1x1 convolution with ones and zeros, exact in any arithmetic. */
static rn_status pick_channels(const rn__op_call *call, int32_t tensor, bool channels_first, int32_t count, const int32_t *channels)
{
    const rn_plan_tensor x = call->import->plan->tensors[tensor];
    if (count > MAX_PICKED_CHANNELS || x.c > MAX_PICKED_CHANNELS)
        return RN__REFUSE(call, "%d of %d channels, expected those of a picture", count, x.c);
    float filter[MAX_PICKED_CHANNELS * MAX_PICKED_CHANNELS] = {0};
    for (int32_t i = 0; i < count; i++) filter[channels[i] * count + i] = 1;
    rn_op op = {.kind = RN_OP_CONV2D, .inputs = {tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    op.u.conv2d =
        (rn_conv2d_op){.r = 1, .s = 1, .stride_h = 1, .stride_w = 1, .groups = 1, .bias = RN_NONE, .scale2 = RN_NONE, .shift2 = RN_NONE};
    int32_t y;
    RN_TRY(rn__emit_weights(call, "channels", 4, (int64_t[]){1, 1, x.c, count}, filter, false, &op.u.conv2d.filter));
    RN_TRY(rn__emit_op(call, &op, RN_DTYPE_F32, x.h, x.w, count, &y));
    call->out[0] = rn__activation_value(call->import->plan, y, channels_first);
    return RN_STATUS_OK;
}

/* Pack of single channels along the last dimension. */
rn_status rn__op_pack(const rn__op_call *call)
{
    int32_t channels[MAX_PICKED_CHANNELS] = {0};
    const int64_t axis = rn__attr_int(call->node, "axis", 0);
    const bool first = axis == 1;
    if (call->in_count > MAX_PICKED_CHANNELS || (axis != -1 && axis != 3 && axis != 1)) return RN__REFUSE(call, "other than the channels of a picture");
    for (int32_t i = 0; i < call->in_count; i++) {
        const rn__value *in = call->in[i];
        if (in->kind != RN__CHANNEL || in->u.channel.tensor != call->in[0]->u.channel.tensor || in->u.channel.first != first) {
            return RN__REFUSE(call, "input %d is %s, expected a channel of the same activation", i, rn__value_text(in));
        }
        channels[i] = in->u.channel.index;
    }
    return pick_channels(call, call->in[0]->u.channel.tensor, first, call->in_count, channels);
}

/* The first k of what is sorted: [:, :k]. */
static rn_status slice_sorted(const rn__op_call *call)
{
    const rn__sorted *x = &call->in[0]->u.sorted;
    rn__slice_spec spec;
    RN_TRY(rn__slice_read(call, x->rank, (int64_t[]){-1, x->k}, &spec));
    if (x->rank != 2 || spec.out_rank != 2 || spec.from[0] != 0 || spec.from[1] != 1 || spec.start[1] != 0 || spec.step[1] != 1 ||
        spec.count[1] < 1) {
        return RN__REFUSE(call, "other than the first elements of what is sorted");
    }
    call->out[0] = *call->in[0];
    call->out[0].u.sorted.k = (int32_t)spec.count[1];
    return RN_STATUS_OK;
}

rn_status rn__op_strided_slice(const rn__op_call *call)
{
    const rn__value *in = call->in[0];
    if (in->kind == RN__PICTURE) return rn__picture_strided_slice(call);
    if (in->kind == RN__SORTED || in->kind == RN__LABELS) return slice_sorted(call);
    rn__activation x;
    rn__slice_spec spec;
    RN_TRY(take_any(call, &x));
    RN_TRY(rn__slice_read(call, x.rank, x.dims, &spec));
    const int32_t channel = rn__channel_axis(&x);
    bool rows_whole = true; /* all dimensions but the channels */
    for (int32_t i = 0, kept = 0; i < x.rank; i++) {
        const bool shrunk = i == channel && spec.out_rank < x.rank;
        const bool in_place = shrunk || (kept < spec.out_rank && spec.from[kept] == i);
        if (i != channel) rows_whole = rows_whole && spec.start[i] == 0 && spec.step[i] == 1 && spec.count[i] == x.dims[i] && in_place;
        kept += !shrunk;
    }
    const bool every_channel = spec.out_rank == x.rank && spec.from[channel] == channel && spec.count[channel] == x.dims[channel];
    if (rows_whole && every_channel && spec.step[channel] == 1) return view(call, &x, x.rank, x.dims);
    if (every_channel && spec.step[channel] == 1 && x.rank == 4) return rn__fit_strided_slice(call, &spec);
    if (!rows_whole || x.rank != 4) return RN__REFUSE(call, "part of an activation");

    RN_TRY(rn__take_activation(call, 0, 4, false, &x));
    if (every_channel && spec.step[channel] == -1 && x.dims[channel] <= MAX_PICKED_CHANNELS) {
        int32_t channels[MAX_PICKED_CHANNELS];
        for (int32_t i = 0; i < x.dims[channel]; i++) channels[i] = (int32_t)x.dims[channel] - 1 - i;
        return pick_channels(call, x.tensor, x.channels_first, (int32_t)x.dims[channel], channels);
    }
    if (spec.out_rank != 3 || spec.count[channel] != 1) return RN__REFUSE(call, "part of an activation's channels");
    call->out[0] = (rn__value){
        .kind = RN__CHANNEL, .u.channel = {.tensor = x.tensor, .index = (int32_t)spec.start[channel], .first = x.channels_first}};
    return RN_STATUS_OK;
}

rn_status rn__op_slice(const rn__op_call *call)
{
    if (call->in[0]->kind == RN__PICTURE) return rn__picture_slice(call);
    if (call->in[0]->kind == RN__ACTIVATION) return rn__fit_slice(call);
    return RN__REFUSE(call, "part of %s", rn__value_text(call->in[0]));
}
