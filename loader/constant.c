/* Reading tensors from the forms in which TensorFlow writes them: stored bytes, and TensorProto with its typed lists. */
#include "loader/constant.h"

#include <stdio.h>
#include <string.h>

/* The list of element types that can be read: DataType, name, bytes, class. */
static const struct dtype_info {
    int32_t dtype;
    const char *name;
    size_t bytes;
    rn__element_class element_class;
} dtypes[] = {
    {RN__DT_FLOAT, "float", 4, RN__FLOATS},       {RN__DT_DOUBLE, "double", 8, RN__FLOATS}, {RN__DT_HALF, "half", 2, RN__FLOATS},
    {RN__DT_BFLOAT16, "bfloat16", 2, RN__FLOATS}, {RN__DT_INT32, "int32", 4, RN__INTS},     {RN__DT_INT64, "int64", 8, RN__INTS},
    {RN__DT_UINT8, "uint8", 1, RN__INTS},         {RN__DT_INT8, "int8", 1, RN__INTS},       {RN__DT_INT16, "int16", 2, RN__INTS},
    {RN__DT_UINT16, "uint16", 2, RN__INTS},       {RN__DT_BOOL, "bool", 1, RN__INTS},       {RN__DT_STRING, "string", 0, RN__STRINGS},
};

static const struct dtype_info *find_dtype(int32_t dtype)
{
    if (dtype > RN__DT_REF) dtype -= RN__DT_REF;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (dtypes[i].dtype == dtype) return &dtypes[i];
    }
    return NULL;
}

bool rn__dtype_class(int32_t dtype, rn__element_class *out)
{
    const struct dtype_info *info = find_dtype(dtype);
    if (info) *out = info->element_class;
    return info != NULL;
}

size_t rn__dtype_stored_bytes(int32_t dtype)
{
    const struct dtype_info *info = find_dtype(dtype);
    return info ? info->bytes : 0;
}

const char *rn__dtype_text(int32_t dtype)
{
    static _Thread_local char text[32];
    const struct dtype_info *info = find_dtype(dtype);
    if (info) return info->name;
    snprintf(text, sizeof text, "type %d", dtype);
    return text;
}

const char *rn__shape_text(int32_t rank, const int64_t *dims, char *out, size_t room)
{
    size_t used = (size_t)snprintf(out, room, "[");
    for (int32_t i = 0; i < rank && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, i ? ",%lld" : "%lld", (long long)dims[i]);
    if (used < room) snprintf(out + used, room - used, "]");
    return out;
}

rn_status rn__constant_shape(rn__element_class element_class, int32_t rank, const int64_t *dims, const char *what, rn__constant *out,
                             rn_error *err)
{
    *out = (rn__constant){.element_class = element_class, .rank = rank, .count = 1};
    if (rank > RN__CONSTANT_MAX_RANK)
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: rank %d, at most %d", what, rank, RN__CONSTANT_MAX_RANK);
    for (int32_t i = 0; i < rank; i++) {
        out->dims[i] = dims[i];
        if (dims[i] < 0 || __builtin_mul_overflow(out->count, dims[i], &out->count)) {
            return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: dimension %d is %lld", what, i, (long long)dims[i]);
        }
    }
    return RN_STATUS_OK;
}

rn_status rn__constant_room(rn__arena *arena, const char *what, rn__constant *constant, void **data, rn_error *err)
{
    static const size_t bytes[] = {[RN__FLOATS] = sizeof(float), [RN__INTS] = sizeof(int64_t), [RN__STRINGS] = sizeof(rn__string)};
    *data = rn__arena_raw_array(arena, (uint64_t)constant->count, bytes[constant->element_class], what, err);
    if (!*data) return RN_STATUS_OUT_OF_MEMORY;
    switch (constant->element_class) {
    case RN__FLOATS: constant->data.floats = *data; break;
    case RN__INTS: constant->data.ints = *data; break;
    case RN__STRINGS: constant->data.strings = *data; break;
    }
    constant->lasting = true;
    return RN_STATUS_OK;
}

/* ---- widening ---- */

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 31) return from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent != 0) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const float subnormal = (float)fraction * 0x1p-24f;
    return sign ? -subnormal : subnormal;
}

#define WIDEN(stored_type, out_type, expression)            \
    for (int64_t i = 0; i < count; i++) {                   \
        stored_type x;                                      \
        memcpy(&x, bytes + (size_t)i * sizeof x, sizeof x); \
        ((out_type *)out)[i] = (expression);                \
    }                                                       \
    break

void rn__widen(int32_t dtype, const void *stored, int64_t count, void *out)
{
    const char *bytes = stored;
    if (count == 0) return; /* `stored` may be NULL */
    switch (dtype > RN__DT_REF ? dtype - RN__DT_REF : dtype) {
    case RN__DT_FLOAT: memcpy(out, bytes, (size_t)count * sizeof(float)); break;
    case RN__DT_DOUBLE: WIDEN(double, float, (float)x);
    case RN__DT_HALF: WIDEN(uint16_t, float, from_half(x));
    case RN__DT_BFLOAT16: WIDEN(uint16_t, float, from_bits((uint32_t)x << 16));
    case RN__DT_INT32: WIDEN(int32_t, int64_t, x);
    case RN__DT_INT64: memcpy(out, bytes, (size_t)count * sizeof(int64_t)); break;
    case RN__DT_UINT8: WIDEN(uint8_t, int64_t, x);
    case RN__DT_INT8: WIDEN(int8_t, int64_t, x);
    case RN__DT_INT16: WIDEN(int16_t, int64_t, x);
    case RN__DT_UINT16: WIDEN(uint16_t, int64_t, x);
    case RN__DT_BOOL: WIDEN(uint8_t, int64_t, x != 0);
    default: break;
    }
}

/* ---- TensorProto ---- */

/* Value i of the list that belongs to the dtype. The narrow integers keep their low bits, as TensorFlow reads them. */
static void list_value(const Sm__Tensor *proto, int32_t dtype, size_t i, void *out)
{
    switch (dtype) {
    case RN__DT_FLOAT: *(float *)out = proto->float_val[i]; break;
    case RN__DT_DOUBLE: *(float *)out = (float)proto->double_val[i]; break;
    case RN__DT_HALF: *(float *)out = from_half((uint16_t)proto->half_val[i]); break;
    case RN__DT_BFLOAT16: *(float *)out = from_bits((uint32_t)proto->half_val[i] << 16); break;
    case RN__DT_INT32: *(int64_t *)out = proto->int_val[i]; break;
    case RN__DT_UINT8: *(int64_t *)out = (uint8_t)proto->int_val[i]; break;
    case RN__DT_INT8: *(int64_t *)out = (int8_t)proto->int_val[i]; break;
    case RN__DT_INT16: *(int64_t *)out = (int16_t)proto->int_val[i]; break;
    case RN__DT_UINT16: *(int64_t *)out = (uint16_t)proto->int_val[i]; break;
    case RN__DT_INT64: *(int64_t *)out = proto->int64_val[i]; break;
    case RN__DT_BOOL: *(int64_t *)out = proto->bool_val[i] != 0; break;
    case RN__DT_STRING: *(rn__string *)out = (rn__string){(const char *)proto->string_val[i].data, proto->string_val[i].len}; break;
    default: break;
    }
}

static size_t list_count(const Sm__Tensor *proto, int32_t dtype)
{
    switch (dtype) {
    case RN__DT_FLOAT: return proto->n_float_val;
    case RN__DT_DOUBLE: return proto->n_double_val;
    case RN__DT_HALF:
    case RN__DT_BFLOAT16: return proto->n_half_val;
    case RN__DT_INT64: return proto->n_int64_val;
    case RN__DT_BOOL: return proto->n_bool_val;
    case RN__DT_STRING: return proto->n_string_val;
    default: return proto->n_int_val;
    }
}

static rn_status read_content(rn__arena *arena, const Sm__Tensor *proto, const char *name, rn__constant *out, rn_error *err)
{
    const ProtobufCBinaryData content = proto->tensor_content;
    const size_t size = rn__dtype_stored_bytes(proto->dtype);
    if (size == 0 || content.len % size || content.len / size != (uint64_t)out->count) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: %zu bytes of constant do not fit its shape", name, content.len);
    }
    if (proto->dtype == RN__DT_FLOAT && (uintptr_t)content.data % sizeof(float) == 0) {
        out->data.floats = (const float *)(const void *)content.data;
        return RN_STATUS_OK;
    }
    void *data;
    RN_TRY(rn__constant_room(arena, name, out, &data, err));
    rn__widen(proto->dtype, content.data, out->count, data);
    return RN_STATUS_OK;
}

rn_status rn__constant_from_proto(rn__arena *arena, const Sm__Tensor *proto, const char *name, rn__constant *out, rn_error *err)
{
    const struct dtype_info *info = find_dtype(proto->dtype);
    if (!info || info->dtype != proto->dtype) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: a constant of %s", name, rn__dtype_text(proto->dtype));
    }
    const Sm__TensorShape *shape = proto->tensor_shape;
    int64_t dims[RN__CONSTANT_MAX_RANK];
    if (shape && (shape->unknown_rank || shape->n_dim > RN__CONSTANT_MAX_RANK)) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: a constant of unknown or impossible rank", name);
    }
    const int32_t rank = shape ? (int32_t)shape->n_dim : 0;
    for (int32_t i = 0; i < rank; i++) dims[i] = shape->dim[i]->size;
    RN_TRY(rn__constant_shape(info->element_class, rank, dims, name, out, err));
    if (proto->tensor_content.len > 0) return read_content(arena, proto, name, out, err);

    void *data;
    RN_TRY(rn__constant_room(arena, name, out, &data, err));
    const size_t given = list_count(proto, info->dtype), size = info->element_class == RN__FLOATS ? sizeof(float)
                                                                : info->element_class == RN__INTS ? sizeof(int64_t)
                                                                                                  : sizeof(rn__string);
    if (given == 0) memset(data, 0, (size_t)out->count * size);
    for (int64_t i = 0; given && i < out->count; i++) {
        list_value(proto, info->dtype, (size_t)i < given ? (size_t)i : given - 1, (char *)data + (size_t)i * size);
    }
    return RN_STATUS_OK;
}
