/* What a network does to the size and the order of the caller's numbers before it computes with them: a crop, a resize, channels that come
 * first. All of it becomes one operation that reads the signature's input.
 *
 * A crop or a resize further inside is refused: only the input is fitted, on the host, while it is read.
 */
#include "loader/graph_fit.h"

#include <stdio.h>

#include "loader/graph_emit.h"

/* What the input was fitted to so far, if `x` is nothing else: the input itself, or cast to float, or fitted before. */
static rn_status read_fit(const rn__op_call *call, const rn__activation *x, rn_fit_op *fit)
{
    const rn_plan *plan = call->import->plan;
    const int32_t input = call->import->input_tensor;
    int32_t tensor = x->tensor;
    for (int32_t i = plan->op_count - 1; i >= 0 && tensor != input; i--) {
        const rn_op *op = &plan->ops[i];
        if (op->outputs[0] != tensor) continue;
        if (op->kind == RN_OP_FIT) {
            *fit = op->u.fit;
            return RN_STATUS_OK;
        }
        const rn_scale_shift_op *s = &op->u.scale_shift;
        if (op->kind != RN_OP_SCALE_SHIFT || s->scale != RN_NONE || s->shift != RN_NONE || s->relu) break;
        tensor = op->inputs[0]; /* a cast, which the operation does as well */
    }
    const rn_plan_tensor *t = &plan->tensors[input];
    if (tensor != input || t->dtype == RN_DTYPE_STRING)
        return RN__REFUSE(call, "a crop or a resize of what was computed, expected of the signature's input");
    *fit = (rn_fit_op){.crop_h = t->h, .crop_w = t->w, .h = t->h, .w = t->w};
    return RN_STATUS_OK;
}

static rn_status emit_fit(const rn__op_call *call, const rn_fit_op *fit, int32_t channels, bool channels_first)
{
    rn_op op = {.kind = RN_OP_FIT, .inputs = {call->import->input_tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}, .u.fit = *fit};
    int32_t y;
    RN_TRY(rn__emit_op(call, &op, RN_DTYPE_F32, fit->h, fit->w, channels, &y));
    call->out[0] = rn__activation_value(call->import->plan, y, channels_first);
    return RN_STATUS_OK;
}

static rn_status crop(const rn__op_call *call, const rn__activation *x, int64_t top, int64_t left, int64_t h, int64_t w)
{
    rn_fit_op fit;
    if (rn__is_padded(x)) return RN__REFUSE(call, "a crop of a padded map");
    RN_TRY(read_fit(call, x, &fit));
    if (h < 1 || w < 1) return RN__REFUSE(call, "a crop of %lldx%lld", (long long)h, (long long)w);
    if (fit.resize_h) {
        fit.after_top += (int32_t)top, fit.after_left += (int32_t)left;
    } else {
        fit.top += (int32_t)top, fit.left += (int32_t)left;
        fit.crop_h = (int32_t)h, fit.crop_w = (int32_t)w;
    }
    fit.h = (int32_t)h, fit.w = (int32_t)w;
    return emit_fit(call, &fit, (int32_t)x->dims[rn__channel_axis(x)], x->channels_first);
}

rn_status rn__fit_strided_slice(const rn__op_call *call, const rn__slice_spec *spec)
{
    const rn__activation *x = &call->in[0]->u.activation;
    const int32_t at = rn__height_axis(x);
    bool plain = spec->out_rank == 4 && spec->count[0] == -1;
    for (int32_t i = 0; plain && i < 4; i++) plain = spec->step[i] == 1 && spec->from[i] == i;
    if (!plain) return RN__REFUSE(call, "other than a rectangle of the map");
    return crop(call, x, spec->start[at], spec->start[at + 1], spec->count[at], spec->count[at + 1]);
}

rn_status rn__fit_slice(const rn__op_call *call)
{
    const rn__activation *x = &call->in[0]->u.activation;
    const rn__constant *sizes = &call->in[2]->u.constant;
    const int32_t at = rn__height_axis(x);
    int64_t start[4], count[4];
    int32_t starts;
    RN_TRY(rn__fold_ints(call, 1, start, 4, &starts));
    if (x->rank != 4 || starts != 4 || call->in[2]->kind != RN__CONSTANT || sizes->element_class != RN__INTS || sizes->count != 4 ||
        sizes->batch_mask > 1 || start[0] != 0 || sizes->data.ints[0] != -1) {
        return RN__REFUSE(call, "other than a rectangle of the map");
    }
    for (int32_t i = 1; i < 4; i++) {
        count[i] = sizes->data.ints[i] == -1 ? x->dims[i] - start[i] : sizes->data.ints[i];
        if (start[i] < 0 || count[i] < 0 || start[i] > x->dims[i] || count[i] > x->dims[i] - start[i])
            return RN__REFUSE(call, "it lies outside dimension %d", i);
    }
    if (count[rn__channel_axis(x)] != x->dims[rn__channel_axis(x)]) return RN__REFUSE(call, "part of an activation's channels");
    return crop(call, x, start[at], start[at + 1], count[at], count[at + 1]);
}

rn_status rn__fit_resize(const rn__op_call *call)
{
    const rn__activation *x = &call->in[0]->u.activation;
    rn_fit_op fit;
    int64_t size[2];
    int32_t count;
    if (x->rank != 4 || x->channels_first || rn__is_padded(x))
        return RN__REFUSE(call, "a resize of other than [batch,height,width,channels]");
    if (call->variant != RN_RESIZE_BILINEAR) return RN__REFUSE(call, "numbers are resized by the bilinear method only");
    RN_TRY(rn__fold_ints(call, 1, size, 2, &count));
    if (count != 2 || size[0] < 1 || size[1] < 1 || size[0] > RN_PLAN_MAX_SIDE || size[1] > RN_PLAN_MAX_SIDE)
        return RN__REFUSE(call, "the new size is no pair of 1 to %d", RN_PLAN_MAX_SIDE);
    RN_TRY(read_fit(call, x, &fit));
    if (fit.resize_h) return RN__REFUSE(call, "a second resize");
    fit.resize_h = fit.h = (int32_t)size[0], fit.resize_w = fit.w = (int32_t)size[1];
    const bool aligned = rn__attr_bool(call->node, "align_corners", false), half = rn__attr_bool(call->node, "half_pixel_centers", false);
    if (aligned && half) return RN__REFUSE(call, "align_corners and half_pixel_centers are both true");
    fit.grid = aligned ? RN_GRID_ALIGNED : half ? RN_GRID_HALF_PIXEL : RN_GRID_CORNER;
    return emit_fit(call, &fit, (int32_t)x->dims[3], false);
}

rn_status rn__fit_channels_last(rn__import *import, const char *name, rn__value *out, rn_error *err)
{
    rn_plan *plan = import->plan;
    const rn_plan_tensor raw = plan->tensors[import->input_tensor];
    rn_op op = {.kind = RN_OP_FIT, .inputs = {import->input_tensor, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    op.u.fit = (rn_fit_op){.channels_first = true, .crop_h = raw.w, .crop_w = raw.c, .h = raw.w, .w = raw.c};
    snprintf(op.name, sizeof op.name, "%s", name);
    RN_TRY(rn_plan_add_tensor(plan, op.name, RN_DTYPE_F32, raw.w, raw.c, raw.h, &op.outputs[0], err));
    RN_TRY(rn_plan_add_op(plan, &op, NULL, err));
    *out = rn__activation_value(plan, op.outputs[0], true);
    return RN_STATUS_OK;
}
