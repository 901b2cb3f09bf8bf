/* Convolutions and dense layers of a plan as shapes for the libraries. */
#include "engine/cuda/cuda_executor.h"

int32_t rn__cuda_conv_groups(int32_t groups, const rn__cuda_tensor *x, const rn__cuda_tensor *y)
{
    return x->c == x->channels && y->c == y->channels ? groups : 1;
}

rn__conv_shape rn__cuda_conv_shape(const rn_executor *e, const rn_op *op, int32_t rows)
{
    const rn__cuda_tensor *x = &e->tensors[op->inputs[0]], *y = &e->tensors[op->outputs[op->outputs[0] == RN_NONE]];
    rn__conv_shape shape = {.n = rows,
                            .h = x->h,
                            .w = x->w,
                            .c = x->c,
                            .k = y->c,
                            .p = y->h,
                            .q = y->w,
                            .r = 1,
                            .s = 1,
                            .stride_h = 1,
                            .stride_w = 1,
                            .groups = 1,
                            .x_dtype = x->dtype,
                            .y_dtype = y->dtype,
                            .tf32 = e->tf32};
    if (op->kind == RN_OP_DENSE) {
        shape.relu = op->u.dense.relu;
        return shape;
    }
    const rn_conv2d_op *conv = &op->u.conv2d;
    shape.r = conv->r;
    shape.s = conv->s;
    shape.stride_h = conv->stride_h;
    shape.stride_w = conv->stride_w;
    shape.pad_top = conv->pad_top;
    shape.pad_left = conv->pad_left;
    shape.pad_bottom = conv->pad_bottom;
    shape.pad_right = conv->pad_right;
    shape.groups = rn__cuda_conv_groups(conv->groups, x, y);
    shape.residual = op->inputs[1] != RN_NONE;
    shape.relu = conv->relu;
    shape.second = op->outputs[1] != RN_NONE;
    return shape;
}

rn_status rn__cuda_convs_add(rn_executor *e, rn_error *err)
{
    for (int32_t o = 0; o < e->plan->op_count; o++) {
        const rn_op *op = &e->plan->ops[o];
        if (op->kind != RN_OP_CONV2D && op->kind != RN_OP_DENSE) continue;
        for (int32_t b = 0; b < e->bucket_count; b++) {
            const rn__conv_shape shape = rn__cuda_conv_shape(e, op, e->buckets[b]);
            RN_TRY(rn__conv_set_add(e->convs, &shape, op->name, &e->steps[o].conv[b], err));
        }
    }
    return RN_STATUS_OK;
}
