/* See classes.h. */
#include "engine/classes.h"

#include <stdlib.h>

/* Whether `tensor` holds results of a softmax, or the best of them. */
static bool holds_probabilities(const rn_plan *plan, int32_t tensor)
{
    for (int32_t i = plan->op_count - 1; i >= 0; i--) { /* inputs are written before they are read */
        const rn_op *op = &plan->ops[i];
        if (op->outputs[0] != tensor) continue;
        if (op->kind == RN_OP_SOFTMAX) return true;
        if (op->kind == RN_OP_TOP_K) tensor = op->inputs[0];
    }
    return false;
}

static bool find_output(const rn_request *request, bool labels, int64_t width, int32_t *out)
{
    const rn_signature *signature = request->signature;
    for (*out = 0; *out < signature->output_count; ++*out) {
        const rn_tensor_spec *spec = &signature->outputs[*out];
        const int64_t elements = rn_plan_tensor_elements(&rn_model_plan(request->model)->tensors[spec->tensor]);
        if (spec->rank == 2 && (labels ? spec->labels : spec->dtype == RN_DTYPE_F32) && (width == 0 || elements == width)) return true;
    }
    return false;
}

bool rn_classes_find(const rn_request *request, rn_classes *out)
{
    const rn_plan *plan = rn_model_plan(request->model);
    int32_t labels, values;
    int64_t width = 0;
    *out = (rn_classes){0};
    if (find_output(request, true, 0, &labels)) {
        width = rn_plan_tensor_elements(&plan->tensors[request->signature->outputs[labels].tensor]);
        out->indexes = request->outputs[labels];
    }
    if (!find_output(request, false, width, &values)) return false;
    const int32_t tensor = request->signature->outputs[values].tensor;
    out->values = request->outputs[values];
    out->width = (int32_t)rn_plan_tensor_elements(&plan->tensors[tensor]);
    out->probabilities = holds_probabilities(plan, tensor);
    return true;
}

/* Falling values, equal ones in rising order of index; NaN comes last. */
static int compare_classes(const void *a, const void *b, void *values)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const float x = ((const float *)values)[i], y = ((const float *)values)[j];
    if (x > y || (x == x && y != y)) return -1;
    if (x < y || (x != x && y == y)) return 1;
    return i < j ? -1 : 1;
}

void rn_classes_sort(const float *values, int32_t count, int32_t *order)
{
    for (int32_t i = 0; i < count; i++) order[i] = i;
    qsort_r(order, (size_t)count, sizeof *order, compare_classes, (void *)values);
}
