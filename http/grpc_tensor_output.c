/* From the outputs of a request to TensorProtos: core/framework/tensor.cc (AsProtoField, AsProtoTensorContent). Numbers are encoded
 * straight from the request's memory. */
#include <stdlib.h>

#include "http/grpc_tfs.h"

void rn__grpc_shape_init(rn__grpc_shape *out, const rn_tensor_spec *spec, int64_t rows)
{
    sm__tensor_shape__init(&out->message);
    for (int32_t i = 0; i < spec->rank; i++) {
        sm__tensor_shape__dim__init(&out->dims[i]);
        out->dims[i].size = i == 0 ? rows : spec->dims[i];
        out->list[i] = &out->dims[i];
    }
    out->message.n_dim = (size_t)spec->rank;
    out->message.dim = out->list;
}

static const char *label_of(const rn_request *request, const void *indexes, size_t i)
{
    return rn_model_plan(request->model)->labels[((const int32_t *)indexes)[i]];
}

static rn_status list_labels(rn__grpc_tensor *out, const rn_request *request, const void *indexes, size_t count, rn_error *err)
{
    ProtobufCBinaryData *strings = malloc((count + 1) * sizeof *strings);
    if (!strings) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu labels", count);
    for (size_t i = 0; i < count; i++) strings[i] = rn__grpc_bytes(rn_text_of(label_of(request, indexes, i)));
    out->memory = strings;
    out->message.n_string_val = count;
    out->message.string_val = strings;
    return RN_STATUS_OK;
}

/* Writes `length` as a varint; returns its end. */
static uint8_t *write_length(uint8_t *at, size_t length)
{
    for (; length >= 0x80; length >>= 7) *at++ = (uint8_t)(length | 0x80);
    *at++ = (uint8_t)length;
    return at;
}

/* Strings in tensor_content: all lengths, then all bytes. */
static rn_status pack_labels(rn__grpc_tensor *out, const rn_request *request, const void *indexes, size_t count, rn_error *err)
{
    enum { LONGEST_VARINT = 5 };
    size_t most = count * LONGEST_VARINT + 1;
    for (size_t i = 0; i < count; i++) most += strlen(label_of(request, indexes, i));
    uint8_t *content = malloc(most);
    if (!content) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu labels", count);
    uint8_t *at = content;
    for (size_t i = 0; i < count; i++) at = write_length(at, strlen(label_of(request, indexes, i)));
    for (size_t i = 0; i < count; i++) {
        const rn_text label = rn_text_of(label_of(request, indexes, i));
        memcpy(at, label.at, label.bytes);
        at += label.bytes;
    }
    out->memory = content;
    out->message.tensor_content = (ProtobufCBinaryData){(size_t)(at - content), content};
    return RN_STATUS_OK;
}

rn_status rn__grpc_tensor_init(rn__grpc_tensor *out, const rn_request *request, int32_t index, bool as_content, rn_error *err)
{
    const rn_tensor_spec *spec = &request->signature->outputs[index];
    const rn_plan_tensor *tensor = &rn_model_plan(request->model)->tensors[spec->tensor];
    const size_t count = (size_t)request->rows * (size_t)rn_plan_tensor_elements(tensor);
    void *data = request->outputs[index];
    sm__tensor__init(&out->message);
    rn__grpc_shape_init(&out->shape, spec, request->rows);
    out->memory = NULL;
    out->message.dtype = rn_dtype_tf_number(spec->dtype);
    out->message.tensor_shape = &out->shape.message;
    if (spec->labels) return as_content ? pack_labels(out, request, data, count, err) : list_labels(out, request, data, count, err);
    if (as_content) {
        out->message.tensor_content = (ProtobufCBinaryData){(size_t)request->rows * rn_plan_tensor_bytes(tensor), data};
    } else if (spec->dtype == RN_DTYPE_F32) {
        out->message.n_float_val = count;
        out->message.float_val = data;
    } else {
        out->message.n_int_val = count;
        out->message.int_val = data;
    }
    return RN_STATUS_OK;
}

void rn__grpc_tensor_deinit(rn__grpc_tensor *tensor)
{
    free(tensor->memory);
}
