/* Arithmetic between an activation and constants: whatever form the graph gives it (bias, batch norm fused or spelled out, rescaling), it
 * is a multiplication and an addition per channel. The plan's passes merge what follows one upon another.
 */
#include <math.h>
#include <string.h>

#include "loader/graph_emit.h"
#include "loader/graph_picture.h"

/* Sees a constant as one value a channel, or one for all (*count 1): of any rank up to the activation's, all dimensions but the channels'
 * being 1. Dimensions are counted from the end. */
static rn_status per_channel(const rn__op_call *call, const rn__constant *constant, const rn__activation *x, int64_t *count)
{
    const int32_t axis = rn__channel_axis(x);
    const int64_t channels = x->dims[axis];
    bool fits = constant->rank <= x->rank;
    for (int32_t i = 0; fits && i < constant->rank; i++) fits = constant->dims[i] == 1 || i + x->rank - constant->rank == axis;
    *count = constant->count;
    if (fits && (*count == 1 || *count == channels)) return RN_STATUS_OK;
    char shape[128];
    return RN__REFUSE(call, "a constant of shape %s, expected one value or one for each of %lld channels",
                      rn__shape_text(constant->rank, constant->dims, shape, sizeof shape), (long long)channels);
}

/* Room for `count` floats that live until the operation has been added. */
static float *vector(const rn__op_call *call, int64_t count)
{
    return rn__arena_raw_array(call->import->scratch, (uint64_t)count, sizeof(float), call->node->name, call->err);
}

/* An activation and a constant: which of the two inputs is which. */
static rn_status take_pair(const rn__op_call *call, int32_t *activation, rn__activation *x, const float **values, int64_t *count)
{
    const rn__constant *constant;
    *activation = call->in[0]->kind == RN__CONSTANT;
    RN_TRY(rn__take_activation(call, *activation, 0, false, x));
    RN_TRY(rn__take_floats(call, 1 - *activation, &constant));
    RN_TRY(per_channel(call, constant, x, count));
    *values = constant->data.floats;
    return RN_STATUS_OK;
}

/* Variants ADD, SUB, MUL, DIV, MAXIMUM of an activation and a constant, in either order. */
rn_status rn__op_scale(const rn__op_call *call)
{
    if (call->in[0]->kind == RN__ACTIVATION && call->in[1]->kind == RN__ACTIVATION) return RN__REFUSE(call, "two activations");
    const bool picture_last = call->in[1]->kind == RN__PICTURE;
    if (picture_last || call->in[0]->kind == RN__PICTURE) {
        const rn__constant *constant;
        RN_TRY(rn__take_floats(call, !picture_last, &constant));
        return rn__picture_scale(call, constant, picture_last);
    }
    rn__activation x;
    const float *values;
    int64_t count;
    int32_t activation;
    RN_TRY(take_pair(call, &activation, &x, &values, &count));
    const bool constant_first = activation == 1;
    if (call->variant == RN__ADD) return rn__emit_scale_shift(call, &x, count, NULL, values, false);
    if (call->variant == RN__MUL) return rn__emit_scale_shift(call, &x, count, values, NULL, false);
    float *changed = vector(call, count);
    if (!changed) return RN_STATUS_OUT_OF_MEMORY;
    if (call->variant == RN__SUB && constant_first) {
        for (int64_t i = 0; i < count; i++) changed[i] = -1;
        return rn__emit_scale_shift(call, &x, count, changed, values, false);
    }
    if (call->variant == RN__SUB) {
        for (int64_t i = 0; i < count; i++) changed[i] = -values[i];
        return rn__emit_scale_shift(call, &x, count, NULL, changed, false);
    }
    if (call->variant == RN__DIV && !constant_first) {
        for (int64_t i = 0; i < count; i++) changed[i] = 1 / values[i];
        return rn__emit_scale_shift(call, &x, count, changed, NULL, false);
    }
    bool zero = call->variant == RN__MAXIMUM;
    for (int64_t i = 0; zero && i < count; i++) zero = values[i] == 0;
    if (zero) return rn__emit_scale_shift(call, &x, 0, NULL, NULL, true);
    return RN__REFUSE(call, "a constant divided by an activation, a minimum, or a maximum with other than 0");
}

/* Add, AddV2, AddN: two activations of one shape, or an activation and a constant; or the step of a loop's counter. */
rn_status rn__op_add(const rn__op_call *call)
{
    if (call->in_count != 2) return RN__REFUSE(call, "a sum of %d, expected 2", call->in_count);
    for (int32_t i = 0; i < 2; i++) {
        const rn__value *step = call->in[1 - i];
        if (call->in[i]->kind != RN__COUNTER || step->kind != RN__CONSTANT || !rn__constant_is_scalar(&step->u.constant, RN__INTS))
            continue;
        if (step->u.constant.data.ints[0] != 1)
            return RN__REFUSE(call, "a loop in steps of %lld", (long long)step->u.constant.data.ints[0]);
        call->out[0].kind = RN__COUNTER_NEXT;
        return RN_STATUS_OK;
    }
    if (call->in[0]->kind == RN__CONSTANT || call->in[1]->kind == RN__CONSTANT) return rn__op_scale(call);
    rn__activation a, b;
    RN_TRY(rn__take_activation(call, 0, 0, false, &a));
    RN_TRY(rn__take_activation(call, 1, 0, false, &b));
    if (a.rank != b.rank || a.channels_first != b.channels_first || memcmp(a.dims, b.dims, (size_t)a.rank * sizeof *a.dims) != 0) {
        char first[128], second[128];
        return RN__REFUSE(call, "shapes %s and %s", rn__shape_text(a.rank, a.dims, first, sizeof first),
                          rn__shape_text(b.rank, b.dims, second, sizeof second));
    }
    const rn_plan_tensor in = call->import->plan->tensors[a.tensor];
    rn_op op = {.kind = RN_OP_ADD, .inputs = {a.tensor, b.tensor}, .outputs = {RN_NONE, RN_NONE}};
    a.pooled = false;
    call->out[0] = (rn__value){.kind = RN__ACTIVATION, .u.activation = a};
    return rn__emit_op(call, &op, RN_DTYPE_F32, in.h, in.w, in.c, &call->out[0].u.activation.tensor);
}

rn_status rn__op_negate(const rn__op_call *call)
{
    rn__activation x;
    RN_TRY(rn__take_activation(call, 0, 0, false, &x));
    return rn__emit_scale_shift(call, &x, 1, &(float){-1}, NULL, false);
}

rn_status rn__op_bias_add(const rn__op_call *call)
{
    rn__activation x;
    const rn__constant *bias;
    int64_t count;
    RN_TRY(rn__take_floats(call, 1, &bias));
    if (call->in[0]->kind == RN__PICTURE) return rn__picture_scale(call, bias, false);
    RN_TRY(rn__take_activation(call, 0, 0, false, &x));
    if (x.rank > 2) RN_TRY(rn__check_format(call, &x));
    count = bias->count;
    if (bias->rank != 1 || count != x.dims[rn__channel_axis(&x)]) {
        return RN__REFUSE(call, "a bias of %lld values for %lld channels", (long long)count, (long long)x.dims[rn__channel_axis(&x)]);
    }
    return rn__emit_scale_shift(call, &x, count, NULL, bias->data.floats, false);
}

rn_status rn__op_relu(const rn__op_call *call)
{
    rn__activation x;
    RN_TRY(rn__take_activation(call, 0, 0, false, &x));
    return rn__emit_scale_shift(call, &x, 0, NULL, NULL, true);
}

/* Among floating types a cast changes nothing here, where all are computed in float32; uint8 becomes float by an operation. */
rn_status rn__op_cast(const rn__op_call *call)
{
    const rn__value *in = call->in[0];
    const int32_t dtype = rn__attr_type(call->node, "DstT", 0);
    rn__element_class to;
    if (in->kind == RN__PICTURE) return rn__picture_cast(call, dtype);
    if (in->kind == RN__SORTED && in->u.sorted.indexes && (dtype == RN__DT_INT32 || dtype == RN__DT_INT64)) {
        call->out[0] = *in;
        call->out[0].u.sorted.is_int64 = dtype == RN__DT_INT64;
        return RN_STATUS_OK;
    }
    if (in->kind != RN__ACTIVATION) return RN__REFUSE(call, "a cast of %s", rn__value_text(in));
    if (!rn__dtype_class(dtype, &to) || to != RN__FLOATS) return RN__REFUSE(call, "a cast of an activation to %s", rn__dtype_text(dtype));
    call->out[0] = *in;
    if (call->import->plan->tensors[in->u.activation.tensor].dtype == RN_DTYPE_F32) return RN_STATUS_OK;
    return rn__emit_scale_shift(call, &in->u.activation, 0, NULL, NULL, false);
}

/* y = (x - mean) / sqrt(variance + epsilon) * gamma + beta; inputs x, gamma, beta, mean, variance. */
rn_status rn__op_batch_norm(const rn__op_call *call)
{
    rn__activation x;
    const rn__constant *p[5];
    RN_TRY(rn__take_activation(call, 0, 4, false, &x));
    if (rn__attr_bool(call->node, "is_training", true)) return RN__REFUSE(call, "it normalises by the batch's statistics (is_training)");
    RN_TRY(rn__check_format(call, &x));
    const int64_t c = x.dims[rn__channel_axis(&x)];
    for (int32_t i = 1; i < 5; i++) {
        RN_TRY(rn__take_floats(call, i, &p[i]));
        if (p[i]->rank != 1 || p[i]->count != c)
            return RN__REFUSE(call, "input %d has %lld values, expected %lld", i, (long long)p[i]->count, (long long)c);
    }
    const double epsilon = rn__attr_float(call->node, "epsilon", 1e-4f);
    float *scale = vector(call, c), *shift = vector(call, c);
    if (!scale || !shift) return RN_STATUS_OUT_OF_MEMORY;
    for (int64_t i = 0; i < c; i++) {
        const double factor = p[1]->data.floats[i] / sqrt(p[4]->data.floats[i] + epsilon);
        scale[i] = (float)factor;
        shift[i] = (float)(p[2]->data.floats[i] - p[3]->data.floats[i] * factor);
    }
    return rn__emit_scale_shift(call, &x, c, scale, shift, false);
}
