/* Builds a ResNet operation by operation. Weights are drawn as He initialisation does, and the last batch norm of each block is damped, so that
 * activations keep their size through a hundred layers and rounding errors mean what they mean in a trained network. */
#include "engine/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The network under construction; `err` and the first failure travel with it. */
typedef struct {
    rn_plan *plan;
    const rn_synthetic_options *options;
    uint64_t random;
    rn_status status;
    rn_error *err;
    char scope[64]; /* name of the block, in front of every name */
} builder;

/* Uniform in [-1, 1): the upper bits of a linear congruential generator. */
static float draw(builder *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(b->random >> 32) * 0x1p-31f;
}

static void note(builder *b, rn_status status)
{
    if (b->status == RN_STATUS_OK) b->status = status;
}

/* Weights drawn from centre +- spread. */
static int32_t weights(builder *b, const char *name, int32_t rank, const int32_t *dims, float centre, float spread)
{
    if (b->status != RN_STATUS_OK) return RN_NONE;
    char full[RN_PLAN_NAME_BYTES];
    snprintf(full, sizeof full, "%s/%s", b->scope, name);
    int32_t index = RN_NONE;
    void *data;
    note(b, rn_plan_new_weights(b->plan, full, RN_DTYPE_F32, rank, dims, &data, &index, b->err));
    if (b->status != RN_STATUS_OK) return RN_NONE;
    float *to = data;
    for (int64_t i = 0; i < b->plan->weights[index].element_count; i++) to[i] = centre + spread * draw(b);
    return index;
}

static int32_t tensor(builder *b, const char *name, rn_dtype dtype, int32_t h, int32_t w, int32_t c)
{
    if (b->status != RN_STATUS_OK) return RN_NONE;
    char full[RN_PLAN_NAME_BYTES];
    snprintf(full, sizeof full, "%s/%s", b->scope, name);
    int32_t index = RN_NONE;
    note(b, rn_plan_add_tensor(b->plan, full, dtype, h, w, c, &index, b->err));
    return index;
}

/* Adds `op` with a new output [h,w,c] and returns that tensor. */
static int32_t add_op(builder *b, rn_op op, const char *name, int32_t x, int32_t x2, int32_t h, int32_t w, int32_t c)
{
    const int32_t y = tensor(b, name, RN_DTYPE_F32, h, w, c);
    if (b->status != RN_STATUS_OK) return RN_NONE;
    snprintf(op.name, sizeof op.name, "%s/%s", b->scope, name);
    op.inputs[0] = x;
    op.inputs[1] = x2;
    op.outputs[0] = y;
    op.outputs[1] = RN_NONE;
    note(b, rn_plan_add_op(b->plan, &op, NULL, b->err));
    return y;
}

static rn_plan_tensor shape_of(const builder *b, int32_t x)
{
    return x == RN_NONE ? (rn_plan_tensor){.h = 1, .w = 1, .c = 1} : b->plan->tensors[x];
}

static int32_t conv(builder *b, const char *name, int32_t x, int32_t size, int32_t stride, int32_t k, int32_t groups, bool bias)
{
    const rn_plan_tensor in = shape_of(b, x);
    const int32_t pad = size / 2, h = rn_plan_window_output(in.h, size, stride, pad, pad), w = rn_plan_window_output(in.w, size, stride, pad, pad);
    const int32_t dims[4] = {size, size, in.c / groups, k};
    char role[32];
    snprintf(role, sizeof role, "%s_filter", name);
    rn_op op = {.kind = RN_OP_CONV2D};
    op.u.conv2d = (rn_conv2d_op){
        .r = size, .s = size, .stride_h = stride, .stride_w = stride, .pad_top = pad, .pad_left = pad, .pad_bottom = pad, .pad_right = pad,
        .groups = groups, .bias = RN_NONE, .scale2 = RN_NONE, .shift2 = RN_NONE,
        .filter = weights(b, role, 4, dims, 0, sqrtf(6.0f / (float)(size * size * dims[2]))),
    };
    snprintf(role, sizeof role, "%s_bias", name);
    if (bias) op.u.conv2d.bias = weights(b, role, 1, &k, 0, 0.1f);
    return add_op(b, op, name, x, RN_NONE, h, w, k);
}

/* Batch normalisation as scale and shift; gain is the mean scale. */
static int32_t norm(builder *b, const char *name, int32_t x, float gain, bool relu)
{
    const rn_plan_tensor in = shape_of(b, x);
    rn_op op = {.kind = RN_OP_SCALE_SHIFT};
    char role[32];
    snprintf(role, sizeof role, "%s_scale", name);
    op.u.scale_shift.scale = weights(b, role, 1, &in.c, gain, gain * 0.3f);
    snprintf(role, sizeof role, "%s_shift", name);
    op.u.scale_shift.shift = weights(b, role, 1, &in.c, 0, 0.1f);
    op.u.scale_shift.relu = relu;
    return add_op(b, op, name, x, RN_NONE, in.h, in.w, in.c);
}

static int32_t add(builder *b, const char *name, int32_t x, int32_t y, bool relu)
{
    const rn_plan_tensor in = shape_of(b, x);
    return add_op(b, (rn_op){.kind = RN_OP_ADD, .u.add.relu = relu}, name, x, y, in.h, in.w, in.c);
}

static int32_t max_pool(builder *b, const char *name, int32_t x, int32_t size, int32_t stride, int32_t before, int32_t after, bool pad_zero)
{
    const rn_plan_tensor in = shape_of(b, x);
    rn_op op = {.kind = RN_OP_MAX_POOL};
    op.u.max_pool = (rn_max_pool_op){.r = size, .s = size, .stride_h = stride, .stride_w = stride, .pad_top = before, .pad_left = before,
                                     .pad_bottom = after, .pad_right = after, .pad_zero = pad_zero};
    return add_op(b, op, name, x, RN_NONE, rn_plan_window_output(in.h, size, stride, before, after),
                  rn_plan_window_output(in.w, size, stride, before, after), in.c);
}

/* Keras: the stride sits on the first 1x1, every convolution has a bias, ReLU follows the addition. */
static int32_t block_v1(builder *b, int32_t x, int32_t width, int32_t stride, bool project)
{
    int32_t shortcut = x;
    if (project) shortcut = norm(b, "0_bn", conv(b, "0_conv", x, 1, stride, 4 * width, 1, true), 0.7f, false);
    int32_t y = norm(b, "1_bn", conv(b, "1_conv", x, 1, stride, width, 1, true), 1, true);
    y = norm(b, "2_bn", conv(b, "2_conv", y, 3, 1, width, b->options->groups, true), 1, true);
    y = norm(b, "3_bn", conv(b, "3_conv", y, 1, 1, 4 * width, 1, true), 0.3f, false);
    return add(b, "add", shortcut, y, true);
}

/* TF-slim: relu(bn(x)) feeds both branches, or only the residual one where the shortcut is x or every second pixel of it; the stride sits on
 * the 3x3 of a stage's last block. */
static int32_t block_v2(builder *b, int32_t x, int32_t width, int32_t stride, bool project)
{
    const int32_t pre = norm(b, "preact", x, 1, true);
    int32_t shortcut = project ? conv(b, "shortcut", pre, 1, stride, 4 * width, 1, true) : x;
    if (!project && stride > 1) shortcut = max_pool(b, "subsample", x, 1, stride, 0, 0, false);
    int32_t y = norm(b, "conv1_bn", conv(b, "conv1", pre, 1, 1, width, 1, false), 1, true);
    y = norm(b, "conv2_bn", conv(b, "conv2", y, 3, stride, width, b->options->groups, false), 0.3f, true);
    return add(b, "add", shortcut, conv(b, "conv3", y, 1, 1, 4 * width, 1, true), false);
}

static int32_t stages(builder *b, int32_t x)
{
    const rn_synthetic_options *o = b->options;
    const bool v2 = o->version == 2;
    for (int stage = 0; stage < 4; stage++) {
        for (int32_t i = 0; i < o->blocks[stage]; i++) {
            snprintf(b->scope, sizeof b->scope, "conv%d_block%d", stage + 2, i + 1);
            const int32_t width = o->width << stage;
            const bool strided = v2 ? stage < 3 && i + 1 == o->blocks[stage] : stage > 0 && i == 0;
            x = (v2 ? block_v2 : block_v1)(b, x, width, strided ? 2 : 1, i == 0);
        }
    }
    return x;
}

static int32_t stem(builder *b, int32_t x)
{
    const rn_synthetic_options *o = b->options;
    snprintf(b->scope, sizeof b->scope, "conv1");
    x = conv(b, "conv", x, 7, 2, o->width, 1, true);
    if (o->version == 2) return max_pool(b, "pool", x, 3, 2, 0, 1, false);
    return max_pool(b, "pool", norm(b, "bn", x, 1, true), 3, 2, 1, 1, true);
}

static rn_tensor_spec spec(const builder *b, const char *name, int32_t tensor, int32_t rank)
{
    const rn_plan_tensor t = shape_of(b, tensor);
    rn_tensor_spec s = {.dtype = t.dtype, .rank = rank, .tensor = tensor, .dims = {-1, rank == 2 ? t.c : t.h, t.w, t.c}};
    snprintf(s.name, sizeof s.name, "%s", name);
    snprintf(s.tf_name, sizeof s.tf_name, "%s:0", name);
    return s;
}

/* Two outputs: values and indexes of the largest probabilities. */
static void add_top_k(builder *b, int32_t x, rn_signature *signature)
{
    const int32_t k = b->options->top_k, indexes = tensor(b, "indexes", RN_DTYPE_I32, 1, 1, k);
    const int32_t values = add_op(b, (rn_op){.kind = RN_OP_TOP_K, .u.top_k.k = k}, "top_k", x, RN_NONE, 1, 1, k);
    if (b->status != RN_STATUS_OK) return;
    b->plan->ops[b->plan->op_count - 1].outputs[1] = indexes;
    signature->outputs[1] = spec(b, "values", values, 2);
    signature->outputs[2] = spec(b, "indexes", indexes, 2);
    signature->output_count = 3;
}

static void build(builder *b)
{
    const rn_synthetic_options *o = b->options;
    snprintf(b->scope, sizeof b->scope, "head");
    const int32_t input = tensor(b, "inputs", o->u8_input ? RN_DTYPE_U8 : RN_DTYPE_F32, o->side, o->side, 3);
    int32_t x = input;
    if (o->u8_input) {
        rn_op op = {.kind = RN_OP_SCALE_SHIFT};
        const int32_t channels = 3;
        op.u.scale_shift.scale = weights(b, "input_scale", 1, &channels, 0.017f, 0.001f);
        op.u.scale_shift.shift = weights(b, "input_shift", 1, &channels, -2, 0.2f);
        x = add_op(b, op, "normalise", x, RN_NONE, o->side, o->side, 3);
    }
    x = stages(b, stem(b, x));
    snprintf(b->scope, sizeof b->scope, "tail");
    if (o->version == 2) x = norm(b, "postnorm", x, 1, true);
    const int32_t c = shape_of(b, x).c;
    x = add_op(b, (rn_op){.kind = RN_OP_GLOBAL_AVERAGE_POOL}, "average", x, RN_NONE, 1, 1, c);
    rn_op dense = {.kind = RN_OP_DENSE};
    dense.u.dense.weights = weights(b, "dense_weights", 2, (int32_t[]){c, o->classes}, 0, sqrtf(6.0f / (float)c));
    dense.u.dense.bias = weights(b, "dense_bias", 1, &o->classes, 0, 0.1f);
    x = add_op(b, dense, "logits", x, RN_NONE, 1, 1, o->classes);
    x = add_op(b, (rn_op){.kind = RN_OP_SOFTMAX}, "probabilities", x, RN_NONE, 1, 1, o->classes);
    if (b->status != RN_STATUS_OK) return;

    rn_signature signature = {.name = "serving_default", .method_name = "tensorflow/serving/predict", .output_count = 1};
    signature.input = spec(b, "inputs", input, 4);
    signature.outputs[0] = spec(b, "probabilities", x, 2);
    if (o->top_k) add_top_k(b, x, &signature);
    if (b->status == RN_STATUS_OK) note(b, rn_plan_add_signature(b->plan, &signature, NULL, b->err));
    if (b->status == RN_STATUS_OK) note(b, rn_plan_finish(b->plan, b->err));
}

rn_status rn_synthetic_resnet(const rn_synthetic_options *options, rn_plan **out, rn_error *err)
{
    builder b = {.plan = rn_plan_create(), .options = options, .random = options->seed, .err = err};
    if (!b.plan) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a plan");
    const int32_t *n = options->blocks;
    snprintf(b.plan->architecture, sizeof b.plan->architecture, "ResNet-%d v%d, %dx%dx3, %d classes, random weights",
             3 * (n[0] + n[1] + n[2] + n[3]) + 2, options->version, options->side, options->side, options->classes);
    build(&b);
    if (b.status == RN_STATUS_OK) *out = b.plan;
    else rn_plan_destroy(b.plan);
    return b.status;
}

rn_status rn_synthetic_by_name(const char *name, rn_plan **out, rn_error *err)
{
    static const struct {
        int depth;
        int32_t blocks[4];
    } sizes[] = {{50, {3, 4, 6, 3}}, {101, {3, 4, 23, 3}}, {152, {3, 8, 36, 3}}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int32_t version = 1; version <= 2; version++) {
            char known[32];
            snprintf(known, sizeof known, "resnet%d_v%d", sizes[i].depth, version);
            if (strcmp(name, known) != 0) continue;
            rn_synthetic_options options = {.version = version, .width = 64, .groups = 1, .side = 224, .classes = 1000, .seed = 1};
            memcpy(options.blocks, sizes[i].blocks, sizeof options.blocks);
            return rn_synthetic_resnet(&options, out, err);
        }
    }
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "synthetic network %s is not known: expected resnet50, resnet101 or resnet152 with _v1 or _v2", name);
}
