/* tf.map_fn over the vector of encoded pictures: a While whose body takes element i of one tensor list and sets element i of another.
 *
 * The loop is not run. Its variables are given symbols (a counter, the two lists), the condition and the body are evaluated once for each
 * probed picture size, and each variable must come out as a map's would: counters one higher, lists the same, the result list with a
 * picture set.
 */
#include <string.h>

#include "loader/fold.h"
#include "loader/graph_emit.h"
#include "loader/graph_picture.h"

/* ---- lists ---- */

static bool is_batch_size(const rn__value *value)
{
    return value->kind == RN__CONSTANT && rn__constant_is_scalar(&value->u.constant, RN__INTS) && value->u.constant.batch_mask == 1;
}

rn_status rn__op_list_reserve(const rn__op_call *call)
{
    if (!is_batch_size(call->in[1])) return RN__REFUSE(call, "a list of another length than the batch");
    call->out[0].kind = RN__EMPTY_LIST;
    return RN_STATUS_OK;
}

rn_status rn__op_list_from_tensor(const rn__op_call *call)
{
    if (call->in[0]->kind != RN__ENCODED_BATCH)
        return RN__REFUSE(call, "a list of %s, expected of encoded pictures", rn__value_text(call->in[0]));
    call->out[0].kind = RN__ENCODED_LIST;
    return RN_STATUS_OK;
}

rn_status rn__op_list_get(const rn__op_call *call)
{
    if (call->in[0]->kind != RN__ENCODED_LIST || call->in[1]->kind != RN__COUNTER)
        return RN__REFUSE(call, "other than the loop's own element");
    call->out[0].kind = RN__ENCODED;
    return RN_STATUS_OK;
}

rn_status rn__op_list_set(const rn__op_call *call)
{
    if (call->in[0]->kind != RN__EMPTY_LIST || call->in[1]->kind != RN__COUNTER)
        return RN__REFUSE(call, "other than the loop's own element");
    if (call->in[2]->kind != RN__PICTURE) return RN__REFUSE(call, "an element that is %s, expected a picture", rn__value_text(call->in[2]));
    call->out[0] = (rn__value){.kind = RN__FILLED_LIST, .u.picture = call->in[2]->u.picture};
    return RN_STATUS_OK;
}

rn_status rn__op_list_stack(const rn__op_call *call)
{
    if (call->in[0]->kind != RN__PICTURE_LIST)
        return RN__REFUSE(call, "a list of %s, expected the pictures of a loop", rn__value_text(call->in[0]));
    const rn__pictures *made = &call->in[0]->u.pictures;
    const rn_image_op *image = &made->image;
    rn_op op = {.kind = RN_OP_IMAGE, .inputs = {call->import->input_tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}, .u.image = *image};
    int32_t y;
    RN_TRY(rn__emit_op(call, &op, image->as_float ? RN_DTYPE_F32 : RN_DTYPE_U8, image->h, image->w, image->c, &y));
    call->out[0] = rn__activation_value(call->import->plan, y, false);
    if (!made->is_float || (image->as_float && made->unchanged)) return RN_STATUS_OK;
    const rn__activation pixels = call->out[0].u.activation;
    float scale[RN__PICTURE_CHANNELS], shift[RN__PICTURE_CHANNELS];
    for (int32_t k = 0; k < image->c; k++) scale[k] = (float)made->scale[k], shift[k] = (float)made->shift[k];
    return rn__emit_scale_shift(call, &pixels, image->c, made->unchanged ? NULL : scale, made->unchanged ? NULL : shift, false);
}

/* ---- counters ---- */

rn_status rn__op_counter_less(const rn__op_call *call)
{
    if (call->in[0]->kind != RN__COUNTER || !is_batch_size(call->in[1]))
        return RN__REFUSE(call, "other than a loop's counter against the batch size");
    call->out[0].kind = RN__COUNTER_BELOW;
    return RN_STATUS_OK;
}

rn_status rn__op_counter_and(const rn__op_call *call)
{
    if (call->in[0]->kind != RN__COUNTER_BELOW || call->in[1]->kind != RN__COUNTER_BELOW)
        return RN__REFUSE(call, "other than two loop conditions");
    call->out[0].kind = RN__COUNTER_BELOW;
    return RN_STATUS_OK;
}

/* ---- the loop ---- */

/* What the body may see of each loop variable at its start. */
static rn_status start_variables(const rn__op_call *call, rn__value *variables)
{
    for (int32_t i = 0; i < call->in_count; i++) {
        const rn__value *in = call->in[i];
        variables[i] = *in;
        const bool constant = in->kind == RN__CONSTANT;
        if (constant && rn__constant_is_scalar(&in->u.constant, RN__INTS) && !in->u.constant.batch_mask &&
            in->u.constant.data.ints[0] == 0) {
            variables[i].kind = RN__COUNTER;
        } else if (!constant && in->kind != RN__EMPTY_LIST && in->kind != RN__ENCODED_LIST) {
            return RN__REFUSE(call, "a loop variable that is %s", rn__value_text(in));
        }
    }
    return RN_STATUS_OK;
}

static rn_status run_function(const rn__op_call *call, const char *attr, const rn__value *variables, int32_t *frame)
{
    const char *name = rn__attr_function(call->node, attr);
    if (!name) return RN_FAIL(call->err, RN_STATUS_DATA_LOSS, "no function %s", attr);
    rn__graph *graph = &call->import->graph;
    return rn__graph_call_with(graph, name, graph->frames[call->ref.frame].depth + 1, variables, call->in_count, frame, call->err);
}

static rn_status output_of(const rn__op_call *call, int32_t frame, int32_t index, const rn__value **out)
{
    rn__ref ref;
    RN_TRY(rn__graph_output(&call->import->graph, frame, index, &ref, call->err));
    return rn__import_value(call->import, ref, out, call->err);
}

/* It runs while its counters are below the batch size. */
static rn_status check_condition(const rn__op_call *call, const rn__value *variables)
{
    int32_t frame;
    const rn__value *result;
    RN_TRY(run_function(call, "cond", variables, &frame));
    RN_TRY(output_of(call, frame, 0, &result));
    return result->kind == RN__COUNTER_BELOW ? RN_STATUS_OK : RN__REFUSE(call, "a loop over other than the batch");
}

/* One run of the body on a probed size. *picture: what it sets, *list: the variable that holds it. */
static rn_status run_body(const rn__op_call *call, const rn__value *variables, rn__picture *picture, int32_t *list)
{
    int32_t frame;
    *list = RN_NONE;
    RN_TRY(run_function(call, "body", variables, &frame));
    if (rn__graph_output_count(&call->import->graph, frame) != call->in_count)
        return RN__REFUSE(call, "a body that returns other variables than it takes");
    for (int32_t i = 0; i < call->in_count; i++) {
        const rn__value *before = &variables[i], *after;
        RN_TRY(output_of(call, frame, i, &after));
        bool fits = after->kind == before->kind;
        if (before->kind == RN__COUNTER) fits = after->kind == RN__COUNTER_NEXT;
        if (before->kind == RN__CONSTANT && fits) fits = after->u.constant.data.ints == before->u.constant.data.ints;
        if (before->kind == RN__EMPTY_LIST && after->kind == RN__FILLED_LIST && *list == RN_NONE) {
            fits = true;
            *list = i;
            *picture = after->u.picture;
        }
        if (!fits) return RN__REFUSE(call, "loop variable %d becomes %s: no map over pictures", i, rn__value_text(after));
    }
    return *list == RN_NONE ? RN__REFUSE(call, "a loop that makes nothing of its pictures") : RN_STATUS_OK;
}

rn_status rn__op_while(const rn__op_call *call)
{
    rn__import *import = call->import;
    if (import->probe) return RN__REFUSE(call, "a loop inside the loop over pictures");
    const int32_t probes = rn__picture_probe_count();
    rn__value *variables = rn__arena_array(import->scratch, (uint64_t)call->in_count, sizeof *variables, call->node->name, call->err);
    rn__picture *results = rn__arena_array(import->scratch, (uint64_t)probes, sizeof *results, call->node->name, call->err);
    if (!variables || !results) return RN_STATUS_OUT_OF_MEMORY;
    RN_TRY(start_variables(call, variables));
    RN_TRY(check_condition(call, variables));
    int32_t list = RN_NONE;
    for (int32_t i = 0; i < probes; i++) {
        const rn__picture probe = rn__picture_probe(i);
        import->probe = &probe;
        const rn_status status = run_body(call, variables, &results[i], &list);
        import->probe = NULL;
        if (status != RN_STATUS_OK) return status;
    }
    for (int32_t i = 0; i < call->out_count; i++) {
        if (variables[i].kind == RN__CONSTANT) call->out[i] = variables[i]; /* counters and lists are of no use after the loop: DEAD */
    }
    call->out[list].kind = RN__PICTURE_LIST;
    return rn__picture_explain(call, results, &call->out[list].u.pictures);
}
