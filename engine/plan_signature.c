/* Signatures against the tensors that they name: the last checks of plan_finish.c. */
#include "engine/plan_signature.h"

#include <string.h>

static rn_status check_spec(const rn_plan *plan, const rn_signature *signature, const rn_tensor_spec *spec, rn_error *err)
{
    const rn_plan_tensor *tensor = &plan->tensors[spec->tensor];
    int64_t elements = 1;
    bool known = spec->rank >= 1 && spec->rank <= RN_PLAN_MAX_RANK && spec->dims[0] == -1;
    for (int32_t i = 1; known && i < spec->rank; i++) {
        known = spec->dims[i] >= 1 && spec->dims[i] <= RN_PLAN_MAX_CHANNELS;
        elements *= known ? spec->dims[i] : 0;
    }
    if (!known || elements != rn_plan_tensor_elements(tensor)) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "signature %s: %s has rank %d and %lld elements a row, expected [-1, ...] with the %lld of %s", signature->name,
                       spec->name, spec->rank, (long long)elements, (long long)rn_plan_tensor_elements(tensor), tensor->name);
    }
    const rn_dtype expected = spec->labels || spec->dtype == RN_DTYPE_I64 ? RN_DTYPE_I32 : spec->dtype;
    if (tensor->dtype != expected || tensor->step != 0 || (spec->labels && spec->dtype != RN_DTYPE_STRING)) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: %s is %s, tensor %s holds %s", signature->name, spec->name,
                       rn_dtype_tf_name(spec->dtype), tensor->name, rn_dtype_tf_name(tensor->dtype));
    }
    return RN_STATUS_OK;
}

/* A label for every class that the top-k behind a labels output can name. */
static rn_status check_labels(const rn_plan *plan, const rn_signature *signature, const rn_tensor_spec *spec, rn_error *err)
{
    for (int32_t o = 0; o < plan->op_count; o++) {
        if (plan->ops[o].kind != RN_OP_TOP_K || plan->ops[o].outputs[1] != spec->tensor) continue;
        const int32_t classes = plan->tensors[plan->ops[o].inputs[0]].c;
        if (plan->label_count == classes) return RN_STATUS_OK;
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: %s names %d classes, the plan has %d labels", signature->name,
                       spec->name, classes, plan->label_count);
    }
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: %s gives labels for indexes that are no top_k's", signature->name,
                   spec->name);
}

rn_status rn__plan_check_signature(const rn_plan *plan, int32_t index, rn_error *err)
{
    const rn_signature *signature = &plan->signatures[index];
    for (int32_t i = 0; i < index; i++) {
        if (strcmp(plan->signatures[i].name, signature->name) == 0) {
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s is there twice", signature->name);
        }
    }
    RN_TRY(check_spec(plan, signature, &signature->input, err));
    for (int32_t i = 0; i < signature->output_count; i++) {
        const rn_tensor_spec *spec = &signature->outputs[i];
        RN_TRY(check_spec(plan, signature, spec, err));
        if (spec->labels) RN_TRY(check_labels(plan, signature, spec, err));
        if (spec->tensor == signature->feed) {
            return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "signature %s: output %s is the input", signature->name, spec->name);
        }
    }
    return RN_STATUS_OK;
}
