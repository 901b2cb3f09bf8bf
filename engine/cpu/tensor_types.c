/* Which element type each tensor has in the arena.
 *
 * Every f32 tensor starts in the narrow type but those that callers fill, which are kept as they come. An operation that has no kernel for its
 * tensors as they are makes them f32, until nothing changes any more. Convolutions are what joins the two kinds: they read either type and
 * write either, but residual and outputs have one.
 */
#include "engine/cpu/cpu_executor.h"

/* The tensors become f32. True when one was not. RN_NONE is no tensor. */
static bool widen(rn_executor *e, const int32_t *tensors, int count)
{
    bool changed = false;
    for (int i = 0; i < count; i++) {
        if (tensors[i] == RN_NONE || e->tensors[tensors[i]].dtype != e->narrow) continue;
        e->tensors[tensors[i]].dtype = RN_DTYPE_F32;
        changed = true;
    }
    return changed;
}

/* The tensors become f32 when one of them is not narrow, or when `kernel` is false. */
static bool unify(rn_executor *e, bool kernel, const int32_t *tensors, int count)
{
    for (int i = 0; i < count && kernel; i++) kernel = tensors[i] == RN_NONE || e->tensors[tensors[i]].dtype == e->narrow;
    return !kernel && widen(e, tensors, count);
}

static bool settle_conv2d(rn_executor *e, const rn_op *op)
{
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, op, 1);
    const bool reads = e->kernels.conv2d_tile[e->narrow].run && rn_conv2d_direct_fits(&args);
    const bool changed = !reads && widen(e, &op->inputs[0], 1);
    return unify(e, true, (int32_t[]){op->inputs[1], op->outputs[0], op->outputs[1]}, 3) || changed;
}

/* The mean is f32 in any case. */
static bool settle_average(rn_executor *e, const rn_op *op)
{
    const bool reads = e->kernels.global_average_pool[e->narrow].run != NULL;
    const bool changed = !reads && widen(e, &op->inputs[0], 1);
    return widen(e, &op->outputs[0], 1) || changed;
}

static bool settle(rn_executor *e, const rn_op *op)
{
    const int32_t tensors[] = {op->inputs[0], op->inputs[1], op->outputs[0]};
    switch (op->kind) {
    case RN_OP_CONV2D: return settle_conv2d(e, op);
    case RN_OP_SCALE_SHIFT: return unify(e, e->kernels.scale_shift[e->narrow].run, tensors, 3);
    case RN_OP_ADD: return unify(e, e->kernels.add[e->narrow].run, tensors, 3);
    case RN_OP_MAX_POOL: return unify(e, e->kernels.max_pool[e->narrow].run, tensors, 3);
    case RN_OP_GLOBAL_AVERAGE_POOL: return settle_average(e, op);
    default: return widen(e, tensors, 3);
    }
}

void rn__cpu_choose_types(rn_executor *e)
{
    const rn_plan *plan = e->plan;
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        e->tensors[t].dtype = plan->tensors[t].dtype == RN_DTYPE_F32 ? e->narrow : plan->tensors[t].dtype;
    }
    if (e->narrow == RN_DTYPE_F32) return;
    for (int32_t s = 0; s < plan->signature_count; s++) widen(e, &plan->signatures[s].feed, 1);
    for (bool changed = true; changed;) {
        changed = false;
        for (int32_t o = 0; o < plan->op_count; o++) changed = settle(e, &plan->ops[o]) || changed;
    }
}
