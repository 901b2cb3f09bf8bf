/* Arithmetic on constants, element by element, with NumPy's broadcasting.
 *
 * Floats are computed in double and rounded to float after each operation, which for + - * / and square root gives the correctly rounded
 * float that TensorFlow computes. Integers wrap at 64 bits.
 */
#include <math.h>

#include "loader/fold.h"

/* ---- two operands ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    if (b == -1) return (int64_t)(0 - (uint64_t)a);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Division by zero is excluded by the caller. */
static int64_t int_binary(int op, int64_t a, int64_t b)
{
    switch (op) {
    case RN__ADD: return (int64_t)((uint64_t)a + (uint64_t)b);
    case RN__SUB: return (int64_t)((uint64_t)a - (uint64_t)b);
    case RN__MUL: return (int64_t)((uint64_t)a * (uint64_t)b);
    case RN__DIV: return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
    case RN__FLOOR_DIV: return floor_div(a, b);
    case RN__FLOOR_MOD: return b == -1 ? 0 : a - floor_div(a, b) * b;
    case RN__MAXIMUM: return a > b ? a : b;
    case RN__MINIMUM: return a < b ? a : b;
    case RN__LESS: return a < b;
    case RN__LESS_EQUAL: return a <= b;
    case RN__GREATER: return a > b;
    case RN__GREATER_EQUAL: return a >= b;
    case RN__EQUAL: return a == b;
    case RN__NOT_EQUAL: return a != b;
    case RN__AND: return a && b;
    default: return a || b;
    }
}

static double float_binary(int op, double a, double b)
{
    switch (op) {
    case RN__ADD: return a + b;
    case RN__SUB: return a - b;
    case RN__MUL: return a * b;
    case RN__DIV: return a / b;
    case RN__FLOOR_DIV: return floor(a / b);
    case RN__FLOOR_MOD: return a - floor(a / b) * b;
    case RN__MAXIMUM: return a > b ? a : b;
    default: return a < b ? a : b;
    }
}

static int64_t float_compare(int op, double a, double b)
{
    switch (op) {
    case RN__LESS: return a < b;
    case RN__LESS_EQUAL: return a <= b;
    case RN__GREATER: return a > b;
    case RN__GREATER_EQUAL: return a >= b;
    case RN__EQUAL: return a == b;
    default: return a != b;
    }
}

static bool compares(int op)
{
    return op >= RN__LESS && op <= RN__NOT_EQUAL;
}

/* Steps of an operand through the dimensions of a result: 0 where it is repeated. */
static rn_status broadcast(const rn__op_call *call, const rn__constant *operand, int32_t rank, int64_t *dims, int64_t *steps)
{
    int64_t step = 1;
    for (int32_t i = rank - 1; i >= 0; i--) {
        const int32_t own = i - (rank - operand->rank);
        const int64_t dim = own < 0 ? 1 : operand->dims[own];
        steps[i] = dim == 1 ? 0 : step;
        step *= dim;
        if (dim == 1) continue;
        if (dims[i] != 1 && dims[i] != dim)
            return RN__REFUSE(call, "shapes do not broadcast: %lld against %lld", (long long)dims[i], (long long)dim);
        dims[i] = dim;
    }
    return RN_STATUS_OK;
}

/* Offsets of both operands for the next element; at counts through dims. */
static void advance(int32_t rank, const int64_t *dims, int64_t *at, const int64_t steps[2][RN__CONSTANT_MAX_RANK], int64_t offset[2])
{
    for (int32_t i = rank - 1; i >= 0; i--) {
        offset[0] += steps[0][i];
        offset[1] += steps[1][i];
        if (++at[i] < dims[i]) return;
        offset[0] -= steps[0][i] * dims[i];
        offset[1] -= steps[1][i] * dims[i];
        at[i] = 0;
    }
}

rn_status rn__fold_binary(const rn__op_call *call)
{
    const rn__constant *a = &call->in[0]->u.constant, *b = &call->in[1]->u.constant;
    const int op = call->variant;
    if (a->element_class == RN__STRINGS || a->element_class != b->element_class) return RN__REFUSE(call, "operands of different types");
    if (a->batch_mask || b->batch_mask)
        return RN__REFUSE(call, "it computes with the batch size, which is not known before the model runs");
    const bool ints = a->element_class == RN__INTS;
    if (!ints && (op == RN__AND || op == RN__OR)) return RN__REFUSE(call, "logic on floats");

    const int32_t rank = a->rank > b->rank ? a->rank : b->rank;
    int64_t dims[RN__CONSTANT_MAX_RANK], steps[2][RN__CONSTANT_MAX_RANK], at[RN__CONSTANT_MAX_RANK] = {0}, offset[2] = {0};
    for (int32_t i = 0; i < rank; i++) dims[i] = 1;
    RN_TRY(broadcast(call, a, rank, dims, steps[0]));
    RN_TRY(broadcast(call, b, rank, dims, steps[1]));
    void *data;
    RN_TRY(rn__fold_result(call, 0, ints || compares(op) ? RN__INTS : RN__FLOATS, rank, dims, &data));
    for (int64_t i = 0; i < call->out[0].u.constant.count; i++, advance(rank, dims, at, steps, offset)) {
        if (ints) {
            const int64_t x = a->data.ints[offset[0]], y = b->data.ints[offset[1]];
            if (y == 0 && (op == RN__DIV || op == RN__FLOOR_DIV || op == RN__FLOOR_MOD)) return RN__REFUSE(call, "a division by zero");
            ((int64_t *)data)[i] = int_binary(op, x, y);
        } else {
            const double x = a->data.floats[offset[0]], y = b->data.floats[offset[1]];
            if (compares(op))
                ((int64_t *)data)[i] = float_compare(op, x, y);
            else
                ((float *)data)[i] = (float)float_binary(op, x, y);
        }
    }
    return RN_STATUS_OK;
}

/* ---- one operand ---- */

static double float_unary(int op, double x)
{
    switch (op) {
    case RN__NEG: return -x;
    case RN__ROUND: return rint(x); /* halves to even, in Round as in Rint */
    case RN__FLOOR: return floor(x);
    case RN__CEIL: return ceil(x);
    case RN__SQRT: return sqrt(x);
    case RN__RSQRT: return 1 / sqrt(x);
    case RN__SQUARE: return x * x;
    default: return 1 / x;
    }
}

rn_status rn__fold_unary(const rn__op_call *call)
{
    const rn__constant *x = &call->in[0]->u.constant;
    const bool ints = x->element_class == RN__INTS,
               for_ints = call->variant == RN__NEG || call->variant == RN__SQUARE || call->variant == RN__NOT;
    if (x->batch_mask || x->element_class == RN__STRINGS || (ints && !for_ints) || (!ints && call->variant == RN__NOT)) {
        return RN__REFUSE(call, "an operand of another type");
    }
    void *data;
    RN_TRY(rn__fold_result(call, 0, x->element_class, x->rank, x->dims, &data));
    for (int64_t i = 0; i < x->count; i++) {
        if (!ints)
            ((float *)data)[i] = (float)float_unary(call->variant, x->data.floats[i]);
        else if (call->variant == RN__NOT)
            ((int64_t *)data)[i] = !x->data.ints[i];
        else
            ((int64_t *)data)[i] =
                call->variant == RN__NEG ? int_binary(RN__SUB, 0, x->data.ints[i]) : int_binary(RN__MUL, x->data.ints[i], x->data.ints[i]);
    }
    return RN_STATUS_OK;
}

/* A float as an integer of `dtype`: truncated; out of range it is refused by the caller. */
static bool float_fits(float x)
{
    return x > -9.2e18f && x < 9.2e18f;
}

rn_status rn__fold_cast(const rn__op_call *call)
{
    const rn__constant *x = &call->in[0]->u.constant;
    const int32_t dtype = rn__attr_type(call->node, "DstT", 0);
    rn__element_class to;
    if (!rn__dtype_class(dtype, &to) || to == RN__STRINGS || x->element_class == RN__STRINGS) {
        return RN__REFUSE(call, "a cast to %s", rn__dtype_text(dtype));
    }
    /* What is folded has 32 bits: nobody could tell whether a size that a picture is resized to comes out the same. */
    if (call->import->probe && dtype == RN__DT_DOUBLE) return RN__REFUSE(call, "the size of a picture as double, expected float");
    if (to == x->element_class && dtype != RN__DT_BOOL) { /* widths are not kept: see constant.h */
        call->out[0] = *call->in[0];
        return RN_STATUS_OK;
    }
    if (x->batch_mask) return RN__REFUSE(call, "it computes with the batch size, which is not known before the model runs");
    void *data;
    RN_TRY(rn__fold_result(call, 0, to, x->rank, x->dims, &data));
    for (int64_t i = 0; i < x->count; i++) {
        if (to == RN__FLOATS) {
            ((float *)data)[i] = (float)x->data.ints[i];
        } else if (dtype == RN__DT_BOOL) {
            ((int64_t *)data)[i] = x->element_class == RN__INTS ? x->data.ints[i] != 0 : x->data.floats[i] != 0;
        } else {
            if (!float_fits(x->data.floats[i])) return RN__REFUSE(call, "%g does not fit an integer", (double)x->data.floats[i]);
            ((int64_t *)data)[i] = (int64_t)x->data.floats[i];
        }
    }
    return RN_STATUS_OK;
}

/* ---- reductions of integers and truth values over everything: All, Any, Prod ---- */

rn_status rn__fold_reduce(const rn__op_call *call)
{
    const rn__constant *x = &call->in[0]->u.constant, *axes = &call->in[1]->u.constant;
    if (x->element_class != RN__INTS || x->batch_mask || axes->element_class != RN__INTS || axes->count != x->rank) {
        return RN__REFUSE(call, "a reduction of other than all dimensions of integers");
    }
    void *data;
    RN_TRY(rn__fold_spend(call, x->count));
    RN_TRY(rn__fold_result(call, 0, RN__INTS, 0, NULL, &data));
    int64_t total = call->variant != RN__OR;
    for (int64_t i = 0; i < x->count; i++) total = int_binary(call->variant, total, x->data.ints[i]);
    *(int64_t *)data = total;
    return RN_STATUS_OK;
}
