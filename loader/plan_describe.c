/* What kind of ResNet a plan is, read from its residual units.
 *
 * A unit is an addition of two activations. Each of its branches is followed back, through operations with one input, to the tensor where
 * the branches part; the main path is the one with more convolutions. Depth is what He et al. count: the convolutions of all main paths,
 * the first convolution and the classifier. v1: ReLU right after the addition (arXiv:1512.03385); v1.5: the same with the stride on the
 * 3x3; v2: the sum goes on as it is (arXiv:1603.05027).
 */
#include <stdio.h>

#include "loader/plan_share.h"

enum { MAX_BRANCH = 32 };

static const rn_op *writer_of(const rn_plan *plan, int32_t tensor)
{
    for (int32_t i = 0; i < plan->op_count; i++) {
        if (plan->ops[i].outputs[0] == tensor) return &plan->ops[i];
    }
    return NULL;
}

/* A branch, last tensor first: tensors[i], and the convolutions between it and the addition. */
typedef struct branch {
    int32_t tensors[MAX_BRANCH], convolutions[MAX_BRANCH], count;
    bool strided_3x3, grouped;
} branch;

static branch walk_back(const rn_plan *plan, int32_t tensor)
{
    branch b = {.count = 0};
    int32_t convolutions = 0;
    while (b.count < MAX_BRANCH) {
        b.tensors[b.count] = tensor;
        b.convolutions[b.count++] = convolutions;
        const rn_op *op = writer_of(plan, tensor);
        if (!op || op->kind == RN_OP_ADD || op->kind == RN_OP_IMAGE || op->kind == RN_OP_FIT) break;
        if (op->kind == RN_OP_CONV2D) {
            const rn_conv2d_op *conv = &op->u.conv2d;
            convolutions++;
            b.strided_3x3 |= conv->r == 3 && conv->s == 3 && conv->stride_h > 1;
            b.grouped |= conv->groups > 1;
        }
        tensor = op->inputs[0];
    }
    return b;
}

/* Convolutions of the longer branch down to where both part; 0 when they do not meet. */
static int32_t main_path(const branch *a, const branch *b)
{
    for (int32_t i = 0; i < a->count; i++) {
        for (int32_t j = 0; j < b->count; j++) {
            if (a->tensors[i] != b->tensors[j]) continue;
            return a->convolutions[i] > b->convolutions[j] ? a->convolutions[i] : b->convolutions[j];
        }
    }
    return 0;
}

/* True when all that reads the sum is one ReLU. */
static bool relu_follows(const rn_plan *plan, int32_t sum)
{
    int32_t readers = 0, relus = 0;
    for (int32_t i = 0; i < plan->op_count; i++) {
        const rn_op *op = &plan->ops[i];
        if (op->inputs[0] != sum && op->inputs[1] != sum) continue;
        const rn_scale_shift_op *s = &op->u.scale_shift;
        readers++;
        relus += op->kind == RN_OP_SCALE_SHIFT && s->relu && s->scale == RN_NONE && s->shift == RN_NONE;
    }
    return readers == 1 && relus == 1;
}

/* Classes: the width of the last dense layer; 0 without one. */
static int32_t classes_of(const rn_plan *plan)
{
    int32_t classes = 0;
    for (int32_t i = 0; i < plan->op_count; i++) {
        if (plan->ops[i].kind == RN_OP_DENSE) classes = plan->tensors[plan->ops[i].outputs[0]].c;
    }
    return classes;
}

/* What the first convolution that is no permutation of channels reads. */
static const rn_plan_tensor *picture_of(const rn_plan *plan)
{
    for (int32_t i = 0; i < plan->op_count; i++) {
        const rn_op *op = &plan->ops[i];
        if (op->kind == RN_OP_CONV2D && op->u.conv2d.r * op->u.conv2d.s > 1) return &plan->tensors[op->inputs[0]];
    }
    return NULL;
}

void rn__plan_describe(rn_plan *plan)
{
    int32_t units = 0, post = 0, convolutions = 0;
    bool strided_3x3 = false, grouped = false;
    for (int32_t i = 0; i < plan->op_count; i++) {
        const rn_op *op = &plan->ops[i];
        if (op->kind != RN_OP_ADD) continue;
        const branch a = walk_back(plan, op->inputs[0]), b = walk_back(plan, op->inputs[1]);
        const int32_t path = main_path(&a, &b);
        if (path == 0) continue;
        units++;
        convolutions += path;
        post += relu_follows(plan, op->outputs[0]);
        strided_3x3 |= path == 3 && (a.strided_3x3 || b.strided_3x3); /* a unit of two 3x3 has its stride nowhere else */
        grouped |= a.grouped || b.grouped;
    }
    char size[64] = "", classes[64] = "";
    const rn_plan_tensor *picture = picture_of(plan);
    if (picture) snprintf(size, sizeof size, ", %dx%dx%d", picture->h, picture->w, picture->c);
    if (classes_of(plan)) snprintf(classes, sizeof classes, ", %d classes", classes_of(plan));
    if (units == 0) {
        snprintf(plan->architecture, sizeof plan->architecture, "network without residual units%s%s", size, classes);
        return;
    }
    const char *version = 2 * post <= units ? "v2" : strided_3x3 ? "v1.5" : "v1";
    snprintf(plan->architecture, sizeof plan->architecture, "%s-%d %s%s%s", grouped ? "ResNeXt" : "ResNet", convolutions + 2, version, size,
             classes);
}
