/* Weights on their way to the device: filters from [r][s][c / groups][k] to [k][r][s][c / groups] as both libraries want them, channels
 * padded with zeros, everything in its storage type, in one block of device memory.
 *
 * A grouped filter keeps its groups when they end on whole vectors without padding. Otherwise it is spread out into a full filter with
 * zeros between groups: padding would have to go into every group, and such networks are thin.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cuda_executor.h"

/* ---- numbers ---- */

static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* to nearest, ties to even */
}

static void put(rn_dtype dtype, void *to, size_t i, float value)
{
    if (dtype == RN_DTYPE_F32)
        ((float *)to)[i] = value;
    else if (dtype == RN_DTYPE_F16)
        ((_Float16 *)to)[i] = (_Float16)value;
    else
        ((uint16_t *)to)[i] = to_bf16(value);
}

/* ---- one pass over all weights ---- */

/* The same walk is made twice: once to count, with `device` NULL, and once to upload. */
typedef struct {
    char *device; /* the block, or NULL */
    size_t used;
    char *host;        /* one repacked tensor */
    size_t host_bytes; /* the largest one so far */
    rn_error *err;
} upload;

/* Takes space for a tensor. Returns where to repack it, zeroed, or NULL when counting; *address is its place on the device. */
static char *begin(upload *u, size_t bytes, void *address)
{
    if (bytes > u->host_bytes) u->host_bytes = bytes;
    if (!u->device) return NULL;
    char *place = u->device + u->used;
    memcpy(address, &place, sizeof place);
    memset(u->host, 0, bytes);
    return u->host;
}

static rn_status end(upload *u, size_t bytes)
{
    rn_error *err = u->err;
    if (u->device) RN_CUDA_TRY(cudaMemcpy(u->device + u->used, u->host, bytes, cudaMemcpyHostToDevice), "uploading weights");
    u->used += (bytes + RN__CUDA_ALIGNMENT - 1) / RN__CUDA_ALIGNMENT * RN__CUDA_ALIGNMENT;
    return RN_STATUS_OK;
}

static const float *numbers_of(const rn_executor *e, int32_t weights, int64_t *count)
{
    *count = weights == RN_NONE ? 0 : e->plan->weights[weights].element_count;
    return weights == RN_NONE ? NULL : e->plan->weights[weights].data;
}

/* A vector of c numbers from [channels], [1] or nothing; beyond the channels it is zero. */
static rn_status upload_vector(upload *u, const rn_executor *e, int32_t weights, float absent, int32_t channels, int32_t c, rn_dtype dtype,
                               void *address)
{
    int64_t count;
    const float *values = numbers_of(e, weights, &count);
    const size_t bytes = (size_t)c * rn_dtype_bytes(dtype);
    char *host = begin(u, bytes, address);
    for (int32_t i = 0; host && i < channels; i++) put(dtype, host, (size_t)i, !values ? absent : values[count == 1 ? 0 : i]);
    return end(u, bytes);
}

typedef struct {
    int32_t r, s, groups;        /* of the plan's filter */
    int32_t channels, outputs;   /* that exist */
    int32_t c, k, device_groups; /* on the device */
} filter_shape;

static rn_status upload_filter(upload *u, const rn_executor *e, int32_t weights, const filter_shape *f, void *address)
{
    int64_t count;
    const float *values = numbers_of(e, weights, &count);
    const int32_t group_in = f->channels / f->groups, group_out = f->outputs / f->groups, depth = f->c / f->device_groups;
    const size_t taps = (size_t)f->r * (size_t)f->s, bytes = (size_t)f->k * taps * (size_t)depth * rn_dtype_bytes(e->storage);
    char *host = begin(u, bytes, address);
    for (int32_t k = 0; host && k < f->outputs; k++) {
        const int32_t first = f->device_groups == f->groups ? 0 : k / group_out * group_in; /* of a group that is spread out */
        for (size_t tap = 0; tap < taps; tap++) {
            for (int32_t c = 0; c < group_in; c++) {
                const float value = values[(tap * (size_t)group_in + (size_t)c) * (size_t)f->outputs + (size_t)k];
                put(e->storage, host, ((size_t)k * taps + tap) * (size_t)depth + (size_t)(first + c), value);
            }
        }
    }
    return end(u, bytes);
}

static rn_status upload_conv2d(upload *u, rn_executor *e, const rn_op *op, rn__cuda_step *step)
{
    const rn_conv2d_op *conv = &op->u.conv2d;
    const rn__cuda_tensor *x = &e->tensors[op->inputs[0]], *y = &e->tensors[op->outputs[op->outputs[0] == RN_NONE]];
    const filter_shape f = {.r = conv->r,
                            .s = conv->s,
                            .groups = conv->groups,
                            .channels = x->channels,
                            .outputs = y->channels,
                            .c = x->c,
                            .k = y->c,
                            .device_groups = rn__cuda_conv_groups(conv->groups, x, y)};
    RN_TRY(upload_filter(u, e, conv->filter, &f, &step->filter));
    RN_TRY(upload_vector(u, e, conv->bias, 0, y->channels, y->c, y->dtype, &step->bias));
    if (op->outputs[1] == RN_NONE) return RN_STATUS_OK;
    RN_TRY(upload_vector(u, e, conv->scale2, 1, y->channels, y->c, RN_DTYPE_F32, &step->scale));
    return upload_vector(u, e, conv->shift2, 0, y->channels, y->c, RN_DTYPE_F32, &step->shift);
}

static rn_status upload_dense(upload *u, rn_executor *e, const rn_op *op, rn__cuda_step *step)
{
    const rn__cuda_tensor *x = &e->tensors[op->inputs[0]], *y = &e->tensors[op->outputs[0]];
    const filter_shape f = {
        .r = 1, .s = 1, .groups = 1, .channels = x->channels, .outputs = y->channels, .c = x->c, .k = y->c, .device_groups = 1};
    RN_TRY(upload_filter(u, e, op->u.dense.weights, &f, &step->filter));
    return upload_vector(u, e, op->u.dense.bias, 0, y->channels, y->c, y->dtype, &step->bias);
}

static rn_status upload_scale_shift(upload *u, rn_executor *e, const rn_op *op, rn__cuda_step *step)
{
    const rn__cuda_tensor *y = &e->tensors[op->outputs[0]];
    RN_TRY(upload_vector(u, e, op->u.scale_shift.scale, 1, y->channels, y->c, RN_DTYPE_F32, &step->scale));
    return upload_vector(u, e, op->u.scale_shift.shift, 0, y->channels, y->c, RN_DTYPE_F32, &step->shift);
}

static rn_status walk(upload *u, rn_executor *e)
{
    for (int32_t o = 0; o < e->plan->op_count; o++) {
        const rn_op *op = &e->plan->ops[o];
        if (op->kind == RN_OP_CONV2D) RN_TRY(upload_conv2d(u, e, op, &e->steps[o]));
        if (op->kind == RN_OP_DENSE) RN_TRY(upload_dense(u, e, op, &e->steps[o]));
        if (op->kind == RN_OP_SCALE_SHIFT) RN_TRY(upload_scale_shift(u, e, op, &e->steps[o]));
    }
    return RN_STATUS_OK;
}

rn_status rn__cuda_weights_upload(rn_executor *e, rn_error *err)
{
    upload u = {.err = err};
    RN_TRY(walk(&u, e));
    e->weight_bytes = u.used;
    RN_TRY(rn__cuda_take(e, u.used, "memory for weights", &e->weights, err));
    u = (upload){.device = e->weights, .host = malloc(u.host_bytes + 1), .err = err};
    if (!u.host) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to repack weights");
    const rn_status status = walk(&u, e);
    free(u.host);
    RN_TRY(status);
    RN_CUDA_TRY(cudaDeviceSynchronize(), "uploading weights"); /* a copy from pageable memory may return before it has arrived */
    return RN_STATUS_OK;
}
