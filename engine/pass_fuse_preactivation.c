/* In a pre-activation network relu(bn(x)) feeds a block's first convolution while x itself goes on as the shortcut. The convolution that makes
 * x computes both while the values are in registers; where nobody reads x itself, it is not even stored. */
#include <stdio.h>

#include "engine/passes.h"
#include "engine/plan_uses.h"

/* Weights [k] for the second output: `weights` itself, or its one value (`missing` where there are none) k times. */
static rn_status widen(rn_plan *plan, const rn_op *op, const char *role, int32_t weights, float missing, int32_t k, int32_t *out, rn_error *err)
{
    if (weights != RN_NONE && plan->weights[weights].dims[0] == k) {
        *out = weights;
        return RN_STATUS_OK;
    }
    const float value = weights == RN_NONE ? missing : *(const float *)plan->weights[weights].data;
    char name[RN_PLAN_NAME_BYTES];
    snprintf(name, sizeof name, "%.*s/%s", RN_PLAN_NAME_BYTES - 32, op->name, role);
    void *data;
    RN_TRY(rn_plan_new_weights(plan, name, RN_DTYPE_F32, 1, &k, &data, out, err));
    for (int32_t i = 0; i < k; i++) ((float *)data)[i] = value;
    return RN_STATUS_OK;
}

static bool is_preactivation(const rn_plan *plan, const rn__plan_uses *uses, const rn_op *op)
{
    if (op->kind != RN_OP_SCALE_SHIFT || !op->u.scale_shift.relu || uses->writer[op->inputs[0]] == RN_NONE) return false;
    const rn_op *conv = &plan->ops[uses->writer[op->inputs[0]]];
    return conv->kind == RN_OP_CONV2D && conv->outputs[0] == op->inputs[0] && conv->outputs[1] == RN_NONE;
}

static rn_status fuse(rn_plan *plan, rn__plan_uses *uses, int32_t o, rn_error *err)
{
    const rn_op *op = &plan->ops[o];
    const int32_t x = op->inputs[0], k = plan->tensors[x].c, writer = uses->writer[x];
    int32_t scale, shift;
    RN_TRY(widen(plan, op, "scale", op->u.scale_shift.scale, 1, k, &scale, err));
    RN_TRY(widen(plan, op, "shift", op->u.scale_shift.shift, 0, k, &shift, err));
    rn_op *conv = &plan->ops[writer];
    conv->u.conv2d.scale2 = scale;
    conv->u.conv2d.shift2 = shift;
    rn__plan_uses_take_output(uses, plan, writer, 1, o);
    if (uses->reader_count[x] == 0 && !uses->is_public[x]) conv->outputs[0] = RN_NONE;
    return RN_STATUS_OK;
}

rn_status rn_pass_fuse_preactivation(rn_plan *plan, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    rn__plan_uses uses = {0};
    RN_TRY(rn__plan_uses_init(&uses, plan, err));
    for (int32_t o = 0; o < plan->op_count; o++) {
        if (is_preactivation(plan, &uses, &plan->ops[o])) RN_TRY_CLEANUP(status, fuse(plan, &uses, o, err));
    }
    status = rn_plan_finish(plan, err);
cleanup:
    rn__plan_uses_deinit(&uses);
    return status;
}

rn_status rn_plan_optimize(rn_plan *plan, rn_error *err)
{
    RN_TRY(rn_pass_fold_scale_shift(plan, err));
    RN_TRY(rn_pass_fuse_residual(plan, err));
    return rn_pass_fuse_preactivation(plan, err);
}
