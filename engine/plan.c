/* Building, owning and reading a plan. Checking it whole is plan_finish.c.
 *
 * The arrays grow by doubling while a loader adds to them. Weights are never copied: they point into memory that the plan allocated for them, into
 * memory handed over with rn_plan_adopt (a mapped file), or into the caller's.
 */
#include "engine/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct block {
    void *memory;
    size_t bytes;
    void (*release)(void *memory, size_t bytes);
} block;

struct rn_plan_storage {
    block *blocks;
    int32_t block_count, block_capacity;
    int32_t tensor_capacity, weights_capacity, op_capacity, signature_capacity, label_capacity;
    rn_plan_check_fn *finish_check; /* or NULL */
    void *check;
};

const char *rn_op_kind_name(rn_op_kind kind)
{
    static const char *const names[RN_OP_COUNT] = {
#define RN_OP_NAME(kind, name) [RN_OP_##kind] = name,
        RN_OP_LIST(RN_OP_NAME)
#undef RN_OP_NAME
    };
    return (unsigned)kind < RN_OP_COUNT ? names[kind] : "unknown operation";
}

rn_plan *rn_plan_create(void)
{
    rn_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return NULL;
    plan->storage = calloc(1, sizeof *plan->storage);
    if (plan->storage) return plan;
    free(plan);
    return NULL;
}

void rn_plan_destroy(rn_plan *plan)
{
    if (!plan) return;
    struct rn_plan_storage *storage = plan->storage;
    rn_plan_await(plan, NULL); /* it may read what is about to be released */
    for (int32_t i = 0; i < storage->block_count; i++) storage->blocks[i].release(storage->blocks[i].memory, storage->blocks[i].bytes);
    for (int32_t i = 0; i < plan->signature_count; i++) free(plan->signatures[i].ops);
    for (int32_t i = 0; i < plan->label_count; i++) free(plan->labels[i]);
    free(storage->blocks);
    free(storage);
    free(plan->tensors);
    free(plan->weights);
    free(plan->ops);
    free(plan->signatures);
    free(plan->labels);
    free(plan->goldens);
    free(plan);
}

/* Room for one more element of `size` bytes in *array, at most `limit` of them. */
static rn_status grow(void **array, int32_t count, int32_t *capacity, size_t size, int32_t limit, const char *what, rn_error *err)
{
    if (count < *capacity) return RN_STATUS_OK;
    if (count >= limit) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "a plan holds at most %d %s", limit, what);
    int32_t wanted = *capacity ? 2 * *capacity : 64;
    if (wanted > limit) wanted = limit;
    void *grown = realloc(*array, (size_t)wanted * size);
    if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d %s of a plan", wanted, what);
    *array = grown;
    *capacity = wanted;
    return RN_STATUS_OK;
}

static rn_status copy_name(char out[RN_PLAN_NAME_BYTES], const char *name, const char *what, rn_error *err)
{
    const size_t length = strlen(name);
    if (length >= RN_PLAN_NAME_BYTES) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s name of %zu bytes: at most %d, it starts %.60s", what, length, RN_PLAN_NAME_BYTES - 1, name);
    }
    memcpy(out, name, length + 1);
    return RN_STATUS_OK;
}

rn_status rn_plan_add_tensor(rn_plan *plan, const char *name, rn_dtype dtype, int32_t h, int32_t w, int32_t c, int32_t *out, rn_error *err)
{
    if (h < 1 || h > RN_PLAN_MAX_SIDE || w < 1 || w > RN_PLAN_MAX_SIDE || c < 1 || c > RN_PLAN_MAX_CHANNELS) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "tensor %s: shape %dx%dx%d is outside 1..%d, 1..%d, 1..%d", name, h, w, c, RN_PLAN_MAX_SIDE,
                       RN_PLAN_MAX_SIDE, RN_PLAN_MAX_CHANNELS);
    }
    RN_TRY(grow((void **)&plan->tensors, plan->tensor_count, &plan->storage->tensor_capacity, sizeof *plan->tensors, 4 * RN_PLAN_MAX_OPS,
                "tensors", err));
    rn_plan_tensor *tensor = &plan->tensors[plan->tensor_count];
    *tensor = (rn_plan_tensor){.dtype = dtype, .h = h, .w = w, .c = c};
    RN_TRY(copy_name(tensor->name, name, "tensor", err));
    *out = plan->tensor_count++;
    return RN_STATUS_OK;
}

rn_status rn_plan_add_op(rn_plan *plan, const rn_op *op, int32_t *out, rn_error *err)
{
    RN_TRY(grow((void **)&plan->ops, plan->op_count, &plan->storage->op_capacity, sizeof *plan->ops, RN_PLAN_MAX_OPS, "operations", err));
    plan->ops[plan->op_count] = *op;
    if (out) *out = plan->op_count;
    plan->op_count++;
    return RN_STATUS_OK;
}

rn_status rn_plan_add_signature(rn_plan *plan, const rn_signature *signature, int32_t *out, rn_error *err)
{
    RN_TRY(grow((void **)&plan->signatures, plan->signature_count, &plan->storage->signature_capacity, sizeof *plan->signatures,
                RN_PLAN_MAX_SIGNATURES, "signatures", err));
    rn_signature *added = &plan->signatures[plan->signature_count];
    *added = *signature;
    added->ops = NULL;
    added->op_count = 0;
    added->image_op = added->fit_op = added->feed = added->explanation = added->class_map_op = RN_NONE;
    if (out) *out = plan->signature_count;
    plan->signature_count++;
    return RN_STATUS_OK;
}

rn_status rn_plan_add_label(rn_plan *plan, const char *label, rn_error *err)
{
    RN_TRY(grow((void **)&plan->labels, plan->label_count, &plan->storage->label_capacity, sizeof *plan->labels, RN_PLAN_MAX_CHANNELS, "labels",
                err));
    char *copy = strdup(label);
    if (!copy) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for label %d", plan->label_count);
    plan->labels[plan->label_count++] = copy;
    return RN_STATUS_OK;
}

rn_status rn_plan_add_weights(rn_plan *plan, const char *name, rn_dtype dtype, int32_t rank, const int32_t *dims, const void *data, int32_t *out,
                              rn_error *err)
{
    if (rank < 1 || rank > RN_PLAN_MAX_RANK) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "weights %s: rank %d, expected 1 to %d", name, rank, RN_PLAN_MAX_RANK);
    }
    rn_plan_weights weights = {.dtype = dtype, .rank = rank, .element_count = 1, .data = data, .steps = RN_NONE};
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] < 1 || dims[i] > RN_PLAN_MAX_CHANNELS || weights.element_count > INT32_MAX / dims[i]) {
            return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "weights %s: dimension %d is %d, or the whole exceeds 2^31 elements", name, i, dims[i]);
        }
        weights.dims[i] = dims[i];
        weights.element_count *= dims[i];
    }
    RN_TRY(copy_name(weights.name, name, "weights", err));
    RN_TRY(grow((void **)&plan->weights, plan->weights_count, &plan->storage->weights_capacity, sizeof *plan->weights, 4 * RN_PLAN_MAX_OPS,
                "weights", err));
    plan->weights[plan->weights_count] = weights;
    *out = plan->weights_count++;
    return RN_STATUS_OK;
}

static void release_heap(void *memory, size_t bytes)
{
    (void)bytes;
    free(memory);
}

rn_status rn_plan_new_weights(rn_plan *plan, const char *name, rn_dtype dtype, int32_t rank, const int32_t *dims, void **data, int32_t *out,
                              rn_error *err)
{
    int32_t index;
    RN_TRY(rn_plan_add_weights(plan, name, dtype, rank, dims, NULL, &index, err));
    const size_t bytes = (size_t)plan->weights[index].element_count * rn_dtype_bytes(dtype);
    const size_t rounded = (bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, rounded);
    if (!memory) {
        plan->weights_count--;
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "weights %s: no memory for %zu bytes", name, bytes);
    }
    memset(memory, 0, rounded);
    const rn_status status = rn_plan_adopt(plan, memory, rounded, release_heap, err);
    if (status != RN_STATUS_OK) {
        plan->weights_count--;
        return status;
    }
    plan->weights[index].data = memory;
    *data = memory;
    *out = index;
    return RN_STATUS_OK;
}

rn_status rn_plan_adopt(rn_plan *plan, void *memory, size_t bytes, void (*release)(void *memory, size_t bytes), rn_error *err)
{
    struct rn_plan_storage *storage = plan->storage;
    const rn_status status = grow((void **)&storage->blocks, storage->block_count, &storage->block_capacity, sizeof *storage->blocks,
                                  8 * RN_PLAN_MAX_OPS, "memory blocks", err);
    if (status != RN_STATUS_OK) {
        rn_plan_await(plan, NULL);
        release(memory, bytes);
        return status;
    }
    storage->blocks[storage->block_count++] = (block){memory, bytes, release};
    return RN_STATUS_OK;
}

void rn_plan_expect(rn_plan *plan, rn_plan_check_fn *finish, void *context)
{
    plan->storage->finish_check = finish;
    plan->storage->check = context;
}

rn_status rn_plan_await(rn_plan *plan, rn_error *err)
{
    rn_plan_check_fn *finish = plan->storage->finish_check;
    plan->storage->finish_check = NULL;
    return finish ? finish(plan->storage->check, err) : RN_STATUS_OK;
}

const rn_signature *rn_plan_signature(const rn_plan *plan, const char *name)
{
    for (int32_t i = 0; i < plan->signature_count; i++) {
        if (strcmp(plan->signatures[i].name, name) == 0) return &plan->signatures[i];
    }
    return NULL;
}

int64_t rn_plan_tensor_elements(const rn_plan_tensor *tensor)
{
    return (int64_t)tensor->h * tensor->w * tensor->c;
}

size_t rn_plan_tensor_bytes(const rn_plan_tensor *tensor)
{
    return (size_t)rn_plan_tensor_elements(tensor) * rn_dtype_bytes(tensor->dtype);
}

int64_t rn_plan_parameter_count(const rn_plan *plan)
{
    int64_t count = 0;
    for (int32_t i = 0; i < plan->weights_count; i++) count += plan->weights[i].element_count;
    return count;
}

static int64_t op_multiply_count(const rn_plan *plan, const rn_op *op)
{
    switch (op->kind) {
    case RN_OP_CONV2D: {
        const int32_t y = op->outputs[op->outputs[0] == RN_NONE];
        return (int64_t)plan->tensors[y].h * plan->tensors[y].w * plan->weights[op->u.conv2d.filter].element_count;
    }
    case RN_OP_DENSE: return plan->weights[op->u.dense.weights].element_count;
    default: return 0;
    }
}

int64_t rn_plan_multiply_count(const rn_plan *plan, const rn_signature *signature)
{
    int64_t count = 0;
    for (int32_t i = 0; i < signature->op_count; i++) count += op_multiply_count(plan, &plan->ops[signature->ops[i]]);
    return count;
}

int32_t rn_plan_window_output(int32_t size, int32_t window, int32_t stride, int32_t pad_before, int32_t pad_after)
{
    const int32_t span = size + pad_before + pad_after - window;
    return span < 0 ? 0 : span / stride + 1;
}

int32_t rn_image_op_side(const rn_image_op *op, int32_t side, int32_t shorter)
{
    if ((double)side * op->shorter / shorter > INT32_MAX / 2) return INT32_MAX;
    if (op->longer == RN_LONGER_INTEGER) return (int32_t)((int64_t)side * op->shorter / shorter);
    const float exact = (float)side * ((float)op->shorter / (float)shorter);
    return (int32_t)(op->longer == RN_LONGER_ROUNDED ? rintf(exact) : exact);
}

/* Part of `size` at `at` in one dimension of `whole`. */
static bool is_part(int32_t at, int32_t size, int32_t whole)
{
    return at >= 0 && size >= 1 && (int64_t)at + size <= whole;
}

bool rn_fit_op_is_inside(const rn_fit_op *fit, const rn_plan_tensor *x)
{
    const bool resized = fit->resize_h != 0 || fit->resize_w != 0;
    const int32_t from_h = resized ? fit->resize_h : fit->crop_h, from_w = resized ? fit->resize_w : fit->crop_w;
    return is_part(fit->top, fit->crop_h, fit->channels_first ? x->w : x->h) && is_part(fit->left, fit->crop_w, fit->channels_first ? x->c : x->w) &&
           is_part(fit->after_top, fit->h, from_h) && is_part(fit->after_left, fit->w, from_w) && from_h <= RN_PLAN_MAX_SIDE &&
           from_w <= RN_PLAN_MAX_SIDE && fit->grid <= RN_GRID_ALIGNED;
}
