/* See cudnn_rules.h. */
#include "tests/cuda/cudnn_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdbool.h>

#include "engine/cuda/conv_cudnn.h"

typedef cudnnBackendDescriptor_t descriptor;

static void expect(const char *what, bool accepted, cudnnStatus_t status)
{
    if (accepted != (status == CUDNN_STATUS_SUCCESS)) fail_msg("%s: %s with %d", what, accepted ? "refused" : "accepted", (int)status);
}

static descriptor make(cudnnBackendDescriptorType_t type)
{
    descriptor d = NULL;
    expect("a new descriptor", true, cudnnBackendCreateDescriptor(type, &d));
    return d;
}

/* A tensor that lacks nothing, or nothing but its strides. */
static descriptor tensor(bool with_strides)
{
    const int64_t uid = 1, alignment = 16, dims[4] = {1, 8, 4, 4}, strides[4] = {128, 1, 32, 8};
    const cudnnDataType_t type = CUDNN_DATA_HALF;
    const descriptor d = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    expect("a name", true, cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid));
    expect("a type", true, cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    expect("dimensions", true, cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims));
    if (with_strides) expect("strides", true, cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides));
    expect("an alignment", true, cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment));
    return d;
}

static void check_descriptors(void)
{
    const int64_t uid = 2;
    const float wrong = 1;
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    const descriptor good = tensor(true), open = tensor(true), incomplete = tensor(false);
    expect("finalizing a complete tensor", true, cudnnBackendFinalize(good));
    expect("finalizing a tensor without strides", false, cudnnBackendFinalize(incomplete));
    expect("a change after finalizing", false, cudnnBackendSetAttribute(good, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid));
    expect("a wrong type", false, cudnnBackendSetAttribute(open, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_FLOAT, 1, &wrong));
    expect("an attribute of something else", false,
           cudnnBackendSetAttribute(open, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode));
    expect("no value at all", false, cudnnBackendSetAttribute(open, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 0, &uid));
    cudnnBackendDestroyDescriptor(incomplete);
    cudnnBackendDestroyDescriptor(open);
    cudnnBackendDestroyDescriptor(good);
}

/* Ways that are found for a shape; a graph that is refused has none. */
static void expect_ways(const char *what, bool some, const rn__conv_shape *shape, descriptor device)
{
    rn_error err = {0};
    rn__cudnn_conv *conv = NULL;
    const rn_status status = rn__cudnn_conv_create(shape, device, &conv, &err);
    const int32_t count = status == RN_STATUS_OK ? rn__cudnn_conv_count(conv) : 0;
    rn__cudnn_conv_destroy(conv);
    if (some != (count > 0)) fail_msg("%s: %d ways (%s)", what, count, err.message);
}

static void check_graphs(descriptor device)
{
    const rn__conv_shape good = {.n = 1,
                                 .h = 8,
                                 .w = 8,
                                 .c = 16,
                                 .k = 16,
                                 .p = 8,
                                 .q = 8,
                                 .r = 3,
                                 .s = 3,
                                 .stride_h = 1,
                                 .stride_w = 1,
                                 .pad_top = 1,
                                 .pad_left = 1,
                                 .pad_bottom = 1,
                                 .pad_right = 1,
                                 .groups = 1,
                                 .x_dtype = RN_DTYPE_F16,
                                 .y_dtype = RN_DTYPE_F16,
                                 .residual = true,
                                 .relu = true};
    expect_ways("3x3 with everything", true, &good, device);
    rn__conv_shape shape = good;
    shape.residual = shape.relu = false;
    expect_ways("3x3 with a bias alone", true, &shape, device);
    shape = good;
    shape.pad_top = shape.pad_left = 0, shape.stride_h = shape.stride_w = 2, shape.p = shape.q = 4;
    expect_ways("stride 2, padded on one side", true, &shape, device);
    shape = good;
    shape.groups = 2;
    expect_ways("two groups", true, &shape, device);
    shape = good;
    shape.p = 7;
    expect_ways("an output that is too small", false, &shape, device);
    shape = good;
    shape.r = shape.s = 11, shape.p = shape.q = 1;
    expect_ways("a filter larger than the padded input", false, &shape, device);
    shape = good;
    shape.c = 24, shape.groups = 5;
    expect_ways("groups that do not divide the channels", false, &shape, device);
}

void check_cudnn_rules(cudnnBackendDescriptor_t device)
{
    check_descriptors();
    check_graphs(device);
}
