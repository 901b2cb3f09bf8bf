/* From a query to a request that is ready to be submitted: which signature, which rows, which outputs. */
#include <stdlib.h>

#include "http/v2.h"

static rn_status choose_output(const rn__v2_wanted *wanted, rn_text model_name, const rn_plan *plan, const rn_signature *signature,
                               rn__v2_output *out, rn_error *err)
{
    int32_t index = 0;
    while (index < signature->output_count && strcmp(signature->outputs[index].name, wanted->name) != 0) index++;
    if (index == signature->output_count && strcmp(wanted->name, RN__V2_EXPLANATION) == 0) {
        *out = (rn__v2_output){.index = RN_NONE, .binary = wanted->binary};
        return RN_STATUS_OK;
    }
    if (index == signature->output_count)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "unexpected inference output '%s' for model '%.*s'", wanted->name,
                       RN_TEXT_ARG(model_name));
    const rn_tensor_spec *spec = &signature->outputs[index];
    if (wanted->class_count > 0 && spec->dtype != RN_DTYPE_F32)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "output '%s': 'classification' needs FP32 values, these are %s", spec->name,
                       rn__v2_datatype(spec));
    const int64_t classes = rn_plan_tensor_elements(&plan->tensors[spec->tensor]);
    *out = (rn__v2_output){.index = index, .binary = wanted->binary};
    out->class_count = (int32_t)(wanted->class_count < classes ? wanted->class_count : classes);
    return RN_STATUS_OK;
}

/* Without a list, all outputs; an output that is named twice is sent once, as in Triton. */
static rn_status choose_outputs(const rn__v2_query *query, rn_text model_name, const rn_plan *plan, const rn_signature *signature,
                                rn__v2_call *call, rn_error *err)
{
    call->output_count = 0;
    for (int32_t i = 0; query->output_count == 0 && i < signature->output_count; i++)
        call->outputs[call->output_count++] = (rn__v2_output){.index = i, .binary = query->binary_outputs};
    for (int32_t i = 0; i < query->output_count; i++) {
        rn__v2_output output;
        int32_t same = 0;
        RN_TRY(choose_output(&query->outputs[i], model_name, plan, signature, &output, err));
        while (same < call->output_count && call->outputs[same].index != output.index) same++;
        call->outputs[same] = output;
        if (same == call->output_count) call->output_count++;
    }
    return RN_STATUS_OK;
}

/* The class that the explanation is asked for, if any is, into every row. */
static rn_status choose_class(const rn__v2_query *query, const rn_plan *plan, rn_request *request, rn_error *err)
{
    const rn_op *map = &plan->ops[request->signature->class_map_op];
    const int32_t classes = plan->tensors[map->inputs[1]].c;
    for (int32_t i = 0; i < query->output_count; i++) {
        const rn__v2_wanted *wanted = &query->outputs[i];
        if (strcmp(wanted->name, RN__V2_EXPLANATION) != 0 || !wanted->has_class) continue;
        if (wanted->class >= classes)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "output '%s': class %lld, the model has %d", wanted->name, (long long)wanted->class,
                           classes);
        for (int32_t row = 0; row < request->rows; row++) request->classes[row] = (int32_t)wanted->class;
    }
    return RN_STATUS_OK;
}

rn_status rn__v2_request_error(const rn_request *request, rn_error *err)
{
    *err = request->error;
    if (request->failed_picture != RN_NONE)
        rn_error_prefix(err, "input '%s', element %d", request->signature->input.name, request->failed_picture);
    return request->status;
}

rn_status rn__v2_prepare(const rn__v2_query *query, rn_text model_name, rn_model *model, rn__v2_call *out, rn_error *err)
{
    const rn_plan *plan = rn_model_plan(model);
    const rn__v2_input *input = &query->input;
    const rn_signature *signature;
    int64_t rows;
    RN_TRY(rn__v2_signature(model, query->signature_name, &signature, err));
    RN_TRY(rn__v2_check_input(query, model_name, plan, signature, &rows, err));
    RN_TRY(choose_outputs(query, model_name, plan, signature, out, err));

    const bool text_pictures = input->source == RN__V2_JSON && signature->input.dtype == RN_DTYPE_STRING;
    const size_t scratch_bytes = text_pictures ? (size_t)(query->limit - input->json) : 0; /* decoded, text is shorter */
    bool explained = false;
    for (int32_t i = 0; i < out->output_count; i++) explained |= out->outputs[i].index == RN_NONE;
    rn_request *request;
    RN_TRY((explained ? rn_request_create_explained : rn_request_create)(model, signature, rows, scratch_bytes, &request, err));
    if ((explained && choose_class(query, plan, request, err) != RN_STATUS_OK) ||
        (input->source != RN__V2_TYPED && rn__v2_read_input(query, request, err) != RN_STATUS_OK)) {
        rn_request_destroy(request);
        return err->status;
    }
    request->priority = query->priority == 0 ? 0 : (int32_t)(query->priority < INT32_MAX ? query->priority : INT32_MAX) - 2;
    out->request = request;
    return RN_STATUS_OK;
}
