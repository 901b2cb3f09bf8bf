/* Tensors whose value is known at load time: what graph folding computes with.
 *
 * Three classes of elements cover every type that a ResNet's graph uses: all floating types become float, all integers and booleans int64,
 * and strings stay bytes. 16-bit floats are widened when they are read; graphs in half precision are computed in float32.
 */
#ifndef RN_LOADER_CONSTANT_H
#define RN_LOADER_CONSTANT_H

#include "loader/arena.h"
#include "loader/proto/tensor.pb-c.h"

enum { RN__CONSTANT_MAX_RANK = 8 };

/* TensorFlow's DataType numbers that the loader knows by name (tensorflow/core/framework/types.proto). */
enum {
    RN__DT_FLOAT = 1,
    RN__DT_DOUBLE = 2,
    RN__DT_INT32 = 3,
    RN__DT_UINT8 = 4,
    RN__DT_INT16 = 5,
    RN__DT_INT8 = 6,
    RN__DT_STRING = 7,
    RN__DT_INT64 = 9,
    RN__DT_BOOL = 10,
    RN__DT_BFLOAT16 = 14,
    RN__DT_UINT16 = 17,
    RN__DT_HALF = 19,
    RN__DT_RESOURCE = 20,
    RN__DT_REF = 100 /* added for reference types */
};

typedef enum { RN__FLOATS, RN__INTS, RN__STRINGS } rn__element_class;

typedef struct rn__string {
    const char *bytes; /* byte_count bytes, not terminated */
    size_t byte_count;
} rn__string;

/* data holds `count` elements in row-major order, count being the product of dims (1 for rank 0). */
typedef struct rn__constant {
    rn__element_class element_class;
    int32_t rank;
    int64_t dims[RN__CONSTANT_MAX_RANK];
    int64_t count;
    union {
        const float *floats;
        const int64_t *ints;
        const rn__string *strings;
    } data;
    bool lasting;        /* the memory becomes the plan's: weights may point into it */
    uint64_t batch_mask; /* ints only: element i is the unknown batch size where bit i is set; such an element reads -1 */
} rn__constant;

/* Element class of a DataType, references included; false for types that have none here. */
bool rn__dtype_class(int32_t dtype, rn__element_class *out);
/* Bytes of one stored element; 0 for strings and unknown types. */
size_t rn__dtype_stored_bytes(int32_t dtype);
/* "float", "half", "type 24": for messages. Valid until the next call on this thread. */
const char *rn__dtype_text(int32_t dtype);

/* Class and shape of a constant that has no elements yet. Fails naming `what`. */
rn_status rn__constant_shape(rn__element_class element_class, int32_t rank, const int64_t *dims, const char *what, rn__constant *out,
                             rn_error *err);
/* Room for the elements of a constant that has its shape: *data, from `arena`, to be written by the caller. Makes it lasting. */
rn_status rn__constant_room(rn__arena *arena, const char *what, rn__constant *constant, void **data, rn_error *err);

/* `count` stored elements of `dtype` (little-endian, any alignment) widened into `out`: float[count] or int64_t[count]. Not for strings. */
void rn__widen(int32_t dtype, const void *stored, int64_t count, void *out);

/* Decodes a TensorProto: tensor_content, or the typed list with its fill rule (too few values: the last one repeats; none: zeros). `name`
 * is for messages. Floats stay where they are in the message when its bytes can be used as they lie. */
rn_status rn__constant_from_proto(rn__arena *arena, const Sm__Tensor *proto, const char *name, rn__constant *out, rn_error *err);

/* Text of a shape, "[3,3,64,64]", cut to fit. Returns `out`. */
const char *rn__shape_text(int32_t rank, const int64_t *dims, char *out, size_t room);

static inline bool rn__constant_is_scalar(const rn__constant *c, rn__element_class element_class)
{
    return c->element_class == element_class && c->count == 1;
}

#endif
