/* Class activation maps: Zhou et al., "Learning Deep Features for Discriminative Localization", 2016.
 *
 * Where a feature map is averaged over its positions and a dense layer makes classes of the averages, the two commute: the dense layer's
 * weights of a class, applied to every position, say how much each of them speaks for it. A pre-activation network's last affine and ReLU
 * stand before the average, so they are part of the feature map. A 1x1 convolution of the averages is a dense layer too, which is how
 * TensorFlow 1 wrote it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/passes.h"
#include "engine/plan_uses.h"

/* What a map is made of: the feature map, and the operation that makes classes of its averages. */
typedef struct {
    int32_t features, scores, weights;
} head;

static bool dense_head(const rn_plan *plan, const rn_op *op, head *out)
{
    const rn_conv2d_op *conv = &op->u.conv2d;
    if (op->kind == RN_OP_DENSE) {
        out->weights = op->u.dense.weights;
    } else if (op->kind == RN_OP_CONV2D && conv->groups == 1 && op->inputs[1] == RN_NONE && op->outputs[0] != RN_NONE &&
               plan->weights[conv->filter].dtype == RN_DTYPE_F32 &&
               plan->weights[conv->filter].dims[0] * plan->weights[conv->filter].dims[1] == 1) {
        out->weights = conv->filter;
    } else {
        return false;
    }
    out->scores = op->outputs[0];
    return true;
}

/* The last operation of the signature's schedule that makes classes of averages. */
static bool find_head(const rn_plan *plan, const rn_signature *signature, const rn__plan_uses *uses, head *out)
{
    for (int32_t i = signature->op_count - 1; i >= 0; i--) {
        const rn_op *op = &plan->ops[signature->ops[i]];
        const int32_t writer = uses->writer[op->inputs[0]];
        if (writer == RN_NONE || plan->ops[writer].kind != RN_OP_GLOBAL_AVERAGE_POOL || !dense_head(plan, op, out)) continue;
        out->features = plan->ops[writer].inputs[0];
        return out->features != signature->feed;
    }
    return false;
}

/* The pixels that a position is made of lie around one point. Every window moves that point: by its padding, and by half of its size.
 * Strides of two with a pixel of padding on both sides put position 0 at the corner of the picture, not in the middle of the first cell of
 * a grid, so that a map drawn as such a grid is half a cell off. The branches of a sum agree but for roundings; the first one is followed.
 */
static void follow_windows(const rn_plan *plan, const rn__plan_uses *uses, int32_t tensor, rn_class_map_op *out)
{
    float first_h = 0, first_w = 0, step_h = 1, step_w = 1;
    for (int32_t o = uses->writer[tensor]; o != RN_NONE && plan->ops[o].kind != RN_OP_IMAGE; o = uses->writer[plan->ops[o].inputs[0]]) {
        const rn_conv2d_op *conv = &plan->ops[o].u.conv2d;
        const rn_max_pool_op *pool = &plan->ops[o].u.max_pool;
        const bool is_conv = plan->ops[o].kind == RN_OP_CONV2D;
        if (!is_conv && plan->ops[o].kind != RN_OP_MAX_POOL) continue;
        const int32_t stride_h = is_conv ? conv->stride_h : pool->stride_h, stride_w = is_conv ? conv->stride_w : pool->stride_w;
        const int32_t top = is_conv ? conv->pad_top : pool->pad_top, left = is_conv ? conv->pad_left : pool->pad_left;
        const int32_t r = is_conv ? conv->r : pool->r, s = is_conv ? conv->s : pool->s;
        first_h = first_h * (float)stride_h - (float)top + (float)(r - 1) / 2;
        first_w = first_w * (float)stride_w - (float)left + (float)(s - 1) / 2;
        step_h *= (float)stride_h;
        step_w *= (float)stride_w;
    }
    out->first_h = first_h + 0.5f; /* a pixel's middle is half a pixel from its corner */
    out->first_w = first_w + 0.5f;
    out->step_h = step_h;
    out->step_w = step_w;
}

/* The map that another signature's explanation is already, or RN_NONE. */
static int32_t find_map(const rn_plan *plan, const head *h)
{
    for (int32_t o = 0; o < plan->op_count; o++) {
        const rn_op *op = &plan->ops[o];
        if (op->kind == RN_OP_CLASS_MAP && op->inputs[0] == h->features && op->inputs[1] == h->scores) return op->outputs[0];
    }
    return RN_NONE;
}

static rn_status add_map(rn_plan *plan, const rn__plan_uses *uses, const head *h, int32_t *out, rn_error *err)
{
    const rn_plan_tensor features = plan->tensors[h->features];
    rn_op op = {
        .kind = RN_OP_CLASS_MAP, .inputs = {h->features, h->scores}, .outputs = {RN_NONE, RN_NONE}, .u.class_map = {.weights = h->weights}};
    follow_windows(plan, uses, h->features, &op.u.class_map);
    snprintf(op.name, sizeof op.name, "%.*s/class_map", RN_PLAN_NAME_BYTES - 32, features.name);
    RN_TRY(rn_plan_add_tensor(plan, op.name, RN_DTYPE_F32, features.h, features.w, 1, out, err));
    op.outputs[0] = *out;
    return rn_plan_add_op(plan, &op, NULL, err);
}

rn_status rn_plan_explain(rn_plan *plan, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    rn__plan_uses uses = {0};
    head *heads = calloc((size_t)plan->signature_count + 1, sizeof *heads);
    bool *has = calloc((size_t)plan->signature_count + 1, sizeof *has);
    if (!heads || !has) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to look at %d signatures", plan->signature_count);
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, rn__plan_uses_init(&uses, plan, err));
    for (int32_t s = 0; s < plan->signature_count; s++) has[s] = find_head(plan, &plan->signatures[s], &uses, &heads[s]);
    for (int32_t s = 0; s < plan->signature_count; s++) {
        if (!has[s]) continue;
        int32_t map = find_map(plan, &heads[s]);
        if (map == RN_NONE) RN_TRY_CLEANUP(status, add_map(plan, &uses, &heads[s], &map, err));
        plan->signatures[s].explanation = map;
    }
    status = rn_plan_finish(plan, err);
cleanup:
    rn__plan_uses_deinit(&uses);
    free(heads);
    free(has);
    return status;
}
