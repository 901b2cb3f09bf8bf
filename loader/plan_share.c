/* Signatures are imported without knowledge of each other, and each brings its own copy of the network. Here equal operations on equal
 * inputs become one, from the first to the last. What starts it is the input: where every reader of a signature's input has its equal among
 * the readers of some other tensor of that shape (the end of a picture front end, or another signature's input), both are one tensor.
 */
#include "loader/plan_share.h"

#include <stdlib.h>
#include <string.h>

/* same[t]: the tensor that t has become, itself to begin with. */
static int32_t find(const int32_t *same, int32_t tensor)
{
    while (tensor != RN_NONE && same[tensor] != tensor) tensor = same[tensor];
    return tensor;
}

static bool equal_parameters(const rn_op *a, const rn_op *b)
{
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case RN_OP_IMAGE: {
        const rn_image_op *x = &a->u.image, *y = &b->u.image;
        return x->crop == y->crop && x->method == y->method && x->grid == y->grid && x->full_h == y->full_h && x->full_w == y->full_w &&
               x->shorter == y->shorter && x->longer == y->longer && x->h == y->h && x->w == y->w && x->c == y->c && x->decode_channels == y->decode_channels &&
               x->reverse == y->reverse && x->clip == y->clip && x->as_float == y->as_float;
    }
    case RN_OP_FIT: {
        const rn_fit_op *x = &a->u.fit, *y = &b->u.fit;
        return x->channels_first == y->channels_first && x->top == y->top && x->left == y->left && x->crop_h == y->crop_h &&
               x->crop_w == y->crop_w && x->resize_h == y->resize_h && x->resize_w == y->resize_w && x->grid == y->grid &&
               x->after_top == y->after_top && x->after_left == y->after_left && x->h == y->h && x->w == y->w;
    }
    case RN_OP_CONV2D: {
        const rn_conv2d_op *x = &a->u.conv2d, *y = &b->u.conv2d;
        return x->filter == y->filter && x->stride_h == y->stride_h && x->stride_w == y->stride_w && x->pad_top == y->pad_top &&
               x->pad_left == y->pad_left && x->pad_bottom == y->pad_bottom && x->pad_right == y->pad_right && x->groups == y->groups &&
               x->bias == y->bias && x->relu == y->relu && x->scale2 == y->scale2 && x->shift2 == y->shift2;
    }
    case RN_OP_SCALE_SHIFT: {
        const rn_scale_shift_op *x = &a->u.scale_shift, *y = &b->u.scale_shift;
        return x->scale == y->scale && x->shift == y->shift && x->relu == y->relu;
    }
    case RN_OP_ADD: return a->u.add.relu == b->u.add.relu;
    case RN_OP_MAX_POOL: {
        const rn_max_pool_op *x = &a->u.max_pool, *y = &b->u.max_pool;
        return x->r == y->r && x->s == y->s && x->stride_h == y->stride_h && x->stride_w == y->stride_w && x->pad_top == y->pad_top &&
               x->pad_left == y->pad_left && x->pad_bottom == y->pad_bottom && x->pad_right == y->pad_right && x->pad_zero == y->pad_zero;
    }
    case RN_OP_DENSE:
        return a->u.dense.weights == b->u.dense.weights && a->u.dense.bias == b->u.dense.bias && a->u.dense.relu == b->u.dense.relu;
    case RN_OP_TOP_K: return a->u.top_k.k == b->u.top_k.k;
    case RN_OP_GLOBAL_AVERAGE_POOL:
    case RN_OP_SOFTMAX: return true;
    case RN_OP_QUANTIZE: /* no loader makes one */
    case RN_OP_CLASS_MAP: /* nor this */
    case RN_OP_COUNT: break;
    }
    return false;
}

/* ---- inputs ---- */

static bool same_shape(const rn_plan_tensor *a, const rn_plan_tensor *b)
{
    return a->dtype == b->dtype && a->h == b->h && a->w == b->w && a->c == b->c;
}

/* True when each operation that reads `input` alone has its equal among those that read `other` alone. */
static bool readers_agree(const rn_plan *plan, int32_t input, int32_t other)
{
    int32_t readers = 0;
    for (int32_t i = 0; i < plan->op_count; i++) {
        const rn_op *mine = &plan->ops[i];
        if (mine->inputs[0] != input || mine->inputs[1] != RN_NONE) continue;
        readers++;
        bool found = false;
        for (int32_t j = 0; j < plan->op_count && !found; j++) {
            const rn_op *theirs = &plan->ops[j];
            found = theirs->inputs[0] == other && theirs->inputs[1] == RN_NONE && equal_parameters(mine, theirs);
        }
        if (!found) return false;
    }
    return readers > 0;
}

/* Marks tensors that stand before the network proper: what picture front ends give, and what arithmetic per channel makes of it. None of
 * them can depend on a signature's numeric input. */
static void mark_front_ends(const rn_plan *plan, bool *front)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (int32_t i = 0; i < plan->op_count; i++) {
            const rn_op *op = &plan->ops[i];
            const bool part = op->kind == RN_OP_IMAGE || (op->kind == RN_OP_SCALE_SHIFT && front[op->inputs[0]]);
            if (!part || front[op->outputs[0]]) continue;
            front[op->outputs[0]] = moved = true;
        }
    }
}

static void join_inputs(const rn_plan *plan, const bool *front, int32_t *same)
{
    for (int32_t s = 0; s < plan->signature_count; s++) {
        const int32_t input = plan->signatures[s].input.tensor;
        const rn_plan_tensor *tensor = &plan->tensors[input];
        for (int32_t t = 0; t < plan->tensor_count && tensor->dtype != RN_DTYPE_STRING && same[input] == input; t++) {
            if (front[t] && same_shape(tensor, &plan->tensors[t]) && readers_agree(plan, input, t)) same[input] = t;
        }
        for (int32_t r = 0; r < s && same[input] == input; r++) { /* an earlier signature's input */
            const int32_t other = plan->signatures[r].input.tensor;
            if (same_shape(tensor, &plan->tensors[other]) && readers_agree(plan, input, other)) same[input] = find(same, other);
        }
    }
}

/* ---- operations ---- */

static bool equal_inputs(const rn_op *a, const rn_op *b)
{
    if (a->inputs[0] == b->inputs[0] && a->inputs[1] == b->inputs[1]) return true;
    return a->kind == RN_OP_ADD && a->inputs[0] == b->inputs[1] && a->inputs[1] == b->inputs[0];
}

/* Every operation comes after those of its signature that it reads, so that its inputs have become what they will be. */
static void join_operations(rn_plan *plan, int32_t *same)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < plan->op_count; i++) {
        rn_op op = plan->ops[i];
        for (int k = 0; k < 2; k++) op.inputs[k] = find(same, op.inputs[k]);
        int32_t twin = 0;
        while (twin < kept && !(equal_inputs(&plan->ops[twin], &op) && equal_parameters(&plan->ops[twin], &op))) twin++;
        if (twin == kept) {
            plan->ops[kept++] = op;
            continue;
        }
        for (int k = 0; k < 2; k++) {
            if (op.outputs[k] != RN_NONE) same[op.outputs[k]] = plan->ops[twin].outputs[k];
        }
    }
    plan->op_count = kept;
}

rn_status rn__plan_share(rn_plan *plan, rn_error *err)
{
    const size_t count = (size_t)plan->tensor_count + 1;
    int32_t *same = malloc(count * sizeof *same);
    bool *front = calloc(count, sizeof *front);
    rn_status status = RN_STATUS_OK;
    if (!same || !front) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to share %d operations", plan->op_count);
        goto cleanup;
    }
    for (int32_t t = 0; t < plan->tensor_count; t++) same[t] = t;
    mark_front_ends(plan, front);
    join_inputs(plan, front, same);
    join_operations(plan, same);
    for (int32_t s = 0; s < plan->signature_count; s++) {
        rn_signature *signature = &plan->signatures[s];
        signature->input.tensor = find(same, signature->input.tensor);
        for (int32_t i = 0; i < signature->output_count; i++) signature->outputs[i].tensor = find(same, signature->outputs[i].tensor);
    }
cleanup:
    free(same);
    free(front);
    return status;
}
