/* The end of a classifier: softmax, the largest classes, their labels.
 *
 * Sorting is put off: the values and indexes of TopKV2, a gather of the values by the indexes, or the first five of all classes sorted, are
 * one thing until an output of the signature needs it, with the k that is left then.
 */
#include <string.h>

#include "loader/fold.h"
#include "loader/graph_emit.h"

rn_status rn__op_softmax(const rn__op_call *call)
{
    rn__activation x;
    RN_TRY(rn__take_activation(call, 0, 0, false, &x));
    const rn_plan_tensor t = call->import->plan->tensors[x.tensor];
    if (t.h != 1 || t.w != 1) return RN__REFUSE(call, "over a map of %dx%d, expected a vector", t.h, t.w);
    rn_op op = {.kind = RN_OP_SOFTMAX, .inputs = {x.tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    x.pooled = false;
    call->out[0] = (rn__value){.kind = RN__ACTIVATION, .u.activation = x};
    return rn__emit_op(call, &op, RN_DTYPE_F32, 1, 1, t.c, &call->out[0].u.activation.tensor);
}

static rn_status sort(const rn__op_call *call, int64_t k, rn__sorted *out)
{
    rn__activation x;
    RN_TRY(rn__take_activation(call, 0, 2, false, &x));
    if (k < 1 || k > x.dims[1]) return RN__REFUSE(call, "the %lld largest of %lld", (long long)k, (long long)x.dims[1]);
    *out = (rn__sorted){.tensor = x.tensor, .classes = (int32_t)x.dims[1], .k = (int32_t)k, .rank = 2};
    return RN_STATUS_OK;
}

rn_status rn__op_top_k(const rn__op_call *call)
{
    int64_t k;
    int32_t count;
    rn__sorted sorted;
    RN_TRY(rn__fold_ints(call, 1, &k, 1, &count));
    if (!rn__attr_bool(call->node, "sorted", true)) return RN__REFUSE(call, "its result is not sorted");
    RN_TRY(sort(call, count ? k : 0, &sorted));
    call->out[0] = (rn__value){.kind = RN__SORTED, .u.sorted = sorted};
    sorted.indexes = true;
    call->out[1] = (rn__value){.kind = RN__SORTED, .u.sorted = sorted};
    return RN_STATUS_OK;
}

/* The index of the largest, the lowest of equals: a sort of one. */
rn_status rn__op_arg_max(const rn__op_call *call)
{
    int64_t axis;
    int32_t count, dimension;
    rn__sorted sorted;
    RN_TRY(rn__fold_ints(call, 1, &axis, 1, &count));
    RN_TRY(rn__fold_axis(call, count ? axis : -1, 2, &dimension));
    if (dimension != 1) return RN__REFUSE(call, "over the batch");
    RN_TRY(sort(call, 1, &sorted));
    sorted.indexes = true;
    sorted.is_int64 = rn__attr_type(call->node, "output_type", RN__DT_INT64) == RN__DT_INT64;
    sorted.rank = 1;
    call->out[0] = (rn__value){.kind = RN__SORTED, .u.sorted = sorted};
    return RN_STATUS_OK;
}

/* Values by the indexes that sort them: what is sorted already. */
static rn_status gather_values(const rn__op_call *call, const rn__sorted *indexes)
{
    rn__activation x;
    int64_t axis = 0;
    int32_t count, dimension;
    RN_TRY(rn__take_activation(call, 0, 2, false, &x));
    if (call->in_count == 3) RN_TRY(rn__fold_ints(call, 2, &axis, 1, &count));
    RN_TRY(rn__fold_axis(call, axis, 2, &dimension));
    if (x.tensor != indexes->tensor || dimension != 1 || rn__attr_int(call->node, "batch_dims", 0) != 1 || indexes->rank != 2) {
        return RN__REFUSE(call, "a gather by other than the indexes that sort its input");
    }
    call->out[0] = (rn__value){.kind = RN__SORTED, .u.sorted = *indexes};
    call->out[0].u.sorted.indexes = false;
    return RN_STATUS_OK;
}

/* GatherV2(table, indexes, axis), or ResourceGather without the axis. */
rn_status rn__op_gather(const rn__op_call *call)
{
    const rn__value *table = call->in[0], *indexes = call->in[1];
    if (indexes->kind != RN__SORTED || !indexes->u.sorted.indexes) {
        return RN__REFUSE(call, "its indexes are %s, expected those of the largest classes", rn__value_text(indexes));
    }
    const rn__sorted *sorted = &indexes->u.sorted;
    if (table->kind == RN__ACTIVATION) return gather_values(call, sorted);
    const rn__constant *labels = &table->u.constant;
    if (table->kind != RN__CONSTANT || labels->element_class != RN__STRINGS || labels->rank != 1) {
        return RN__REFUSE(call, "from %s, expected a vector of labels", rn__value_text(table));
    }
    if (labels->count != sorted->classes) return RN__REFUSE(call, "%lld labels for %d classes", (long long)labels->count, sorted->classes);
    rn__constant *kept = rn__arena_array(call->import->scratch, 1, sizeof *kept, call->node->name, call->err);
    if (!kept) return RN_STATUS_OUT_OF_MEMORY;
    *kept = *labels;
    call->out[0] = (rn__value){.kind = RN__LABELS, .u.sorted = *sorted};
    call->out[0].u.sorted.labels = kept;
    return RN_STATUS_OK;
}
