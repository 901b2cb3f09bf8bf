/* The interpreter: demand-driven, with its own stack, so that neither the length of a graph nor the order of its nodes matters.
 *
 * A node is opened, its inputs are imported, its handler is run, and its values stay in its frame. Calls never appear here, references lead
 * through them; a branch with a known condition becomes a call of the side that is taken. Control inputs are dropped: they order effects,
 * and a plan has none.
 */
#include "loader/graph_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/graph_ops.h"

/* ---- the list of operations ---- */

static const rn__op_info op_list[] = {
#define RN__OP(name, inputs, outputs, arguments, on_constants, on_others, variant) \
    {name, inputs, outputs, arguments, on_constants, on_others, variant},
#include "loader/graph_ops.def"
#undef RN__OP
};

const rn__op_info *rn__op_find(const char *name)
{
    for (size_t i = 0; i < sizeof op_list / sizeof *op_list; i++) {
        if (strcmp(op_list[i].name, name) == 0) return &op_list[i];
    }
    return NULL;
}

int32_t rn__op_output_argument(const char *op, const char *argument, size_t argument_bytes)
{
    const rn__op_info *info = rn__op_find(op);
    if (!info || !*info->output_arguments) return 0;
    int32_t index = 0;
    for (const char *at = info->output_arguments; *at; index++) {
        const size_t bytes = strcspn(at, ",");
        if (bytes == argument_bytes && strncmp(at, argument, bytes) == 0) return index;
        at += bytes + (at[bytes] == ',');
    }
    return index; /* one past the last: no such output */
}

/* ---- running one node ---- */

static rn_status count_outputs(const rn__op_info *info, const Sm__NodeDef *node, int32_t input_count, int32_t *out, rn_error *err)
{
    int64_t count = info->outputs;
    if (count == RN__AS_INPUTS) count = input_count;
    if (count == RN__BY_ATTR) count = rn__attr_int(node, "num", rn__attr_int(node, "num_split", 1));
    if (count < 1 || count > 1024) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%lld outputs", (long long)count);
    *out = (int32_t)count;
    return RN_STATUS_OK;
}

/* The value of a reference whose node is DONE. */
static rn_status value_of(const rn__import *import, rn__ref ref, const rn__value **out, rn_error *err)
{
    const rn__frame *frame = &import->graph.frames[ref.frame];
    const rn__value *values = ref.node < 0 ? frame->arguments : frame->nodes[ref.node].values;
    const int32_t count = ref.node < 0 ? frame->argument_count : frame->nodes[ref.node].value_count;
    const int32_t index = ref.node < 0 ? ~ref.node : ref.output;
    if (index < 0 || index >= count) {
        const Sm__NodeDef *node = ref.node < 0 ? NULL : rn__graph_node(&import->graph, ref);
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "output %d of node %s (op %s) is used, %d of its outputs are known", index,
                       node ? node->name : frame->function->name, node ? node->op : "function", count);
    }
    *out = &values[index];
    return RN_STATUS_OK;
}

/* Runs a node whose inputs are done. */
static rn_status run_node(rn__import *import, rn__ref ref, rn_error *err)
{
    const Sm__NodeDef *node = rn__graph_node(&import->graph, ref);
    rn__node_state *state = rn__graph_state(&import->graph, ref);
    const rn__op_info *info = rn__op_find(node->op);
    if (!info) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "no counterpart in a ResNet plan");
    if (info->inputs != RN__ANY ? state->input_count != info->inputs : state->input_count == 0) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%d inputs", state->input_count);
    }
    rn__op_call call = {.import = import, .node = node, .ref = ref, .variant = info->variant, .in_count = state->input_count, .err = err};
    RN_TRY(count_outputs(info, node, state->input_count, &call.out_count, err));
    call.in = rn__arena_array(import->scratch, (uint64_t)call.in_count, sizeof *call.in, node->name, err);
    call.out = rn__arena_array(import->scratch, (uint64_t)call.out_count, sizeof *call.out, node->name, err);
    if (!call.in || !call.out) return RN_STATUS_OUT_OF_MEMORY;
    bool dead = false, constant = true;
    for (int32_t i = 0; i < call.in_count; i++) {
        RN_TRY(value_of(import, state->inputs[i], &call.in[i], err));
        dead |= call.in[i]->kind == RN__DEAD;
        constant &= call.in[i]->kind == RN__CONSTANT;
    }
    if (!dead || info->on_others == rn__op_merge) {
        rn__op_handler *handler = constant ? info->on_constants : info->on_others;
        if (!handler) {
            return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "no counterpart in a ResNet plan when its first input is %s",
                           call.in_count ? rn__value_text(call.in[0]) : "absent");
        }
        RN_TRY(handler(&call));
    }
    state->values = call.out;
    state->value_count = call.out_count;
    return RN_STATUS_OK;
}

/* A conditional whose predicate is known is a call of one of its two functions with the other inputs. */
static bool is_branch(const Sm__NodeDef *node)
{
    return strcmp(node->op, "If") == 0 || strcmp(node->op, "StatelessIf") == 0;
}

static rn_status choose_branch(rn__import *import, rn__ref ref, rn_error *err)
{
    const Sm__NodeDef *node = rn__graph_node(&import->graph, ref);
    rn__node_state *state = rn__graph_state(&import->graph, ref);
    const rn__value *predicate;
    if (state->input_count < 1) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "no predicate");
    RN_TRY(value_of(import, state->inputs[0], &predicate, err));
    if (predicate->kind != RN__CONSTANT || !rn__constant_is_scalar(&predicate->u.constant, RN__INTS) || predicate->u.constant.batch_mask) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "the condition is not known before the model runs");
    }
    const char *name = rn__attr_function(node, predicate->u.constant.data.ints[0] ? "then_branch" : "else_branch");
    int32_t callee;
    if (!name) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "a branch is missing");
    RN_TRY(rn__graph_call(&import->graph, name, ref.frame, ref.node, 1, &callee, err));
    state->callee = callee;
    return RN_STATUS_OK;
}

/* ---- order ---- */

typedef struct visit {
    rn__ref ref;
    int32_t next; /* input to look at */
} visit;

typedef struct stack {
    visit *items;
    size_t count, capacity;
} stack;

/* Opens a node and puts it on the stack. */
static rn_status open_node(rn__import *import, stack *stack, rn__ref ref, rn_error *err)
{
    const Sm__NodeDef *node = rn__graph_node(&import->graph, ref);
    rn__node_state *state = rn__graph_state(&import->graph, ref);
    if (state->phase == RN__OPEN) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "node %s (op %s): it depends on its own result (a TensorFlow 1 loop)", node->name,
                       node->op);
    }
    if (stack->count == stack->capacity) {
        const size_t wanted = stack->capacity ? 2 * stack->capacity : 256;
        visit *grown = realloc(stack->items, wanted * sizeof *grown);
        if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to follow %zu nodes", wanted);
        stack->items = grown;
        stack->capacity = wanted;
    }
    state->phase = RN__OPEN;
    state->input_count = is_branch(node) && node->n_input ? 1 : rn__graph_data_inputs(node);
    state->inputs = rn__arena_array(import->scratch, (uint64_t)state->input_count, sizeof *state->inputs, node->name, err);
    if (!state->inputs) return RN_STATUS_OUT_OF_MEMORY;
    for (int32_t i = 0; i < state->input_count; i++)
        RN_TRY(rn__graph_parse(&import->graph, ref.frame, node->input[i], &state->inputs[i], err));
    stack->items[stack->count++] = (visit){.ref = ref};
    return RN_STATUS_OK;
}

static bool is_ready(const rn__import *import, rn__ref ref)
{
    return ref.node < 0 || rn__graph_state(&import->graph, ref)->phase == RN__DONE;
}

/* Imports whatever is on top of the stack, one step. */
static rn_status step(rn__import *import, stack *stack, rn_error *err)
{
    visit *top = &stack->items[stack->count - 1];
    const rn__ref ref = top->ref;
    const Sm__NodeDef *node = rn__graph_node(&import->graph, ref);
    rn__node_state *state = rn__graph_state(&import->graph, ref);
    while (top->next < state->input_count) {
        rn__ref *input = &state->inputs[top->next];
        RN_TRY(rn__graph_resolve(&import->graph, input, err));
        if (!is_ready(import, *input)) return open_node(import, stack, *input, err);
        top->next++;
    }
    const rn_status status = is_branch(node) ? choose_branch(import, ref, err) : run_node(import, ref, err);
    if (status != RN_STATUS_OK) {
        rn_error_prefix(err, "node %s (op %s)", node->name, node->op);
        return status;
    }
    state->phase = RN__DONE;
    stack->count--;
    return RN_STATUS_OK;
}

rn_status rn__import_value(rn__import *import, rn__ref ref, const rn__value **out, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    stack stack = {0};
    for (;;) {
        RN_TRY_CLEANUP(status, rn__graph_resolve(&import->graph, &ref, err)); /* again after a branch was chosen: it leads on */
        if (is_ready(import, ref)) break;
        RN_TRY_CLEANUP(status, open_node(import, &stack, ref, err));
        while (stack.count) RN_TRY_CLEANUP(status, step(import, &stack, err));
    }
    status = value_of(import, ref, out, err);
cleanup:
    free(stack.items);
    return status;
}

/* ---- names ---- */

/* True for "PartitionedCall", "StatefulPartitionedCall_12": calls that say nothing of where they stand. */
static bool is_plain_call(const char *component)
{
    if (strncmp(component, "Stateful", 8) == 0) component += 8;
    return strncmp(component, "PartitionedCall", 15) == 0 && (component[15] == 0 || component[15] == '_');
}

const char *rn__import_node_name(const rn__import *import, int32_t frame, const Sm__NodeDef *node, char out[RN_PLAN_NAME_BYTES])
{
    snprintf(out, RN_PLAN_NAME_BYTES, "%s", node->name);
    for (const rn__frame *f = &import->graph.frames[frame]; f->parent != RN_NONE; f = &import->graph.frames[f->parent]) {
        char inner[RN_PLAN_NAME_BYTES];
        memcpy(inner, out, sizeof inner);
        const char *call = import->graph.frames[f->parent].function->nodes[f->call_node]->name, *slash = strrchr(call, '/');
        size_t scope = strlen(call);
        if (is_plain_call(slash ? slash + 1 : call)) scope = slash ? (size_t)(slash - call) : 0;
        if (scope && snprintf(out, RN_PLAN_NAME_BYTES, "%.*s/%s", (int)scope, call, inner) >= RN_PLAN_NAME_BYTES) break;
    }
    return out;
}

rn_status rn__import_init(rn__import *import, const Sm__GraphDef *def, rn__variables *variables, rn__arena *scratch, rn__arena *lasting,
                          rn_plan *plan, rn_error *err)
{
    *import = (rn__import){.variables = variables, .plan = plan, .scratch = scratch, .lasting = lasting};
    return rn__graph_init(&import->graph, def, scratch, err);
}

void rn__import_deinit(rn__import *import)
{
    free(import->weight_sums);
    import->weight_sums = NULL;
}
