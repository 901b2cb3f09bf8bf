/* Two routes from a variable's node to its tensor.
 *
 * The restore operation: the SavedModel's own program for filling variables. Each assignment in it (AssignVariableOp of a handle, or
 * TensorFlow 1's Assign of a variable) takes its value from output i of a RestoreV2, whose constants name key i. TensorFlow 2 keeps the
 * program in a function, TensorFlow 1 behind the control inputs of a NoOp.
 *
 * The object graph, where a handle stays unassigned (Keras 3 layers under tf.saved_model.save): the function that a signature calls lists
 * the objects of its captures by argument; the checkpoint has the same objects with keys; children of the same name from the same root pair
 * them.
 *
 * Both were seen to give TensorFlow's own values, bit for bit, wherever both exist.
 */
#include "loader/graph_variables.h"

#include <stdlib.h>
#include <string.h>

#include "loader/graph_attr.h"
#include "loader/proto_unpack.h"

typedef struct binding {
    const rn__checkpoint_entry *entry; /* NULL: not bound */
    const rn__constant *value;         /* NULL: not read yet */
} binding;

struct rn__variables {
    const Sm__MetaGraph *meta_graph;
    rn__checkpoint *checkpoint;
    rn__arena *scratch, *lasting;
    rn__graph graph;
    binding *bindings; /* of each node of the graph */
    bool objects_tried;
};

/* ---- the restore operation ---- */

/* Follows identities to the node that computes a value. */
static rn_status skip_identities(rn__graph *graph, rn__ref *ref, rn_error *err)
{
    for (;;) {
        RN_TRY(rn__graph_resolve(graph, ref, err));
        if (ref->node < 0) return RN_STATUS_OK;
        const Sm__NodeDef *node = rn__graph_node(graph, *ref);
        if (strcmp(node->op, "Identity") != 0 || node->n_input < 1) return RN_STATUS_OK;
        RN_TRY(rn__graph_parse(graph, ref->frame, node->input[0], ref, err));
    }
}

/* String `index` of the constant that feeds input `input` of a RestoreV2. */
static rn_status restore_text(rn__variables *v, rn__ref restore, size_t input, int32_t index, rn__string *out, rn_error *err)
{
    const Sm__NodeDef *node = rn__graph_node(&v->graph, restore);
    rn__ref ref;
    if (node->n_input <= input)
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "node %s (op %s): %zu inputs", node->name, node->op, node->n_input);
    RN_TRY(rn__graph_parse(&v->graph, restore.frame, node->input[input], &ref, err));
    RN_TRY(skip_identities(&v->graph, &ref, err));
    const Sm__Tensor *proto = ref.node < 0 ? NULL : rn__attr_tensor(rn__graph_node(&v->graph, ref), "value");
    const Sm__TensorShape *shape = proto ? proto->tensor_shape : NULL;
    if (!shape || proto->dtype != RN__DT_STRING || shape->n_dim != 1 || index < 0 || index >= shape->dim[0]->size) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "node %s (op %s): its output %d has no constant name", node->name, node->op, index);
    }
    const size_t given = proto->n_string_val; /* fewer than elements: the last one repeats */
    *out = (rn__string){0};
    if (given == 0) return RN_STATUS_OK;
    const ProtobufCBinaryData text = proto->string_val[(size_t)index < given ? (size_t)index : given - 1];
    *out = (rn__string){(const char *)text.data, text.len};
    return RN_STATUS_OK;
}

static rn_status bind_assignment(rn__variables *v, int32_t frame, const Sm__NodeDef *assign, rn_error *err)
{
    rn__ref target, value;
    if (assign->n_input < 2)
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "node %s (op %s): %zu inputs", assign->name, assign->op, assign->n_input);
    RN_TRY(rn__graph_parse(&v->graph, frame, assign->input[0], &target, err));
    RN_TRY(rn__graph_parse(&v->graph, frame, assign->input[1], &value, err));
    RN_TRY(skip_identities(&v->graph, &target, err));
    RN_TRY(skip_identities(&v->graph, &value, err));
    if (target.node < 0 || target.frame != 0 || value.node < 0)
        return RN_STATUS_OK; /* restores something that is no variable of the graph */
    if (strcmp(rn__graph_node(&v->graph, value)->op, "RestoreV2") != 0) return RN_STATUS_OK;

    rn__string key, part;
    RN_TRY(restore_text(v, value, 1, value.output, &key, err));
    RN_TRY(restore_text(v, value, 2, value.output, &part, err));
    const rn__checkpoint_entry *entry = rn__checkpoint_find_part(v->checkpoint, key, part);
    if (!entry) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "the checkpoint has no tensor %.*s%s%.*s, which node %s restores", (int)key.byte_count,
                       key.bytes, part.byte_count ? " part " : "", (int)part.byte_count, part.bytes, assign->name);
    }
    v->bindings[target.node].entry = entry;
    return RN_STATUS_OK;
}

static bool is_assignment(const Sm__NodeDef *node)
{
    return strcmp(node->op, "AssignVariableOp") == 0 || strcmp(node->op, "Assign") == 0;
}

/* TensorFlow 2: the call of the function that restores. */
static rn_status bind_by_function(rn__variables *v, int32_t call_node, const char *function, rn_error *err)
{
    int32_t frame;
    RN_TRY(rn__graph_call(&v->graph, function, 0, call_node, 0, &frame, err));
    const rn__function *restore = v->graph.frames[frame].function;
    for (int32_t i = 0; i < restore->node_count; i++) {
        if (is_assignment(restore->nodes[i])) RN_TRY(bind_assignment(v, frame, restore->nodes[i], err));
    }
    return RN_STATUS_OK;
}

/* TensorFlow 1: all assignments that the operation waits for, directly or not. */
static rn_status bind_by_control(rn__variables *v, int32_t first, rn_error *err)
{
    const rn__function *root = v->graph.frames[0].function;
    int32_t *queue = rn__arena_array(v->scratch, (uint64_t)root->node_count, sizeof *queue, "the restore operation", err);
    bool *seen = rn__arena_array(v->scratch, (uint64_t)root->node_count, sizeof *seen, "the restore operation", err);
    if (!queue || !seen) return RN_STATUS_OUT_OF_MEMORY;
    int32_t head = 0, tail = 0;
    queue[tail++] = first;
    seen[first] = true;
    while (head < tail) {
        const Sm__NodeDef *node = root->nodes[queue[head++]];
        if (is_assignment(node)) RN_TRY(bind_assignment(v, 0, node, err));
        for (size_t i = 0; i < node->n_input; i++) {
            if (node->input[i][0] != '^') continue;
            const int32_t waited = rn__graph_find(&v->graph, 0, node->input[i] + 1);
            if (waited == RN_NONE || seen[waited]) continue;
            seen[waited] = true;
            queue[tail++] = waited;
        }
    }
    return RN_STATUS_OK;
}

static rn_status bind_by_restore(rn__variables *v, rn_error *err)
{
    const Sm__Saver *saver = v->meta_graph->saver_def;
    if (!saver || !*saver->restore_op_name || !v->checkpoint) return RN_STATUS_OK; /* nothing to restore */
    const int32_t node = rn__graph_find(&v->graph, 0, saver->restore_op_name);
    if (node == RN_NONE) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "the restore operation %s is not in the graph", saver->restore_op_name);
    const char *function = rn__attr_function(v->graph.root.nodes[node], "f");
    return function ? bind_by_function(v, node, function, err) : bind_by_control(v, node, err);
}

/* ---- the object graph ---- */

static rn_status read_objects(rn__variables *v, const Sm__TrackableObjectGraph **out, rn_error *err)
{
    *out = NULL;
    const rn__checkpoint_entry *entry = rn__checkpoint_find(v->checkpoint, "_CHECKPOINTABLE_OBJECT_GRAPH");
    if (!entry) return RN_STATUS_OK; /* TensorFlow 1 */
    rn__constant text;
    RN_TRY(rn__checkpoint_read(v->checkpoint, entry, v->scratch, &text, err));
    if (!rn__constant_is_scalar(&text, RN__STRINGS)) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "the checkpoint's object graph is no string");
    bool out_of_memory;
    const rn__string bytes = text.data.strings[0];
    *out = rn__proto_unpack(&sm__trackable_object_graph__descriptor, v->scratch, bytes.bytes, bytes.byte_count, &out_of_memory);
    if (*out) return RN_STATUS_OK;
    return RN_FAIL(err, out_of_memory ? RN_STATUS_OUT_OF_MEMORY : RN_STATUS_DATA_LOSS, "the checkpoint's object graph cannot be decoded");
}

static int compare_references(const void *a, const void *b)
{
    return strcmp((*(Sm__ObjectReference *const *)a)->local_name, (*(Sm__ObjectReference *const *)b)->local_name);
}

/* pairs[i]: the checkpoint's object for the model's object i, or RN_NONE. Children are sorted in place to be found by name. */
static void pair_objects(const Sm__SavedObjectGraph *model, const Sm__TrackableObjectGraph *stored, int32_t *pairs, int32_t *queue)
{
    for (size_t i = 0; i < model->n_nodes; i++) pairs[i] = RN_NONE;
    for (size_t i = 0; i < stored->n_nodes; i++) {
        const Sm__TrackableObjectGraph__TrackableObject *object = stored->nodes[i];
        if (object->n_children) qsort(object->children, object->n_children, sizeof *object->children, compare_references);
    }
    if (model->n_nodes == 0 || stored->n_nodes == 0) return;
    size_t head = 0, tail = 0;
    pairs[0] = 0;
    queue[tail++] = 0;
    while (head < tail) {
        const Sm__SavedObject *ours = model->nodes[queue[head]];
        const Sm__TrackableObjectGraph__TrackableObject *theirs = stored->nodes[pairs[queue[head]]];
        head++;
        for (size_t i = 0; i < ours->n_children && theirs->n_children; i++) {
            const Sm__ObjectReference *child = ours->children[i];
            Sm__ObjectReference *const *found =
                bsearch(&child, theirs->children, theirs->n_children, sizeof *theirs->children, compare_references);
            if (!found || child->node_id < 0 || (size_t)child->node_id >= model->n_nodes || pairs[child->node_id] != RN_NONE) continue;
            if ((*found)->node_id < 0 || (size_t)(*found)->node_id >= stored->n_nodes) continue;
            pairs[child->node_id] = (*found)->node_id;
            queue[tail++] = child->node_id;
        }
    }
}

static const rn__checkpoint_entry *object_entry(const rn__variables *v, const Sm__TrackableObjectGraph__TrackableObject *object)
{
    for (size_t i = 0; i < object->n_attributes; i++) {
        if (strcmp(object->attributes[i]->name, "VARIABLE_VALUE") == 0)
            return rn__checkpoint_find(v->checkpoint, object->attributes[i]->checkpoint_key);
    }
    return NULL;
}

/* Binds what the captures of one call of the graph name. The captures are the call's last inputs. */
static rn_status bind_captures(rn__variables *v, const Sm__NodeDef *call, const Sm__SavedObjectGraph__Function *function,
                               const int32_t *pairs, const Sm__TrackableObjectGraph *stored, rn_error *err)
{
    const size_t objects = v->meta_graph->object_graph_def->n_nodes, inputs = (size_t)rn__graph_data_inputs(call);
    if (function->n_bound_inputs > inputs) return RN_STATUS_OK; /* some other use of that function */
    const size_t first = inputs - function->n_bound_inputs;
    for (size_t i = 0; i < function->n_bound_inputs; i++) {
        const int32_t object = function->bound_inputs[i];
        rn__ref ref;
        RN_TRY(rn__graph_parse(&v->graph, 0, call->input[first + i], &ref, err));
        RN_TRY(rn__graph_resolve(&v->graph, &ref, err));
        if (ref.frame != 0 || ref.node < 0 || object < 0 || (size_t)object >= objects || pairs[object] == RN_NONE) continue;
        binding *bound = &v->bindings[ref.node];
        if (!bound->entry) bound->entry = object_entry(v, stored->nodes[pairs[object]]);
    }
    return RN_STATUS_OK;
}

static int compare_functions(const void *a, const void *b)
{
    return strcmp((*(Sm__SavedObjectGraph__FunctionEntry *const *)a)->key, (*(Sm__SavedObjectGraph__FunctionEntry *const *)b)->key);
}

static rn_status bind_by_objects(rn__variables *v, rn_error *err)
{
    const Sm__SavedObjectGraph *model = v->meta_graph->object_graph_def;
    const Sm__TrackableObjectGraph *stored = NULL;
    v->objects_tried = true;
    if (!model || !v->checkpoint) return RN_STATUS_OK;
    RN_TRY(read_objects(v, &stored, err));
    if (!stored) return RN_STATUS_OK;
    int32_t *pairs = rn__arena_array(v->scratch, model->n_nodes, sizeof *pairs, "the object graph", err);
    int32_t *queue = rn__arena_array(v->scratch, model->n_nodes, sizeof *queue, "the object graph", err);
    if (!pairs || !queue) return RN_STATUS_OUT_OF_MEMORY;
    pair_objects(model, stored, pairs, queue);
    const size_t functions = model->n_concrete_functions;
    if (functions == 0) return RN_STATUS_OK;
    qsort(model->concrete_functions, functions, sizeof *model->concrete_functions, compare_functions);
    for (int32_t n = 0; n < v->graph.root.node_count; n++) {
        const Sm__NodeDef *node = v->graph.root.nodes[n];
        const char *name = rn__attr_function(node, "f");
        if (!name) continue;
        const Sm__SavedObjectGraph__FunctionEntry wanted = {.key = (char *)name}, *key = &wanted;
        Sm__SavedObjectGraph__FunctionEntry *const *found =
            bsearch(&key, model->concrete_functions, functions, sizeof *model->concrete_functions, compare_functions);
        if (found && (*found)->value) RN_TRY(bind_captures(v, node, (*found)->value, pairs, stored, err));
    }
    return RN_STATUS_OK;
}

/* ---- reading ---- */

rn_status rn__variables_create(const Sm__MetaGraph *meta_graph, rn__checkpoint *checkpoint, rn__arena *scratch, rn__arena *lasting,
                               rn__variables **out, rn_error *err)
{
    rn__variables *v = rn__arena_array(scratch, 1, sizeof *v, "the variables", err);
    if (!v) return RN_STATUS_OUT_OF_MEMORY;
    *v = (rn__variables){.meta_graph = meta_graph, .checkpoint = checkpoint, .scratch = scratch, .lasting = lasting};
    RN_TRY(rn__graph_init(&v->graph, meta_graph->graph_def, scratch, err));
    v->bindings = rn__arena_array(scratch, (uint64_t)v->graph.root.node_count, sizeof *v->bindings, "the variables", err);
    if (!v->bindings) return RN_STATUS_OUT_OF_MEMORY;
    RN_TRY(bind_by_restore(v, err));
    *out = v;
    return RN_STATUS_OK;
}

/* Holds an entry against the dtype and shape that the variable's node declares. */
static rn_status check_declaration(const Sm__NodeDef *node, const rn__checkpoint_entry *entry, rn_error *err)
{
    const int32_t dtype = rn__attr_type(node, "dtype", entry->dtype);
    const Sm__TensorShape *shape = rn__attr_shape(node, "shape");
    bool same = dtype == entry->dtype;
    if (same && shape && !shape->unknown_rank) {
        same = shape->n_dim == (size_t)entry->rank;
        for (int32_t i = 0; same && i < entry->rank; i++) same = shape->dim[i]->size == -1 || shape->dim[i]->size == entry->dims[i];
    }
    if (same) return RN_STATUS_OK;
    char found[128];
    return RN_FAIL(err, RN_STATUS_DATA_LOSS, "variable %s declares another dtype or shape than its tensor %s in the checkpoint: %s %s",
                   node->name, entry->key, rn__dtype_text(entry->dtype), rn__shape_text(entry->rank, entry->dims, found, sizeof found));
}

rn_status rn__variables_read(rn__variables *v, int32_t node, const rn__constant **out, rn_error *err)
{
    binding *bound = &v->bindings[node];
    const Sm__NodeDef *def = v->graph.root.nodes[node];
    if (!bound->entry && !v->objects_tried) RN_TRY(bind_by_objects(v, err));
    if (!bound->entry) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "variable %s has no value: %s", def->name,
                       v->checkpoint ? "neither the restore operation nor the object graph assigns it"
                                     : "the model has no variables/variables.index");
    }
    if (!bound->value) {
        rn__constant *value = rn__arena_array(v->scratch, 1, sizeof *value, def->name, err);
        if (!value) return RN_STATUS_OUT_OF_MEMORY;
        RN_TRY(check_declaration(def, bound->entry, err));
        RN_TRY(rn__checkpoint_read(v->checkpoint, bound->entry, v->lasting, value, err));
        bound->value = value;
    }
    *out = bound->value;
    return RN_STATUS_OK;
}
