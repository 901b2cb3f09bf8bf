/* Messages that own nothing: all memory is inside the tiny_graph, so that they can be read and never freed by protobuf-c. */
#include "tests/support/tiny_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tiny_graph *tiny_create(void)
{
    tiny_graph *graph = calloc(1, sizeof *graph);
    if (!graph) abort();
    sm__graph_def__init(&graph->def);
    sm__function_def_library__init(&graph->library);
    graph->def.node = graph->body.list;
    graph->def.library = &graph->library;
    graph->library.function = graph->function_list;
    return graph;
}

void tiny_destroy(tiny_graph *graph)
{
    rn__import_deinit(&graph->import);
    rn_plan_destroy(graph->plan);
    rn__arena_destroy(graph->scratch);
    rn__arena_destroy(graph->lasting);
    free(graph);
}

/* Copies the next word of *text to `out`; false at the end. */
static bool next_word(const char **text, char *out, size_t room)
{
    *text += strspn(*text, " ");
    const size_t length = strcspn(*text, " ");
    if (length == 0) return false;
    snprintf(out, room, "%.*s", (int)length, *text);
    *text += length;
    return true;
}

tiny_node *tiny_add(tiny_body *body, const char *name, const char *op, const char *inputs)
{
    tiny_node *node = &body->nodes[body->count];
    body->list[body->count++] = &node->def;
    sm__node_def__init(&node->def);
    snprintf(node->name, sizeof node->name, "%s", name);
    snprintf(node->op, sizeof node->op, "%s", op);
    node->def.name = node->name;
    node->def.op = node->op;
    node->def.input = node->input_list;
    node->def.attr = node->attr_list;
    while (next_word(&inputs, node->inputs[node->def.n_input], sizeof node->inputs[0])) {
        node->input_list[node->def.n_input] = node->inputs[node->def.n_input];
        node->def.n_input++;
    }
    return node;
}

static Sm__AttrValue *add_attr(tiny_node *node, const char *key, Sm__AttrValue__ValueCase kind, size_t *index)
{
    const size_t i = node->def.n_attr++;
    sm__attr__init(&node->attrs[i]);
    sm__attr_value__init(&node->values[i]);
    snprintf(node->keys[i], sizeof node->keys[i], "%s", key);
    node->attrs[i].key = node->keys[i];
    node->attrs[i].value = &node->values[i];
    node->attr_list[i] = &node->attrs[i];
    node->values[i].value_case = kind;
    *index = i;
    return &node->values[i];
}

void tiny_attr_int(tiny_node *node, const char *key, int64_t value)
{
    size_t i;
    add_attr(node, key, SM__ATTR_VALUE__VALUE_I, &i)->i = value;
}

void tiny_attr_float(tiny_node *node, const char *key, float value)
{
    size_t i;
    add_attr(node, key, SM__ATTR_VALUE__VALUE_F, &i)->f = value;
}

void tiny_attr_bool(tiny_node *node, const char *key, bool value)
{
    size_t i;
    add_attr(node, key, SM__ATTR_VALUE__VALUE_B, &i)->b = value;
}

void tiny_attr_type(tiny_node *node, const char *key, int32_t value)
{
    size_t i;
    add_attr(node, key, SM__ATTR_VALUE__VALUE_TYPE, &i)->type = value;
}

void tiny_attr_text(tiny_node *node, const char *key, const char *value)
{
    size_t i;
    Sm__AttrValue *attr = add_attr(node, key, SM__ATTR_VALUE__VALUE_S, &i);
    snprintf(node->texts[i], sizeof node->texts[i], "%s", value);
    attr->s = (ProtobufCBinaryData){strlen(value), (uint8_t *)node->texts[i]};
}

void tiny_attr_ints(tiny_node *node, const char *key, size_t count, const int64_t *values)
{
    size_t i;
    Sm__AttrValue *attr = add_attr(node, key, SM__ATTR_VALUE__VALUE_LIST, &i);
    sm__attr_value__list_value__init(&node->lists[i]);
    memcpy(node->numbers[i], values, count * sizeof *values);
    node->lists[i].n_i = count;
    node->lists[i].i = node->numbers[i];
    attr->list = &node->lists[i];
}

void tiny_attr_function(tiny_node *node, const char *key, const char *name)
{
    size_t i;
    Sm__AttrValue *attr = add_attr(node, key, SM__ATTR_VALUE__VALUE_FUNC, &i);
    sm__attr_value__function_name__init(&node->functions[i]);
    snprintf(node->texts[i], sizeof node->texts[i], "%s", name);
    node->functions[i].name = node->texts[i];
    attr->func = &node->functions[i];
}

/* A Const; returns how many elements its shape has. */
static size_t add_constant(tiny_node *node, int32_t dtype, int32_t rank, const int64_t *dims)
{
    size_t i, count = 1;
    sm__tensor__init(&node->tensor);
    sm__tensor_shape__init(&node->shape);
    for (int32_t d = 0; d < rank; d++) {
        sm__tensor_shape__dim__init(&node->dims[d]);
        node->dims[d].size = dims[d];
        node->dim_list[d] = &node->dims[d];
        count *= (size_t)dims[d];
    }
    node->shape.n_dim = (size_t)rank;
    node->shape.dim = node->dim_list;
    node->tensor.dtype = dtype;
    node->tensor.tensor_shape = &node->shape;
    add_attr(node, "value", SM__ATTR_VALUE__VALUE_TENSOR, &i)->tensor = &node->tensor;
    return count;
}

tiny_node *tiny_floats(tiny_body *body, const char *name, int32_t rank, const int64_t *dims, const float *values)
{
    tiny_node *node = tiny_add(body, name, "Const", "");
    node->tensor.n_float_val = 0;
    const size_t count = add_constant(node, RN__DT_FLOAT, rank, dims);
    memcpy(node->floats, values, count * sizeof *values);
    node->tensor.n_float_val = count;
    node->tensor.float_val = node->floats;
    return node;
}

tiny_node *tiny_ints(tiny_body *body, const char *name, int32_t rank, const int64_t *dims, const int32_t *values)
{
    tiny_node *node = tiny_add(body, name, "Const", "");
    const size_t count = add_constant(node, RN__DT_INT32, rank, dims);
    memcpy(node->ints, values, count * sizeof *values);
    node->tensor.n_int_val = count;
    node->tensor.int_val = node->ints;
    return node;
}

tiny_body *tiny_function_add(tiny_graph *graph, const char *name, const char *arguments, const char *returns)
{
    tiny_function *function = &graph->functions[graph->library.n_function];
    graph->function_list[graph->library.n_function++] = &function->def;
    sm__function_def__init(&function->def);
    sm__op_def__init(&function->signature);
    size_t text = 0;
    snprintf(function->texts[text], sizeof function->texts[0], "%s", name);
    function->signature.name = function->texts[text++];
    function->signature.input_arg = function->arg_list;
    function->signature.output_arg = function->out_list;
    function->def.signature = &function->signature;
    function->def.node_def = function->body.list;
    function->def.ret = function->ret_list;
    while (next_word(&arguments, function->texts[text], sizeof function->texts[0])) {
        const size_t i = function->signature.n_input_arg++;
        sm__arg_def__init(&function->args[i]);
        function->args[i].name = function->texts[text++];
        function->arg_list[i] = &function->args[i];
    }
    while (next_word(&returns, function->texts[text], sizeof function->texts[0])) {
        const size_t i = function->signature.n_output_arg++;
        sm__arg_def__init(&function->outs[i]);
        sm__return__init(&function->rets[i]);
        char *value = strchr(function->texts[text], '=');
        *value++ = 0;
        function->outs[i].name = function->rets[i].key = function->texts[text++];
        function->rets[i].value = value;
        function->out_list[i] = &function->outs[i];
        function->ret_list[i] = &function->rets[i];
        function->def.n_ret++;
    }
    return &function->body;
}

rn_status tiny_import(tiny_graph *graph, const char *name, const rn__value **out)
{
    rn__ref ref;
    graph->def.n_node = graph->body.count;
    for (size_t i = 0; i < graph->library.n_function; i++) graph->functions[i].def.n_node_def = graph->functions[i].body.count;
    if (!graph->plan) {
        graph->scratch = rn__arena_create((size_t)16 << 20);
        graph->lasting = rn__arena_create((size_t)16 << 20);
        graph->plan = rn_plan_create();
        if (!graph->scratch || !graph->lasting || !graph->plan) abort();
        RN_TRY(rn__import_init(&graph->import, &graph->def, NULL, graph->scratch, graph->lasting, graph->plan, &graph->err));
    }
    RN_TRY(rn__graph_parse(&graph->import.graph, 0, name, &ref, &graph->err));
    return rn__import_value(&graph->import, ref, out, &graph->err);
}
