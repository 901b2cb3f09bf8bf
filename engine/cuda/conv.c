/* See conv.h. */
#include "engine/cuda/conv.h"

#include <string.h>

/* X(field, type) */
#define FIELDS(X)          \
    X(n, int32_t)          \
    X(h, int32_t)          \
    X(w, int32_t)          \
    X(c, int32_t)          \
    X(k, int32_t)          \
    X(p, int32_t)          \
    X(q, int32_t)          \
    X(r, int32_t)          \
    X(s, int32_t)          \
    X(stride_h, int32_t)   \
    X(stride_w, int32_t)   \
    X(pad_top, int32_t)    \
    X(pad_left, int32_t)   \
    X(pad_bottom, int32_t) \
    X(pad_right, int32_t)  \
    X(groups, int32_t)     \
    X(x_dtype, rn_dtype)   \
    X(y_dtype, rn_dtype)   \
    X(residual, bool)      \
    X(relu, bool)          \
    X(second, bool)        \
    X(tf32, bool)

void rn__conv_to_numbers(const rn__conv_shape *shape, int32_t numbers[RN__CONV_NUMBERS])
{
#define TO_NUMBER(field, type) *numbers++ = (int32_t)shape->field;
    FIELDS(TO_NUMBER)
#undef TO_NUMBER
}

void rn__conv_from_numbers(const int32_t numbers[RN__CONV_NUMBERS], rn__conv_shape *shape)
{
#define FROM_NUMBER(field, type) shape->field = (type)*numbers++;
    FIELDS(FROM_NUMBER)
#undef FROM_NUMBER
}

bool rn__conv_equal(const rn__conv_shape *a, const rn__conv_shape *b)
{
    int32_t x[RN__CONV_NUMBERS], y[RN__CONV_NUMBERS];
    rn__conv_to_numbers(a, x);
    rn__conv_to_numbers(b, y);
    return memcmp(x, y, sizeof x) == 0;
}
