/* Grouped convolutions as TensorFlow 1 had to write them: an activation's channels are split, each part is convolved, the results are put
 * together. Here the parts wait until all are there, and become one convolution with groups.
 */
#include <string.h>

#include "loader/fold.h"
#include "loader/graph_emit.h"

/* The axis of Split(axis, value) or SplitV(value, sizes, axis), variant 1; and which input is the value. */
static rn_status split_axis(const rn__op_call *call, int32_t rank, int32_t *axis)
{
    int64_t given;
    int32_t count;
    RN_TRY(rn__fold_ints(call, call->variant ? 2 : 0, &given, 1, &count));
    if (count != 1) return RN__REFUSE(call, "no axis");
    return rn__fold_axis(call, given, rank, axis);
}

/* Size of each part along the axis. */
static rn_status split_sizes(const rn__op_call *call, int64_t along, int64_t *sizes)
{
    enum { MOST = 1024 };
    int32_t count = call->out_count;
    if (call->variant == 0) {
        if (along % count != 0) return RN__REFUSE(call, "%d parts of %lld", count, (long long)along);
        for (int32_t i = 0; i < count; i++) sizes[i] = along / count;
        return RN_STATUS_OK;
    }
    int32_t open = RN_NONE, given;
    int64_t sum = 0;
    RN_TRY(rn__fold_ints(call, 1, sizes, MOST, &given));
    if (given != count) return RN__REFUSE(call, "%d sizes for %d parts", given, count);
    for (int32_t i = 0; i < count; i++) {
        if (sizes[i] == -1 && open == RN_NONE)
            open = i;
        else if (sizes[i] < 0 || sizes[i] > along)
            return RN__REFUSE(call, "a part of %lld of %lld", (long long)sizes[i], (long long)along);
        else
            sum += sizes[i];
    }
    if (open != RN_NONE && sum <= along) sizes[open] = along - sum, sum = along;
    return sum == along ? RN_STATUS_OK : RN__REFUSE(call, "parts of %lld together, expected %lld", (long long)sum, (long long)along);
}

/* A run of a constant along one axis: what element i of it is in the whole. */
typedef struct run {
    int64_t begin, size, along, inner;
} run;

static int64_t run_source(const void *context, int64_t i)
{
    const run *r = context;
    const int64_t within = i % r->inner, at = i / r->inner % r->size, outer = i / r->inner / r->size;
    return (outer * r->along + r->begin + at) * r->inner + within;
}

rn_status rn__fold_split(const rn__op_call *call)
{
    const rn__constant *x = &call->in[call->variant ? 0 : 1]->u.constant;
    int64_t dims[RN__CONSTANT_MAX_RANK], sizes[1024];
    int32_t axis;
    RN_TRY(split_axis(call, x->rank, &axis));
    RN_TRY(split_sizes(call, x->dims[axis], sizes));
    run r = {.along = x->dims[axis], .inner = 1};
    for (int32_t i = axis + 1; i < x->rank; i++) r.inner *= x->dims[i];
    memcpy(dims, x->dims, sizeof dims);
    for (int32_t i = 0; i < call->out_count; i++, r.begin += r.size) {
        r.size = dims[axis] = sizes[i];
        RN_TRY(rn__fold_pick(call, i, x, x->rank, dims, run_source, &r));
    }
    return RN_STATUS_OK;
}

rn_status rn__op_split(const rn__op_call *call)
{
    const int32_t value = call->variant ? 0 : 1;
    rn__activation x;
    int64_t sizes[1024];
    int32_t axis;
    RN_TRY(rn__take_activation(call, value, 4, true, &x));
    RN_TRY(split_axis(call, x.rank, &axis));
    if (axis != rn__channel_axis(&x)) return RN__REFUSE(call, "parts of other than the channels");
    RN_TRY(split_sizes(call, x.dims[axis], sizes));
    for (int32_t i = 1; i < call->out_count; i++) {
        if (sizes[i] != sizes[0]) return RN__REFUSE(call, "parts of %lld and of %lld channels", (long long)sizes[0], (long long)sizes[i]);
    }
    for (int32_t i = 0; i < call->out_count; i++)
        call->out[i] = (rn__value){.kind = RN__PART, .u.part = {.whole = x, .index = i, .count = call->out_count}};
    return RN_STATUS_OK;
}

/* A convolution of a part: kept until the others are there. */
rn_status rn__part_conv2d(const rn__op_call *call)
{
    const rn__constant *filter;
    RN_TRY(rn__take_floats(call, 1, &filter));
    rn__constant *kept = rn__arena_array(call->import->scratch, 1, sizeof *kept, call->node->name, call->err);
    if (!kept) return RN_STATUS_OUT_OF_MEMORY;
    *kept = *filter;
    call->out[0] = (rn__value){.kind = RN__PART_CONV, .u.part = call->in[0]->u.part};
    call->out[0].u.part.convolution = call->node;
    call->out[0].u.part.filter = kept;
    return RN_STATUS_OK;
}

static bool same_ints(const Sm__NodeDef *a, const Sm__NodeDef *b, const char *key)
{
    size_t first_count = 0, second_count = 0;
    const int64_t *first = rn__attr_ints(a, key, &first_count), *second = rn__attr_ints(b, key, &second_count);
    if (!first || !second) return !first && !second;
    return first_count == second_count && memcmp(first, second, first_count * sizeof *first) == 0;
}

static bool same_text(const Sm__NodeDef *a, const Sm__NodeDef *b, const char *key, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rn__attr_is(a, key, texts[0], texts[i]) != rn__attr_is(b, key, texts[0], texts[i])) return false;
    }
    return true;
}

static bool same_convolution(const rn__part *a, const rn__part *b)
{
    static const char *const formats[] = {"NHWC", "NCHW"}, *const paddings[] = {"VALID", "SAME", "EXPLICIT"};
    const Sm__NodeDef *x = a->convolution, *y = b->convolution;
    return same_ints(x, y, "strides") && same_ints(x, y, "dilations") && same_ints(x, y, "explicit_paddings") &&
           same_text(x, y, "data_format", formats, 2) && same_text(x, y, "padding", paddings, 3) && a->filter->rank == b->filter->rank &&
           memcmp(a->filter->dims, b->filter->dims, sizeof *a->filter->dims * (size_t)a->filter->rank) == 0;
}

/* [r][s][c][k] of each part, side by side: [r][s][c][parts * k]. */
static rn_status join_filters(const rn__op_call *call, int32_t parts, rn__constant *out)
{
    const rn__constant *first = call->in[0]->u.part.filter;
    *out = *first;
    const int64_t k = first->dims[3], rows = k ? first->count / k : 0;
    void *data;
    if (k * parts > RN_PLAN_MAX_CHANNELS) return RN__REFUSE(call, "%lld channels", (long long)(k * parts));
    out->dims[3] = k * parts;
    out->count = first->count * parts;
    RN_TRY(rn__fold_spend(call, out->count));
    RN_TRY(rn__constant_room(call->import->lasting, call->node->name, out, &data, call->err));
    for (int32_t p = 0; p < parts; p++) {
        const float *from = call->in[p]->u.part.filter->data.floats;
        for (int64_t i = 0; i < rows; i++) memcpy((float *)data + (i * parts + p) * k, from + i * k, (size_t)k * sizeof *from);
    }
    return RN_STATUS_OK;
}

/* ConcatV2 of all parts' convolutions along the channels. */
rn_status rn__op_concat(const rn__op_call *call)
{
    const int32_t parts = call->in_count - 1;
    const rn__part *first = &call->in[0]->u.part;
    int64_t given;
    int32_t count, axis;
    for (int32_t i = 0; i < parts; i++) {
        const rn__part *part = &call->in[i]->u.part;
        if (call->in[i]->kind != RN__PART_CONV)
            return RN__REFUSE(call, "it joins %s, expected the convolutions of all parts of one activation", rn__value_text(call->in[i]));
        if (part->index != i || part->count != parts || part->whole.tensor != first->whole.tensor || !same_convolution(first, part))
            return RN__REFUSE(call, "input %d is no convolution like the others, of part %d of the same %d", i, i, parts);
    }
    if (parts < 1 || first->filter->rank != 4) return RN__REFUSE(call, "%d inputs", call->in_count);
    RN_TRY(rn__fold_ints(call, parts, &given, 1, &count));
    RN_TRY(rn__fold_axis(call, count ? given : 0, 4, &axis));
    if (axis != rn__channel_axis(&first->whole)) return RN__REFUSE(call, "along other than the channels");

    rn__value x = {.kind = RN__ACTIVATION, .u.activation = first->whole}, filter = {.kind = RN__CONSTANT};
    RN_TRY(join_filters(call, parts, &filter.u.constant));
    const rn__value *in[] = {&x, &filter};
    rn__op_call whole = *call;
    whole.node = first->convolution;
    whole.in = in;
    whole.in_count = 2;
    return rn__op_conv2d(&whole);
}
