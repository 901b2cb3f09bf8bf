/* Layers of a TensorFlow graph as operations of the plan: paddings, heads, forms that have to be refused, networks that signatures share.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "loader/plan_share.h"
#include "tests/support/tiny_graph.h"

static const float ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* A signature with float input "x" of h x w x c and the outputs that `outputs` lists, separated by spaces. */
typedef struct tiny_signature {
    Sm__Signature message;
    Sm__Signature__TensorEntry entries[5], *input, *outputs[4];
    Sm__TensorInfo infos[5];
    Sm__TensorShape shape;
    Sm__TensorShape__Dim dims[4], *dim_list[4];
    char names[5][64];
} tiny_signature;

static void make_signature(tiny_signature *s, const char *input, int64_t h, int64_t w, int64_t c, const char *outputs)
{
    const int64_t dims[] = {-1, h, w, c};
    memset(s, 0, sizeof *s);
    sm__signature__init(&s->message);
    sm__tensor_shape__init(&s->shape);
    for (int i = 0; i < 4; i++) {
        sm__tensor_shape__dim__init(&s->dims[i]);
        s->dims[i].size = dims[i];
        s->dim_list[i] = &s->dims[i];
    }
    s->shape.n_dim = 4;
    s->shape.dim = s->dim_list;
    for (int i = 0; i < 5; i++) {
        sm__signature__tensor_entry__init(&s->entries[i]);
        sm__tensor_info__init(&s->infos[i]);
        s->entries[i].value = &s->infos[i];
        s->entries[i].key = s->infos[i].name = s->names[i];
    }
    snprintf(s->names[0], sizeof s->names[0], "%s", input);
    s->infos[0].dtype = RN__DT_FLOAT;
    s->infos[0].tensor_shape = &s->shape;
    s->input = &s->entries[0];
    s->message.n_inputs = 1;
    s->message.inputs = &s->input;
    s->message.outputs = s->outputs;
    for (const char *at = outputs; *at;) {
        const size_t length = strcspn(at, " "), i = ++s->message.n_outputs;
        snprintf(s->names[i], sizeof s->names[i], "%.*s", (int)length, at);
        s->outputs[i - 1] = &s->entries[i];
        at += length + (at[length] == ' ');
    }
}

/* Imports outputs of the graph as a function of "x"; the plan is not finished. */
static rn_status import(tiny_graph *graph, const char *name, int64_t h, int64_t w, int64_t c, const char *outputs)
{
    static tiny_signature signature;
    const rn__value *value;
    make_signature(&signature, "x", h, w, c, outputs);
    if (!graph->plan) tiny_import(graph, "x", &value); /* prepares; a placeholder has no value by itself */
    return rn__import_signature(&graph->import, name, &signature.message, &graph->err);
}

static const rn_op *last_op(const tiny_graph *graph)
{
    assert_true(graph->plan->op_count > 0);
    return &graph->plan->ops[graph->plan->op_count - 1];
}

static void check_import(tiny_graph *graph, int64_t h, int64_t w, int64_t c, const char *outputs)
{
    if (import(graph, "serving_default", h, w, c, outputs) != RN_STATUS_OK) fail_msg("%s", graph->err.message);
    if (rn_plan_finish(graph->plan, &graph->err) != RN_STATUS_OK) fail_msg("%s", graph->err.message);
}

static void check_refusal(tiny_graph *graph, int64_t h, int64_t w, int64_t c, const char *outputs, const char *words)
{
    assert_int_equal(import(graph, "serving_default", h, w, c, outputs), RN_STATUS_UNSUPPORTED);
    if (!strstr(graph->err.message, words)) fail_msg("\"%s\" does not say \"%s\"", graph->err.message, words);
    assert_memory_equal(graph->err.message, "signature serving_default: ", 27);
}

static tiny_graph *with_input(void)
{
    tiny_graph *graph = tiny_create();
    tiny_add(&graph->body, "x", "Placeholder", "");
    return graph;
}

static tiny_node *add_window(tiny_body *b, const char *name, const char *op, const char *inputs, int64_t stride, const char *padding)
{
    tiny_node *node = tiny_add(b, name, op, inputs);
    tiny_attr_ints(node, "strides", 4, (int64_t[]){1, stride, stride, 1});
    tiny_attr_text(node, "padding", padding);
    return node;
}

/* SAME puts the odd row after; EXPLICIT and a Pad in front give what they say. */
static void convolution_paddings(void **state)
{
    (void)state;
    static const struct {
        const char *padding;
        int64_t side, stride;
        bool pad_before;
        int32_t top, left, bottom, right, p;
    } cases[] = {
        {"SAME", 8, 2, false, 0, 0, 1, 1, 4},  {"SAME", 15, 2, false, 1, 1, 1, 1, 8}, {"SAME", 8, 1, false, 1, 1, 1, 1, 8},
        {"VALID", 8, 2, false, 0, 0, 0, 0, 3}, {"VALID", 8, 2, true, 1, 2, 2, 1, 5},  {"EXPLICIT", 8, 1, false, 1, 0, 0, 2, 7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_graph *graph = with_input();
        tiny_body *b = &graph->body;
        tiny_floats(b, "w", 4, (int64_t[]){3, 3, 2, 3}, ones);
        tiny_ints(b, "pads", 2, (int64_t[]){4, 2}, (int32_t[]){0, 0, 1, 2, 2, 1, 0, 0});
        tiny_add(b, "padded", "Pad", "x pads");
        tiny_node *conv = add_window(b, "conv", "Conv2D", cases[i].pad_before ? "padded w" : "x w", cases[i].stride, cases[i].padding);
        tiny_attr_ints(conv, "explicit_paddings", 8, (int64_t[]){0, 0, 1, 0, 0, 2, 0, 0});
        check_import(graph, cases[i].side, cases[i].side, 2, "conv");
        const rn_conv2d_op *op = &last_op(graph)->u.conv2d;
        assert_int_equal(op->pad_top, cases[i].top);
        assert_int_equal(op->pad_left, cases[i].left);
        assert_int_equal(op->pad_bottom, cases[i].bottom);
        assert_int_equal(op->pad_right, cases[i].right);
        assert_int_equal(graph->plan->tensors[last_op(graph)->outputs[0]].h, cases[i].p);
        tiny_destroy(graph);
    }
}

/* Zeros of a Pad count in the maximum; the border that SAME adds does not. */
static void pooling_paddings(void **state)
{
    (void)state;
    for (int zeros = 0; zeros < 3; zeros++) {
        tiny_graph *graph = with_input();
        tiny_body *b = &graph->body;
        tiny_ints(b, "pads", 2, (int64_t[]){4, 2}, (int32_t[]){0, 0, 1, 1, 1, 1, 0, 0});
        tiny_add(b, "padded", "Pad", "x pads");
        tiny_node *pool = add_window(b, "pool", "MaxPool", zeros ? "padded" : "x", 2, zeros == 1 ? "VALID" : "SAME");
        tiny_attr_ints(pool, "ksize", 4, (int64_t[]){1, 3, 3, 1});
        if (zeros == 2) {
            check_refusal(graph, 8, 8, 4, "pool", "a pooling that pads as well");
        } else {
            check_import(graph, 8, 8, 4, "pool");
            const rn_max_pool_op *op = &last_op(graph)->u.max_pool;
            assert_int_equal(op->pad_zero, zeros);
            assert_int_equal(op->pad_top, zeros);
            assert_int_equal(op->pad_bottom, 1);
        }
        tiny_destroy(graph);
    }
}

/* The mean of the whole map is an average; with a border, its own or a Pad's, it is another number. */
static void averages_with_a_border_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *input, *padding;
        int64_t stride;
        const char *refusal; /* NULL: taken */
    } cases[] = {
        {"x", "VALID", 1, NULL},
        {"x", "SAME", 3, NULL}, /* nothing to pad */
        {"x", "SAME", 1, "an average over 3x3 of a map of 3x3"},
        {"x", "EXPLICIT", 4, "an average over 3x3 of a map of 3x3"}, /* one output, of 3x3 of 4x4 */
        {"padded", "VALID", 4, "node pool (op AvgPool)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_graph *graph = with_input();
        tiny_body *b = &graph->body;
        tiny_ints(b, "pads", 2, (int64_t[]){4, 2}, (int32_t[]){0, 0, 1, 0, 0, 1, 0, 0});
        tiny_add(b, "padded", "Pad", "x pads");
        tiny_node *pool = add_window(b, "pool", "AvgPool", cases[i].input, cases[i].stride, cases[i].padding);
        tiny_attr_ints(pool, "ksize", 4, (int64_t[]){1, 3, 3, 1});
        tiny_attr_ints(pool, "explicit_paddings", 8, (int64_t[]){0, 0, 1, 0, 0, 1, 0, 0});
        if (cases[i].refusal) {
            check_refusal(graph, 3, 3, 4, "pool", cases[i].refusal);
        } else {
            check_import(graph, 3, 3, 4, "pool");
            assert_int_equal(last_op(graph)->kind, RN_OP_GLOBAL_AVERAGE_POOL);
        }
        tiny_destroy(graph);
    }
}

/* With a variance of 1e-3 the epsilon is what decides: Keras, slim and TensorFlow's own default have three. */
static void batch_norm_adds_its_epsilon(void **state)
{
    (void)state;
    static const float epsilons[] = {1.001e-5f, 1e-3f, -1}; /* the last: no attribute, 1e-4 */
    for (size_t i = 0; i < sizeof epsilons / sizeof *epsilons; i++) {
        const float variance[] = {1e-3f, 0.5f}, mean[] = {0.25f, -1}, gamma[] = {2, 0.5f}, beta[] = {-3, 0.125f};
        tiny_graph *graph = with_input();
        tiny_body *b = &graph->body;
        tiny_floats(b, "gamma", 1, (int64_t[]){2}, gamma);
        tiny_floats(b, "beta", 1, (int64_t[]){2}, beta);
        tiny_floats(b, "mean", 1, (int64_t[]){2}, mean);
        tiny_floats(b, "variance", 1, (int64_t[]){2}, variance);
        tiny_node *norm = tiny_add(b, "norm", "FusedBatchNormV3", "x gamma beta mean variance");
        tiny_attr_bool(norm, "is_training", false);
        if (epsilons[i] > 0) tiny_attr_float(norm, "epsilon", epsilons[i]);
        check_import(graph, 4, 4, 2, "norm");
        const rn_scale_shift_op *op = &last_op(graph)->u.scale_shift;
        assert_int_equal(last_op(graph)->kind, RN_OP_SCALE_SHIFT);
        for (int c = 0; c < 2; c++) {
            const double scale = gamma[c] / sqrt((double)variance[c] + (double)(epsilons[i] > 0 ? epsilons[i] : 1e-4f));
            const double shift = beta[c] - mean[c] * scale;
            assert_float_equal(((const float *)graph->plan->weights[op->scale].data)[c], scale, 1e-7 * fabs(scale));
            assert_float_equal(((const float *)graph->plan->weights[op->shift].data)[c], shift, 1e-7 * fabs(shift));
        }
        tiny_destroy(graph);
    }
}

/* Mean with keep_dims, 1x1 convolution, bias, squeeze: a dense layer on a vector. */
static void a_classifier_written_as_a_convolution(void **state)
{
    (void)state;
    tiny_graph *graph = with_input();
    tiny_body *b = &graph->body;
    tiny_ints(b, "axes", 1, (int64_t[]){2}, (int32_t[]){1, -2});
    tiny_attr_bool(tiny_add(b, "mean", "Mean", "x axes"), "keep_dims", true);
    tiny_floats(b, "w", 4, (int64_t[]){1, 1, 4, 6}, ones);
    tiny_floats(b, "bias", 1, (int64_t[]){6}, ones);
    add_window(b, "conv", "Conv2D", "mean w", 1, "SAME");
    tiny_add(b, "biased", "BiasAdd", "conv bias");
    tiny_attr_ints(tiny_add(b, "squeezed", "Squeeze", "biased"), "squeeze_dims", 2, (int64_t[]){1, 2});
    tiny_add(b, "softmax", "Softmax", "squeezed");
    tiny_ints(b, "k", 0, (int64_t[]){0}, (int32_t[]){6});
    tiny_ints(b, "from", 1, (int64_t[]){2}, (int32_t[]){0, 0});
    tiny_ints(b, "to", 1, (int64_t[]){2}, (int32_t[]){0, 5});
    tiny_ints(b, "by", 1, (int64_t[]){2}, (int32_t[]){1, 1});
    tiny_add(b, "sorted", "TopKV2", "softmax k");
    tiny_node *slice = tiny_add(b, "first_five", "StridedSlice", "sorted from to by");
    tiny_attr_int(slice, "begin_mask", 3);
    tiny_attr_int(slice, "end_mask", 1);
    tiny_ints(b, "axis", 0, (int64_t[]){0}, (int32_t[]){-1});
    tiny_add(b, "class", "ArgMax", "squeezed axis"); /* int64 unless it says otherwise */
    check_import(graph, 5, 5, 4, "squeezed first_five class");
    const rn_signature *signature = &graph->plan->signatures[0];
    assert_string_equal(signature->outputs[0].name, "class"); /* outputs in order of name */
    assert_int_equal(signature->outputs[0].dtype, RN_DTYPE_I64);
    assert_int_equal(signature->outputs[0].rank, 1);
    assert_int_equal(signature->outputs[1].dims[1], 5);
    assert_int_equal(signature->outputs[2].rank, 2);
    assert_int_equal(last_op(graph)->kind, RN_OP_TOP_K);
    assert_int_equal(last_op(graph)->u.top_k.k, 5);
    int32_t dense = 0;
    for (int32_t i = 0; i < graph->plan->op_count; i++) dense += graph->plan->ops[i].kind == RN_OP_DENSE;
    assert_int_equal(dense, 1);
    tiny_destroy(graph);
}

static void what_no_plan_can_express(void **state)
{
    (void)state;
    tiny_graph *graph = with_input();
    tiny_body *b = &graph->body;
    tiny_ints(b, "everything", 1, (int64_t[]){3}, (int32_t[]){0, 1, 2});
    tiny_add(b, "batch_mean", "Mean", "x everything");
    tiny_add(b, "gate", "Mul", "x x");
    tiny_add(b, "swish", "Sigmoid", "x");
    tiny_floats(b, "picture", 3, (int64_t[]){4, 4, 2}, ones);
    tiny_add(b, "per_pixel", "Sub", "x picture");
    tiny_ints(b, "flat", 1, (int64_t[]){2}, (int32_t[]){-1, 32});
    tiny_add(b, "flattened", "Reshape", "x flat");
    tiny_floats(b, "c", 1, (int64_t[]){2}, ones);
    tiny_add(b, "training", "FusedBatchNormV3", "x c c c c");
    tiny_floats(b, "w", 4, (int64_t[]){3, 3, 2, 3}, ones);
    tiny_attr_text(add_window(b, "nchw", "Conv2D", "x w", 1, "SAME"), "data_format", "NCHW");
    tiny_attr_ints(add_window(b, "dilated", "Conv2D", "x w", 1, "SAME"), "dilations", 4, (int64_t[]){1, 2, 2, 1});
    static const char *const cases[][2] = {
        {"batch_mean", "node batch_mean (op Mean): a mean over the batch"},
        {"gate", "node gate (op Mul): two activations"},
        {"swish", "node swish (op Sigmoid): no counterpart in a ResNet plan; the network up to it was nothing but the input"},
        {"per_pixel", "a constant of shape [4,4,2]"},
        {"flattened", "[-1,4,4,2] seen as [-1,32]"},
        {"training", "batch's statistics"},
        {"nchw", "data_format is not NHWC"},
        {"dilated", "dilations of 2x2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_refusal(graph, 4, 4, 2, cases[i][0], cases[i][1]);
    tiny_destroy(graph);
}

/* Red and blue exchanged in both ways in which it is written. */
static void channels_in_another_order(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        tiny_graph *graph = with_input();
        tiny_body *b = &graph->body;
        tiny_ints(b, "zero", 1, (int64_t[]){2}, (int32_t[]){0, 0});
        tiny_ints(b, "by", 1, (int64_t[]){2}, (int32_t[]){1, -1});
        tiny_node *reversed = tiny_add(b, "reversed", "StridedSlice", "x zero zero by");
        tiny_attr_int(reversed, "ellipsis_mask", 1);
        tiny_attr_int(reversed, "begin_mask", 2);
        tiny_attr_int(reversed, "end_mask", 2);
        for (int c = 0; c < 3; c++) {
            char name[32], begin[32], inputs[64];
            snprintf(begin, sizeof begin, "begin%d", c);
            snprintf(name, sizeof name, "channel%d", c);
            snprintf(inputs, sizeof inputs, "x %s zero one", begin);
            tiny_ints(b, begin, 1, (int64_t[]){2}, (int32_t[]){0, c});
            tiny_node *channel = tiny_add(b, name, "StridedSlice", inputs);
            tiny_attr_int(channel, "ellipsis_mask", 1);
            tiny_attr_int(channel, "shrink_axis_mask", 2);
        }
        tiny_ints(b, "one", 1, (int64_t[]){2}, (int32_t[]){1, 1});
        tiny_attr_int(tiny_add(b, "packed", "Pack", "channel2 channel1 channel0"), "axis", -1);
        check_import(graph, 4, 4, 3, packed ? "packed" : "reversed");
        assert_int_equal(last_op(graph)->kind, RN_OP_CONV2D);
        const float *filter = graph->plan->weights[last_op(graph)->u.conv2d.filter].data;
        const float expected[] = {0, 0, 1, 0, 1, 0, 1, 0, 0};
        assert_memory_equal(filter, expected, sizeof expected);
        tiny_destroy(graph);
    }
}

/* Two signatures with copies of the same nodes end up on the same operations and weights; a third with other weights does not. */
static void signatures_share_a_network(void **state)
{
    (void)state;
    tiny_graph *graph = with_input();
    tiny_body *b = &graph->body;
    const float other[36] = {2};
    for (int i = 0; i < 3; i++) {
        char names[4][32], inputs[80];
        static const char *const parts[] = {"w", "conv", "relu", "sum"};
        for (int p = 0; p < 4; p++) snprintf(names[p], sizeof names[p], "%s%d", parts[p], i);
        tiny_floats(b, names[0], 4, (int64_t[]){3, 3, 2, 2}, i == 2 ? other : ones);
        snprintf(inputs, sizeof inputs, "x %s", names[0]);
        add_window(b, names[1], "Conv2D", inputs, 1, "SAME");
        tiny_add(b, names[2], "Relu", names[1]);
        snprintf(inputs, sizeof inputs, i ? "%s x" : "x %s", names[2]);
        tiny_add(b, names[3], "AddV2", inputs);
    }
    for (int i = 0; i < 3; i++) {
        char output[32], name[32];
        snprintf(output, sizeof output, "sum%d", i);
        snprintf(name, sizeof name, "signature%d", i);
        if (import(graph, name, 6, 6, 2, output) != RN_STATUS_OK) fail_msg("%s", graph->err.message);
    }
    rn_plan *plan = graph->plan;
    assert_int_equal(plan->op_count, 9);
    assert_int_equal(rn__plan_share(plan, &graph->err), RN_STATUS_OK);
    if (rn_plan_finish(plan, &graph->err) != RN_STATUS_OK) fail_msg("%s", graph->err.message);
    assert_int_equal(plan->op_count, 6);
    assert_int_equal(plan->weights_count, 2);
    assert_int_equal(plan->signatures[0].input.tensor, plan->signatures[1].input.tensor);
    assert_int_equal(plan->signatures[0].outputs[0].tensor, plan->signatures[1].outputs[0].tensor);
    assert_int_not_equal(plan->signatures[0].input.tensor, plan->signatures[2].input.tensor);
    tiny_destroy(graph);
}

/* A map that the graph sees with channels first is the plan's with channels last; a border of minus infinity is one that never wins. */
static void channels_first(void **state)
{
    (void)state;
    tiny_graph *graph = with_input();
    tiny_body *b = &graph->body;
    tiny_ints(b, "to_first", 1, (int64_t[]){4}, (int32_t[]){0, 3, 1, 2});
    tiny_ints(b, "twice", 1, (int64_t[]){4}, (int32_t[]){0, 2, 1, 3});
    tiny_add(b, "turned", "Transpose", "x to_first");
    tiny_add(b, "wrongly", "Transpose", "x twice");
    tiny_floats(b, "w", 4, (int64_t[]){3, 3, 2, 3}, ones);
    tiny_node *conv = tiny_add(b, "conv", "Conv2D", "turned w");
    tiny_attr_ints(conv, "strides", 4, (int64_t[]){1, 1, 2, 1});
    tiny_attr_text(conv, "padding", "EXPLICIT");
    tiny_attr_ints(conv, "explicit_paddings", 8, (int64_t[]){0, 0, 0, 0, 1, 0, 2, 1});
    tiny_attr_text(conv, "data_format", "NCHW");
    tiny_floats(b, "bias", 3, (int64_t[]){3, 1, 1}, ones);
    tiny_add(b, "biased", "AddV2", "conv bias");
    tiny_ints(b, "axes", 1, (int64_t[]){2}, (int32_t[]){2, -1});
    tiny_add(b, "pooled", "Max", "biased axes");
    tiny_ints(b, "pads", 2, (int64_t[]){4, 2}, (int32_t[]){0, 0, 1, 1, 1, 1, 0, 0});
    tiny_floats(b, "low", 0, NULL, (const float[]){-INFINITY});
    tiny_add(b, "bordered", "PadV2", "x pads low");
    tiny_attr_ints(add_window(b, "largest", "MaxPool", "bordered", 2, "VALID"), "ksize", 4, (int64_t[]){1, 3, 3, 1});
    add_window(b, "no_sum", "Conv2D", "bordered w", 1, "VALID");
    check_import(graph, 6, 8, 2, "pooled");
    const rn_op *first = &graph->plan->ops[0], *pool = last_op(graph);
    assert_int_equal(first->u.conv2d.stride_h, 2);
    assert_int_equal(first->u.conv2d.stride_w, 1);
    assert_int_equal(first->u.conv2d.pad_top, 1);
    assert_int_equal(first->u.conv2d.pad_bottom, 0);
    assert_int_equal(first->u.conv2d.pad_left, 2);
    assert_int_equal(first->u.conv2d.pad_right, 1);
    assert_int_equal(pool->kind, RN_OP_MAX_POOL);
    assert_int_equal(pool->u.max_pool.r, 3);
    assert_int_equal(pool->u.max_pool.s, 9);
    assert_int_equal(graph->plan->signatures[0].outputs[0].rank, 2);
    check_refusal(graph, 6, 8, 2, "conv", "expected channels last");
    check_refusal(graph, 6, 8, 2, "wrongly", "a permutation other than between NHWC and NCHW");
    check_refusal(graph, 6, 8, 2, "no_sum", "a border of minus infinity before a convolution");
    assert_int_equal(import(graph, "second", 6, 8, 2, "largest"), RN_STATUS_OK);
    assert_false(last_op(graph)->u.max_pool.pad_zero);
    assert_int_equal(last_op(graph)->u.max_pool.pad_left, 1);
    tiny_destroy(graph);
}

/* Split, one convolution for each part, ConcatV2: one convolution with groups, its filter the parts' side by side. */
static void groups_written_apart(void **state)
{
    (void)state;
    tiny_graph *graph = with_input();
    tiny_body *b = &graph->body;
    tiny_ints(b, "axis", 0, (int64_t[]){0}, (int32_t[]){3});
    tiny_attr_int(tiny_add(b, "parts", "Split", "axis x"), "num_split", 2);
    tiny_floats(b, "v", 4, (int64_t[]){1, 1, 2, 2}, (const float[]){1, 2, 3, 4});
    tiny_floats(b, "w", 4, (int64_t[]){1, 1, 2, 2}, (const float[]){5, 6, 7, 8});
    add_window(b, "a", "Conv2D", "parts v", 1, "SAME");
    add_window(b, "b", "Conv2D", "parts:1 w", 1, "SAME");
    add_window(b, "strided", "Conv2D", "parts:1 w", 2, "SAME");
    tiny_add(b, "joined", "ConcatV2", "a b axis");
    tiny_add(b, "swapped", "ConcatV2", "b a axis");
    tiny_add(b, "unlike", "ConcatV2", "a strided axis");
    tiny_add(b, "one", "Relu", "parts");
    check_import(graph, 3, 3, 4, "joined");
    const rn_conv2d_op *conv = &last_op(graph)->u.conv2d;
    static const float side_by_side[] = {1, 2, 5, 6, 3, 4, 7, 8};
    assert_int_equal(last_op(graph)->kind, RN_OP_CONV2D);
    assert_int_equal(conv->groups, 2);
    assert_int_equal(graph->plan->weights[conv->filter].dims[3], 4);
    assert_memory_equal(graph->plan->weights[conv->filter].data, side_by_side, sizeof side_by_side);
    check_refusal(graph, 3, 3, 4, "swapped", "input 0 is no convolution like the others, of part 0");
    check_refusal(graph, 3, 3, 4, "unlike", "input 1 is no convolution like the others");
    check_refusal(graph, 3, 3, 4, "one", "a part of an activation's channels");
    tiny_destroy(graph);
}

/* Crops and a resize of the input become one operation on the host; further inside they are refused. */
static void inputs_that_are_fitted(void **state)
{
    (void)state;
    tiny_graph *graph = with_input();
    tiny_body *b = &graph->body;
    tiny_ints(b, "from", 1, (int64_t[]){4}, (int32_t[]){0, 1, 2, 0});
    tiny_ints(b, "to", 1, (int64_t[]){4}, (int32_t[]){0, 9, 8, 0});
    tiny_ints(b, "by", 1, (int64_t[]){4}, (int32_t[]){1, 1, 1, 1});
    tiny_node *crop = tiny_add(b, "crop", "StridedSlice", "x from to by");
    tiny_attr_int(crop, "begin_mask", 9);
    tiny_attr_int(crop, "end_mask", 9);
    tiny_ints(b, "size", 1, (int64_t[]){2}, (int32_t[]){12, 16});
    tiny_attr_bool(tiny_add(b, "resized", "ResizeBilinear", "crop size"), "half_pixel_centers", true);
    tiny_ints(b, "at", 1, (int64_t[]){4}, (int32_t[]){0, 3, 4, 0});
    tiny_ints(b, "of", 1, (int64_t[]){4}, (int32_t[]){-1, 6, 8, 2});
    tiny_add(b, "centre", "Slice", "resized at of");
    tiny_add(b, "active", "Relu", "centre");
    tiny_add(b, "late", "ResizeBilinear", "active size");
    tiny_add(b, "again", "ResizeBilinear", "centre size");
    tiny_add(b, "nearest", "ResizeNearestNeighbor", "x size");
    check_import(graph, 10, 10, 2, "active");
    const rn_signature *signature = &graph->plan->signatures[0];
    assert_int_equal(graph->plan->op_count, 2); /* what the steps between made is gone */
    assert_int_equal(signature->op_count, 1);
    const rn_fit_op *fit = &graph->plan->ops[signature->fit_op].u.fit;
    assert_int_equal(fit->top * 1000 + fit->left, 1002);
    assert_int_equal(fit->crop_h * 1000 + fit->crop_w, 8006);
    assert_int_equal(fit->resize_h * 1000 + fit->resize_w, 12016);
    assert_int_equal(fit->after_top * 1000 + fit->after_left, 3004);
    assert_int_equal(fit->h * 1000 + fit->w, 6008);
    assert_int_equal(fit->grid, RN_GRID_HALF_PIXEL);
    check_refusal(graph, 10, 10, 2, "late", "expected of the signature's input");
    check_refusal(graph, 10, 10, 2, "again", "a second resize");
    check_refusal(graph, 10, 10, 2, "nearest", "by the bilinear method only");
    tiny_destroy(graph);
}

/* [-1,3,h,w]: channels are put last on the host. */
static void inputs_with_channels_first(void **state)
{
    (void)state;
    tiny_graph *graph = with_input();
    tiny_ints(&graph->body, "axes", 1, (int64_t[]){2}, (int32_t[]){2, 3});
    tiny_add(&graph->body, "mean", "Mean", "x axes");
    check_import(graph, 3, 8, 9, "mean");
    const rn_signature *signature = &graph->plan->signatures[0];
    const rn_plan_tensor *feed = &graph->plan->tensors[signature->feed];
    assert_true(graph->plan->ops[signature->fit_op].u.fit.channels_first);
    assert_int_equal(feed->h * 10000 + feed->w * 100 + feed->c, 80903);
    assert_int_equal(signature->input.dims[1], 3);
    tiny_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution_paddings),
        cmocka_unit_test(pooling_paddings),
        cmocka_unit_test(averages_with_a_border_are_refused),
        cmocka_unit_test(batch_norm_adds_its_epsilon),
        cmocka_unit_test(a_classifier_written_as_a_convolution),
        cmocka_unit_test(what_no_plan_can_express),
        cmocka_unit_test(channels_in_another_order),
        cmocka_unit_test(signatures_share_a_network),
        cmocka_unit_test(channels_first),
        cmocka_unit_test(groups_written_apart),
        cmocka_unit_test(inputs_that_are_fitted),
        cmocka_unit_test(inputs_with_channels_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
