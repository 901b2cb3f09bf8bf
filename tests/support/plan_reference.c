/* Tensors are dense blocks of their own, nothing is shared or reused, every operation is a call of its reference kernel. */
#include "tests/support/plan_reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu_kernels.h"

typedef struct {
    const rn_plan *plan;
    int32_t rows;
    void **data; /* [tensor] */
} state;

static rn_map map_of(const state *s, int32_t t)
{
    if (t == RN_NONE) return (rn_map){0};
    const rn_plan_tensor *tensor = &s->plan->tensors[t];
    const int64_t row = (int64_t)tensor->w * tensor->c;
    return (rn_map){s->data[t], tensor->h * row, row, tensor->c, tensor->dtype};
}

static const float *weights_of(const state *s, int32_t w)
{
    return w == RN_NONE ? NULL : s->plan->weights[w].data;
}

static bool per_channel(const state *s, int32_t w)
{
    return w != RN_NONE && s->plan->weights[w].element_count > 1;
}

static void run_conv2d(const state *s, const rn_op *op, const rn_plan_tensor *x, const rn_plan_tensor *y)
{
    const rn_conv2d_op *c = &op->u.conv2d;
    rn_conv2d_f32__ref(&(rn_conv2d_args){
        .x = map_of(s, op->inputs[0]), .residual = map_of(s, op->inputs[1]), .y = map_of(s, op->outputs[0]), .y2 = map_of(s, op->outputs[1]),
        .filter = weights_of(s, c->filter), .bias = weights_of(s, c->bias), .scale2 = weights_of(s, c->scale2), .shift2 = weights_of(s, c->shift2),
        .n = s->rows, .h = x->h, .w = x->w, .c = x->c, .p = y->h, .q = y->w, .k = y->c, .r = c->r, .s = c->s,
        .stride_h = c->stride_h, .stride_w = c->stride_w, .pad_top = c->pad_top, .pad_left = c->pad_left, .groups = c->groups,
        .row_begin = 0, .row_end = s->rows * y->h, .relu = c->relu});
}

static void run_scale_shift(const state *s, const rn_op *op, const rn_plan_tensor *x)
{
    const rn_scale_shift_op *p = &op->u.scale_shift;
    const rn_scale_shift_args args = {
        .x = map_of(s, op->inputs[0]), .y = map_of(s, op->outputs[0]), .scale = weights_of(s, p->scale), .shift = weights_of(s, p->shift),
        .scale_per_channel = per_channel(s, p->scale), .shift_per_channel = per_channel(s, p->shift), .h = x->h, .w = x->w, .c = x->c,
        .row_begin = 0, .row_end = s->rows * x->h, .relu = p->relu};
    if (x->dtype == RN_DTYPE_U8) rn_scale_shift_u8__ref(&args);
    else rn_scale_shift_f32__ref(&args);
}

static void run_op(const state *s, const rn_op *op)
{
    const rn_plan_tensor *x = &s->plan->tensors[op->inputs[0]], *y = &s->plan->tensors[op->outputs[op->outputs[0] == RN_NONE]];
    const rn_map in = map_of(s, op->inputs[0]), out = map_of(s, op->outputs[0]);
    switch (op->kind) {
    case RN_OP_CONV2D: run_conv2d(s, op, x, y); break;
    case RN_OP_SCALE_SHIFT: run_scale_shift(s, op, x); break;
    case RN_OP_ADD:
        rn_add_f32__ref(&(rn_add_args){.a = in, .b = map_of(s, op->inputs[1]), .y = out, .h = x->h, .w = x->w, .c = x->c,
                                       .row_begin = 0, .row_end = s->rows * x->h, .relu = op->u.add.relu});
        break;
    case RN_OP_MAX_POOL: {
        const rn_max_pool_op *p = &op->u.max_pool;
        rn_max_pool_f32__ref(&(rn_max_pool_args){.x = in, .y = out, .h = x->h, .w = x->w, .c = x->c, .p = y->h, .q = y->w, .r = p->r, .s = p->s,
                                                 .stride_h = p->stride_h, .stride_w = p->stride_w, .pad_top = p->pad_top, .pad_left = p->pad_left,
                                                 .row_begin = 0, .row_end = s->rows * y->h, .pad_zero = p->pad_zero});
        break;
    }
    case RN_OP_GLOBAL_AVERAGE_POOL:
        rn_global_average_pool_f32__ref(
            &(rn_global_average_pool_args){.x = in, .y = out, .h = x->h, .w = x->w, .c = x->c, .image_begin = 0, .image_end = s->rows});
        break;
    case RN_OP_DENSE:
        rn_dense_f32__ref(&(rn_dense_args){.x = in, .y = out, .weights = weights_of(s, op->u.dense.weights), .bias = weights_of(s, op->u.dense.bias),
                                           .c = x->c, .k = y->c, .image_begin = 0, .image_end = s->rows, .relu = op->u.dense.relu});
        break;
    case RN_OP_SOFTMAX:
        rn_softmax_f32__ref(&(rn_softmax_args){.x = in, .y = out, .h = x->h, .w = x->w, .c = x->c, .row_begin = 0, .row_end = s->rows * x->h});
        break;
    case RN_OP_TOP_K:
        rn_top_k_f32__ref(&(rn_top_k_args){.x = in, .values = out, .indexes = s->data[op->outputs[1]], .index_image = op->u.top_k.k, .c = x->c,
                                           .k = op->u.top_k.k, .image_begin = 0, .image_end = s->rows});
        break;
    case RN_OP_IMAGE:
    case RN_OP_FIT:
    case RN_OP_QUANTIZE:
    case RN_OP_CLASS_MAP:
    case RN_OP_COUNT: abort();
    }
}

static state run_plan(const rn_plan *plan, const rn_signature *signature, int32_t rows, const void *input)
{
    state s = {plan, rows, calloc((size_t)plan->tensor_count, sizeof(void *))};
    if (!s.data) abort();
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        s.data[t] = malloc((size_t)rows * rn_plan_tensor_bytes(&plan->tensors[t]) + 1);
        if (!s.data[t]) abort();
    }
    memcpy(s.data[signature->feed], input, (size_t)rows * rn_plan_tensor_bytes(&plan->tensors[signature->feed]));
    for (int32_t i = 0; i < signature->op_count; i++) run_op(&s, &plan->ops[signature->ops[i]]);
    return s;
}

static void free_state(state *s)
{
    for (int32_t t = 0; t < s->plan->tensor_count; t++) free(s->data[t]);
    free(s->data);
}

void rn_test_plan_run(const rn_plan *plan, const rn_signature *signature, int32_t rows, const void *input, void *const *outputs)
{
    state s = run_plan(plan, signature, rows, input);
    for (int32_t i = 0; i < signature->output_count; i++) {
        const int32_t t = signature->outputs[i].tensor;
        memcpy(outputs[i], s.data[t], (size_t)rows * rn_plan_tensor_bytes(&plan->tensors[t]));
    }
    free_state(&s);
}

void rn_test_plan_explain(const rn_plan *plan, const rn_signature *signature, int32_t rows, const void *input, int32_t *classes, float *maps)
{
    state s = run_plan(plan, signature, rows, input);
    const rn_op *op = &plan->ops[signature->class_map_op];
    const rn_plan_tensor *x = &plan->tensors[op->inputs[0]];
    const int32_t count = plan->tensors[op->inputs[1]].c;
    const float *weights = weights_of(&s, op->u.class_map.weights);
    float *of_classes = malloc((size_t)rows * (size_t)x->c * sizeof *of_classes);
    if (!of_classes) abort();
    for (int32_t i = 0; i < rows; i++) {
        const float *scores = (const float *)s.data[op->inputs[1]] + (int64_t)i * count;
        for (int32_t k = 0, asked = classes[i]; k < count && asked == RN_NONE; k++)
            if (classes[i] == RN_NONE || scores[k] > scores[classes[i]]) classes[i] = k;
        for (int32_t c = 0; c < x->c; c++) of_classes[(int64_t)i * x->c + c] = weights[(int64_t)c * count + classes[i]];
    }
    rn_class_map_f32__ref(&(rn_class_map_args){.x = map_of(&s, op->inputs[0]), .weights = of_classes, .y = maps, .h = x->h, .w = x->w, .c = x->c,
                                               .row_begin = 0, .row_end = rows * x->h});
    free(of_classes);
    free_state(&s);
}
