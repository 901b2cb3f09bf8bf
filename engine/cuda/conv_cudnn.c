/* See conv_cudnn.h.
 *
 * Why the graph API: it fuses what follows the convolution, and it is the only door to the engines and their heuristics. A description
 * reads as a list: errors stick in the builder, and after the first one every call is skipped. Descriptors are remembered in the order of
 * their creation and destroyed in reverse.
 *
 * The order of the sum is conv + residual + bias, in f32: intermediate tensors are virtual and never rounded.
 */
#include "engine/cuda/conv_cudnn.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_DESCRIPTORS = 32, /* the largest graph has 23, configurations included */
    MAX_WAYS = 6,         /* each costs some 60 ms to build and a few runs to time */
    MAX_CONFIGS = 64,     /* asked for: the first exact f32 engine may come 27th (cuDNN 9.19 for sm_90, 3x3 and 1x1) */
    ALIGNMENT_BYTES = 16
};

/* Names of tensors in the graph. */
enum { UID_X = 1, UID_FILTER, UID_BIAS, UID_RESIDUAL, UID_Y, UID_CONV, UID_SUM, UID_BIASED };

typedef cudnnBackendDescriptor_t descriptor;

struct rn__cudnn_conv {
    rn__conv_shape shape;
    descriptor device;                 /* borrowed */
    descriptor owned[MAX_DESCRIPTORS]; /* the graph and what it is made of, in order of creation */
    int32_t owned_count;
    descriptor configs[MAX_WAYS]; /* [way_count] */
    descriptor plans[MAX_WAYS];   /* NULL: not built, or dropped */
    int32_t way_count;
};

typedef struct {
    rn__cudnn_conv *conv;
    cudnnStatus_t status;
    const char *failed; /* what was being made */
} builder;

rn_status rn__cudnn_fail(cudnnStatus_t status, const char *what, rn_error *err)
{
    char detail[256] = "";
    cudnnGetLastErrorString(detail, sizeof detail);
    rn_status code = RN_STATUS_DEVICE_FAILED;
    if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) code = RN_STATUS_UNSUPPORTED;
    if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_BAD_PARAM) code = RN_STATUS_INTERNAL;
    if (status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED || status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED) {
        code = RN_STATUS_OUT_OF_MEMORY;
    }
    return RN_FAIL(err, code, "cuDNN: %s: %s%s%s", what, cudnnGetErrorString(status), detail[0] ? ": " : "", detail);
}

rn_status rn__cudnn_device_create(int32_t index, cudnnBackendDescriptor_t *out, rn_error *err)
{
    cudnnBackendDescriptor_t device = NULL;
    cudnnStatus_t status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &device);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(device, CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1, &index);
    if (status == CUDNN_STATUS_SUCCESS) status = cudnnBackendFinalize(device);
    if (status == CUDNN_STATUS_SUCCESS) {
        *out = device;
        return RN_STATUS_OK;
    }
    const rn_status failed = rn__cudnn_fail(status, "a device's properties", err);
    if (device) cudnnBackendDestroyDescriptor(device);
    return failed;
}

/* ---- builder ---- */

static void check(builder *b, cudnnStatus_t status, const char *what)
{
    if (status == CUDNN_STATUS_SUCCESS) return;
    b->status = status;
    b->failed = what;
}

static bool fine(const builder *b)
{
    return b->status == CUDNN_STATUS_SUCCESS;
}

static descriptor make(builder *b, cudnnBackendDescriptorType_t type)
{
    descriptor result = NULL;
    if (fine(b) && b->conv->owned_count == MAX_DESCRIPTORS) check(b, CUDNN_STATUS_INTERNAL_ERROR, "too many descriptors");
    if (fine(b)) check(b, cudnnBackendCreateDescriptor(type, &result), "a descriptor");
    if (fine(b)) b->conv->owned[b->conv->owned_count++] = result;
    return result;
}

static void set(builder *b, descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                const void *value)
{
    if (fine(b)) check(b, cudnnBackendSetAttribute(d, name, type, count, value), "an attribute");
}

static void set_descriptor(builder *b, descriptor d, cudnnBackendAttributeName_t name, descriptor value)
{
    set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finalize(builder *b, descriptor d, const char *what)
{
    if (fine(b)) check(b, cudnnBackendFinalize(d), what);
}

static cudnnDataType_t data_type(rn_dtype dtype)
{
    return dtype == RN_DTYPE_F16 ? CUDNN_DATA_HALF : dtype == RN_DTYPE_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/* dims in the order n, c, h, w; channels are contiguous in memory. */
static descriptor tensor(builder *b, int64_t uid, cudnnDataType_t type, const int64_t dims[4], bool is_virtual)
{
    const int64_t strides[4] = {dims[1] * dims[2] * dims[3], 1, dims[1] * dims[3], dims[1]}, alignment = ALIGNMENT_BYTES;
    const descriptor d = make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(b, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    set(b, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(b, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(b, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(b, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(b, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    finalize(b, d, "a tensor");
    return d;
}

static descriptor convolution(builder *b, const rn__conv_shape *shape, descriptor x, descriptor filter, descriptor y)
{
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t spatial = 2, ones[2] = {1, 1}, strides[2] = {shape->stride_h, shape->stride_w};
    const int64_t before[2] = {shape->pad_top, shape->pad_left}, after[2] = {shape->pad_bottom, shape->pad_right};
    const float alpha = 1, beta = 0;
    const descriptor conv = make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(b, conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    set(b, conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(b, conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &spatial);
    set(b, conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones);
    set(b, conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    set(b, conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    set(b, conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
    finalize(b, conv, "a convolution");

    const descriptor op = make(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set_descriptor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    set_descriptor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, filter);
    set_descriptor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    set_descriptor(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv);
    set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &alpha);
    set(b, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &beta);
    finalize(b, op, "a convolution operation");
    return op;
}

/* y = mode(x, operand); operand is NULL for an activation. */
static descriptor pointwise(builder *b, cudnnPointwiseMode_t mode, descriptor x, descriptor operand, descriptor y)
{
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    const descriptor kind = make(b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(b, kind, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(b, kind, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    finalize(b, kind, "a pointwise mode");

    const descriptor op = make(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(b, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
    set_descriptor(b, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (operand) set_descriptor(b, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, operand);
    set_descriptor(b, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    finalize(b, op, "a pointwise operation");
    return op;
}

/* ---- the graph ---- */

static descriptor describe(builder *b, const rn__conv_shape *shape)
{
    const int64_t x_dims[4] = {shape->n, shape->c, shape->h, shape->w}, y_dims[4] = {shape->n, shape->k, shape->p, shape->q};
    const int64_t filter_dims[4] = {shape->k, shape->c / shape->groups, shape->r, shape->s}, bias_dims[4] = {1, shape->k, 1, 1};
    const cudnnDataType_t x_type = data_type(shape->x_dtype), y_type = data_type(shape->y_dtype);
    const descriptor x = tensor(b, UID_X, x_type, x_dims, false), filter = tensor(b, UID_FILTER, x_type, filter_dims, false);
    const descriptor y = tensor(b, UID_Y, y_type, y_dims, false);

    const descriptor bias = tensor(b, UID_BIAS, y_type, bias_dims, false);

    descriptor ops[4], sum = tensor(b, UID_CONV, CUDNN_DATA_FLOAT, y_dims, true);
    int64_t count = 0;
    ops[count++] = convolution(b, shape, x, filter, sum);
    if (shape->residual) {
        const descriptor residual = tensor(b, UID_RESIDUAL, y_type, y_dims, false),
                         with_it = tensor(b, UID_SUM, CUDNN_DATA_FLOAT, y_dims, true);
        ops[count++] = pointwise(b, CUDNN_POINTWISE_ADD, sum, residual, with_it);
        sum = with_it;
    }
    const descriptor biased = shape->relu ? tensor(b, UID_BIASED, CUDNN_DATA_FLOAT, y_dims, true) : y;
    ops[count++] = pointwise(b, CUDNN_POINTWISE_ADD, sum, bias, biased);
    if (shape->relu) ops[count++] = pointwise(b, CUDNN_POINTWISE_RELU_FWD, biased, NULL, y);

    const descriptor graph = make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, ops);
    finalize(b, graph, "an operation graph");
    return graph;
}

/* ---- ways ---- */

/* Whether results of the engine behind a configuration may be used: they must repeat, and they must not round more than asked for. */
static bool is_exact_enough(builder *b, descriptor config)
{
    descriptor engine = NULL;
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    if (fine(b)) check(b, cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine), "a descriptor");
    if (fine(b)) {
        check(b, cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &engine),
              "the engine of a configuration");
    }
    if (fine(b)) {
        check(b,
              cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT,
                                       &count, notes),
              "the numerical notes of an engine");
    }
    const bool full_f32 = b->conv->shape.x_dtype == RN_DTYPE_F32 && !b->conv->shape.tf32;
    bool good = fine(b);
    for (int64_t i = 0; good && i < count; i++) {
        good = notes[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC && notes[i] != CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
        if (notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) good = good && !full_f32;
    }
    if (engine) cudnnBackendDestroyDescriptor(engine);
    return good;
}

static bool is_small_enough(builder *b, descriptor config)
{
    int64_t bytes = 0, count = 0;
    if (fine(b)) {
        check(b, cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes),
              "the workspace of a configuration");
    }
    return fine(b) && bytes <= RN__CONV_WORKSPACE_LIMIT;
}

/* Adds what one mode of the heuristics proposes and may be used. */
static void find_ways(builder *b, descriptor graph, cudnnBackendHeurMode_t mode)
{
    rn__cudnn_conv *conv = b->conv;
    descriptor configs[MAX_CONFIGS] = {0};
    int64_t found = 0;
    const descriptor heuristics = make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(b, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(b, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    set_descriptor(b, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, conv->device);
    finalize(b, heuristics, "the heuristics");
    for (int i = 0; i < MAX_CONFIGS && fine(b); i++) {
        check(b, cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[i]), "a descriptor");
    }
    if (fine(b)) {
        check(b,
              cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, MAX_CONFIGS, &found,
                                       configs),
              "the heuristics' results");
    }
    if (found > MAX_CONFIGS) found = MAX_CONFIGS; /* the library reports how many there are, not how many it returned */
    for (int64_t i = 0; i < MAX_CONFIGS; i++) {
        if (!configs[i]) continue;
        const bool room = i < found && conv->way_count < MAX_WAYS;
        if (room && is_small_enough(b, configs[i]) && is_exact_enough(b, configs[i]))
            conv->configs[conv->way_count++] = configs[i];
        else
            cudnnBackendDestroyDescriptor(configs[i]);
    }
}

rn_status rn__cudnn_conv_create(const rn__conv_shape *shape, cudnnBackendDescriptor_t device, rn__cudnn_conv **out, rn_error *err)
{
    rn__cudnn_conv *conv = calloc(1, sizeof *conv);
    if (!conv) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to describe a convolution");
    *conv = (rn__cudnn_conv){.shape = *shape, .device = device};
    builder b = {.conv = conv, .status = CUDNN_STATUS_SUCCESS};
    const descriptor graph = describe(&b, shape);
    find_ways(&b, graph, CUDNN_HEUR_MODE_A);
    if (conv->way_count == 0) find_ways(&b, graph, CUDNN_HEUR_MODE_FALLBACK);
    if (fine(&b)) {
        *out = conv;
        return RN_STATUS_OK;
    }
    const rn_status status = rn__cudnn_fail(b.status, b.failed, err);
    rn__cudnn_conv_destroy(conv);
    return status;
}

void rn__cudnn_conv_destroy(rn__cudnn_conv *conv)
{
    if (!conv) return;
    rn__cudnn_conv_keep(conv, -1);
    while (conv->way_count > 0) cudnnBackendDestroyDescriptor(conv->configs[--conv->way_count]);
    while (conv->owned_count > 0) cudnnBackendDestroyDescriptor(conv->owned[--conv->owned_count]);
    free(conv);
}

int32_t rn__cudnn_conv_count(const rn__cudnn_conv *conv)
{
    return conv->way_count;
}

void rn__cudnn_conv_keep(rn__cudnn_conv *conv, int32_t way)
{
    for (int32_t i = 0; i < MAX_WAYS; i++) {
        if (i == way || !conv->plans[i]) continue;
        cudnnBackendDestroyDescriptor(conv->plans[i]);
        conv->plans[i] = NULL;
    }
}

/* ---- plans ---- */

rn_status rn__cudnn_conv_build(rn__cudnn_conv *conv, int32_t way, size_t *workspace_bytes, rn_error *err)
{
    builder b = {.conv = conv, .status = CUDNN_STATUS_SUCCESS};
    descriptor plan = NULL;
    int64_t bytes = 0, count = 0;
    check(&b, cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan), "a descriptor");
    set_descriptor(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, conv->device);
    set_descriptor(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, conv->configs[way]);
    finalize(&b, plan, "an execution plan");
    if (fine(&b)) {
        check(&b, cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes),
              "the workspace of a plan");
    }
    rn_status status = RN_STATUS_OK;
    if (!fine(&b))
        status = rn__cudnn_fail(b.status, b.failed, err);
    else if (bytes > RN__CONV_WORKSPACE_LIMIT)
        status = RN_FAIL(err, RN_STATUS_UNSUPPORTED, "cuDNN: a plan wants %lld bytes of workspace", (long long)bytes);
    if (status != RN_STATUS_OK) {
        if (plan) cudnnBackendDestroyDescriptor(plan);
        return status;
    }
    conv->plans[way] = plan;
    *workspace_bytes = (size_t)bytes;
    return RN_STATUS_OK;
}

rn_status rn__cudnn_conv_run(const rn__cudnn_conv *conv, int32_t way, cudnnHandle_t handle, const rn__conv_buffers *buffers, rn_error *err)
{
    const int64_t uids[5] = {UID_X, UID_FILTER, UID_BIAS, UID_Y, UID_RESIDUAL}, count = conv->shape.residual ? 5 : 4;
    const void *const addresses[5] = {buffers->x, buffers->filter, buffers->bias, buffers->y, buffers->residual};

    builder b = {.status = CUDNN_STATUS_SUCCESS};
    descriptor pack = NULL;
    check(&b, cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack), "a descriptor");
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, addresses);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &buffers->workspace);
    finalize(&b, pack, "a variant pack");
    if (fine(&b)) check(&b, cudnnBackendExecute(handle, conv->plans[way], pack), "a convolution");
    const rn_status status = fine(&b) ? RN_STATUS_OK : rn__cudnn_fail(b.status, b.failed, err);
    if (pack) cudnnBackendDestroyDescriptor(pack);
    return status;
}
