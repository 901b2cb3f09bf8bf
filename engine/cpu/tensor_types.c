/* Which element type each tensor has in the arena, and which weights are chained bf16.
 *
 * Convolutions are where the narrow type pays, so that narrow is what they read, and what has to be narrow for that: the inputs of the
 * pools and sums that make such a tensor. All else stays f32: what the first layers read, and above all the running sums of a
 * pre-activation network, which are only added to: a hundred roundings of them are most of the error that bf16 makes. A convolution takes
 * and makes any mixture; its second output is computed from the f32 sums.
 *
 * Tensors that callers fill are kept as they come. An operation that has no kernel for its tensors as they are makes them f32, until
 * nothing changes any more.
 */
#include "engine/cpu/cpu_executor.h"

/* The tensors become narrow. True when one was not. RN_NONE is no tensor. */
static bool narrow(rn_executor *e, const int32_t *tensors, int count)
{
    bool changed = false;
    for (int i = 0; i < count; i++) {
        if (tensors[i] == RN_NONE || e->tensors[tensors[i]].dtype != RN_DTYPE_F32) continue;
        e->tensors[tensors[i]].dtype = e->types.maps;
        changed = true;
    }
    return changed;
}

/* The tensors become f32. True when one was not. */
static bool widen(rn_executor *e, const int32_t *tensors, int count)
{
    bool changed = false;
    for (int i = 0; i < count; i++) {
        if (tensors[i] == RN_NONE || e->tensors[tensors[i]].dtype != e->types.maps) continue;
        e->tensors[tensors[i]].dtype = RN_DTYPE_F32;
        changed = true;
    }
    return changed;
}

static bool is_narrow(const rn_executor *e, int32_t tensor)
{
    return tensor != RN_NONE && e->tensors[tensor].dtype == e->types.maps;
}

static const rn_op *writer_of(const rn_plan *plan, int32_t tensor)
{
    for (int32_t o = 0; o < plan->op_count; o++) {
        if (plan->ops[o].outputs[0] == tensor || plan->ops[o].outputs[1] == tensor) return &plan->ops[o];
    }
    return NULL;
}

/* Whether at most `most` convolutions lie between what callers fill and the tensor, along the first inputs. */
static bool is_early(const rn_plan *plan, int32_t tensor, int32_t most)
{
    for (const rn_op *op = writer_of(plan, tensor); op; op = writer_of(plan, op->inputs[0])) {
        if (op->kind == RN_OP_CONV2D && most-- == 0) return false;
        if (op->kind == RN_OP_ADD) return false;
    }
    return true;
}

/* Whether what a convolution reads, maps or weights, may be rounded to bf16. What the first ones read has few channels, so that its roundings do not
 * average out, and all that follows sees them: they make more than half of the error's variance on the bundled network, and these layers are a hundredth
 * of ResNet-101's multiplications. */
static bool may_round(const rn_executor *e, const rn_op *op)
{
    return !is_early(e->plan, op->inputs[0], 1);
}

static bool reads_narrow(const rn_executor *e, const rn_op *op)
{
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, op, 1);
    return e->kernels.conv2d_tile[e->types.maps].run && rn_conv2d_direct_fits(&args) && may_round(e, op);
}

/* Passes the wish for narrow tensors on. */
static bool spread(rn_executor *e, const rn_op *op)
{
    const int32_t tensors[] = {op->inputs[0], op->inputs[1], op->outputs[0]};
    switch (op->kind) {
    case RN_OP_ADD:
    case RN_OP_MAX_POOL:
        return (is_narrow(e, tensors[0]) || is_narrow(e, tensors[1]) || is_narrow(e, tensors[2])) && narrow(e, tensors, 3);
    case RN_OP_SCALE_SHIFT:
        return is_narrow(e, tensors[0]) && narrow(e, &tensors[2], 1);
    default:
        return false;
    }
}

/* Whether a scale and shift from x to y is one that the kernel for narrow maps can do, whose x may be f32. */
static bool narrows(const rn_executor *e, int32_t x, int32_t y)
{
    return is_narrow(e, y) && e->kernels.scale_shift[e->types.maps].run && (is_narrow(e, x) || e->tensors[x].dtype == RN_DTYPE_F32);
}

/* The tensors become f32 when one of them is not narrow, or when `kernel` is false. */
static bool unify(rn_executor *e, bool kernel, const int32_t *tensors, int count)
{
    for (int i = 0; i < count && kernel; i++) kernel = tensors[i] == RN_NONE || is_narrow(e, tensors[i]);
    return !kernel && widen(e, tensors, count);
}

/* A reader of a map, narrow where the kernel is there, and of something that is f32 in any case. */
static bool settle_reader(rn_executor *e, bool kernel, int32_t map, int32_t wide)
{
    const bool changed = !kernel && widen(e, &map, 1);
    return widen(e, &wide, 1) || changed;
}

static bool settle(rn_executor *e, const rn_op *op)
{
    const int32_t tensors[] = {op->inputs[0], op->inputs[1], op->outputs[0]};
    switch (op->kind) {
    case RN_OP_CONV2D:
        return !reads_narrow(e, op) && widen(e, tensors, 1);
    case RN_OP_SCALE_SHIFT:
        return !narrows(e, tensors[0], tensors[2]) && widen(e, tensors, 3);
    case RN_OP_ADD:
        return unify(e, e->kernels.add[e->types.maps].run, tensors, 3);
    case RN_OP_MAX_POOL:
        return unify(e, e->kernels.max_pool[e->types.maps].run, tensors, 3);
    case RN_OP_GLOBAL_AVERAGE_POOL:
        return settle_reader(e, e->kernels.global_average_pool[e->types.maps].run, tensors[0], tensors[2]);
    case RN_OP_CLASS_MAP:
        return settle_reader(e, e->kernels.class_map[e->types.maps].run, tensors[0], tensors[1]);
    default:
        return widen(e, tensors, 3);
    }
}

static bool is_chained(const rn_executor *e, const rn_op *op)
{
    if (op->kind != RN_OP_CONV2D && op->kind != RN_OP_DENSE) return false;
    rn_conv2d_args args = rn__cpu_conv2d_args(e, op, 1);
    args.chained = true;
    return args.x.dtype == RN_DTYPE_F32 && rn_conv2d_tile_for(&e->kernels, &args).run && rn_conv2d_direct_fits(&args) && may_round(e, op);
}

static void narrow_maps(rn_executor *e)
{
    const rn_plan *plan = e->plan;
    for (int32_t o = 0; o < plan->op_count; o++) {
        const rn_op *op = &plan->ops[o];
        if (op->kind == RN_OP_CONV2D && reads_narrow(e, op)) narrow(e, op->inputs, 1);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (int32_t o = plan->op_count - 1; o >= 0; o--) changed = spread(e, &plan->ops[o]) || changed;
    }
    for (int32_t s = 0; s < plan->signature_count; s++) widen(e, &plan->signatures[s].feed, 1);
    for (bool changed = true; changed;) {
        changed = false;
        for (int32_t o = 0; o < plan->op_count; o++) changed = settle(e, &plan->ops[o]) || changed;
    }
}

void rn__cpu_choose_types(rn_executor *e)
{
    const rn_plan *plan = e->plan;
    for (int32_t t = 0; t < plan->tensor_count; t++) e->tensors[t].dtype = plan->tensors[t].dtype;
    if (e->types.maps != RN_DTYPE_F32) narrow_maps(e);
    for (int32_t o = 0; o < plan->op_count && e->types.weights == RN_DTYPE_BF16; o++) e->chained[o] = is_chained(e, &plan->ops[o]);
}
