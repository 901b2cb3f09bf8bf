/* Batch normalisation and its relatives disappear into the operation before them.
 *
 * First every chain of scale_shift operations becomes one, so that a filter is rewritten only once; then a scale_shift after a convolution or
 * a dense layer multiplies its weights and becomes its bias and ReLU, and one after an addition that is nothing but a ReLU becomes the sum's. New
 * weights are computed in double precision from the stored ones and rounded once.
 */
#include <stdio.h>

#include "engine/passes.h"
#include "engine/plan_uses.h"

/* Entry i of weights [n] or [1]; `missing` where there are none. */
static double weight_at(const rn_plan *plan, int32_t weights, int64_t i, double missing)
{
    if (weights == RN_NONE) return missing;
    const rn_plan_weights *w = &plan->weights[weights];
    return ((const float *)w->data)[w->element_count == 1 ? 0 : i];
}

static int32_t weight_length(const rn_plan *plan, int32_t weights)
{
    return weights == RN_NONE ? 1 : plan->weights[weights].dims[0];
}

/* New weights that are named after operation `op`. */
static rn_status new_weights(rn_plan *plan, const rn_op *op, const char *role, int32_t rank, const int32_t *dims, int32_t *out, float **data,
                             rn_error *err)
{
    char name[RN_PLAN_NAME_BYTES];
    snprintf(name, sizeof name, "%.*s/%s", RN_PLAN_NAME_BYTES - 32, op->name, role);
    void *memory;
    RN_TRY(rn_plan_new_weights(plan, name, RN_DTYPE_F32, rank, dims, &memory, out, err));
    *data = memory;
    return RN_STATUS_OK;
}

/* (x * s1 + t1) * s2 + t2 = x * (s1 * s2) + (t1 * s2 + t2) */
static rn_status fold_into_scale_shift(rn_plan *plan, rn_op *first, const rn_op *second, rn_error *err)
{
    rn_scale_shift_op *a = &first->u.scale_shift;
    const rn_scale_shift_op *b = &second->u.scale_shift;
    const int32_t lengths[4] = {weight_length(plan, a->scale), weight_length(plan, a->shift), weight_length(plan, b->scale),
                                weight_length(plan, b->shift)};
    int32_t length = 1;
    for (int i = 0; i < 4; i++) length = lengths[i] > length ? lengths[i] : length;
    int32_t scale, shift;
    float *scales, *shifts;
    RN_TRY(new_weights(plan, second, "scale", 1, &length, &scale, &scales, err));
    RN_TRY(new_weights(plan, second, "shift", 1, &length, &shift, &shifts, err));
    for (int32_t c = 0; c < length; c++) {
        const double s2 = weight_at(plan, b->scale, c, 1);
        scales[c] = (float)(weight_at(plan, a->scale, c, 1) * s2);
        shifts[c] = (float)(weight_at(plan, a->shift, c, 0) * s2 + weight_at(plan, b->shift, c, 0));
    }
    *a = (rn_scale_shift_op){.scale = scale, .shift = shift, .relu = b->relu};
    return RN_STATUS_OK;
}

/* Weights whose last dimension is the output channel, and their bias. */
static rn_status fold_into_weights(rn_plan *plan, rn_op *op, const rn_scale_shift_op *fold, int32_t *weights, int32_t *bias, rn_error *err)
{
    const rn_plan_weights old = plan->weights[*weights];
    const int32_t k = old.dims[old.rank - 1];
    int32_t new_filter = *weights, new_bias;
    if (fold->scale != RN_NONE) {
        float *to;
        RN_TRY(new_weights(plan, op, "folded_weights", old.rank, old.dims, &new_filter, &to, err));
        const float *from = old.data;
        for (int64_t i = 0; i < old.element_count; i++) to[i] = (float)(from[i] * weight_at(plan, fold->scale, i % k, 1));
    }
    float *shifts;
    RN_TRY(new_weights(plan, op, "folded_bias", 1, &k, &new_bias, &shifts, err));
    for (int32_t i = 0; i < k; i++) {
        shifts[i] = (float)(weight_at(plan, *bias, i, 0) * weight_at(plan, fold->scale, i, 1) + weight_at(plan, fold->shift, i, 0));
    }
    *weights = new_filter;
    *bias = new_bias;
    return RN_STATUS_OK;
}

static bool takes_scale_shift(const rn_op *op, const rn_scale_shift_op *fold, bool chains)
{
    switch (op->kind) {
    case RN_OP_SCALE_SHIFT: return chains && !op->u.scale_shift.relu;
    case RN_OP_CONV2D: return !chains && !op->u.conv2d.relu && op->inputs[1] == RN_NONE && op->outputs[1] == RN_NONE;
    case RN_OP_DENSE: return !chains && !op->u.dense.relu;
    case RN_OP_ADD: return !chains && fold->scale == RN_NONE && fold->shift == RN_NONE;
    default: return false;
    }
}

static rn_status fold(rn_plan *plan, rn_op *op, const rn_op *scale_shift, rn_error *err)
{
    const rn_scale_shift_op *fold = &scale_shift->u.scale_shift;
    switch (op->kind) {
    case RN_OP_SCALE_SHIFT: return fold_into_scale_shift(plan, op, scale_shift, err);
    case RN_OP_CONV2D:
        op->u.conv2d.relu = fold->relu;
        return fold_into_weights(plan, op, fold, &op->u.conv2d.filter, &op->u.conv2d.bias, err);
    case RN_OP_ADD:
        op->u.add.relu |= fold->relu;
        return RN_STATUS_OK;
    default:
        op->u.dense.relu = fold->relu;
        return fold_into_weights(plan, op, fold, &op->u.dense.weights, &op->u.dense.bias, err);
    }
}

static rn_status sweep(rn_plan *plan, rn__plan_uses *uses, bool chains, rn_error *err)
{
    for (int32_t o = 0; o < plan->op_count; o++) {
        const rn_op *op = &plan->ops[o];
        if (op->kind != RN_OP_SCALE_SHIFT || op->outputs[0] == RN_NONE || !rn__plan_uses_once(uses, op->inputs[0])) continue;
        const int32_t before = uses->writer[op->inputs[0]];
        if (!takes_scale_shift(&plan->ops[before], &op->u.scale_shift, chains)) continue;
        RN_TRY(fold(plan, &plan->ops[before], op, err));
        rn__plan_uses_take_output(uses, plan, before, 0, o);
    }
    return RN_STATUS_OK;
}

rn_status rn_pass_fold_scale_shift(rn_plan *plan, rn_error *err)
{
    rn_status status;
    rn__plan_uses uses = {0};
    RN_TRY(rn__plan_uses_init(&uses, plan, err));
    RN_TRY_CLEANUP(status, sweep(plan, &uses, true, err));
    RN_TRY_CLEANUP(status, sweep(plan, &uses, false, err));
    status = rn_plan_finish(plan, err);
cleanup:
    rn__plan_uses_deinit(&uses);
    return status;
}
