/* Names to nodes, and references through calls.
 *
 * In the graph a name is "node" or "node:output"; inside functions it is an argument's name or "node:output argument:index". For almost
 * every operation one output argument holds all outputs, so that the index alone decides; the few with several are listed in graph_ops.def.
 * Everything a hostile graph could make grow is counted against a limit: frames, their nodes, and steps of resolution (a chain of calls
 * that feed each other could otherwise go round for ever).
 */
#include "loader/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/graph_ops.h"

/* ---- indexes ---- */

static const char *title(const rn__function *function)
{
    return function->def ? function->name : "the graph";
}

static int compare_functions(const void *a, const void *b)
{
    return strcmp(((const rn__function *)a)->name, ((const rn__function *)b)->name);
}

static const char *node_name(const rn__function *function, int32_t node)
{
    return function->nodes[node]->name;
}

static const char *argument_name(const rn__function *function, int32_t argument)
{
    return function->def->signature->input_arg[argument]->name;
}

typedef const char *(*name_of)(const rn__function *function, int32_t index);
typedef struct naming {
    const rn__function *function;
    name_of name;
} naming;

static int compare_names(const void *a, const void *b, void *context)
{
    const naming *by = context;
    return strcmp(by->name(by->function, *(const int32_t *)a), by->name(by->function, *(const int32_t *)b));
}

/* *sorted: the indexes 0..count-1 in rising order of their names, which must differ. */
static rn_status sort_names(rn__graph *graph, const rn__function *function, name_of name, int32_t count, int32_t **sorted, rn_error *err)
{
    *sorted = rn__arena_array(graph->arena, (uint64_t)count, sizeof **sorted, "an index of names", err);
    if (!*sorted) return RN_STATUS_OUT_OF_MEMORY;
    for (int32_t i = 0; i < count; i++) (*sorted)[i] = i;
    qsort_r(*sorted, (size_t)count, sizeof **sorted, compare_names, &(naming){function, name});
    for (int32_t i = 1; i < count; i++) {
        const char *text = name(function, (*sorted)[i]);
        if (strcmp(name(function, (*sorted)[i - 1]), text) == 0) {
            return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: two nodes or arguments are called %s", title(function), text);
        }
    }
    return RN_STATUS_OK;
}

static int32_t find_name(const rn__function *function, name_of name, const int32_t *sorted, int32_t count, const char *text,
                         size_t text_bytes)
{
    int32_t low = 0, high = count;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        const char *found = name(function, sorted[middle]);
        int order = strncmp(found, text, text_bytes);
        if (order == 0 && found[text_bytes]) order = 1;
        if (order == 0) return sorted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return RN_NONE;
}

static int32_t find_node(const rn__function *function, const char *name, size_t name_bytes)
{
    return find_name(function, node_name, function->nodes_by_name, function->node_count, name, name_bytes);
}

static int32_t find_argument(const rn__function *function, const char *name)
{
    return find_name(function, argument_name, function->arguments_by_name, function->argument_count, name, strlen(name));
}

static rn_status index_function(rn__graph *graph, rn__function *function, rn_error *err)
{
    if (function->nodes_by_name) return RN_STATUS_OK;
    RN_TRY(sort_names(graph, function, argument_name, function->argument_count, &function->arguments_by_name, err));
    return sort_names(graph, function, node_name, function->node_count, &function->nodes_by_name, err);
}

static rn__function *find_function(const rn__graph *graph, const char *name)
{
    if (!graph->functions) return NULL;
    const rn__function wanted = {.name = name};
    return bsearch(&wanted, graph->functions, (size_t)graph->function_count, sizeof wanted, compare_functions);
}

rn_status rn__graph_init(rn__graph *graph, const Sm__GraphDef *def, rn__arena *arena, rn_error *err)
{
    *graph = (rn__graph){.arena = arena};
    const size_t function_count = def->library ? def->library->n_function : 0;
    if (def->n_node > RN__GRAPH_MAX_NODES || function_count > RN__GRAPH_MAX_NODES) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "a graph of %zu nodes and %zu functions", def->n_node, function_count);
    }
    graph->root = (rn__function){.name = "", .nodes = def->node, .node_count = (int32_t)def->n_node};
    graph->functions = rn__arena_array(arena, function_count, sizeof *graph->functions, "the function library", err);
    if (!graph->functions) return RN_STATUS_OUT_OF_MEMORY;
    for (size_t i = 0; i < function_count; i++) {
        const Sm__FunctionDef *function = def->library->function[i];
        const Sm__OpDef *signature = function->signature;
        if (!signature || function->n_node_def > RN__GRAPH_MAX_NODES || signature->n_input_arg > RN__GRAPH_MAX_NODES) continue;
        graph->functions[graph->function_count++] = (rn__function){.name = signature->name,
                                                                   .def = function,
                                                                   .nodes = function->node_def,
                                                                   .node_count = (int32_t)function->n_node_def,
                                                                   .argument_count = (int32_t)signature->n_input_arg};
    }
    qsort(graph->functions, (size_t)graph->function_count, sizeof *graph->functions, compare_functions);
    return rn__graph_restart(graph, err);
}

/* ---- frames ---- */

static rn_status add_frame(rn__graph *graph, rn__function *function, rn__frame frame, int32_t *out, rn_error *err)
{
    graph->nodes_unfolded += function->node_count;
    if (frame.depth > RN__GRAPH_MAX_DEPTH || graph->frame_count >= RN__GRAPH_MAX_FRAMES || graph->nodes_unfolded > RN__GRAPH_MAX_NODES) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "calls unfold to more than %d levels, %d functions or %d nodes", RN__GRAPH_MAX_DEPTH,
                       RN__GRAPH_MAX_FRAMES, RN__GRAPH_MAX_NODES);
    }
    RN_TRY(index_function(graph, function, err));
    if (graph->frame_count == graph->frame_capacity) {
        const int32_t wanted = graph->frame_capacity ? 2 * graph->frame_capacity : 64;
        rn__frame *grown = rn__arena_array(graph->arena, (uint64_t)wanted, sizeof *grown, "function calls", err);
        if (!grown) return RN_STATUS_OUT_OF_MEMORY;
        if (graph->frame_count) memcpy(grown, graph->frames, (size_t)graph->frame_count * sizeof *grown);
        graph->frames = grown;
        graph->frame_capacity = wanted;
    }
    frame.function = function;
    frame.nodes = rn__arena_array(graph->arena, (uint64_t)function->node_count, sizeof *frame.nodes, "nodes of a function", err);
    if (!frame.nodes) return RN_STATUS_OUT_OF_MEMORY;
    for (int32_t i = 0; i < function->node_count; i++) frame.nodes[i].callee = RN_NONE;
    graph->frames[graph->frame_count] = frame;
    *out = graph->frame_count++;
    return RN_STATUS_OK;
}

rn_status rn__graph_restart(rn__graph *graph, rn_error *err)
{
    int32_t root;
    graph->frame_count = 0;
    graph->nodes_unfolded = 0;
    graph->steps = 0;
    return add_frame(graph, &graph->root, (rn__frame){.parent = RN_NONE}, &root, err);
}

static rn_status find_callee(const rn__graph *graph, const char *name, rn__function **out, rn_error *err)
{
    *out = find_function(graph, name);
    return *out ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_DATA_LOSS, "function %s is not in the library", name);
}

rn_status rn__graph_call(rn__graph *graph, const char *name, int32_t parent, int32_t call_node, int32_t first_input, int32_t *out,
                         rn_error *err)
{
    rn__function *function;
    RN_TRY(find_callee(graph, name, &function, err));
    return add_frame(
        graph, function,
        (rn__frame){.depth = graph->frames[parent].depth + 1, .parent = parent, .call_node = call_node, .first_input = first_input}, out,
        err);
}

rn_status rn__graph_call_with(rn__graph *graph, const char *name, int32_t depth, const rn__value *arguments, int32_t argument_count,
                              int32_t *out, rn_error *err)
{
    rn__function *function;
    RN_TRY(find_callee(graph, name, &function, err));
    if (function->argument_count != argument_count) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "function %s takes %d arguments and is given %d", name, function->argument_count,
                       argument_count);
    }
    return add_frame(graph, function,
                     (rn__frame){.depth = depth, .parent = RN_NONE, .arguments = arguments, .argument_count = argument_count}, out, err);
}

int32_t rn__graph_output_count(const rn__graph *graph, int32_t frame)
{
    return (int32_t)graph->frames[frame].function->def->signature->n_output_arg;
}

static rn_status spend_step(rn__graph *graph, rn_error *err)
{
    if (++graph->steps <= RN__GRAPH_MAX_STEPS) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "calls lead from one to the next more than %d times, or in a circle", RN__GRAPH_MAX_STEPS);
}

rn_status rn__graph_output(rn__graph *graph, int32_t frame, int32_t index, rn__ref *out, rn_error *err)
{
    const Sm__FunctionDef *def = graph->frames[frame].function->def;
    const size_t count = def->signature->n_output_arg;
    if (index < 0 || (size_t)index >= count) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "function %s has %zu outputs, number %d is asked for", def->signature->name, count, index);
    }
    const char *name = def->signature->output_arg[index]->name;
    for (size_t i = 0; i < def->n_ret; i++) {
        RN_TRY(spend_step(graph, err));
        if (strcmp(def->ret[i]->key, name) == 0) return rn__graph_parse(graph, frame, def->ret[i]->value, out, err);
    }
    return RN_FAIL(err, RN_STATUS_DATA_LOSS, "function %s returns nothing for its output %s", def->signature->name, name);
}

/* ---- references ---- */

int32_t rn__graph_data_inputs(const Sm__NodeDef *node)
{
    int32_t count = 0;
    while ((size_t)count < node->n_input && node->input[count][0] != '^') count++;
    return count;
}

int32_t rn__graph_find(const rn__graph *graph, int32_t frame, const char *name)
{
    return find_node(graph->frames[frame].function, name, strlen(name));
}

/* "" or ":3" -> the number; false for anything else. */
static bool read_index(const char *text, int32_t *out)
{
    *out = 0;
    if (!*text) return true;
    if (*text++ != ':' || !*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || *out > 100000) return false;
        *out = *out * 10 + (*text - '0');
    }
    return true;
}

rn_status rn__graph_parse(rn__graph *graph, int32_t frame, const char *text, rn__ref *out, rn_error *err)
{
    const rn__function *function = graph->frames[frame].function;
    const char *colon = strchr(text, ':');
    const size_t name_bytes = colon ? (size_t)(colon - text) : strlen(text);
    const char *rest = text + name_bytes;
    *out = (rn__ref){.frame = frame};
    if (!colon) {
        const int32_t argument = find_argument(function, text);
        if (argument != RN_NONE) {
            out->node = ~argument;
            return RN_STATUS_OK;
        }
    }
    out->node = find_node(function, text, name_bytes);
    if (out->node == RN_NONE) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s refers to %s, which is not there", title(function), text);
    }
    int32_t first = 0;
    if (function->def && colon) { /* ":output argument:index" */
        const char *argument = colon + 1, *end = strchrnul(argument, ':');
        first = rn__op_output_argument(function->nodes[out->node]->op, argument, (size_t)(end - argument));
        rest = end;
    }
    if (!read_index(rest, &out->output)) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s refers to %s, which is no valid name", title(function), text);
    }
    out->output += first;
    return RN_STATUS_OK;
}

static bool is_call(const Sm__NodeDef *node)
{
    return strcmp(node->op, "PartitionedCall") == 0 || strcmp(node->op, "StatefulPartitionedCall") == 0;
}

/* The input of the calling node that argument `argument` of a frame stands for. */
static rn_status argument_source(rn__graph *graph, const rn__frame *frame, int32_t argument, rn__ref *out, rn_error *err)
{
    const Sm__NodeDef *call = graph->frames[frame->parent].function->nodes[frame->call_node];
    const int32_t input = frame->first_input + argument;
    if ((size_t)input >= call->n_input || call->input[input][0] == '^') {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "node %s (op %s) has no input %d, function %s takes it", call->name, call->op, input,
                       frame->function->name);
    }
    return rn__graph_parse(graph, frame->parent, call->input[input], out, err);
}

rn_status rn__graph_resolve(rn__graph *graph, rn__ref *ref, rn_error *err)
{
    for (;;) {
        RN_TRY(spend_step(graph, err));
        const rn__frame frame = graph->frames[ref->frame];
        if (ref->node < 0) {
            if (frame.parent == RN_NONE) return RN_STATUS_OK;
            RN_TRY(argument_source(graph, &frame, ~ref->node, ref, err));
            continue;
        }
        const Sm__NodeDef *node = frame.function->nodes[ref->node];
        rn__node_state *state = &frame.nodes[ref->node];
        if (is_call(node) && state->callee == RN_NONE) {
            const char *callee = rn__attr_function(node, "f");
            int32_t called;
            if (!callee) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "node %s (op %s) names no function", node->name, node->op);
            RN_TRY(rn__graph_call(graph, callee, ref->frame, ref->node, 0, &called, err));
            state->callee = called;
        }
        if (state->callee == RN_NONE) return RN_STATUS_OK;
        RN_TRY(rn__graph_output(graph, state->callee, ref->output, ref, err));
    }
}
