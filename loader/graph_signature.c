/* One signature: what the caller gives, what the caller gets, and the operations between, which the outputs ask for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/graph_fit.h"
#include "loader/graph_ops.h"

const char *rn__value_text(const rn__value *value)
{
    static const char *const texts[] = {[RN__DEAD] = "a value that is never computed",
                                        [RN__CONSTANT] = "a constant",
                                        [RN__VARIABLE] = "a variable",
                                        [RN__ACTIVATION] = "an activation",
                                        [RN__CHANNEL] = "a channel",
                                        [RN__PART] = "a part of an activation's channels",
                                        [RN__PART_CONV] = "the convolution of a part of an activation's channels",
                                        [RN__SORTED] = "sorted classes",
                                        [RN__LABELS] = "labels",
                                        [RN__ENCODED_BATCH] = "encoded pictures",
                                        [RN__ENCODED_LIST] = "a list of encoded pictures",
                                        [RN__EMPTY_LIST] = "a list to be filled",
                                        [RN__FILLED_LIST] = "a list being filled",
                                        [RN__PICTURE_LIST] = "a list of pictures",
                                        [RN__COUNTER] = "a loop counter",
                                        [RN__COUNTER_NEXT] = "a loop counter's next value",
                                        [RN__COUNTER_BELOW] = "a loop's condition",
                                        [RN__ENCODED] = "an encoded picture",
                                        [RN__PICTURE] = "a picture"};
    return texts[value->kind];
}

static rn_status copy_text(char out[RN_PLAN_NAME_BYTES], const char *text, rn_error *err)
{
    if (strlen(text) >= RN_PLAN_NAME_BYTES) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "a name of %zu bytes: %.40s...", strlen(text), text);
    strcpy(out, text);
    return RN_STATUS_OK;
}

/* ---- input ---- */

/* The caller's tensor: pictures as strings [N], or numbers [N,h,w,c]. */
static rn_status make_input(rn__import *import, const Sm__TensorInfo *info, rn_tensor_spec *spec, rn__value *value, rn_error *err)
{
    const Sm__TensorShape *shape = info->tensor_shape;
    const size_t rank = shape && !shape->unknown_rank ? shape->n_dim : 0;
    if (info->dtype == RN__DT_STRING) {
        if (rank != 1)
            return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "input %s: strings of rank %zu, expected a vector of pictures", spec->name, rank);
        spec->dtype = RN_DTYPE_STRING;
        spec->rank = 1;
        spec->dims[0] = -1;
        *value = (rn__value){.kind = RN__ENCODED_BATCH};
        RN_TRY(rn_plan_add_tensor(import->plan, info->name, RN_DTYPE_STRING, 1, 1, 1, &spec->tensor, err));
        import->input_tensor = spec->tensor;
        return RN_STATUS_OK;
    }
    if (info->dtype != RN__DT_FLOAT && info->dtype != RN__DT_UINT8) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "input %s: %s, expected float, uint8 or string", spec->name,
                       rn__dtype_text(info->dtype));
    }
    if (rank != 4)
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "input %s: rank %zu, expected [batch,height,width,channels]", spec->name, rank);
    for (size_t i = 0; i < rank; i++) {
        spec->dims[i] = i == 0 ? -1 : shape->dim[i]->size;
        if (i == 0 || (spec->dims[i] >= 1 && spec->dims[i] <= RN_PLAN_MAX_SIDE)) continue;
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "input %s: dimension %zu is %lld: height, width and channels have to be known",
                       spec->name, i, (long long)spec->dims[i]);
    }
    spec->dtype = info->dtype == RN__DT_FLOAT ? RN_DTYPE_F32 : RN_DTYPE_U8;
    spec->rank = 4;
    RN_TRY(rn_plan_add_tensor(import->plan, info->name, spec->dtype, (int32_t)spec->dims[1], (int32_t)spec->dims[2], (int32_t)spec->dims[3],
                              &spec->tensor, err));
    import->input_tensor = spec->tensor;
    *value = (rn__value){.kind = RN__ACTIVATION, .u.activation = {.tensor = spec->tensor, .rank = 4}};
    memcpy(value->u.activation.dims, spec->dims, sizeof spec->dims);
    /* No picture is 1 or 3 pixels high and more than 4 channels deep. */
    const bool channels_first = (spec->dims[1] == 1 || spec->dims[1] == 3) && spec->dims[3] > 4;
    return channels_first ? rn__fit_channels_last(import, info->name, value, err) : RN_STATUS_OK;
}

/* Gives the node that stands for the input its value, whatever its operation is. */
static rn_status bind_input(rn__import *import, const char *tensor, const rn__value *value, rn_error *err)
{
    rn__ref ref;
    RN_TRY(rn__graph_parse(&import->graph, 0, tensor, &ref, err));
    if (ref.output > 1024) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "input tensor %s", tensor);
    rn__node_state *state = rn__graph_state(&import->graph, ref);
    state->value_count = ref.output + 1;
    state->values = rn__arena_array(import->scratch, (uint64_t)state->value_count, sizeof *state->values, tensor, err);
    if (!state->values) return RN_STATUS_OUT_OF_MEMORY;
    state->values[ref.output] = *value;
    state->phase = RN__DONE;
    return RN_STATUS_OK;
}

/* ---- outputs ---- */

/* The operation that sorts; values and indexes of one sort ask for it twice and are joined when operations are shared. */
static rn_status emit_top_k(rn__import *import, const char *name, const rn__sorted *sorted, int32_t *tensor, rn_error *err)
{
    rn_op op = {.kind = RN_OP_TOP_K, .inputs = {sorted->tensor, RN_NONE}, .u.top_k = {.k = sorted->k}};
    char indexes[RN_PLAN_NAME_BYTES + 8];
    RN_TRY(copy_text(op.name, name, err));
    snprintf(indexes, sizeof indexes, "%s:1", name);
    RN_TRY(rn_plan_add_tensor(import->plan, name, RN_DTYPE_F32, 1, 1, sorted->k, &op.outputs[0], err));
    RN_TRY(rn_plan_add_tensor(import->plan, indexes, RN_DTYPE_I32, 1, 1, sorted->k, &op.outputs[1], err));
    *tensor = op.outputs[sorted->indexes];
    return rn_plan_add_op(import->plan, &op, NULL, err);
}

/* The plan has one list of labels: the first output that has labels fills it, others must agree. */
static rn_status use_labels(rn__import *import, const rn__constant *labels, rn_error *err)
{
    rn_plan *plan = import->plan;
    const bool first = plan->label_count == 0;
    if (!first && plan->label_count != labels->count) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%lld labels, another output has %d", (long long)labels->count, plan->label_count);
    }
    for (int64_t i = 0; i < labels->count; i++) {
        const rn__string label = labels->data.strings[i];
        if (label.byte_count && memchr(label.bytes, 0, label.byte_count))
            return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "label %lld holds a zero byte", (long long)i);
        if (!first) {
            if (strlen(plan->labels[i]) == label.byte_count && memcmp(plan->labels[i], label.bytes, label.byte_count) == 0) continue;
            return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "label %lld is %.*s, another output has %s", (long long)i, (int)label.byte_count,
                           label.bytes, plan->labels[i]);
        }
        char *text = strndup(label.byte_count ? label.bytes : "", label.byte_count);
        if (!text) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for label %lld", (long long)i);
        const rn_status status = rn_plan_add_label(plan, text, err);
        free(text);
        if (status != RN_STATUS_OK) return status;
    }
    return RN_STATUS_OK;
}

static rn_status make_output(rn__import *import, const rn__value *value, rn_tensor_spec *spec, rn_error *err)
{
    const rn__activation *x = &value->u.activation;
    const rn__sorted *sorted = &value->u.sorted;
    switch (value->kind) {
    case RN__ACTIVATION:
        if (rn__is_padded(x)) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "a padded map is an output");
        if (x->channels_first && x->dims[2] * x->dims[3] > 1)
            return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "a map [batch,channels,height,width] is an output, expected channels last");
        *spec = (rn_tensor_spec){.dtype = import->plan->tensors[x->tensor].dtype, .rank = x->rank, .tensor = x->tensor};
        memcpy(spec->dims, x->dims, sizeof spec->dims);
        return RN_STATUS_OK;
    case RN__LABELS: RN_TRY(use_labels(import, sorted->labels, err)); /* fall through */
    case RN__SORTED:
        *spec = (rn_tensor_spec){.dtype = RN_DTYPE_F32, .rank = sorted->rank, .dims = {-1, sorted->k}};
        if (sorted->indexes) spec->dtype = sorted->is_int64 ? RN_DTYPE_I64 : RN_DTYPE_I32;
        if (value->kind == RN__LABELS) spec->dtype = RN_DTYPE_STRING, spec->labels = true;
        return emit_top_k(import, "top_k", sorted, &spec->tensor, err);
    default: return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s as an output", rn__value_text(value));
    }
}

static rn_status import_output(rn__import *import, const Sm__Signature__TensorEntry *entry, rn_tensor_spec *spec, rn_error *err)
{
    rn__ref ref;
    const rn__value *value;
    if (!entry->value) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "no tensor");
    RN_TRY(rn__graph_parse(&import->graph, 0, entry->value->name, &ref, err));
    RN_TRY(rn__import_value(import, ref, &value, err));
    RN_TRY(make_output(import, value, spec, err));
    RN_TRY(copy_text(spec->name, entry->key, err));
    return copy_text(spec->tf_name, entry->value->name, err);
}

/* ---- the whole ---- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp((*(Sm__Signature__TensorEntry *const *)a)->key, (*(Sm__Signature__TensorEntry *const *)b)->key);
}

static rn_status import_signature(rn__import *import, const char *name, const Sm__Signature *message, rn_signature *signature,
                                  rn_error *err)
{
    rn__value input;
    if (message->n_inputs != 1) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%zu inputs, expected 1", message->n_inputs);
    if (message->n_outputs < 1 || message->n_outputs > RN_PLAN_MAX_OUTPUTS) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%zu outputs, expected 1 to %d", message->n_outputs, RN_PLAN_MAX_OUTPUTS);
    }
    const Sm__TensorInfo *info = message->inputs[0]->value;
    if (!info) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "input %s has no tensor", message->inputs[0]->key);
    RN_TRY(copy_text(signature->name, name, err));
    RN_TRY(copy_text(signature->method_name, message->method_name, err));
    RN_TRY(copy_text(signature->input.name, message->inputs[0]->key, err));
    RN_TRY(copy_text(signature->input.tf_name, info->name, err));
    RN_TRY(rn__graph_restart(&import->graph, err));
    RN_TRY(make_input(import, info, &signature->input, &input, err));
    RN_TRY(bind_input(import, info->name, &input, err));
    qsort(message->outputs, message->n_outputs, sizeof *message->outputs, compare_keys);
    for (size_t i = 0; i < message->n_outputs; i++) {
        const rn_status status = import_output(import, message->outputs[i], &signature->outputs[signature->output_count++], err);
        if (status == RN_STATUS_OK) continue;
        rn_error_prefix(err, "output %s", message->outputs[i]->key);
        return status;
    }
    return rn_plan_add_signature(import->plan, signature, NULL, err);
}

/* Adds to a refusal how far the network was understood: what the signature has added to the plan from operation `first` on. */
static void add_progress(const rn_plan *plan, int32_t first, rn_error *err)
{
    int32_t convolutions = 0, sums = 0, others = 0;
    for (int32_t i = first; i < plan->op_count; i++) {
        const rn_op_kind kind = plan->ops[i].kind;
        convolutions += kind == RN_OP_CONV2D;
        sums += kind == RN_OP_ADD;
        others += kind != RN_OP_CONV2D && kind != RN_OP_ADD;
    }
    const size_t used = strlen(err->message), room = sizeof err->message - used;
    if (convolutions + sums + others == 0) {
        snprintf(err->message + used, room, "; the network up to it was nothing but the input");
        return;
    }
    const rn_op *last = &plan->ops[plan->op_count - 1];
    const rn_plan_tensor *y = &plan->tensors[last->outputs[0]];
    snprintf(err->message + used, room, "; the network up to it was %d convolution%s, %d sum%s and %d other operation%s, the last one %s (%s) of %dx%dx%d",
             convolutions, convolutions == 1 ? "" : "s", sums, sums == 1 ? "" : "s", others, others == 1 ? "" : "s", last->name,
             rn_op_kind_name(last->kind), y->h, y->w, y->c);
}

rn_status rn__import_signature(rn__import *import, const char *name, const Sm__Signature *message, rn_error *err)
{
    rn_signature *signature = rn__arena_array(import->scratch, 1, sizeof *signature, name, err);
    if (!signature) return RN_STATUS_OUT_OF_MEMORY;
    const int32_t first = import->plan->op_count;
    const rn_status status = import_signature(import, name, message, signature, err);
    if (status == RN_STATUS_OK) return status;
    rn_error_prefix(err, "signature %s", name);
    if (status == RN_STATUS_UNSUPPORTED && err) add_progress(import->plan, first, err);
    return status;
}
