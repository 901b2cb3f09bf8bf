/* Constants rearranged: views where the elements stay in order, copies where they move. Shapes of the graph live here too, and with them
 * the one number that is never known, the batch size, which passes through as a marked element. */
#include <string.h>

#include "loader/fold.h"

rn_status rn__fold_spend(const rn__op_call *call, int64_t elements)
{
    call->import->folded_elements += elements;
    if (call->import->folded_elements <= RN__FOLD_MAX_ELEMENTS) return RN_STATUS_OK;
    return RN__REFUSE(call, "the graph computes with constants of more than %lld elements in all", (long long)RN__FOLD_MAX_ELEMENTS);
}

rn_status rn__fold_result(const rn__op_call *call, int32_t output, rn__element_class element_class, int32_t rank, const int64_t *dims,
                          void **data)
{
    rn__value *out = &call->out[output];
    RN_TRY(rn__constant_shape(element_class, rank, dims, call->node->name, &out->u.constant, call->err));
    RN_TRY(rn__fold_spend(call, out->u.constant.count));
    RN_TRY(rn__constant_room(call->import->lasting, call->node->name, &out->u.constant, data, call->err));
    out->kind = RN__CONSTANT;
    return RN_STATUS_OK;
}

rn_status rn__fold_pick(const rn__op_call *call, int32_t output, const rn__constant *from, int32_t rank, const int64_t *dims,
                        int64_t (*source)(const void *context, int64_t i), const void *context)
{
    void *data;
    RN_TRY(rn__fold_result(call, output, from->element_class, rank, dims, &data));
    rn__constant *out = &call->out[output].u.constant;
    for (int64_t i = 0; i < out->count; i++) {
        const int64_t s = source(context, i);
        switch (from->element_class) {
        case RN__FLOATS: ((float *)data)[i] = from->data.floats[s]; break;
        case RN__STRINGS: ((rn__string *)data)[i] = from->data.strings[s]; break;
        case RN__INTS:
            ((int64_t *)data)[i] = from->data.ints[s];
            if (s >= 64 || !(from->batch_mask >> s & 1)) break;
            if (i >= 64) return RN__REFUSE(call, "a shape of more than 64 dimensions");
            out->batch_mask |= (uint64_t)1 << i;
            break;
        }
    }
    return RN_STATUS_OK;
}

rn_status rn__fold_ints(const rn__op_call *call, int32_t input, int64_t *out, int32_t room, int32_t *count)
{
    const rn__value *value = call->in[input];
    const rn__constant *c = &value->u.constant;
    *count = 0;
    if (value->kind != RN__CONSTANT || c->element_class != RN__INTS || c->rank > 1 || c->count > room || c->batch_mask) {
        return RN__REFUSE(call, "input %d is %s, expected at most %d known integers", input, rn__value_text(value), room);
    }
    *count = (int32_t)c->count;
    if (c->count) memcpy(out, c->data.ints, (size_t)c->count * sizeof *out);
    return RN_STATUS_OK;
}

rn_status rn__fold_axis(const rn__op_call *call, int64_t axis, int32_t rank, int32_t *out)
{
    *out = 0;
    if (axis < -rank || axis >= rank) return RN__REFUSE(call, "axis %lld of %d dimensions", (long long)axis, rank);
    *out = (int32_t)(axis < 0 ? axis + rank : axis);
    return RN_STATUS_OK;
}

static rn_status one_axis(const rn__op_call *call, int32_t input, int32_t rank, int32_t *out)
{
    int64_t axis = 0;
    int32_t count;
    *out = 0;
    RN_TRY(rn__fold_ints(call, input, &axis, 1, &count));
    if (count != 1) return RN__REFUSE(call, "no axis");
    return rn__fold_axis(call, axis, rank, out);
}

/* ---- views ---- */

rn_status rn__fold_shape(const rn__op_call *call)
{
    const rn__constant *x = &call->in[0]->u.constant;
    void *data;
    RN_TRY(rn__fold_result(call, 0, RN__INTS, 1, &(int64_t){x->rank}, &data));
    memcpy(data, x->dims, (size_t)x->rank * sizeof *x->dims);
    return RN_STATUS_OK;
}

rn_status rn__fold_reshape(const rn__op_call *call)
{
    rn__constant *out = &call->out[0].u.constant;
    int64_t dims[RN__CONSTANT_MAX_RANK], known = 1;
    int32_t rank, open = RN_NONE;
    RN_TRY(rn__fold_ints(call, 1, dims, RN__CONSTANT_MAX_RANK, &rank));
    call->out[0] = *call->in[0];
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] == -1 && open == RN_NONE)
            open = i;
        else if (dims[i] < 0 || __builtin_mul_overflow(known, dims[i], &known))
            return RN__REFUSE(call, "dimension %d is %lld", i, (long long)dims[i]);
    }
    if (open != RN_NONE) dims[open] = known ? out->count / known : 0;
    if (open != RN_NONE && known) known *= dims[open];
    if (known != out->count) return RN__REFUSE(call, "%lld elements do not fit the new shape", (long long)out->count);
    out->rank = rank;
    memcpy(out->dims, dims, (size_t)rank * sizeof *dims);
    return RN_STATUS_OK;
}

rn_status rn__fold_squeeze(const rn__op_call *call)
{
    rn__constant *out = &call->out[0].u.constant;
    size_t axes;
    const int64_t *axis = rn__attr_ints(call->node, "squeeze_dims", &axes);
    const rn__constant x = call->in[0]->u.constant;
    bool drop[RN__CONSTANT_MAX_RANK] = {0};
    for (size_t i = 0; i < axes; i++) {
        int32_t a;
        RN_TRY(rn__fold_axis(call, axis[i], x.rank, &a));
        if (x.dims[a] != 1) return RN__REFUSE(call, "dimension %d is %lld, expected 1", a, (long long)x.dims[a]);
        drop[a] = true;
    }
    call->out[0] = *call->in[0];
    out->rank = 0;
    for (int32_t i = 0; i < x.rank; i++) {
        if (axes ? !drop[i] : x.dims[i] != 1) out->dims[out->rank++] = x.dims[i];
    }
    return RN_STATUS_OK;
}

rn_status rn__fold_expand_dims(const rn__op_call *call)
{
    const rn__constant x = call->in[0]->u.constant;
    rn__constant *out = &call->out[0].u.constant;
    int32_t axis;
    RN_TRY(one_axis(call, 1, x.rank + 1, &axis));
    if (x.rank == RN__CONSTANT_MAX_RANK) return RN__REFUSE(call, "more than %d dimensions", RN__CONSTANT_MAX_RANK);
    call->out[0] = *call->in[0];
    out->rank = x.rank + 1;
    out->dims[axis] = 1;
    memcpy(out->dims + axis + 1, x.dims + axis, (size_t)(x.rank - axis) * sizeof *x.dims);
    return RN_STATUS_OK;
}

/* ---- joining and parting ---- */

/* A ConcatV2 of parts seen as [outer][along the axis][inner]; Pack is the same with parts of one element along a new axis. */
static rn_status join(const rn__op_call *call, int32_t parts, int32_t axis, int32_t rank, int64_t *dims, bool new_axis)
{
    const rn__constant *first = &call->in[0]->u.constant;
    int64_t outer = 1, inner = 1;
    for (int32_t i = 0; i < axis; i++) outer *= dims[i];
    for (int32_t i = axis + 1; i < rank; i++) inner *= dims[i];
    dims[axis] = 0;
    for (int32_t p = 0; p < parts; p++) {
        const rn__constant *part = &call->in[p]->u.constant;
        bool same = part->element_class == first->element_class && part->rank == first->rank;
        for (int32_t i = 0; same && i < first->rank; i++) same = part->dims[i] == first->dims[i] || (!new_axis && i == axis);
        if (!same) return RN__REFUSE(call, "part %d has another type or shape than the first", p);
        dims[axis] += new_axis ? 1 : part->dims[axis];
    }
    void *data;
    RN_TRY(rn__fold_result(call, 0, first->element_class, rank, dims, &data));
    rn__constant *out = &call->out[0].u.constant;
    const size_t size = first->element_class == RN__FLOATS ? sizeof(float)
                        : first->element_class == RN__INTS ? sizeof(int64_t)
                                                           : sizeof(rn__string);
    int64_t before = 0; /* elements along the axis that earlier parts filled */
    for (int32_t p = 0; p < parts; p++) {
        const rn__constant *part = &call->in[p]->u.constant;
        const int64_t along = new_axis ? 1 : part->dims[axis], run = along * inner;
        for (int64_t o = 0; o < outer && run; o++) {
            const int64_t at = (o * dims[axis] + before) * inner;
            memcpy((char *)data + (size_t)at * size, (const char *)part->data.floats + (size_t)(o * run) * size, (size_t)run * size);
            for (int64_t i = 0; part->batch_mask && i < run; i++) {
                if (o * run + i >= 64 || !(part->batch_mask >> (o * run + i) & 1)) continue;
                if (at + i >= 64) return RN__REFUSE(call, "a shape of more than 64 dimensions");
                out->batch_mask |= (uint64_t)1 << (at + i);
            }
        }
        before += along;
    }
    return RN_STATUS_OK;
}

rn_status rn__fold_pack(const rn__op_call *call)
{
    const rn__constant *first = &call->in[0]->u.constant;
    int64_t dims[RN__CONSTANT_MAX_RANK];
    int32_t axis;
    if (first->rank == RN__CONSTANT_MAX_RANK) return RN__REFUSE(call, "more than %d dimensions", RN__CONSTANT_MAX_RANK);
    RN_TRY(rn__fold_axis(call, rn__attr_int(call->node, "axis", 0), first->rank + 1, &axis));
    memcpy(dims, first->dims, (size_t)axis * sizeof *dims);
    memcpy(dims + axis + 1, first->dims + axis, (size_t)(first->rank - axis) * sizeof *dims);
    return join(call, call->in_count, axis, first->rank + 1, dims, true);
}

rn_status rn__fold_concat(const rn__op_call *call)
{
    const rn__constant *first = &call->in[0]->u.constant;
    int64_t dims[RN__CONSTANT_MAX_RANK];
    int32_t axis;
    if (call->in_count < 2) return RN__REFUSE(call, "%d inputs", call->in_count);
    RN_TRY(one_axis(call, call->in_count - 1, first->rank, &axis));
    memcpy(dims, first->dims, sizeof dims);
    return join(call, call->in_count - 1, axis, first->rank, dims, false);
}

/* Element i of one part of an Unpack, as an index into the whole. */
typedef struct part {
    int64_t index, along, inner;
} part;

static int64_t part_source(const void *context, int64_t i)
{
    const part *p = context;
    return (i / p->inner * p->along + p->index) * p->inner + i % p->inner;
}

rn_status rn__fold_unpack(const rn__op_call *call)
{
    const rn__constant *x = &call->in[0]->u.constant;
    int64_t dims[RN__CONSTANT_MAX_RANK];
    int32_t axis, rank = 0;
    RN_TRY(rn__fold_axis(call, rn__attr_int(call->node, "axis", 0), x->rank, &axis));
    if (x->dims[axis] != call->out_count) return RN__REFUSE(call, "%d parts of %lld", call->out_count, (long long)x->dims[axis]);
    part p = {.along = x->dims[axis], .inner = 1};
    for (int32_t i = 0; i < x->rank; i++) {
        if (i > axis) p.inner *= x->dims[i];
        if (i != axis) dims[rank++] = x->dims[i];
    }
    for (; p.index < p.along; p.index++) RN_TRY(rn__fold_pick(call, (int32_t)p.index, x, rank, dims, part_source, &p));
    return RN_STATUS_OK;
}

/* ---- permuting, gathering, filling ---- */

typedef struct permutation {
    int32_t rank;
    int64_t dims[RN__CONSTANT_MAX_RANK], steps[RN__CONSTANT_MAX_RANK]; /* of the result, through the source */
} permutation;

static int64_t permuted_source(const void *context, int64_t i)
{
    const permutation *p = context;
    int64_t source = 0;
    for (int32_t d = p->rank - 1; d >= 0; d--) {
        source += i % p->dims[d] * p->steps[d];
        i /= p->dims[d];
    }
    return source;
}

rn_status rn__fold_transpose(const rn__op_call *call)
{
    const rn__constant *x = &call->in[0]->u.constant;
    int64_t axes[RN__CONSTANT_MAX_RANK], steps[RN__CONSTANT_MAX_RANK];
    int32_t count;
    permutation p = {.rank = x->rank};
    bool used[RN__CONSTANT_MAX_RANK] = {0};
    RN_TRY(rn__fold_ints(call, 1, axes, RN__CONSTANT_MAX_RANK, &count));
    if (count != x->rank) return RN__REFUSE(call, "a permutation of %d of %d dimensions", count, x->rank);
    for (int32_t i = x->rank - 1, step = 0; i >= 0; i--, step++) steps[i] = step == 0 ? 1 : steps[i + 1] * x->dims[i + 1];
    for (int32_t i = 0; i < count; i++) {
        int32_t axis;
        RN_TRY(rn__fold_axis(call, axes[i], x->rank, &axis));
        if (used[axis]) return RN__REFUSE(call, "dimension %d comes twice", axis);
        used[axis] = true;
        p.dims[i] = x->dims[axis];
        p.steps[i] = steps[axis];
    }
    return rn__fold_pick(call, 0, x, x->rank, p.dims, permuted_source, &p);
}

static int64_t gathered_source(const void *context, int64_t i)
{
    return ((const int64_t *)context)[i];
}

/* Elements of a vector by index: GatherV2 of shapes and tables. */
rn_status rn__fold_gather(const rn__op_call *call)
{
    const rn__constant *table = &call->in[0]->u.constant, *indexes = &call->in[1]->u.constant;
    if (table->rank != 1 || indexes->element_class != RN__INTS || indexes->batch_mask || rn__attr_int(call->node, "batch_dims", 0) != 0) {
        return RN__REFUSE(call, "a gather from other than a vector");
    }
    for (int64_t i = 0; i < indexes->count; i++) {
        if (indexes->data.ints[i] < 0 || indexes->data.ints[i] >= table->count) {
            return RN__REFUSE(call, "index %lld of %lld", (long long)indexes->data.ints[i], (long long)table->count);
        }
    }
    return rn__fold_pick(call, 0, table, indexes->rank, indexes->dims, gathered_source, indexes->data.ints);
}

static int64_t first_source(const void *context, int64_t i)
{
    (void)context, (void)i;
    return 0;
}

rn_status rn__fold_fill(const rn__op_call *call)
{
    int64_t dims[RN__CONSTANT_MAX_RANK];
    int32_t rank;
    RN_TRY(rn__fold_ints(call, 0, dims, RN__CONSTANT_MAX_RANK, &rank));
    if (call->in[1]->u.constant.count != 1) return RN__REFUSE(call, "filled with %lld values", (long long)call->in[1]->u.constant.count);
    return rn__fold_pick(call, 0, &call->in[1]->u.constant, rank, dims, first_source, NULL);
}

/* start, start + delta, ... before limit; integers. */
rn_status rn__fold_range(const rn__op_call *call)
{
    int64_t of[3]; /* start, limit, delta */
    for (int32_t i = 0; i < 3; i++) {
        int32_t count;
        RN_TRY(rn__fold_ints(call, i, &of[i], 1, &count));
        if (count != 1 || of[i] < -INT32_MAX || of[i] > INT32_MAX) return RN__REFUSE(call, "input %d is no small integer", i);
    }
    if (of[2] == 0) return RN__REFUSE(call, "a delta of 0");
    const int64_t span = of[2] > 0 ? of[1] - of[0] : of[0] - of[1], step = of[2] > 0 ? of[2] : -of[2];
    const int64_t count = span > 0 ? (span + step - 1) / step : 0;
    void *data;
    RN_TRY(rn__fold_result(call, 0, RN__INTS, 1, &count, &data));
    for (int64_t i = 0; i < count; i++) ((int64_t *)data)[i] = of[0] + i * of[2];
    return RN_STATUS_OK;
}

rn_status rn__fold_rank(const rn__op_call *call)
{
    void *data;
    RN_TRY(rn__fold_result(call, 0, RN__INTS, 0, NULL, &data));
    *(int64_t *)data = call->in[0]->u.constant.rank;
    return RN_STATUS_OK;
}
