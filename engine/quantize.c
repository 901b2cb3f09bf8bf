/* Which tensors become bytes follows from who reads them.
 *
 * A convolution on bytes wants bytes (its input and its residual), a max pool whose result is wanted as bytes alone passes the wish on, every other
 * operation and every signature wants floats. A convolution on bytes can write either, but not both: what both kinds of readers want is
 * written as floats, and a quantize operation makes the bytes. The same operation stands behind whatever writes floats only, such as the input
 * of the network.
 *
 * vpdpbusd and its like multiply four channels at once. A convolution whose groups are no multiple of four channels wide stays as it is, but for
 * the first layer: its three channels become four when they are quantised, the fourth zero in picture and filter.
 */
#include "engine/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS_TOGETHER = 4, WEIGHT_LIMIT = 127, BYTE_LIMIT = 255 };

/* A plan while it is rewritten. */
typedef struct {
    rn_plan *plan;
    const rn_value_range *ranges;
    bool *narrow_op;        /* [op] convolution that will run on bytes, max pool of bytes */
    bool *wants_bytes, *wants_floats; /* [tensor] */
    int32_t *writer;        /* [tensor] operation, or RN_NONE */
    int32_t tensor_count, op_count; /* before anything is added */
} rewrite;

/* ---- what is to become of each operation and tensor ---- */

static bool is_first_layer(const rewrite *r, int32_t x)
{
    const int32_t writer = r->writer[x];
    return writer == RN_NONE || r->plan->ops[writer].kind == RN_OP_SCALE_SHIFT;
}

static bool can_be_narrow(const rewrite *r, const rn_op *op)
{
    const int32_t x = op->inputs[0], channels = r->plan->tensors[x].c / op->u.conv2d.groups;
    return channels % CHANNELS_TOGETHER == 0 || (op->u.conv2d.groups == 1 && is_first_layer(r, x));
}

static void want(const rewrite *r, const rn_op *op, bool bytes)
{
    for (int i = 0; i < 2; i++) {
        if (op->inputs[i] != RN_NONE) (bytes ? r->wants_bytes : r->wants_floats)[op->inputs[i]] = true;
    }
}

static bool bytes_only(const rewrite *r, int32_t tensor)
{
    return tensor == RN_NONE || (r->wants_bytes[tensor] && !r->wants_floats[tensor]);
}

/* Readers come after writers, so that one walk from the end sees every wish before it is passed on. */
static void decide(const rewrite *r)
{
    const rn_plan *plan = r->plan;
    for (int32_t t = 0; t < r->tensor_count; t++) r->writer[t] = RN_NONE;
    for (int32_t o = 0; o < r->op_count; o++) {
        for (int i = 0; i < 2; i++) {
            if (plan->ops[o].outputs[i] != RN_NONE) r->writer[plan->ops[o].outputs[i]] = o;
        }
    }
    for (int32_t s = 0; s < plan->signature_count; s++) {
        for (int32_t i = 0; i < plan->signatures[s].output_count; i++) r->wants_floats[plan->signatures[s].outputs[i].tensor] = true;
    }
    for (int32_t o = r->op_count - 1; o >= 0; o--) {
        const rn_op *op = &plan->ops[o];
        if (op->kind == RN_OP_CONV2D) r->narrow_op[o] = can_be_narrow(r, op);
        if (op->kind == RN_OP_MAX_POOL) r->narrow_op[o] = bytes_only(r, op->outputs[0]);
        want(r, op, r->narrow_op[o]);
    }
}

/* ---- tensors ---- */

static void set_step(rn_plan_tensor *tensor, rn_value_range range)
{
    const double low = fmin(range.low, 0), high = fmax(range.high, 0), step = (high - low) / BYTE_LIMIT;
    tensor->dtype = RN_DTYPE_U8;
    tensor->step = step > 0 && (float)step > 0 ? (float)step : 1;
    tensor->zero = (int32_t)lround(fmin(fmax(-low / (double)tensor->step, 0), BYTE_LIMIT));
}

/* Adds quantize operations: bytes[t] is the byte form of tensor t, which may be itself. */
static rn_status quantize_tensor(const rewrite *r, int32_t t, int32_t *bytes, rn_error *err)
{
    rn_plan *plan = r->plan;
    const rn_plan_tensor x = plan->tensors[t];
    const int32_t c = (x.c + CHANNELS_TOGETHER - 1) / CHANNELS_TOGETHER * CHANNELS_TOGETHER;
    rn_op op = {.kind = RN_OP_QUANTIZE, .inputs = {t, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    char name[RN_PLAN_NAME_BYTES];
    snprintf(name, sizeof name, "%.*s/bytes", RN_PLAN_NAME_BYTES - 16, x.name);
    RN_TRY(rn_plan_add_tensor(plan, name, RN_DTYPE_U8, x.h, x.w, c, &bytes[t], err));
    set_step(&plan->tensors[bytes[t]], r->ranges[t]);
    op.outputs[0] = bytes[t];
    snprintf(op.name, sizeof op.name, "%s", name);
    return rn_plan_add_op(plan, &op, NULL, err);
}

/* Tensors in the order of their writers, so that a pool finds the step of what it reads. */
static rn_status quantize_tensors(const rewrite *r, int32_t *bytes, rn_error *err)
{
    rn_plan *plan = r->plan;
    for (int32_t t = 0; t < r->tensor_count; t++) bytes[t] = RN_NONE;
    for (int32_t o = 0; o < r->op_count; o++) {
        const rn_op *op = &plan->ops[o];
        if (!r->narrow_op[o] || !bytes_only(r, op->outputs[0]) || !bytes_only(r, op->outputs[1])) continue;
        for (int i = 0; i < 2; i++) {
            const int32_t t = op->outputs[i];
            if (t == RN_NONE) continue;
            bytes[t] = t;
            if (op->kind == RN_OP_CONV2D) set_step(&plan->tensors[t], r->ranges[t]);
        }
    }
    for (int32_t t = 0; t < r->tensor_count; t++) {
        if (r->wants_bytes[t] && bytes[t] == RN_NONE) RN_TRY(quantize_tensor(r, t, bytes, err));
    }
    for (int32_t o = 0; o < r->op_count; o++) {
        rn_op *op = &plan->ops[o];
        for (int i = 0; i < 2 && r->narrow_op[o]; i++) {
            if (op->inputs[i] != RN_NONE) op->inputs[i] = bytes[op->inputs[i]];
        }
        if (!r->narrow_op[o] || op->kind != RN_OP_MAX_POOL) continue;
        const rn_plan_tensor *x = &plan->tensors[op->inputs[0]];
        rn_plan_tensor *y = &plan->tensors[op->outputs[0]];
        y->dtype = x->dtype, y->step = x->step, y->zero = x->zero;
    }
    return RN_STATUS_OK;
}

/* ---- filters ---- */

static rn_status add_weights(rn_plan *plan, const char *filter, const char *role, rn_dtype dtype, int32_t rank, const int32_t *dims, void **data,
                             int32_t *out, rn_error *err)
{
    char name[RN_PLAN_NAME_BYTES];
    snprintf(name, sizeof name, "%.*s/%s", RN_PLAN_NAME_BYTES - 16, filter, role);
    return rn_plan_new_weights(plan, name, dtype, rank, dims, data, out, err);
}

/* The largest weight of a channel becomes +-127. A filter of zeros may have any step. */
static void choose_steps(const float *filter, int64_t rows, int32_t k, float *steps)
{
    for (int32_t j = 0; j < k; j++) steps[j] = 0;
    for (int64_t i = 0; i < rows; i++) {
        for (int32_t j = 0; j < k; j++) steps[j] = fmaxf(steps[j], fabsf(filter[i * k + j]));
    }
    for (int32_t j = 0; j < k; j++) {
        steps[j] /= WEIGHT_LIMIT;
        if (!(steps[j] > 0)) steps[j] = 1;
    }
}

/* An I8 filter over `channels` input channels; those beyond the F32 filter's are zero. */
static rn_status quantize_filter(rn_plan *plan, int32_t filter, int32_t channels, int32_t *out, rn_error *err)
{
    const rn_plan_weights from = plan->weights[filter]; /* a copy: the list grows */
    const int32_t dims[4] = {from.dims[0], from.dims[1], channels, from.dims[3]}, k = from.dims[3], taps = dims[0] * dims[1];
    const float *values = from.data;
    int32_t steps_index;
    void *steps, *data;
    RN_TRY(add_weights(plan, from.name, "steps", RN_DTYPE_F32, 1, &k, &steps, &steps_index, err));
    RN_TRY(add_weights(plan, from.name, "int8", RN_DTYPE_I8, 4, dims, &data, out, err));
    plan->weights[*out].steps = steps_index;
    choose_steps(values, (int64_t)taps * from.dims[2], k, steps);
    for (int32_t tap = 0; tap < taps; tap++) {
        for (int32_t c = 0; c < from.dims[2]; c++) {
            int8_t *to = (int8_t *)data + ((int64_t)tap * channels + c) * k;
            for (int32_t j = 0; j < k; j++) to[j] = (int8_t)lrintf(*values++ / ((const float *)steps)[j]);
        }
    }
    return RN_STATUS_OK;
}

/* Convolutions that share a filter go on sharing it. */
static rn_status quantize_filters(const rewrite *r, rn_error *err)
{
    rn_plan *plan = r->plan;
    rn_status status = RN_STATUS_OK;
    const int32_t count = plan->weights_count;
    int32_t *done = malloc(((size_t)count + 1) * sizeof *done);
    if (!done) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to quantise %d weights", count);
    for (int32_t i = 0; i < count; i++) done[i] = RN_NONE;
    for (int32_t o = 0; o < r->op_count; o++) {
        rn_op *op = &plan->ops[o];
        if (!r->narrow_op[o] || op->kind != RN_OP_CONV2D) continue;
        const int32_t filter = op->u.conv2d.filter, channels = plan->tensors[op->inputs[0]].c / op->u.conv2d.groups;
        if (done[filter] == RN_NONE) RN_TRY_CLEANUP(status, quantize_filter(plan, filter, channels, &done[filter], err));
        op->u.conv2d.filter = done[filter];
    }
cleanup:
    free(done);
    return status;
}

/* ---- the whole ---- */

rn_status rn_plan_quantize(rn_plan *plan, const rn_value_range *ranges, rn_error *err)
{
    rn_status status;
    const size_t tensors = (size_t)plan->tensor_count + 1;
    rewrite r = {.plan = plan, .ranges = ranges, .tensor_count = plan->tensor_count, .op_count = plan->op_count};
    r.narrow_op = calloc((size_t)plan->op_count + 1, sizeof *r.narrow_op);
    r.wants_bytes = calloc(tensors, sizeof *r.wants_bytes);
    r.wants_floats = calloc(tensors, sizeof *r.wants_floats);
    r.writer = malloc(tensors * sizeof *r.writer);
    int32_t *bytes = malloc(tensors * sizeof *bytes);
    if (!r.narrow_op || !r.wants_bytes || !r.wants_floats || !r.writer || !bytes) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to quantise a plan of %d operations", plan->op_count);
        goto cleanup;
    }
    decide(&r);
    RN_TRY_CLEANUP(status, quantize_tensors(&r, bytes, err));
    RN_TRY_CLEANUP(status, quantize_filters(&r, err));
    status = rn_plan_finish(plan, err);
    if (status == RN_STATUS_OK && !rn_plan_is_quantized(plan)) {
        status = RN_FAIL(err, RN_STATUS_UNSUPPORTED, "no convolution of %s can run on bytes", plan->architecture);
    }
cleanup:
    free(r.narrow_op), free(r.wants_bytes), free(r.wants_floats), free(r.writer), free(bytes);
    return status;
}

bool rn_plan_is_quantized(const rn_plan *plan)
{
    for (int32_t i = 0; i < plan->weights_count; i++) {
        if (plan->weights[i].dtype == RN_DTYPE_I8) return true;
    }
    return false;
}

/* ---- back to floats ---- */

/* An F32 filter over `channels` input channels: those of the I8 filter, or its first ones. */
static rn_status widen_filter(rn_plan *plan, int32_t filter, int32_t channels, int32_t *out, rn_error *err)
{
    const rn_plan_weights from = plan->weights[filter];
    const float *steps = plan->weights[from.steps].data;
    const int32_t dims[4] = {from.dims[0], from.dims[1], channels, from.dims[3]}, k = from.dims[3];
    void *data;
    RN_TRY(add_weights(plan, from.name, "f32", RN_DTYPE_F32, 4, dims, &data, out, err));
    float *to = data;
    for (int32_t tap = 0; tap < dims[0] * dims[1]; tap++) {
        const int8_t *values = (const int8_t *)from.data + (int64_t)tap * from.dims[2] * k;
        for (int64_t i = 0; i < (int64_t)channels * k; i++) *to++ = (float)values[i] * steps[i % k];
    }
    return RN_STATUS_OK;
}

rn_status rn_plan_widen(rn_plan *plan, rn_error *err)
{
    for (int32_t o = 0; o < plan->op_count; o++) { /* writers come before readers */
        const rn_op *quantize = &plan->ops[o];
        for (int32_t i = o + 1; i < plan->op_count && quantize->kind == RN_OP_QUANTIZE; i++) {
            int32_t *inputs = plan->ops[i].inputs;
            for (int j = 0; j < 2; j++) inputs[j] = inputs[j] == quantize->outputs[0] ? quantize->inputs[0] : inputs[j];
        }
    }
    for (int32_t o = 0; o < plan->op_count; o++) {
        rn_op *op = &plan->ops[o];
        if (op->kind != RN_OP_CONV2D || plan->weights[op->u.conv2d.filter].dtype != RN_DTYPE_I8) continue;
        const int32_t channels = plan->tensors[op->inputs[0]].c / op->u.conv2d.groups;
        RN_TRY(widen_filter(plan, op->u.conv2d.filter, channels, &op->u.conv2d.filter, err));
    }
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        rn_plan_tensor *tensor = &plan->tensors[t];
        if (tensor->step == 0) continue;
        tensor->dtype = RN_DTYPE_F32, tensor->step = 0, tensor->zero = 0;
    }
    return rn_plan_finish(plan, err);
}
