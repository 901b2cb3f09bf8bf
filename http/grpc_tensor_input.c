/* From a TensorProto to a request: core/framework/tensor.cc (Tensor::FromProto). A tensor holds its values as raw bytes in tensor_content,
 * or in a list for its type, of which the last value stands for all that are left out; an empty list stands for zeros. */
#include <stdio.h>

#include "http/grpc_tfs.h"

static const char *type_name(int32_t type)
{
    /* Types that no input here has and that clients send all the same. */
    static const char *const others[] = {[2] = "double",  [5] = "int16",       [6] = "int8",    [8] = "complex64", [10] = "bool",
                                         [17] = "uint16", [18] = "complex128", [22] = "uint32", [23] = "uint64"};
    rn_dtype known;
    if (rn_dtype_from_tf(type, &known)) return rn_dtype_tf_name(known);
    return type > 0 && type < (int32_t)(sizeof others / sizeof others[0]) && others[type] ? others[type] : "an unknown type";
}

static rn_status parse_error(const rn_tensor_spec *spec, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "tensor parsing error: %s", spec->name);
}

/* ---- type and shape ---- */

enum { MAX_DIMS_SHOWN = 8 };

/* "[1,2]" */
static const char *print_dims(const int64_t *dims, size_t rank, char out[256])
{
    size_t used = (size_t)sprintf(out, "[");
    for (size_t i = 0; i < rank && i < MAX_DIMS_SHOWN; i++) used += (size_t)sprintf(out + used, "%s%lld", i ? "," : "", (long long)dims[i]);
    strcpy(out + used, rank > MAX_DIMS_SHOWN ? ",...]" : "]");
    return out;
}

static rn_status check_shape(const rn_tensor_spec *spec, const Sm__TensorShape *shape, int64_t *rows, rn_error *err)
{
    const size_t rank = shape ? shape->n_dim : 0;
    int64_t dims[MAX_DIMS_SHOWN];
    bool fits = rank == (size_t)spec->rank;
    if (shape && shape->unknown_rank) return parse_error(spec, err);
    for (size_t i = 0; i < rank; i++) {
        const int64_t size = shape->dim[i]->size;
        if (size < 0) return parse_error(spec, err);
        if (i < MAX_DIMS_SHOWN) dims[i] = size;
        fits = fits && (i == 0 || size == spec->dims[i]);
    }
    if (!fits) {
        char wanted[256], got[256];
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Input %s: expected shape %s, got %s", spec->name,
                       print_dims(spec->dims, (size_t)spec->rank, wanted), print_dims(dims, rank, got));
    }
    *rows = dims[0]; /* a rank is at least 1 */
    return RN_STATUS_OK;
}

static rn_status check_size(const rn_tensor_spec *spec, int64_t rows, size_t row_bytes, size_t max_bytes, rn_error *err)
{
    if (rows <= INT32_MAX && (size_t)rows <= max_bytes / row_bytes) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY,
                   "Input %s: %lld rows of %zu bytes are more than %zu bytes. The limit is set by --max_request_bytes.", spec->name,
                   (long long)rows, row_bytes, max_bytes);
}

/* ---- numbers ---- */

static void fill_floats(const Sm__Tensor *tensor, float *out, size_t count)
{
    const size_t given = tensor->n_float_val < count ? tensor->n_float_val : count;
    const float rest = given ? tensor->float_val[given - 1] : 0.0f;
    if (given > 0) memcpy(out, tensor->float_val, given * sizeof *out);
    for (size_t i = given; i < count; i++) out[i] = rest;
}

static void fill_bytes(const Sm__Tensor *tensor, uint8_t *out, size_t count)
{
    const size_t given = tensor->n_int_val < count ? tensor->n_int_val : count;
    const uint8_t rest = given ? (uint8_t)tensor->int_val[given - 1] : 0;
    for (size_t i = 0; i < given; i++) out[i] = (uint8_t)tensor->int_val[i]; /* wraps, as in TensorFlow */
    memset(out + given, rest, count - given);
}

static rn_status read_numbers(const Sm__Tensor *tensor, const rn_tensor_spec *spec, size_t row_bytes, rn_request *request, rn_error *err)
{
    const size_t bytes = (size_t)request->rows * row_bytes;
    if (tensor->tensor_content.len > 0) {
        if (tensor->tensor_content.len != bytes) return parse_error(spec, err);
        memcpy(request->input, tensor->tensor_content.data, bytes);
    } else if (spec->dtype == RN_DTYPE_F32) {
        fill_floats(tensor, request->input, bytes / sizeof(float));
    } else {
        fill_bytes(tensor, request->input, bytes);
    }
    return RN_STATUS_OK;
}

/* ---- pictures ---- */

/* A varint of up to 32 bits; false when there is none. */
static bool read_length(const uint8_t **at, const uint8_t *end, size_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 35 && *at < end; shift += 7) {
        const uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = (size_t)value;
            return value <= UINT32_MAX;
        }
    }
    return false;
}

/* Strings in tensor_content: all lengths, then all bytes. */
static bool read_packed_pictures(ProtobufCBinaryData content, rn_encoded_picture *out, int32_t count)
{
    const uint8_t *at = content.data, *end = content.data + content.len;
    for (int32_t i = 0; i < count; i++)
        if (!read_length(&at, end, &out[i].byte_count)) return false;
    for (int32_t i = 0; i < count; i++) {
        if (out[i].byte_count > (size_t)(end - at)) return false;
        out[i].bytes = at;
        at += out[i].byte_count;
    }
    return at == end;
}

static void read_pictures(const Sm__Tensor *tensor, rn_encoded_picture *out, int32_t count)
{
    const size_t given = tensor->n_string_val;
    for (size_t i = 0; i < (size_t)count; i++) {
        const ProtobufCBinaryData none = {0, NULL};
        const ProtobufCBinaryData *value = given == 0 ? &none : &tensor->string_val[i < given ? i : given - 1];
        out[i] = (rn_encoded_picture){value->data, value->len};
    }
}

/* What the pictures take on the wire at least, a row: two bytes for each, and the bytes of the one that is repeated. */
static size_t picture_row_bytes(const Sm__Tensor *tensor, int64_t rows)
{
    const size_t given = tensor->n_string_val;
    return 2 + (given > 0 && (int64_t)given < rows ? tensor->string_val[given - 1].len : 0);
}

/* ---- requests ---- */

rn_status rn__grpc_read_input(const Sm__Tensor *tensor, rn_model *model, const rn_signature *signature, size_t max_bytes, rn_request **out,
                              rn_error *err)
{
    const rn_tensor_spec *spec = &signature->input;
    const bool pictures = spec->dtype == RN_DTYPE_STRING;
    int64_t rows;
    if (!tensor || tensor->dtype == 0) return parse_error(spec, err);
    if (tensor->dtype != rn_dtype_tf_number(spec->dtype))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Expects arg[0] to be %s but %s is provided", rn_dtype_tf_name(spec->dtype),
                       type_name(tensor->dtype));
    RN_TRY(check_shape(spec, tensor->tensor_shape, &rows, err));
    const size_t row_bytes =
        pictures ? picture_row_bytes(tensor, rows) : rn_plan_tensor_bytes(&rn_model_plan(model)->tensors[spec->tensor]);
    RN_TRY(check_size(spec, rows, row_bytes, max_bytes, err));

    rn_request *request;
    RN_TRY(rn_request_create(model, signature, (int32_t)rows, 0, &request, err));
    rn_status status = RN_STATUS_OK;
    if (!pictures)
        status = read_numbers(tensor, spec, row_bytes, request, err);
    else if (tensor->tensor_content.len == 0)
        read_pictures(tensor, request->pictures, request->rows);
    else if (!read_packed_pictures(tensor->tensor_content, request->pictures, request->rows))
        status = parse_error(spec, err);
    if (status != RN_STATUS_OK) {
        rn_request_destroy(request);
        return status;
    }
    *out = request;
    return RN_STATUS_OK;
}
