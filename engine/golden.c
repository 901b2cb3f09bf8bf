/* Comparing answers with recorded ones. Values are compared as a share of the largest one of their output. Indexes that a sort gives are
 * compared by what they name: the recorded values say which ones belong at each place, and which of them are so close that either order is
 * right.
 */
#include "engine/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_GOLDENS = 4096 };

rn_status rn_plan_add_golden(rn_plan *plan, const rn_golden *golden, rn_error *err)
{
    if (golden->rows < 1 || !golden->input || golden->signature < 0 || golden->signature >= plan->signature_count) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "golden %s: %d rows of signature %d, the plan has %d", golden->source, golden->rows,
                       golden->signature, plan->signature_count);
    }
    if (plan->golden_count >= MAX_GOLDENS) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "a plan holds at most %d goldens", MAX_GOLDENS);
    rn_golden *grown = realloc(plan->goldens, ((size_t)plan->golden_count + 1) * sizeof *grown);
    if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for golden %d", plan->golden_count);
    plan->goldens = grown;
    plan->goldens[plan->golden_count++] = *golden;
    return RN_STATUS_OK;
}

/* The tensor that a sort's indexes point into, or RN_NONE. */
static int32_t sorted_tensor(const rn_plan *plan, int32_t tensor)
{
    for (int32_t o = 0; o < plan->op_count; o++) {
        if (plan->ops[o].kind == RN_OP_TOP_K && plan->ops[o].outputs[1] == tensor) return plan->ops[o].inputs[0];
    }
    return RN_NONE;
}

int64_t rn_golden_output_elements(const rn_plan *plan, const rn_signature *signature, int32_t output)
{
    const int32_t tensor = signature->outputs[output].tensor;
    if (plan->tensors[tensor].dtype == RN_DTYPE_F32) return rn_plan_tensor_elements(&plan->tensors[tensor]);
    const int32_t sorted = sorted_tensor(plan, tensor);
    return sorted == RN_NONE ? 0 : rn_plan_tensor_elements(&plan->tensors[sorted]);
}

static double largest(const float *values, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs((double)values[i]));
    return most;
}

static double value_error(const float *got, const float *wanted, int64_t count)
{
    double worst = 0;
    for (int64_t i = 0; i < count; i++) {
        const double off = fabs((double)got[i] - (double)wanted[i]);
        worst = isfinite(off) ? fmax(worst, off) : INFINITY;
    }
    return worst;
}

/* Value number `place` of `values` in falling order, by counting: an output has a few places. */
static float nth_largest(const float *values, int64_t count, int64_t place)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t above = 0, equal = 0;
        for (int64_t j = 0; j < count; j++) {
            above += values[j] > values[i];
            equal += values[j] == values[i];
        }
        if (above <= place && place < above + equal) return values[i];
    }
    return NAN; /* of what cannot be sorted */
}

static double index_error(const int32_t *got, int64_t places, const float *values, int64_t count)
{
    enum { PLACES = 16 }; /* further down nobody looks, and counting is quadratic */
    double worst = 0;
    for (int64_t place = 0; place < places && place < PLACES; place++) {
        const float belongs = nth_largest(values, count, place);
        const bool inside = got[place] >= 0 && got[place] < count;
        const double off = inside ? fabs((double)values[got[place]] - (double)belongs) : INFINITY;
        worst = isfinite(off) ? fmax(worst, off) : INFINITY;
    }
    return worst;
}

rn_golden_error rn_golden_compare(const rn_plan *plan, const rn_golden *golden, int32_t first, int32_t rows, void *const *outputs)
{
    const rn_signature *signature = &plan->signatures[golden->signature];
    rn_golden_error worst = {.output = RN_NONE};
    for (int32_t o = 0; o < signature->output_count; o++) {
        const rn_plan_tensor *tensor = &plan->tensors[signature->outputs[o].tensor];
        const int64_t elements = rn_golden_output_elements(plan, signature, o), own = rn_plan_tensor_elements(tensor);
        if (!golden->outputs[o] || elements == 0) continue;
        const double magnitude = largest(golden->outputs[o], elements * golden->rows);
        for (int32_t r = 0; r < rows; r++) {
            const float *wanted = golden->outputs[o] + (first + r) * elements;
            const double off = tensor->dtype == RN_DTYPE_F32 ? value_error((const float *)outputs[o] + r * own, wanted, elements)
                                                             : index_error((const int32_t *)outputs[o] + r * own, own, wanted, elements);
            const double share = off == 0 ? 0 : magnitude > 0 ? off / magnitude : INFINITY;
            worst.absolute = fmax(worst.absolute, off);
            if (worst.output != RN_NONE && share <= worst.relative) continue;
            worst.relative = share;
            worst.output = o;
            worst.row = first + r;
        }
    }
    return worst;
}

/* Goldens are recorded in float32. What a wrong driver, kernel or weight does is of the order of the answers themselves; what rounding
 * does, here in multiples of what networks of a hundred layers show: sums in another order 1e-5, 10 bits of mantissa 5e-3, 7 bits 2e-2, and
 * probabilities, whose shares are their logits' absolute errors, several times as much. */
double rn_golden_allowed(const rn_golden *golden, const char *precision)
{
    static const struct {
        const char *precision;
        double allowed;
    } table[] = {{"fp32", 1e-3}, {"tf32", 5e-2}, {"fp16", 5e-2}, {"bf16", 2e-1}};
    double allowed = table[3].allowed;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].precision, precision) == 0) allowed = table[i].allowed;
    }
    return fmax(allowed, golden->allowed);
}
