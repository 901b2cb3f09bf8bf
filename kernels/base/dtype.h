/* Element types of tensors and weights: one list with name, bytes and TensorFlow's DataType number (tensorflow/core/framework/types.proto). */
#ifndef RN_KERNELS_BASE_DTYPE_H
#define RN_KERNELS_BASE_DTYPE_H

#include <stddef.h>

/*    name    bytes  safetensors  TensorFlow  */
#define RN_DTYPE_LIST(X)                                                                                                       \
    X(F32,    4,     "F32",       1,  "float")                                                                                 \
    X(F16,    2,     "F16",       19, "half")                                                                                  \
    X(BF16,   2,     "BF16",      14, "bfloat16")                                                                              \
    X(U8,     1,     "U8",        4,  "uint8")                                                                                 \
    X(I8,     1,     "I8",        6,  "int8")                                                                                  \
    X(I32,    4,     "I32",       3,  "int32")                                                                                 \
    X(I64,    8,     "I64",       9,  "int64")                                                                                 \
    X(STRING, 0,     "STRING",    7,  "string") /* elements of any length: signatures only, never in a plan's arena */

typedef enum {
#define RN_DTYPE_ENUM(name, bytes, safetensors, tensorflow, tf_name) RN_DTYPE_##name,
    RN_DTYPE_LIST(RN_DTYPE_ENUM)
#undef RN_DTYPE_ENUM
        RN_DTYPE_COUNT
} rn_dtype;

/* Of one element; 0 for STRING. */
static inline size_t rn_dtype_bytes(rn_dtype dtype)
{
    static const unsigned char sizes[RN_DTYPE_COUNT] = {
#define RN_DTYPE_BYTES(name, bytes, safetensors, tensorflow, tf_name) bytes,
        RN_DTYPE_LIST(RN_DTYPE_BYTES)
#undef RN_DTYPE_BYTES
    };
    return sizes[dtype];
}
const char *rn_dtype_name(rn_dtype dtype);       /* as safetensors spells it: "F32" */
const char *rn_dtype_tf_name(rn_dtype dtype);    /* as TensorFlow's messages spell it: "float" */
int rn_dtype_tf_number(rn_dtype dtype);          /* DataType in TensorFlow's protocol buffers */
int rn_dtype_from_name(const char *name, rn_dtype *out); /* 1 when `name` is a known safetensors name */
int rn_dtype_from_tf(int number, rn_dtype *out);         /* 1 when `number` is one of ours */

#endif
