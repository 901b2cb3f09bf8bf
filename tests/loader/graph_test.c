/* Graphs of a few nodes: names, calls, branches, constant folding, and what hostile ones come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "loader/plan_share.h"
#include "tests/support/tiny_graph.h"

static const int64_t scalar[] = {0}, two[] = {2}, three[] = {3}, four[] = {4};

static void expect_floats(tiny_graph *graph, const char *name, int64_t count, const float *values)
{
    const rn__value *value = NULL;
    if (tiny_import(graph, name, &value) != RN_STATUS_OK) fail_msg("%s: %s", name, graph->err.message);
    assert_int_equal(value->kind, RN__CONSTANT);
    assert_int_equal(value->u.constant.element_class, RN__FLOATS);
    assert_int_equal(value->u.constant.count, count);
    for (int64_t i = 0; i < count; i++) {
        if (value->u.constant.data.floats[i] != values[i]) {
            fail_msg("%s[%lld] is %.9g, expected %.9g", name, (long long)i, (double)value->u.constant.data.floats[i], (double)values[i]);
        }
    }
}

static void expect_ints(tiny_graph *graph, const char *name, int64_t count, const int64_t *values)
{
    const rn__value *value = NULL;
    if (tiny_import(graph, name, &value) != RN_STATUS_OK) fail_msg("%s: %s", name, graph->err.message);
    assert_int_equal(value->kind, RN__CONSTANT);
    assert_int_equal(value->u.constant.element_class, RN__INTS);
    assert_int_equal(value->u.constant.count, count);
    for (int64_t i = 0; i < count; i++) assert_int_equal(value->u.constant.data.ints[i], values[i]);
}

static void expect_failure(tiny_graph *graph, const char *name, const char *words)
{
    const rn__value *value = NULL;
    assert_int_not_equal(tiny_import(graph, name, &value), RN_STATUS_OK);
    if (!strstr(graph->err.message, words)) fail_msg("\"%s\" does not say \"%s\"", graph->err.message, words);
}

/* Too few values: the last one repeats. None: zeros. Surplus values are dropped. */
static void fill_rule_of_tensors(void **state)
{
    (void)state;
    tiny_graph *graph = tiny_create();
    const float values[] = {1, 2, 3, 4};
    tiny_floats(&graph->body, "short", 1, four, values)->tensor.n_float_val = 2;
    tiny_floats(&graph->body, "none", 1, four, values)->tensor.n_float_val = 0;
    tiny_floats(&graph->body, "surplus", 1, four, values)->dims[0].size = 3;
    tiny_floats(&graph->body, "scalar", 0, scalar, values);
    tiny_ints(&graph->body, "uint8", 1, two, (int32_t[]){300, -1})->tensor.dtype = RN__DT_UINT8;
    tiny_node *half = tiny_ints(&graph->body, "half", 1, three, (int32_t[]){15360, 1, 0xfc00});
    half->tensor = (Sm__Tensor){
        .base = half->tensor.base, .dtype = RN__DT_HALF, .tensor_shape = &half->shape, .n_half_val = 3, .half_val = half->ints};
    tiny_node *brain = tiny_ints(&graph->body, "bfloat16", 1, two, (int32_t[]){16256, 0xc000});
    brain->tensor = (Sm__Tensor){
        .base = brain->tensor.base, .dtype = RN__DT_BFLOAT16, .tensor_shape = &brain->shape, .n_half_val = 2, .half_val = brain->ints};
    tiny_node *bytes = tiny_floats(&graph->body, "content", 1, two, values);
    bytes->tensor.n_float_val = 0;
    bytes->tensor.tensor_content = (ProtobufCBinaryData){8, (uint8_t *)bytes->floats};
    tiny_node *cut = tiny_floats(&graph->body, "cut", 1, two, values);
    cut->tensor.tensor_content = (ProtobufCBinaryData){7, (uint8_t *)cut->floats};
    tiny_floats(&graph->body, "huge", 1, two, values)->dims[0].size = (int64_t)1 << 60;
    tiny_floats(&graph->body, "negative", 1, two, values)->dims[0].size = -1;

    expect_floats(graph, "short", 4, (float[]){1, 2, 2, 2});
    expect_floats(graph, "none", 4, (float[]){0, 0, 0, 0});
    expect_floats(graph, "surplus", 3, values);
    expect_floats(graph, "scalar", 1, values);
    expect_floats(graph, "content", 2, values);
    expect_ints(graph, "uint8", 2, (int64_t[]){44, 255});
    expect_floats(graph, "half", 2 + 1, (float[]){1, 0x1p-24f, -__builtin_inff()});
    expect_floats(graph, "bfloat16", 2, (float[]){1, -2});
    expect_failure(graph, "cut", "do not fit its shape");
    expect_failure(graph, "huge", "no memory");
    expect_failure(graph, "negative", "dimension 0 is -1");
    tiny_destroy(graph);
}

/* Batch norm as Keras 3 spells it: variance + epsilon -> rsqrt -> * gamma, with reshapes between. */
static void folding_computes_as_tensorflow(void **state)
{
    (void)state;
    tiny_graph *graph = tiny_create();
    tiny_body *b = &graph->body;
    const float variance[] = {0.25f, 4, 1e-3f};
    tiny_floats(b, "variance", 1, three, variance);
    tiny_floats(b, "epsilon", 0, scalar, (float[]){1.001e-5f});
    tiny_ints(b, "shape", 1, four, (int32_t[]){1, 1, 1, -1});
    tiny_floats(b, "gamma", 1, three, (float[]){1.5f, -1, 0.5f});
    tiny_add(b, "reshaped", "Reshape", "variance shape");
    tiny_add(b, "sum", "AddV2", "reshaped epsilon");
    tiny_add(b, "rsqrt", "Rsqrt", "sum");
    tiny_add(b, "scale", "Mul", "rsqrt gamma");
    tiny_add(b, "flat", "Squeeze", "scale:0");
    float expected[3];
    for (int i = 0; i < 3; i++) {
        const float sum = variance[i] + 1.001e-5f, root = (float)(1 / __builtin_sqrt((double)sum));
        expected[i] = root * (float[]){1.5f, -1, 0.5f}[i];
    }
    expect_floats(graph, "flat", 3, expected);

    tiny_destroy(graph);

    graph = tiny_create();
    b = &graph->body;
    tiny_ints(b, "a", 1, three, (int32_t[]){7, -7, 5});
    tiny_ints(b, "two", 0, scalar, (int32_t[]){2});
    tiny_ints(b, "zero", 0, scalar, (int32_t[]){0});
    tiny_ints(b, "wide", 2, (int64_t[]){2, 1}, (int32_t[]){10, 20});
    tiny_floats(b, "float", 0, scalar, (float[]){2});
    tiny_add(b, "floor", "FloorDiv", "a two");
    tiny_add(b, "by_zero", "FloorDiv", "a zero");
    tiny_add(b, "mixed", "Mul", "a float");
    tiny_add(b, "outer", "AddV2", "wide a");
    tiny_add(b, "less", "Less", "a two");
    tiny_attr_type(tiny_add(b, "cast", "Cast", "a"), "DstT", RN__DT_FLOAT);
    expect_ints(graph, "floor", 3, (int64_t[]){3, -4, 2});
    expect_ints(graph, "outer", 6, (int64_t[]){17, 3, 15, 27, 13, 25});
    expect_ints(graph, "less", 3, (int64_t[]){0, 1, 0});
    expect_floats(graph, "cast", 3, (float[]){7, -7, 5});
    expect_failure(graph, "by_zero", "node by_zero (op FloorDiv): a division by zero");
    expect_failure(graph, "mixed", "different types");
    tiny_destroy(graph);
}

static void slicing_follows_the_masks(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int32_t begin[3], end[3], step[3];
        int64_t begin_mask, end_mask, ellipsis, shrink, count, expected[12];
    } cases[] = {
        {"plain", {0, 1, 0}, {2, 3, 2}, {1, 1, 1}, 0, 0, 0, 0, 8, {2, 3, 4, 5, 8, 9, 10, 11}},
        {"reversed", {0, 0, -1}, {0, 0, 0}, {1, 1, -1}, 3, 7, 0, 0, 12, {1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10}},
        {"shrunk", {1, -1, 0}, {0, 0, 0}, {1, 1, 1}, 4, 4, 0, 3, 2, {10, 11}},
        {"ellipsis", {0, 0, 1}, {0, 0, 2}, {1, 1, 1}, 1, 1, 2, 0, 6, {1, 3, 5, 7, 9, 11}},
        {"overshoot", {0, 2, 0}, {1, 9, 9}, {1, 1, 1}, 0, 0, 0, 0, 2, {4, 5}},
        {"strided", {0, 0, 0}, {2, 3, 1}, {1, 2, 1}, 0, 0, 0, 0, 4, {0, 4, 6, 10}},
        {"empty", {0, 2, 0}, {2, 1, 2}, {1, 1, 1}, 0, 0, 0, 0, 0, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_graph *graph = tiny_create();
        tiny_body *b = &graph->body;
        int32_t values[12];
        for (int v = 0; v < 12; v++) values[v] = v;
        tiny_ints(b, "x", 3, (int64_t[]){2, 3, 2}, values);
        tiny_ints(b, "begin", 1, three, cases[i].begin);
        tiny_ints(b, "end", 1, three, cases[i].end);
        tiny_ints(b, "step", 1, three, cases[i].step);
        tiny_node *slice = tiny_add(b, cases[i].name, "StridedSlice", "x begin end step");
        tiny_attr_int(slice, "begin_mask", cases[i].begin_mask);
        tiny_attr_int(slice, "end_mask", cases[i].end_mask);
        tiny_attr_int(slice, "ellipsis_mask", cases[i].ellipsis);
        tiny_attr_int(slice, "shrink_axis_mask", cases[i].shrink);
        expect_ints(graph, cases[i].name, cases[i].count, cases[i].expected);
        tiny_destroy(graph);
    }
}

static void joining_and_parting(void **state)
{
    (void)state;
    tiny_graph *graph = tiny_create();
    tiny_body *b = &graph->body;
    tiny_ints(b, "a", 2, (int64_t[]){2, 2}, (int32_t[]){1, 2, 3, 4});
    tiny_ints(b, "c", 2, (int64_t[]){2, 1}, (int32_t[]){5, 6});
    tiny_ints(b, "axis", 0, scalar, (int32_t[]){-1});
    tiny_ints(b, "turn", 1, two, (int32_t[]){1, 0});
    tiny_add(b, "concat", "ConcatV2", "a c axis");
    tiny_add(b, "transposed", "Transpose", "a turn");
    tiny_attr_int(tiny_add(b, "packed", "Pack", "a a"), "axis", 1);
    tiny_node *unpack = tiny_add(b, "unpacked", "Unpack", "a");
    tiny_attr_int(unpack, "axis", 1);
    tiny_attr_int(unpack, "num", 2);
    tiny_add(b, "second", "Identity", "unpacked:1");
    tiny_add(b, "third", "Identity", "unpacked:2");
    tiny_add(b, "shape", "Shape", "packed");
    expect_ints(graph, "concat", 6, (int64_t[]){1, 2, 5, 3, 4, 6});
    expect_ints(graph, "transposed", 4, (int64_t[]){1, 3, 2, 4});
    expect_ints(graph, "packed", 8, (int64_t[]){1, 2, 1, 2, 3, 4, 3, 4});
    expect_ints(graph, "shape", 3, (int64_t[]){2, 2, 2});
    expect_ints(graph, "second", 2, (int64_t[]){2, 4});
    expect_failure(graph, "third", "output 2 of node unpacked");
    tiny_destroy(graph);
}

/* A call in a call, arguments in another order than in the graph, nodes in no order, an output list with an index. */
static void calls_are_followed(void **state)
{
    (void)state;
    tiny_graph *graph = tiny_create();
    tiny_body *b = &graph->body;
    tiny_attr_function(tiny_add(b, "call", "StatefulPartitionedCall", "y x ^x"), "f", "outer");
    tiny_floats(b, "x", 0, scalar, (float[]){5});
    tiny_floats(b, "y", 0, scalar, (float[]){3});
    tiny_add(b, "result", "Identity", "call:1");
    tiny_body *outer = tiny_function_add(graph, "outer", "a b", "first=b second=inner_call:output:0");
    tiny_attr_function(tiny_add(outer, "inner_call", "PartitionedCall", "b a"), "f", "inner");
    tiny_body *inner = tiny_function_add(graph, "inner", "p q", "r=last:output:0");
    tiny_add(inner, "last", "Identity", "difference:z:0");
    tiny_add(inner, "difference", "Sub", "p q");
    expect_floats(graph, "result", 1, (float[]){2});
    expect_floats(graph, "call:0", 1, (float[]){5});
    expect_failure(graph, "call:2", "has 2 outputs");
    tiny_destroy(graph);
}

static void branches_are_taken(void **state)
{
    (void)state;
    tiny_graph *graph = tiny_create();
    tiny_body *b = &graph->body;
    tiny_floats(b, "x", 0, scalar, (float[]){9});
    tiny_ints(b, "off", 0, scalar, (int32_t[]){0});
    tiny_add(b, "training", "PlaceholderWithDefault", "off");
    tiny_node *branch = tiny_add(b, "if", "StatelessIf", "training x");
    tiny_attr_function(branch, "then_branch", "train");
    tiny_attr_function(branch, "else_branch", "serve");
    tiny_body *train = tiny_function_add(graph, "train", "x", "y=never:output:0");
    tiny_add(train, "never", "SomethingUnknown", "x");
    tiny_body *serve = tiny_function_add(graph, "serve", "x", "y=root:y:0");
    tiny_add(serve, "root", "Sqrt", "x");
    expect_floats(graph, "if", 1, (float[]){3});

    tiny_destroy(graph);
    graph = tiny_create();
    b = &graph->body;
    tiny_floats(b, "x", 0, scalar, (float[]){9});
    tiny_ints(b, "off", 0, scalar, (int32_t[]){0});
    tiny_add(b, "switch", "Switch", "x off");
    tiny_add(b, "when_true", "SomethingUnknown", "x:0");
    tiny_add(b, "square", "Square", "switch:1");
    tiny_add(b, "root", "Sqrt", "switch:0");
    tiny_add(b, "merge", "Merge", "square root");
    expect_floats(graph, "merge", 1, (float[]){3});
    expect_failure(graph, "when_true", "no counterpart");
    tiny_destroy(graph);
}

static void hostile_graphs_fail(void **state)
{
    (void)state;
    tiny_graph *graph = tiny_create();
    tiny_body *b = &graph->body;
    tiny_add(b, "a", "Identity", "b");
    tiny_add(b, "b", "Identity", "a");
    tiny_add(b, "lost", "Identity", "nowhere");
    tiny_add(b, "bad_index", "Identity", "a:x");
    tiny_attr_function(tiny_add(b, "self", "PartitionedCall", ""), "f", "recursive");
    tiny_attr_function(tiny_add(b, "fed_back", "PartitionedCall", "fed_back"), "f", "pass");
    tiny_attr_function(tiny_add(b, "missing", "PartitionedCall", ""), "f", "no_such_function");
    tiny_add(b, "nameless", "PartitionedCall", "");
    tiny_attr_function(tiny_add(tiny_function_add(graph, "recursive", "", "y=again:output:0"), "again", "PartitionedCall", ""), "f",
                       "recursive");
    tiny_function_add(graph, "pass", "x", "y=x");
    expect_failure(graph, "a", "depends on its own result");
    expect_failure(graph, "lost", "refers to nowhere");
    expect_failure(graph, "bad_index", "no valid name");
    expect_failure(graph, "self", "unfold to more than");
    expect_failure(graph, "missing", "no_such_function is not in the library");
    expect_failure(graph, "nameless", "names no function");
    expect_failure(graph, "not_there", "refers to not_there");
    expect_failure(graph, "fed_back", "in a circle"); /* the last one: it spends all steps that a load may take */
    tiny_destroy(graph);

    graph = tiny_create();
    tiny_add(&graph->body, "twice", "NoOp", "");
    tiny_add(&graph->body, "twice", "NoOp", "");
    expect_failure(graph, "twice", "two nodes or arguments are called twice");
    tiny_destroy(graph);
}

/* A constant may be broadcast again and again until it is enormous: the limits hold before memory does. */
static void folding_is_bounded(void **state)
{
    (void)state;
    tiny_graph *graph = tiny_create();
    tiny_body *b = &graph->body;
    tiny_ints(b, "dims", 1, two, (int32_t[]){100000, 100000});
    tiny_floats(b, "one", 0, scalar, (float[]){1});
    tiny_add(b, "filled", "Fill", "dims one");
    expect_failure(graph, "filled", "more than");
    tiny_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fill_rule_of_tensors),      cmocka_unit_test(folding_computes_as_tensorflow),
        cmocka_unit_test(slicing_follows_the_masks), cmocka_unit_test(joining_and_parting),
        cmocka_unit_test(calls_are_followed),        cmocka_unit_test(branches_are_taken),
        cmocka_unit_test(hostile_graphs_fail),       cmocka_unit_test(folding_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
