/* Adding to the plan. Equal weights are found by a checksum of how they begin and then compared, so that signatures that list the same
 * variables, or hold copies of the same constants, end up with one set.
 */
#include "loader/graph_emit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/crc32c.h"

enum { SUMMED_BYTES = 4096 }; /* enough to tell weights apart; all of a ResNet-101 would take 50 ms more */

rn_status rn__take_activation(const rn__op_call *call, int32_t input, int32_t rank, bool padded, rn__activation *out)
{
    const rn__value *value = call->in[input];
    if (value->kind != RN__ACTIVATION) return RN__REFUSE(call, "input %d is %s, expected an activation", input, rn__value_text(value));
    const rn__activation *x = &value->u.activation;
    if (rank && x->rank != rank) return RN__REFUSE(call, "input %d has %d dimensions, expected %d", input, x->rank, rank);
    if (!padded && rn__is_padded(x)) {
        return RN__REFUSE(call, "padding before it, which only a convolution or a maximum pooling can take up");
    }
    const rn_plan_tensor *tensor = &call->import->plan->tensors[x->tensor];
    if (tensor->dtype != RN_DTYPE_F32) return RN__REFUSE(call, "input %d holds %s, expected float", input, rn_dtype_tf_name(tensor->dtype));
    *out = *x;
    return RN_STATUS_OK;
}

rn_status rn__take_floats(const rn__op_call *call, int32_t input, const rn__constant **out)
{
    const rn__value *value = call->in[input];
    if (value->kind != RN__CONSTANT || value->u.constant.element_class != RN__FLOATS) {
        return RN__REFUSE(call, "input %d is %s, expected constant floats", input, rn__value_text(value));
    }
    *out = &value->u.constant;
    return RN_STATUS_OK;
}

static rn_status remember_sum(const rn__op_call *call, int32_t weights, uint32_t sum)
{
    rn__import *import = call->import;
    if (weights >= import->weight_sums_capacity) {
        const int32_t wanted = import->weight_sums_capacity ? 2 * import->weight_sums_capacity : 256;
        uint32_t *grown = realloc(import->weight_sums, (size_t)wanted * sizeof *grown);
        if (!grown) return RN_FAIL(call->err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d checksums", wanted);
        import->weight_sums = grown;
        import->weight_sums_capacity = wanted;
    }
    import->weight_sums[weights] = sum;
    return RN_STATUS_OK;
}

static bool same_weights(const rn_plan_weights *weights, int32_t rank, const int32_t *dims, const float *data)
{
    return weights->rank == rank && memcmp(weights->dims, dims, (size_t)rank * sizeof *dims) == 0 &&
           (weights->data == data || memcmp(weights->data, data, (size_t)weights->element_count * sizeof *data) == 0);
}

rn_status rn__emit_weights(const rn__op_call *call, const char *role, int32_t rank, const int64_t *dims, const float *data, bool lasting,
                           int32_t *out)
{
    rn_plan *plan = call->import->plan;
    int32_t plan_dims[RN_PLAN_MAX_RANK];
    size_t bytes = sizeof(float);
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] < 1 || dims[i] > RN_PLAN_MAX_CHANNELS) return RN__REFUSE(call, "%s with a dimension of %lld", role, (long long)dims[i]);
        plan_dims[i] = (int32_t)dims[i];
        bytes *= (size_t)dims[i];
    }
    const uint32_t sum = rn__crc32c(0, data, bytes < SUMMED_BYTES ? bytes : SUMMED_BYTES);
    for (int32_t i = 0; i < plan->weights_count; i++) {
        if (call->import->weight_sums[i] != sum || !same_weights(&plan->weights[i], rank, plan_dims, data)) continue;
        *out = i;
        return RN_STATUS_OK;
    }
    char node[RN_PLAN_NAME_BYTES], name[2 * RN_PLAN_NAME_BYTES];
    snprintf(name, sizeof name, "%s/%s", rn__import_node_name(call->import, call->ref.frame, call->node, node), role);
    RN_TRY(remember_sum(call, plan->weights_count, sum));
    if (lasting) return rn_plan_add_weights(plan, name, RN_DTYPE_F32, rank, plan_dims, data, out, call->err);
    void *memory;
    RN_TRY(rn_plan_new_weights(plan, name, RN_DTYPE_F32, rank, plan_dims, &memory, out, call->err));
    memcpy(memory, data, bytes);
    return RN_STATUS_OK;
}

rn_status rn__emit_op(const rn__op_call *call, rn_op *op, rn_dtype dtype, int32_t h, int32_t w, int32_t c, int32_t *tensor)
{
    rn__import_node_name(call->import, call->ref.frame, call->node, op->name);
    RN_TRY(rn_plan_add_tensor(call->import->plan, op->name, dtype, h, w, c, &op->outputs[0], call->err));
    if (tensor) *tensor = op->outputs[0];
    return rn_plan_add_op(call->import->plan, op, NULL, call->err);
}

rn__value rn__activation_value(const rn_plan *plan, int32_t tensor, bool channels_first)
{
    const rn_plan_tensor *t = &plan->tensors[tensor];
    rn__activation x = {.tensor = tensor, .rank = 4, .dims = {-1, t->h, t->w, t->c}, .channels_first = channels_first};
    if (channels_first) x.dims[1] = t->c, x.dims[2] = t->h, x.dims[3] = t->w;
    return (rn__value){.kind = RN__ACTIVATION, .u.activation = x};
}

rn_status rn__check_format(const rn__op_call *call, const rn__activation *x)
{
    const char *expected = x->channels_first ? "NCHW" : "NHWC";
    if (rn__attr_is(call->node, "data_format", "NHWC", expected)) return RN_STATUS_OK;
    return RN__REFUSE(call, "its data_format is not %s, the order of its input's dimensions", expected);
}

rn_status rn__emit_scale_shift(const rn__op_call *call, const rn__activation *x, int64_t count, const float *scale, const float *shift,
                               bool relu)
{
    const rn_plan_tensor in = call->import->plan->tensors[x->tensor];
    rn_op op = {.kind = RN_OP_SCALE_SHIFT, .inputs = {x->tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    op.u.scale_shift = (rn_scale_shift_op){.scale = RN_NONE, .shift = RN_NONE, .relu = relu};
    if (scale) RN_TRY(rn__emit_weights(call, "scale", 1, &count, scale, false, &op.u.scale_shift.scale));
    if (shift) RN_TRY(rn__emit_weights(call, "shift", 1, &count, shift, false, &op.u.scale_shift.shift));
    call->out[0] = (rn__value){.kind = RN__ACTIVATION, .u.activation = *x};
    return rn__emit_op(call, &op, RN_DTYPE_F32, in.h, in.w, in.c, &call->out[0].u.activation.tensor);
}
