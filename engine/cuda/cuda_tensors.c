/* How tensors lie on the device, and where.
 *
 * Feature maps have the executor's storage type. The ends of the network do not: logits, probabilities and the values of top-k are f32,
 * because their last digits decide the order of classes; a dense layer writes f32 when nothing but softmax and top-k reads it. Operations
 * that only move or add numbers keep the type of their input.
 */
#include <stdlib.h>

#include "engine/cuda/cuda_executor.h"
#include "engine/passes.h"

static size_t aligned(size_t bytes)
{
    return (bytes + RN__CUDA_ALIGNMENT - 1) / RN__CUDA_ALIGNMENT * RN__CUDA_ALIGNMENT;
}

static rn__cuda_tensor layout_of(const rn_plan_tensor *tensor, rn_dtype dtype, bool dense)
{
    const int32_t wide = dense ? 1 : RN_CUDA_VECTOR_BYTES / (int32_t)rn_dtype_bytes(dtype), c = (tensor->c + wide - 1) / wide * wide;
    return (rn__cuda_tensor){.dtype = dtype,
                             .h = tensor->h,
                             .w = tensor->w,
                             .c = c,
                             .channels = tensor->c,
                             .row_bytes = (size_t)tensor->h * (size_t)tensor->w * (size_t)c * rn_dtype_bytes(dtype)};
}

static bool only_classifies(const rn_plan *plan, int32_t tensor)
{
    for (int32_t o = 0; o < plan->op_count; o++) {
        const rn_op *op = &plan->ops[o];
        const bool reads = op->inputs[0] == tensor || op->inputs[1] == tensor;
        if (reads && op->kind != RN_OP_SOFTMAX && op->kind != RN_OP_TOP_K && op->kind != RN_OP_CLASS_MAP) return false;
    }
    return true;
}

bool rn__cuda_feed_is_packed(const rn_plan *plan, const rn_signature *signature)
{
    for (int32_t i = 0; i < signature->op_count; i++) {
        const rn_op *op = &plan->ops[signature->ops[i]];
        if (op->kind != RN_OP_SCALE_SHIFT && (op->inputs[0] == signature->feed || op->inputs[1] == signature->feed)) return true;
    }
    for (int32_t i = 0; i < signature->output_count; i++) {
        if (signature->outputs[i].tensor == signature->feed) return true;
    }
    return false;
}

/* Type of what the operation writes. */
static rn_dtype output_type(const rn_executor *e, const rn_op *op)
{
    switch (op->kind) {
    case RN_OP_DENSE:
        return only_classifies(e->plan, op->outputs[0]) ? RN_DTYPE_F32 : e->storage;
    case RN_OP_SOFTMAX:
    case RN_OP_TOP_K:
        return RN_DTYPE_F32;
    case RN_OP_CONV2D:
        return e->storage;
    default:
        return e->tensors[op->inputs[0]].dtype == RN_DTYPE_F32 ? RN_DTYPE_F32 : e->storage;
    }
}

static rn_status check_op(const rn_executor *e, const rn_op *op, rn_error *err)
{
    if (op->kind == RN_OP_QUANTIZE || (op->kind == RN_OP_CONV2D && e->plan->weights[op->u.conv2d.filter].dtype != RN_DTYPE_F32))
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: the CUDA backend does not run quantized networks", op->name);
    const rn__cuda_tensor *x = &e->tensors[op->inputs[0]];
    if (x->dtype == RN_DTYPE_U8 && op->kind != RN_OP_SCALE_SHIFT) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: the CUDA backend runs %s on floating point, not on uint8", op->name,
                       rn_op_kind_name(op->kind));
    }
    const bool filters = op->kind == RN_OP_CONV2D || op->kind == RN_OP_DENSE, two = op->inputs[1] != RN_NONE;
    const bool mixed = (filters && x->dtype != e->storage) || (two && e->tensors[op->inputs[1]].dtype != (filters ? e->storage : x->dtype));
    if (!mixed) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: the CUDA backend cannot run %s on probabilities or logits", op->name,
                   rn_op_kind_name(op->kind));
}

rn_status rn__cuda_tensors_lay_out(rn_executor *e, rn_error *err)
{
    const rn_plan *plan = e->plan;
    e->tensors = calloc((size_t)plan->tensor_count + 1, sizeof *e->tensors);
    if (!e->tensors) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to lay out %d tensors", plan->tensor_count);
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        const bool map = plan->tensors[t].dtype == RN_DTYPE_F32;
        e->tensors[t] = layout_of(&plan->tensors[t], map ? e->storage : plan->tensors[t].dtype, !map);
    }
    for (int32_t o = 0; o < plan->op_count; o++) {
        const rn_op *op = &plan->ops[o];
        /* On the host, and in memory of its own: class_map.c. */
        if (op->kind == RN_OP_IMAGE || op->kind == RN_OP_FIT || op->kind == RN_OP_CLASS_MAP) continue;
        RN_TRY(check_op(e, op, err));
        const rn_dtype dtype = output_type(e, op);
        const bool dense = op->kind == RN_OP_TOP_K;
        if (op->outputs[0] != RN_NONE) e->tensors[op->outputs[0]] = layout_of(&plan->tensors[op->outputs[0]], dtype, dense);
        if (op->outputs[1] != RN_NONE && !dense) e->tensors[op->outputs[1]] = layout_of(&plan->tensors[op->outputs[1]], dtype, false);
    }
    return RN_STATUS_OK;
}

static void want(const rn_executor *e, int32_t tensor, size_t *bytes)
{
    if (tensor != RN_NONE) bytes[tensor] = e->tensors[tensor].row_bytes * (size_t)e->buckets[e->bucket_count - 1];
}

rn_status rn__cuda_tensors_place(rn_executor *e, rn_error *err)
{
    const rn_plan *plan = e->plan;
    rn_status status;
    size_t *bytes = calloc((size_t)plan->tensor_count + 1, sizeof *bytes),
           *offsets = calloc((size_t)plan->tensor_count + 1, sizeof *offsets);
    if (!bytes || !offsets) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to place %d tensors", plan->tensor_count);
        goto cleanup;
    }
    for (int32_t s = 0; s < plan->signature_count; s++) {
        const rn_signature *signature = &plan->signatures[s];
        if (rn__cuda_feed_is_packed(plan, signature)) want(e, signature->feed, bytes);
        for (int32_t i = 0; i < signature->op_count; i++) {
            want(e, plan->ops[signature->ops[i]].outputs[0], bytes);
            want(e, plan->ops[signature->ops[i]].outputs[1], bytes);
        }
    }
    RN_TRY_CLEANUP(status, rn_plan_layout_arena(plan, bytes, NULL, offsets, &e->arena_bytes, err));
    RN_TRY_CLEANUP(status, rn__cuda_take(e, e->arena_bytes, "memory for feature maps", &e->arena, err));
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        if (bytes[t]) e->tensors[t].data = e->arena + offsets[t];
    }
cleanup:
    free(bytes);
    free(offsets);
    return status;
}

rn__cuda_output rn__cuda_output_of(const rn_executor *e, const rn_signature *signature, int32_t index, const rn__cuda_slot *slot)
{
    rn__cuda_output output = {0};
    for (int32_t i = 0;; i++) {
        const rn__cuda_tensor *t = &e->tensors[signature->outputs[i].tensor];
        output.row_bytes = (size_t)t->h * (size_t)t->w * (size_t)t->channels * sizeof(float);
        if (i == index) {
            output.unpacked = t->c != t->channels || rn_dtype_bytes(t->dtype) != sizeof(float);
            output.data = !output.unpacked ? t->data : slot ? slot->download + output.offset : NULL;
            return output;
        }
        output.offset += aligned(output.row_bytes * (size_t)e->buckets[e->bucket_count - 1]);
    }
}
