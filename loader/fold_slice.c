/* StridedSlice and Slice of constants, and the reading of StridedSlice's masks for all who slice.
 *
 * The specification has one entry for each of its own positions: an ellipsis stands for as many whole dimensions as are missing, a new axis
 * for none, and a shrunk position takes one element and leaves no dimension. Source: tensorflow/core/util/strided_slice_op.cc.
 */
#include "loader/fold.h"

/* One position of the specification. */
typedef struct position {
    int64_t begin, end, step;
    bool open_begin, open_end, shrink;
} position;

/* Elements begin, begin + step, ... of a dimension, as TensorFlow counts them; positions from the end are negative, overshoot is cut. */
static rn_status read_position(const rn__op_call *call, const position *p, int64_t dim, int32_t axis, rn__slice_spec *out)
{
    if (dim < 0) { /* the batch */
        const bool whole = p->open_end && p->step == 1 && !p->shrink && (p->open_begin || p->begin == 0);
        if (!whole) return RN__REFUSE(call, "part of a batch");
        out->start[axis] = 0, out->step[axis] = 1, out->count[axis] = -1;
        return RN_STATUS_OK;
    }
    if (p->shrink) {
        const int64_t at = p->begin < 0 ? p->begin + dim : p->begin;
        if (at < 0 || at >= dim) return RN__REFUSE(call, "element %lld of a dimension of %lld", (long long)p->begin, (long long)dim);
        out->start[axis] = at, out->step[axis] = 1, out->count[axis] = 1;
        return RN_STATUS_OK;
    }
    const bool forward = p->step > 0;
    const int64_t low = forward ? 0 : -1, high = forward ? dim : dim - 1; /* where a position may lie */
    int64_t begin = p->begin < 0 ? p->begin + dim : p->begin, end = p->end < 0 ? p->end + dim : p->end;
    if (begin < low) begin = low;
    if (begin > high) begin = high;
    if (end < low) end = low;
    if (end > high) end = high;
    if (p->open_begin) begin = forward ? 0 : dim - 1;
    if (p->open_end) end = forward ? dim : -1;
    const int64_t span = forward ? end - begin : begin - end, step = forward ? p->step : -p->step;
    out->start[axis] = begin, out->step[axis] = p->step, out->count[axis] = span > 0 ? (span + step - 1) / step : 0;
    return RN_STATUS_OK;
}

rn_status rn__slice_read(const rn__op_call *call, int32_t rank, const int64_t *dims, rn__slice_spec *out)
{
    enum { ROOM = 2 * RN__CONSTANT_MAX_RANK };
    int64_t begin[ROOM], end[ROOM], step[ROOM];
    int32_t count, ends, steps;
    RN_TRY(rn__fold_ints(call, 1, begin, ROOM, &count));
    RN_TRY(rn__fold_ints(call, 2, end, ROOM, &ends));
    RN_TRY(rn__fold_ints(call, 3, step, ROOM, &steps));
    if (ends != count || steps != count) return RN__REFUSE(call, "begin, end and strides of %d, %d and %d elements", count, ends, steps);
    const int64_t begin_mask = rn__attr_int(call->node, "begin_mask", 0), end_mask = rn__attr_int(call->node, "end_mask", 0),
                  ellipsis_mask = rn__attr_int(call->node, "ellipsis_mask", 0), new_mask = rn__attr_int(call->node, "new_axis_mask", 0),
                  shrink_mask = rn__attr_int(call->node, "shrink_axis_mask", 0);
    int32_t taken = 0; /* dimensions that positions other than an ellipsis stand for */
    for (int32_t i = 0; i < count; i++) taken += !(ellipsis_mask >> i & 1) && !(new_mask >> i & 1);
    *out = (rn__slice_spec){0};
    int32_t axis = 0;
    for (int32_t i = 0; i <= count; i++) {
        const bool last = i == count, ellipsis = !last && (ellipsis_mask >> i & 1); /* what is missing at the end is taken whole as well */
        if (!last && !ellipsis && (new_mask >> i & 1)) {
            if (out->out_rank == RN__CONSTANT_MAX_RANK) return RN__REFUSE(call, "more than %d dimensions", RN__CONSTANT_MAX_RANK);
            out->from[out->out_rank++] = RN_NONE;
            continue;
        }
        const int32_t until = last ? rank : ellipsis ? rank - taken : axis + 1;
        position p = {.step = 1, .open_begin = true, .open_end = true};
        if (!last && !ellipsis) {
            p = (position){begin[i], end[i], step[i], begin_mask >> i & 1, end_mask >> i & 1, shrink_mask >> i & 1};
            taken--;
        }
        if (p.step == 0 || p.step < -INT32_MAX || p.step > INT32_MAX || until > rank)
            return RN__REFUSE(call, "more positions than dimensions, or a stride of 0");
        for (; axis < until; axis++) {
            RN_TRY(read_position(call, &p, dims[axis], axis, out));
            if (p.shrink) continue;
            if (out->out_rank == RN__CONSTANT_MAX_RANK) return RN__REFUSE(call, "more than %d dimensions", RN__CONSTANT_MAX_RANK);
            out->from[out->out_rank++] = axis;
        }
    }
    return RN_STATUS_OK;
}

typedef struct sliced {
    const rn__slice_spec *spec;
    int32_t rank;
    int64_t dims[RN__CONSTANT_MAX_RANK]; /* of the source */
} sliced;

/* Element i of the slice, counted through the source's dimensions: those that vanish have one element. */
static int64_t sliced_source(const void *context, int64_t i)
{
    const sliced *s = context;
    int64_t source = 0, scale = 1;
    for (int32_t d = s->rank - 1; d >= 0; d--) {
        source += (s->spec->start[d] + i % s->spec->count[d] * s->spec->step[d]) * scale;
        i /= s->spec->count[d];
        scale *= s->dims[d];
    }
    return source;
}

static rn_status take(const rn__op_call *call, const rn__slice_spec *spec)
{
    const rn__constant *x = &call->in[0]->u.constant;
    sliced s = {.spec = spec, .rank = x->rank};
    int64_t dims[RN__CONSTANT_MAX_RANK];
    for (int32_t i = 0; i < x->rank; i++) s.dims[i] = x->dims[i];
    for (int32_t i = 0; i < spec->out_rank; i++) dims[i] = spec->from[i] == RN_NONE ? 1 : spec->count[spec->from[i]];
    return rn__fold_pick(call, 0, x, spec->out_rank, dims, sliced_source, &s);
}

rn_status rn__fold_strided_slice(const rn__op_call *call)
{
    const rn__constant *x = &call->in[0]->u.constant;
    rn__slice_spec spec;
    RN_TRY(rn__slice_read(call, x->rank, x->dims, &spec));
    return take(call, &spec);
}

rn_status rn__fold_slice(const rn__op_call *call)
{
    const rn__constant *x = &call->in[0]->u.constant;
    rn__slice_spec spec = {.out_rank = x->rank};
    int32_t count, sizes;
    RN_TRY(rn__fold_ints(call, 1, spec.start, RN__CONSTANT_MAX_RANK, &count));
    RN_TRY(rn__fold_ints(call, 2, spec.count, RN__CONSTANT_MAX_RANK, &sizes));
    if (count != x->rank || sizes != x->rank)
        return RN__REFUSE(call, "begin and size of %d and %d elements for rank %d", count, sizes, x->rank);
    for (int32_t i = 0; i < x->rank; i++) {
        if (spec.start[i] < 0 || spec.start[i] > x->dims[i]) return RN__REFUSE(call, "it begins outside dimension %d", i);
        if (spec.count[i] == -1) spec.count[i] = x->dims[i] - spec.start[i];
        if (spec.count[i] < 0 || spec.count[i] > x->dims[i] - spec.start[i]) return RN__REFUSE(call, "it ends outside dimension %d", i);
        spec.step[i] = 1;
        spec.from[i] = i;
    }
    return take(call, &spec);
}
