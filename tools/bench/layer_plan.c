/* From a line of the shapes file to a finished plan. Weights are uniform around zero, scales around one, so that results stay near one. */
#include "tools/bench/layer_plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tools/bench/failure.h"

#define LAYER "layer" /* the name of the operation that is measured */

static int32_t new_weights(rn_plan *plan, int32_t rank, const int32_t *dims, float centre, float spread)
{
    rn_error err = {0};
    int32_t index;
    void *data;
    bench_check(rn_plan_new_weights(plan, "weights", RN_DTYPE_F32, rank, dims, &data, &index, &err), &err);
    uint32_t random = 7;
    for (int64_t i = 0; i < plan->weights[index].element_count; i++) {
        random = random * 1664525u + 1013904223u;
        ((float *)data)[i] = centre + spread * (float)(int32_t)random * 0x1p-31f;
    }
    return index;
}

static int32_t new_tensor(rn_plan *plan, const char *name, rn_dtype dtype, int32_t h, int32_t w, int32_t c)
{
    rn_error err = {0};
    int32_t index;
    bench_check(rn_plan_add_tensor(plan, name, dtype, h, w, c, &index, &err), &err);
    return index;
}

static int32_t new_output(rn_plan *plan, const char *name, const rn_layer_shape *s)
{
    return new_tensor(plan, name, RN_DTYPE_F32, rn_layer_shape_p(s), rn_layer_shape_q(s), s->k);
}

/* [count] scales around one and shifts around zero, or RN_NONE where they are not wanted. */
static int32_t new_scale(rn_plan *plan, bool wanted, int32_t count)
{
    return wanted ? new_weights(plan, 1, &count, 1, 0.5f) : RN_NONE;
}
static int32_t new_shift(rn_plan *plan, bool wanted, int32_t count)
{
    return wanted ? new_weights(plan, 1, &count, 0, 1) : RN_NONE;
}

static void set_conv2d(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    const int32_t dims[4] = {s->r, s->s, s->c / s->groups, s->k};
    const bool second = rn_layer_shape_has(s, 'y'), first = !second || rn_layer_shape_has(s, 'x');
    op->kind = RN_OP_CONV2D;
    op->u.conv2d = (rn_conv2d_op){.r = s->r, .s = s->s, .stride_h = s->stride, .stride_w = s->stride, .pad_top = s->pad_top,
                                  .pad_left = s->pad_left, .pad_bottom = s->pad_bottom, .pad_right = s->pad_right, .groups = s->groups,
                                  .relu = rn_layer_shape_has(s, 'r'),
                                  .filter = new_weights(plan, 4, dims, 0, 1 / sqrtf((float)(s->r * s->s * dims[2]))),
                                  .bias = new_shift(plan, rn_layer_shape_has(s, 'b'), s->k),
                                  .scale2 = new_scale(plan, second, s->k), .shift2 = new_shift(plan, second, s->k)};
    if (first) op->outputs[0] = new_output(plan, "y", s);
    if (second) op->outputs[1] = new_output(plan, "second", s);
}

static void set_max_pool(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    op->kind = RN_OP_MAX_POOL;
    op->u.max_pool = (rn_max_pool_op){.r = s->r, .s = s->s, .stride_h = s->stride, .stride_w = s->stride, .pad_top = s->pad_top,
                                      .pad_left = s->pad_left, .pad_bottom = s->pad_bottom, .pad_right = s->pad_right,
                                      .pad_zero = rn_layer_shape_has(s, 'z')};
    op->outputs[0] = new_output(plan, "y", s);
}

static void set_dense(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    op->kind = RN_OP_DENSE;
    op->u.dense = (rn_dense_op){.weights = new_weights(plan, 2, (int32_t[]){s->c, s->k}, 0, 1 / sqrtf((float)s->c)),
                                .bias = new_shift(plan, rn_layer_shape_has(s, 'b'), s->k), .relu = rn_layer_shape_has(s, 'r')};
    op->outputs[0] = new_output(plan, "y", s);
}

static void set_add(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    op->kind = RN_OP_ADD;
    op->u.add.relu = rn_layer_shape_has(s, 'r');
    op->inputs[1] = op->inputs[0];
    op->outputs[0] = new_output(plan, "y", s);
}

static void set_global_average_pool(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    op->kind = RN_OP_GLOBAL_AVERAGE_POOL;
    op->outputs[0] = new_tensor(plan, "y", RN_DTYPE_F32, 1, 1, s->k);
}

static void set_softmax(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    op->kind = RN_OP_SOFTMAX;
    op->outputs[0] = new_output(plan, "y", s);
}

static void set_top_k(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    op->kind = RN_OP_TOP_K;
    op->u.top_k.k = s->k;
    op->outputs[0] = new_output(plan, "values", s);
    op->outputs[1] = new_tensor(plan, "indexes", RN_DTYPE_I32, 1, 1, s->k);
}

static void set_scale_shift(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    const bool both = rn_layer_shape_has(s, 'b');
    op->kind = RN_OP_SCALE_SHIFT;
    op->u.scale_shift = (rn_scale_shift_op){.scale = new_scale(plan, both, s->c), .shift = new_shift(plan, both, s->c),
                                            .relu = rn_layer_shape_has(s, 'r')};
    op->outputs[0] = new_output(plan, "y", s);
}

/* Two operations come into a plan by passes: around these it is built, and finish_plan finds them. */
static void set_class_map(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    rn_error err = {0};
    rn_op average = *op;
    strcpy(average.name, "average");
    strcpy(op->name, "scores");
    set_global_average_pool(plan, &(rn_layer_shape){.k = s->c}, &average);
    bench_check(rn_plan_add_op(plan, &average, NULL, &err), &err);
    op->inputs[0] = average.outputs[0];
    set_dense(plan, &(rn_layer_shape){.h = 1, .w = 1, .c = s->c, .k = s->k}, op);
}

static void set_quantize(rn_plan *plan, const rn_layer_shape *s, rn_op *op)
{
    strcpy(op->name, "reader");
    set_conv2d(plan, &(rn_layer_shape){.h = s->h, .w = s->w, .c = s->c, .k = s->k, .r = 1, .s = 1, .stride = 1, .groups = 1}, op);
}

static const struct {
    const char *name; /* in the shapes file */
    void (*set)(rn_plan *plan, const rn_layer_shape *shape, rn_op *op);
    rn_dtype input;
} operations[] = {
    {"conv2d", set_conv2d, RN_DTYPE_F32},
    {"max_pool", set_max_pool, RN_DTYPE_F32},
    {"dense", set_dense, RN_DTYPE_F32},
    {"add", set_add, RN_DTYPE_F32},
    {"quantize", set_quantize, RN_DTYPE_F32},
    {"class_map", set_class_map, RN_DTYPE_F32},
    {"global_average_pool", set_global_average_pool, RN_DTYPE_F32},
    {"softmax", set_softmax, RN_DTYPE_F32},
    {"top_k", set_top_k, RN_DTYPE_F32},
    {"scale_shift", set_scale_shift, RN_DTYPE_F32},
    {"scale_shift_u8", set_scale_shift, RN_DTYPE_U8},
};
enum { OPERATION_COUNT = sizeof operations / sizeof *operations };

static rn_tensor_spec spec(const rn_plan *plan, int32_t tensor, const char *name)
{
    const rn_plan_tensor *t = &plan->tensors[tensor];
    rn_tensor_spec s = {.dtype = t->dtype, .rank = 4, .dims = {-1, t->h, t->w, t->c}, .tensor = tensor};
    snprintf(s.name, sizeof s.name, "%s", name);
    return s;
}

/* A 1x1 convolution of x [h,w,c] in groups of so many channels, with ReLU or without; its output. Where they do not divide c, x itself. */
static int32_t add_neighbour(rn_plan *plan, int32_t x, int32_t group, bool relu)
{
    rn_error err = {0};
    const rn_plan_tensor t = plan->tensors[x];
    if (group == 0 || t.c % group != 0 || t.dtype != RN_DTYPE_F32) return x;
    rn_op op = {.name = "neighbour", .inputs = {x, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    const rn_layer_shape s = {.h = t.h, .w = t.w, .c = t.c, .k = t.c, .r = 1, .s = 1, .stride = 1, .groups = t.c / group, .flags = {relu ? 'r' : '-'}};
    set_conv2d(plan, &s, &op);
    bench_check(rn_plan_add_op(plan, &op, NULL, &err), &err);
    return op.outputs[0];
}

const rn_op *bench_layer_op(const rn_plan *plan)
{
    const rn_op *op = plan->ops;
    while (strcmp(op->name, LAYER) != 0) op++;
    return op;
}

static void finish_plan(rn_plan *plan, const char *operation, bool quantised)
{
    rn_error err = {0};
    bench_check(rn_plan_finish(plan, &err), &err);
    bench_check(rn_plan_explain(plan, &err), &err);
    if (quantised) bench_check(rn_synthetic_quantize(plan, &err), &err);
    for (int32_t o = 0; o < plan->op_count; o++) {
        rn_op *op = &plan->ops[o];
        const bool added = op->kind == RN_OP_CLASS_MAP || op->kind == RN_OP_QUANTIZE;
        if (added && strcmp(rn_op_kind_name(op->kind), operation) == 0) strcpy(op->name, LAYER);
    }
}

rn_plan *bench_layer_plan(const rn_layer_shape *s, int32_t group, bool quantised)
{
    rn_error err = {0};
    rn_plan *plan = rn_plan_create();
    if (!plan) bench_fail("no memory for a plan");
    int i = 0;
    while (i < OPERATION_COUNT && strcmp(operations[i].name, s->op) != 0) i++;
    if (i == OPERATION_COUNT) bench_fail("%s is no operation that a shapes file may name", s->op);
    if (operations[i].set == set_class_map && group == 0) group = 1; /* a map of the input itself would explain nothing */
    const int32_t feed = new_tensor(plan, "x", operations[i].input, s->h, s->w, s->c);
    const int32_t x = add_neighbour(plan, add_neighbour(plan, feed, group, true), group, true);
    rn_op op = {.name = LAYER, .inputs = {x, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    if (rn_layer_shape_has(s, 'a')) {
        rn_layer_shape plain = *s;
        rn_op residual = op;
        strcpy(plain.flags, "-");
        strcpy(residual.name, "residual");
        set_conv2d(plan, &plain, &residual);
        bench_check(rn_plan_add_op(plan, &residual, NULL, &err), &err);
        op.inputs[1] = residual.outputs[0];
    }
    operations[i].set(plan, s, &op);
    bench_check(rn_plan_add_op(plan, &op, NULL, &err), &err);
    rn_signature signature = {.name = "layer", .input = spec(plan, feed, "x")};
    for (int j = 0; j < 2; j++) {
        if (op.outputs[j] == RN_NONE) continue;
        signature.outputs[signature.output_count++] = spec(plan, add_neighbour(plan, op.outputs[j], group, false), j ? "second" : "first");
    }
    if (x != feed) signature.outputs[signature.output_count++] = spec(plan, add_neighbour(plan, x, group, false), "beside");
    bench_check(rn_plan_add_signature(plan, &signature, NULL, &err), &err);
    finish_plan(plan, s->op, quantised);
    return plan;
}
