/* Checks a plan whole and puts it in order: the one place where operations, tensors, weights and signatures are held against each other, so that
 * no pass, backend or server checks them again.
 *
 * Steps: indexes and writers; order of execution (Kahn's algorithm, stable); what each signature needs; removal of everything that none
 * needs; shapes and dtypes of what stays.
 */
#include "engine/plan_signature.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every weights index of an operation, optional ones included: the one list of them. */
enum { MAX_OP_WEIGHTS = 4 };
static int op_weights(rn_op *op, int32_t *list[MAX_OP_WEIGHTS])
{
    switch (op->kind) {
    case RN_OP_CONV2D:
        list[0] = &op->u.conv2d.filter, list[1] = &op->u.conv2d.bias, list[2] = &op->u.conv2d.scale2, list[3] = &op->u.conv2d.shift2;
        return 4;
    case RN_OP_SCALE_SHIFT: list[0] = &op->u.scale_shift.scale, list[1] = &op->u.scale_shift.shift; return 2;
    case RN_OP_DENSE: list[0] = &op->u.dense.weights, list[1] = &op->u.dense.bias; return 2;
    case RN_OP_CLASS_MAP: list[0] = &op->u.class_map.weights; return 1;
    default: return 0;
    }
}

#define FAIL_OP(op, ...) fail_op(err, op, __LINE__, __VA_ARGS__)
static rn_status fail_op(rn_error *err, const rn_op *op, int line, const char *format, ...) __attribute__((format(printf, 4, 5)));

static rn_status fail_op(rn_error *err, const rn_op *op, int line, const char *format, ...)
{
    char text[RN_ERROR_MESSAGE_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return rn_error_set(err, RN_STATUS_INVALID_ARGUMENT, __FILE__, line, "%s (%s): %s", op->name, rn_op_kind_name(op->kind), text);
}

/* ---- indexes and writers ---- */

/* writer[t]: the operation that writes tensor t, or RN_NONE. */
static rn_status find_writers(rn_plan *plan, int32_t *writer, rn_error *err)
{
    for (int32_t t = 0; t < plan->tensor_count; t++) writer[t] = RN_NONE;
    for (int32_t o = 0; o < plan->op_count; o++) {
        rn_op *op = &plan->ops[o];
        if ((unsigned)op->kind >= RN_OP_COUNT) return FAIL_OP(op, "kind %d does not exist", (int)op->kind);
        for (int i = 0; i < 2; i++) {
            const bool optional_input = i == 1, in_given = op->inputs[i] != RN_NONE, out_given = op->outputs[i] != RN_NONE;
            if (in_given ? op->inputs[i] < 0 || op->inputs[i] >= plan->tensor_count : !optional_input) {
                return FAIL_OP(op, "input %d is tensor %d, the plan has %d", i, op->inputs[i], plan->tensor_count);
            }
            if (!out_given) continue;
            if (op->outputs[i] < 0 || op->outputs[i] >= plan->tensor_count) {
                return FAIL_OP(op, "output %d is tensor %d, the plan has %d", i, op->outputs[i], plan->tensor_count);
            }
            if (writer[op->outputs[i]] != RN_NONE) return FAIL_OP(op, "output %s has a second writer", plan->tensors[op->outputs[i]].name);
            writer[op->outputs[i]] = o;
        }
        int32_t *list[MAX_OP_WEIGHTS];
        const int count = op_weights(op, list);
        for (int i = 0; i < count; i++) {
            if (*list[i] != RN_NONE && (*list[i] < 0 || *list[i] >= plan->weights_count)) {
                return FAIL_OP(op, "weights %d, the plan has %d", *list[i], plan->weights_count);
            }
        }
    }
    return RN_STATUS_OK;
}

static rn_status check_weights(const rn_plan *plan, rn_error *err)
{
    for (int32_t i = 0; i < plan->weights_count; i++) {
        const rn_plan_weights *w = &plan->weights[i];
        if (w->dtype != RN_DTYPE_I8 && w->steps == RN_NONE) continue;
        if (w->dtype != RN_DTYPE_I8 || w->steps < 0 || w->steps >= plan->weights_count) {
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "weights %s: %s with steps in weights %d, the plan has %d", w->name,
                           rn_dtype_name(w->dtype), w->steps, plan->weights_count);
        }
        const rn_plan_weights *steps = &plan->weights[w->steps];
        if (steps->dtype == RN_DTYPE_F32 && steps->rank == 1 && steps->dims[0] == w->dims[w->rank - 1]) continue;
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "weights %s: expected steps F32 [%d], found %s of %s, rank %d, first dimension %d", w->name,
                       w->dims[w->rank - 1], steps->name, rn_dtype_name(steps->dtype), steps->rank, steps->dims[0]);
    }
    return RN_STATUS_OK;
}

static rn_status check_quantisation(const rn_plan *plan, rn_error *err)
{
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        const rn_plan_tensor *tensor = &plan->tensors[t];
        const bool plain = tensor->step == 0 && tensor->zero == 0;
        const bool good = isfinite(tensor->step) && tensor->step > 0 && tensor->zero >= 0 && tensor->zero <= UINT8_MAX;
        if (plain || (good && tensor->dtype == RN_DTYPE_U8)) continue;
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "tensor %s: %s in steps of %g with its zero at %d", tensor->name,
                       rn_dtype_name(tensor->dtype), (double)tensor->step, tensor->zero);
    }
    return RN_STATUS_OK;
}

/* ---- order ---- */

/* order[i]: the i-th operation to run. Ready operations go in the order in which they were added. */
static rn_status sort_ops(const rn_plan *plan, const int32_t *writer, int32_t *order, int32_t *waiting, rn_error *err)
{
    for (int32_t o = 0; o < plan->op_count; o++) {
        waiting[o] = 0;
        for (int i = 0; i < 2; i++) waiting[o] += plan->ops[o].inputs[i] != RN_NONE && writer[plan->ops[o].inputs[i]] != RN_NONE;
    }
    int32_t done = 0;
    bool moved = true;
    while (moved) { /* one sweep for a list that is in order already */
        moved = false;
        for (int32_t o = 0; o < plan->op_count; o++) {
            if (waiting[o] != 0) continue;
            waiting[o] = -1;
            order[done++] = o;
            moved = true;
            for (int32_t r = 0; r < plan->op_count; r++) {
                for (int i = 0; i < 2; i++) {
                    const int32_t x = plan->ops[r].inputs[i];
                    if (x != RN_NONE && writer[x] == o) waiting[r]--;
                }
            }
        }
    }
    if (done == plan->op_count) return RN_STATUS_OK;
    int32_t stuck = 0;
    while (waiting[stuck] <= 0) stuck++;
    for (int32_t step = 0; step < plan->op_count; step++) { /* from anything stuck, upstream leads onto the cycle */
        const int32_t *x = plan->ops[stuck].inputs;
        const bool second = x[1] != RN_NONE && writer[x[1]] != RN_NONE && waiting[writer[x[1]]] > 0;
        stuck = writer[x[second]];
    }
    return FAIL_OP(&plan->ops[stuck], "depends on itself");
}

static void reorder_ops(rn_plan *plan, const int32_t *order, rn_op *scratch)
{
    for (int32_t i = 0; i < plan->op_count; i++) scratch[i] = plan->ops[order[i]];
    if (plan->op_count) memcpy(plan->ops, scratch, (size_t)plan->op_count * sizeof *scratch);
}

/* ---- what a signature needs ---- */

static rn_status mark_needed(const rn_plan *plan, const rn_signature *signature, bool *tensor_needed, bool *op_needed, rn_error *err)
{
    const int32_t input = signature->input.tensor;
    if (input < 0 || input >= plan->tensor_count) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: input is tensor %d, the plan has %d", signature->name, input,
                       plan->tensor_count);
    }
    if (signature->output_count < 1 || signature->output_count > RN_PLAN_MAX_OUTPUTS) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: %d outputs, expected 1 to %d", signature->name, signature->output_count,
                       RN_PLAN_MAX_OUTPUTS);
    }
    memset(tensor_needed, 0, (size_t)plan->tensor_count * sizeof *tensor_needed);
    memset(op_needed, 0, (size_t)plan->op_count * sizeof *op_needed);
    for (int32_t i = 0; i < signature->output_count; i++) {
        const int32_t t = signature->outputs[i].tensor;
        if (t < 0 || t >= plan->tensor_count) {
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: output %s is tensor %d, the plan has %d", signature->name,
                           signature->outputs[i].name, t, plan->tensor_count);
        }
        tensor_needed[t] = true;
    }
    if (signature->explanation != RN_NONE) tensor_needed[signature->explanation] = true;
    for (int32_t o = plan->op_count - 1; o >= 0; o--) {
        const rn_op *op = &plan->ops[o];
        for (int i = 0; i < 2; i++) {
            const int32_t y = op->outputs[i];
            if (y == RN_NONE || y == input || !tensor_needed[y]) continue;
            op_needed[o] = true;
            tensor_needed[y] = false; /* found its writer */
        }
        for (int i = 0; i < 2 && op_needed[o]; i++) {
            if (op->inputs[i] != RN_NONE) tensor_needed[op->inputs[i]] = true;
        }
    }
    tensor_needed[input] = false;
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        if (!tensor_needed[t]) continue;
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: tensor %s is read and nothing writes it", signature->name,
                       plan->tensors[t].name);
    }
    return RN_STATUS_OK;
}

/* Schedule, picture front end and feed of one signature. */
static rn_status derive_signature(const rn_plan *plan, rn_signature *signature, const bool *op_needed, rn_error *err)
{
    free(signature->ops);
    signature->op_count = 0;
    signature->image_op = signature->fit_op = signature->class_map_op = RN_NONE;
    signature->feed = signature->input.tensor;
    signature->ops = malloc(((size_t)plan->op_count + 1) * sizeof *signature->ops);
    if (!signature->ops) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "signature %s: no memory for its schedule", signature->name);
    for (int32_t o = 0; o < plan->op_count; o++) {
        if (!op_needed[o]) continue;
        const rn_op *op = &plan->ops[o];
        if (op->kind == RN_OP_CLASS_MAP) {
            if (op->outputs[0] != signature->explanation) return FAIL_OP(op, "signature %s: a map is no output", signature->name);
            signature->class_map_op = o;
            continue;
        }
        if (op->kind != RN_OP_IMAGE && op->kind != RN_OP_FIT) {
            signature->ops[signature->op_count++] = o;
            continue;
        }
        if (signature->feed != signature->input.tensor || op->inputs[0] != signature->input.tensor) {
            return FAIL_OP(op, "signature %s: a signature has at most one front end, and it reads the input", signature->name);
        }
        *(op->kind == RN_OP_IMAGE ? &signature->image_op : &signature->fit_op) = o;
        signature->feed = op->outputs[0];
    }
    const bool pictures = plan->tensors[signature->input.tensor].dtype == RN_DTYPE_STRING;
    if (pictures != (signature->image_op != RN_NONE)) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: input %s holds %s and %s a picture front end", signature->name,
                       signature->input.name, rn_dtype_tf_name(plan->tensors[signature->input.tensor].dtype), pictures ? "lacks" : "has");
    }
    return RN_STATUS_OK;
}

/* ---- removal ---- */

/* Keeps entries of `used`, in order; map[old] = new index or RN_NONE. Returns how many stay. */
static int32_t compact(void *array, size_t size, int32_t count, const bool *used, int32_t *map)
{
    char *bytes = array;
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        map[i] = used[i] ? kept : RN_NONE;
        if (!used[i]) continue;
        if (kept != i) memcpy(bytes + (size_t)kept * size, bytes + (size_t)i * size, size);
        kept++;
    }
    return kept;
}

static void renumber(int32_t *index, const int32_t *map)
{
    if (*index != RN_NONE) *index = map[*index];
}

/* Drops operations outside `op_used`, then tensors and weights that nothing refers to. `used` and `map` have room for any of the lists. */
static void drop_unused(rn_plan *plan, const bool *op_used, bool *used, int32_t *map)
{
    plan->op_count = compact(plan->ops, sizeof *plan->ops, plan->op_count, op_used, map);

    int32_t *list[MAX_OP_WEIGHTS];
    memset(used, 0, (size_t)plan->tensor_count * sizeof *used);
    for (int32_t o = 0; o < plan->op_count; o++) {
        for (int i = 0; i < 2; i++) {
            if (plan->ops[o].inputs[i] != RN_NONE) used[plan->ops[o].inputs[i]] = true;
            if (plan->ops[o].outputs[i] != RN_NONE) used[plan->ops[o].outputs[i]] = true;
        }
    }
    for (int32_t s = 0; s < plan->signature_count; s++) {
        used[plan->signatures[s].input.tensor] = true;
        if (plan->signatures[s].explanation != RN_NONE) used[plan->signatures[s].explanation] = true;
        for (int32_t i = 0; i < plan->signatures[s].output_count; i++) used[plan->signatures[s].outputs[i].tensor] = true;
    }
    plan->tensor_count = compact(plan->tensors, sizeof *plan->tensors, plan->tensor_count, used, map);
    for (int32_t o = 0; o < plan->op_count; o++) {
        for (int i = 0; i < 2; i++) renumber(&plan->ops[o].inputs[i], map), renumber(&plan->ops[o].outputs[i], map);
    }
    for (int32_t s = 0; s < plan->signature_count; s++) {
        renumber(&plan->signatures[s].input.tensor, map);
        renumber(&plan->signatures[s].explanation, map);
        for (int32_t i = 0; i < plan->signatures[s].output_count; i++) renumber(&plan->signatures[s].outputs[i].tensor, map);
    }

    memset(used, 0, (size_t)plan->weights_count * sizeof *used);
    for (int32_t o = 0; o < plan->op_count; o++) {
        const int count = op_weights(&plan->ops[o], list);
        for (int i = 0; i < count; i++) {
            if (*list[i] != RN_NONE) used[*list[i]] = true;
        }
    }
    for (int32_t i = 0; i < plan->weights_count; i++) {
        if (used[i] && plan->weights[i].steps != RN_NONE) used[plan->weights[i].steps] = true;
    }
    plan->weights_count = compact(plan->weights, sizeof *plan->weights, plan->weights_count, used, map);
    for (int32_t o = 0; o < plan->op_count; o++) {
        const int count = op_weights(&plan->ops[o], list);
        for (int i = 0; i < count; i++) renumber(list[i], map);
    }
    for (int32_t i = 0; i < plan->weights_count; i++) renumber(&plan->weights[i].steps, map);
}

/* ---- shapes ---- */

typedef struct checker {
    const rn_plan *plan;
    const rn_op *op;
    rn_error *err;
} checker;

static rn_status expect_tensor(const checker *check, int32_t tensor, rn_dtype dtype, int32_t h, int32_t w, int32_t c)
{
    const rn_plan_tensor *t = &check->plan->tensors[tensor];
    if (t->dtype == dtype && t->step == 0 && t->h == h && t->w == w && t->c == c) return RN_STATUS_OK;
    return fail_op(check->err, check->op, __LINE__, "expected tensor %s to be %s %dx%dx%d, found %s%s %dx%dx%d", t->name, rn_dtype_name(dtype), h, w,
                   c, t->step == 0 ? "" : "quantised ", rn_dtype_name(t->dtype), t->h, t->w, t->c);
}

static rn_status expect_quantised(const checker *check, int32_t tensor, int32_t h, int32_t w, int32_t c)
{
    const rn_plan_tensor *t = &check->plan->tensors[tensor];
    if (t->step != 0 && t->h == h && t->w == w && t->c == c) return RN_STATUS_OK;
    return fail_op(check->err, check->op, __LINE__, "expected tensor %s to be quantised %dx%dx%d, found %s%s %dx%dx%d", t->name, h, w, c,
                   t->step == 0 ? "" : "quantised ", rn_dtype_name(t->dtype), t->h, t->w, t->c);
}

/* Either of the two; RN_NONE is neither and good. */
static rn_status expect_output(const checker *check, int32_t tensor, bool may_be_quantised, int32_t h, int32_t w, int32_t c)
{
    if (tensor == RN_NONE) return RN_STATUS_OK;
    if (may_be_quantised && check->plan->tensors[tensor].step != 0) return expect_quantised(check, tensor, h, w, c);
    return expect_tensor(check, tensor, RN_DTYPE_F32, h, w, c);
}

/* Weights of shape [count], or [1] where `broadcast`; RN_NONE only where `optional`. */
static rn_status expect_vector(const checker *check, int32_t weights, int32_t count, bool optional, bool broadcast, const char *role)
{
    if (weights == RN_NONE) {
        if (optional) return RN_STATUS_OK;
        return fail_op(check->err, check->op, __LINE__, "has no %s", role);
    }
    const rn_plan_weights *w = &check->plan->weights[weights];
    if (w->dtype == RN_DTYPE_F32 && w->rank == 1 && (w->dims[0] == count || (broadcast && w->dims[0] == 1))) return RN_STATUS_OK;
    return fail_op(check->err, check->op, __LINE__, "expected %s F32 [%d], found %s of %s, rank %d, first dimension %d", role, count, w->name,
                   rn_dtype_name(w->dtype), w->rank, w->dims[0]);
}

static rn_status check_window(const checker *check, int32_t r, int32_t s, int32_t stride_h, int32_t stride_w, const int32_t pads[4])
{
    if (r < 1 || s < 1 || r > RN_PLAN_MAX_SIDE || s > RN_PLAN_MAX_SIDE || stride_h < 1 || stride_w < 1 || stride_h > RN_PLAN_MAX_SIDE ||
        stride_w > RN_PLAN_MAX_SIDE) {
        return fail_op(check->err, check->op, __LINE__, "window %dx%d with stride %dx%d", r, s, stride_h, stride_w);
    }
    for (int i = 0; i < 4; i++) {
        const int32_t window = i % 2 == 0 ? r : s; /* padding by a whole window would give outputs made of border alone */
        if (pads[i] < 0 || pads[i] >= window) return fail_op(check->err, check->op, __LINE__, "padding %d with a window of %d", pads[i], window);
    }
    return RN_STATUS_OK;
}

/* Products of an int8 filter and its input that an int32 sum holds: 2^31 / (255 * 128). */
enum { MAX_INT8_TERMS = 65793 };

/* Kernels write one type, and ReLU by clamping to byte 0. */
static rn_status check_int8_outputs(const checker *check)
{
    const rn_op *op = check->op;
    const rn_plan_tensor *y = op->outputs[0] == RN_NONE ? NULL : &check->plan->tensors[op->outputs[0]];
    const rn_plan_tensor *y2 = op->outputs[1] == RN_NONE ? NULL : &check->plan->tensors[op->outputs[1]];
    if (y && y2 && (y->step == 0) != (y2->step == 0)) {
        return fail_op(check->err, op, __LINE__, "one of %s and %s is quantised, the other is not", y->name, y2->name);
    }
    const rn_plan_tensor *wrong = y && op->u.conv2d.relu && y->zero != 0 ? y : y2 && y2->zero != 0 ? y2 : NULL;
    if (!wrong) return RN_STATUS_OK;
    return fail_op(check->err, op, __LINE__, "%s lies behind a ReLU and has its zero at byte %d, expected 0", wrong->name, wrong->zero);
}

static rn_status check_conv2d(const checker *check)
{
    const rn_plan *plan = check->plan;
    const rn_op *op = check->op;
    const rn_conv2d_op *conv = &op->u.conv2d;
    const rn_plan_tensor *x = &plan->tensors[op->inputs[0]];
    const int32_t pads[4] = {conv->pad_top, conv->pad_left, conv->pad_bottom, conv->pad_right};
    RN_TRY(check_window(check, conv->r, conv->s, conv->stride_h, conv->stride_w, pads));
    if (conv->groups < 1 || x->c % conv->groups != 0) {
        return fail_op(check->err, op, __LINE__, "%d groups do not divide %d input channels", conv->groups, x->c);
    }
    if (conv->filter == RN_NONE) return fail_op(check->err, op, __LINE__, "has no filter");
    const rn_plan_weights *filter = &plan->weights[conv->filter];
    const bool int8 = filter->dtype == RN_DTYPE_I8;
    if ((filter->dtype != RN_DTYPE_F32 && !int8) || filter->rank != 4 || filter->dims[0] != conv->r || filter->dims[1] != conv->s ||
        filter->dims[2] != x->c / conv->groups) {
        return fail_op(check->err, op, __LINE__, "expected filter F32 or I8 %dx%dx%dxK, found %s of %s rank %d %dx%dx%dx%d", conv->r, conv->s,
                       x->c / conv->groups, filter->name, rn_dtype_name(filter->dtype), filter->rank, filter->dims[0], filter->dims[1],
                       filter->dims[2], filter->dims[3]);
    }
    const int32_t k = filter->dims[3];
    if (k % conv->groups != 0) return fail_op(check->err, op, __LINE__, "%d groups do not divide %d output channels", conv->groups, k);
    const int32_t p = rn_plan_window_output(x->h, conv->r, conv->stride_h, conv->pad_top, conv->pad_bottom);
    const int32_t q = rn_plan_window_output(x->w, conv->s, conv->stride_w, conv->pad_left, conv->pad_right);
    const bool second = op->outputs[1] != RN_NONE;
    if (int8 && (int64_t)conv->r * conv->s * filter->dims[2] > MAX_INT8_TERMS) {
        return fail_op(check->err, op, __LINE__, "sums of %lld products of bytes, at most %d are exact", (long long)conv->r * conv->s * filter->dims[2],
                       MAX_INT8_TERMS);
    }
    RN_TRY(int8 ? expect_quantised(check, op->inputs[0], x->h, x->w, x->c) : expect_tensor(check, op->inputs[0], RN_DTYPE_F32, x->h, x->w, x->c));
    RN_TRY(expect_vector(check, conv->bias, k, true, false, "bias"));
    if (op->inputs[1] != RN_NONE) {
        RN_TRY(int8 ? expect_quantised(check, op->inputs[1], p, q, k) : expect_tensor(check, op->inputs[1], RN_DTYPE_F32, p, q, k));
    }
    RN_TRY(expect_output(check, op->outputs[0], int8, p, q, k));
    RN_TRY(check_int8_outputs(check));
    if (!second && op->outputs[0] == RN_NONE) return fail_op(check->err, op, __LINE__, "has no output");
    if (!second && (conv->scale2 != RN_NONE || conv->shift2 != RN_NONE)) {
        return fail_op(check->err, op, __LINE__, "has a second scale or shift and no second output");
    }
    if (!second) return RN_STATUS_OK;
    RN_TRY(expect_output(check, op->outputs[1], int8, p, q, k));
    RN_TRY(expect_vector(check, conv->scale2, k, false, false, "second scale"));
    return expect_vector(check, conv->shift2, k, false, false, "second shift");
}

static rn_status check_image(const checker *check)
{
    const rn_image_op *image = &check->op->u.image;
    if (image->crop > RN_CROP_CENTER_SQUARE_ROUND_DOWN || image->method > RN_RESIZE_AREA || image->grid > RN_GRID_ALIGNED ||
        image->longer > RN_LONGER_INTEGER) {
        return fail_op(check->err, check->op, __LINE__, "crop rule %d, resize method %d, grid %d, rule for the longer side %d", (int)image->crop,
                       (int)image->method, (int)image->grid, (int)image->longer);
    }
    if (image->decode_channels != 0 && image->decode_channels != 1 && image->decode_channels != 3)
        return fail_op(check->err, check->op, __LINE__, "%d channels to decode", image->decode_channels);
    const int32_t full_h = image->shorter ? image->shorter : image->full_h, full_w = image->shorter ? image->shorter : image->full_w;
    if (full_h < image->h || full_w < image->w || full_h > RN_PLAN_MAX_SIDE || full_w > RN_PLAN_MAX_SIDE || image->shorter < 0)
        return fail_op(check->err, check->op, __LINE__, "%dx%d is cut out of a picture of %dx%d", image->h, image->w, full_h, full_w);
    RN_TRY(expect_tensor(check, check->op->inputs[0], RN_DTYPE_STRING, 1, 1, 1));
    return expect_tensor(check, check->op->outputs[0], image->as_float ? RN_DTYPE_F32 : RN_DTYPE_U8, image->h, image->w, image->c);
}

static rn_status check_fit(const checker *check)
{
    const rn_fit_op *fit = &check->op->u.fit;
    const rn_plan_tensor *x = &check->plan->tensors[check->op->inputs[0]];
    const char *name = x->name;
    if (!rn_fit_op_is_inside(fit, x)) return fail_op(check->err, check->op, __LINE__, "a part of %s, or of what it is resized to, lies outside of it", name);
    if (x->dtype != RN_DTYPE_U8 || x->step != 0) RN_TRY(expect_tensor(check, check->op->inputs[0], RN_DTYPE_F32, x->h, x->w, x->c));
    return expect_tensor(check, check->op->outputs[0], RN_DTYPE_F32, fit->h, fit->w, fit->channels_first ? x->h : x->c);
}

static rn_status check_max_pool(const checker *check)
{
    const rn_max_pool_op *pool = &check->op->u.max_pool;
    const rn_plan_tensor *x = &check->plan->tensors[check->op->inputs[0]];
    const int32_t pads[4] = {pool->pad_top, pool->pad_left, pool->pad_bottom, pool->pad_right};
    RN_TRY(check_window(check, pool->r, pool->s, pool->stride_h, pool->stride_w, pads));
    const rn_plan_tensor *y = &check->plan->tensors[check->op->outputs[0]];
    if (x->step != y->step || x->zero != y->zero) {
        return fail_op(check->err, check->op, __LINE__, "%s in steps of %g with its zero at %d becomes %s in steps of %g with its zero at %d", x->name,
                       (double)x->step, x->zero, y->name, (double)y->step, y->zero);
    }
    RN_TRY(expect_output(check, check->op->inputs[0], true, x->h, x->w, x->c));
    return expect_output(check, check->op->outputs[0], true, rn_plan_window_output(x->h, pool->r, pool->stride_h, pool->pad_top, pool->pad_bottom),
                         rn_plan_window_output(x->w, pool->s, pool->stride_w, pool->pad_left, pool->pad_right), x->c);
}

static rn_status check_dense(const checker *check)
{
    const rn_dense_op *dense = &check->op->u.dense;
    const rn_plan_tensor *x = &check->plan->tensors[check->op->inputs[0]];
    if (dense->weights == RN_NONE) return fail_op(check->err, check->op, __LINE__, "has no weights");
    const rn_plan_weights *w = &check->plan->weights[dense->weights];
    if (w->dtype != RN_DTYPE_F32 || w->rank != 2 || w->dims[0] != x->c) {
        return fail_op(check->err, check->op, __LINE__, "expected weights F32 %dxK, found %s of %s rank %d %dx%d", x->c, w->name,
                       rn_dtype_name(w->dtype), w->rank, w->dims[0], w->dims[1]);
    }
    RN_TRY(expect_tensor(check, check->op->inputs[0], RN_DTYPE_F32, 1, 1, x->c));
    RN_TRY(expect_tensor(check, check->op->outputs[0], RN_DTYPE_F32, 1, 1, w->dims[1]));
    return expect_vector(check, dense->bias, w->dims[1], true, false, "bias");
}

static rn_status check_class_map(const checker *check)
{
    const rn_op *op = check->op;
    const int32_t weights = op->u.class_map.weights;
    const rn_plan_tensor *x = &check->plan->tensors[op->inputs[0]], *scores = &check->plan->tensors[op->inputs[1]];
    if (weights == RN_NONE) return fail_op(check->err, op, __LINE__, "has no weights");
    const rn_plan_weights *w = &check->plan->weights[weights];
    if (w->dtype != RN_DTYPE_F32 || w->rank < 2 || w->dims[w->rank - 2] != x->c || w->dims[w->rank - 1] != scores->c ||
        w->element_count != (int64_t)x->c * scores->c) {
        return fail_op(check->err, op, __LINE__, "expected weights F32 %dx%d, found %s of %s with %lld elements", x->c, scores->c, w->name,
                       rn_dtype_name(w->dtype), (long long)w->element_count);
    }
    RN_TRY(expect_tensor(check, op->inputs[0], RN_DTYPE_F32, x->h, x->w, x->c));
    RN_TRY(expect_tensor(check, op->inputs[1], RN_DTYPE_F32, 1, 1, scores->c));
    return expect_tensor(check, op->outputs[0], RN_DTYPE_F32, x->h, x->w, 1);
}

/* Operations with one output tensor and no second input; the rest look for themselves. */
static rn_status check_op(const checker *check)
{
    const rn_op *op = check->op;
    const rn_plan_tensor *x = &check->plan->tensors[op->inputs[0]], *y = op->outputs[0] == RN_NONE ? x : &check->plan->tensors[op->outputs[0]];
    const bool two_inputs = op->kind == RN_OP_ADD || op->kind == RN_OP_CLASS_MAP, two_outputs = op->kind == RN_OP_TOP_K;
    if (op->kind != RN_OP_CONV2D) {
        if (op->outputs[0] == RN_NONE) return fail_op(check->err, op, __LINE__, "has no output");
        if ((op->inputs[1] != RN_NONE) != two_inputs) return fail_op(check->err, op, __LINE__, "expected %d inputs", 1 + two_inputs);
        if ((op->outputs[1] != RN_NONE) != two_outputs) return fail_op(check->err, op, __LINE__, "expected %d outputs", 1 + two_outputs);
    }
    switch (op->kind) {
    case RN_OP_IMAGE: return check_image(check);
    case RN_OP_FIT: return check_fit(check);
    case RN_OP_CONV2D: return check_conv2d(check);
    case RN_OP_SCALE_SHIFT:
        if (x->dtype != RN_DTYPE_U8 || x->step != 0) RN_TRY(expect_tensor(check, op->inputs[0], RN_DTYPE_F32, x->h, x->w, x->c));
        RN_TRY(expect_vector(check, op->u.scale_shift.scale, x->c, true, true, "scale"));
        RN_TRY(expect_vector(check, op->u.scale_shift.shift, x->c, true, true, "shift"));
        return expect_tensor(check, op->outputs[0], RN_DTYPE_F32, x->h, x->w, x->c);
    case RN_OP_ADD:
        RN_TRY(expect_tensor(check, op->inputs[0], RN_DTYPE_F32, x->h, x->w, x->c));
        RN_TRY(expect_tensor(check, op->inputs[1], RN_DTYPE_F32, x->h, x->w, x->c));
        return expect_tensor(check, op->outputs[0], RN_DTYPE_F32, x->h, x->w, x->c);
    case RN_OP_MAX_POOL: return check_max_pool(check);
    case RN_OP_GLOBAL_AVERAGE_POOL:
        RN_TRY(expect_tensor(check, op->inputs[0], RN_DTYPE_F32, x->h, x->w, x->c));
        return expect_tensor(check, op->outputs[0], RN_DTYPE_F32, 1, 1, x->c);
    case RN_OP_DENSE: return check_dense(check);
    case RN_OP_CLASS_MAP: return check_class_map(check);
    case RN_OP_QUANTIZE:
        RN_TRY(expect_tensor(check, op->inputs[0], RN_DTYPE_F32, x->h, x->w, x->c));
        return expect_quantised(check, op->outputs[0], x->h, x->w, y->c > x->c ? y->c : x->c);
    case RN_OP_SOFTMAX:
        RN_TRY(expect_tensor(check, op->inputs[0], RN_DTYPE_F32, 1, 1, x->c));
        return expect_tensor(check, op->outputs[0], RN_DTYPE_F32, 1, 1, x->c);
    case RN_OP_TOP_K: {
        const int32_t k = op->u.top_k.k;
        if (k < 1 || k > x->c) return fail_op(check->err, op, __LINE__, "the %d largest of %d", k, x->c);
        RN_TRY(expect_tensor(check, op->inputs[0], RN_DTYPE_F32, 1, 1, x->c));
        RN_TRY(expect_tensor(check, op->outputs[0], RN_DTYPE_F32, 1, 1, k));
        return expect_tensor(check, op->outputs[1], RN_DTYPE_I32, 1, 1, k);
    }
    case RN_OP_COUNT: break;
    }
    return fail_op(check->err, op, __LINE__, "has no rule");
}

rn_status rn_plan_finish(rn_plan *plan, rn_error *err)
{
    if (plan->signature_count == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "a plan needs at least one signature");
    rn_status status = RN_STATUS_OK;
    const size_t ops = (size_t)plan->op_count + 1, tensors = (size_t)plan->tensor_count + 1;
    const size_t most = ops + tensors + (size_t)plan->weights_count;
    int32_t *writer = malloc(tensors * sizeof *writer), *order = malloc(ops * sizeof *order), *map = malloc(most * sizeof *map);
    bool *needed = malloc(most * sizeof *needed), *op_needed = malloc(ops * sizeof *op_needed), *op_used = calloc(ops, sizeof *op_used);
    rn_op *scratch = malloc(ops * sizeof *scratch);
    if (!writer || !order || !map || !needed || !op_needed || !op_used || !scratch) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to check a plan of %d operations", plan->op_count);
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, check_weights(plan, err));
    RN_TRY_CLEANUP(status, check_quantisation(plan, err));
    RN_TRY_CLEANUP(status, find_writers(plan, writer, err));
    RN_TRY_CLEANUP(status, sort_ops(plan, writer, order, map, err));
    reorder_ops(plan, order, scratch);
    for (int32_t s = 0; s < plan->signature_count; s++) {
        RN_TRY_CLEANUP(status, mark_needed(plan, &plan->signatures[s], needed, op_needed, err));
        for (int32_t o = 0; o < plan->op_count; o++) op_used[o] |= op_needed[o];
    }
    drop_unused(plan, op_used, needed, map);
    for (int32_t s = 0; s < plan->signature_count; s++) {
        RN_TRY_CLEANUP(status, mark_needed(plan, &plan->signatures[s], needed, op_needed, err));
        RN_TRY_CLEANUP(status, derive_signature(plan, &plan->signatures[s], op_needed, err));
    }
    for (int32_t o = 0; o < plan->op_count; o++) RN_TRY_CLEANUP(status, check_op(&(checker){plan, &plan->ops[o], err}));
    for (int32_t s = 0; s < plan->signature_count; s++) RN_TRY_CLEANUP(status, rn__plan_check_signature(plan, s, err));
cleanup:
    free(writer), free(order), free(map), free(needed), free(op_needed), free(op_used), free(scratch);
    return status;
}
