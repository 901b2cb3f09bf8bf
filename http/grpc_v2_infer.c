/* GRPCInferenceService.ModelInfer. Three steps as for Predict: read the message (a worker), infer (the engine), write the answer (a
 * worker). Answers hold raw_output_contents always, as Triton's do: clients read both. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "http/grpc_v2.h"

/* What the steps hand on. */
typedef struct {
    rn__grpc_call *call;
    rn__v2_query query;
    rn__v2_call infer;
    rn_job write;
} infer;

static const V2__ModelInferRequest *message_of(const rn__grpc_call *call)
{
    return (const V2__ModelInferRequest *)call->request;
}

/* ---- the end ---- */

static void send_tensors(const infer *p, const rn__v2_tensor *tensors)
{
    const V2__ModelInferRequest *message = message_of(p->call);
    V2__ModelInferResponse response = V2__MODEL_INFER_RESPONSE__INIT;
    V2__ModelInferResponse__Output outputs[RN_PLAN_MAX_OUTPUTS], *list[RN_PLAN_MAX_OUTPUTS];
    ProtobufCBinaryData raw[RN_PLAN_MAX_OUTPUTS];
    char version[24];
    snprintf(version, sizeof version, "%lld", (long long)p->infer.version);
    for (int32_t i = 0; i < p->infer.output_count; i++) {
        v2__model_infer_response__output__init(&outputs[i]);
        outputs[i].name = (char *)tensors[i].name;
        outputs[i].datatype = (char *)tensors[i].datatype;
        outputs[i].n_shape = (size_t)tensors[i].rank;
        outputs[i].shape = (int64_t *)tensors[i].dims;
        list[i] = &outputs[i];
        raw[i] = rn__grpc_bytes(tensors[i].raw);
    }
    response.model_name = message->model_name;
    response.model_version = version;
    response.id = message->id;
    response.n_outputs = response.n_raw_output_contents = (size_t)p->infer.output_count;
    response.outputs = list;
    response.raw_output_contents = raw;
    rn__grpc_answer(p->call, &response.base);
}

static rn_status make_tensors(const infer *p, rn__v2_tensor *tensors, rn_error *err)
{
    const rn_request *request = p->infer.request;
    if (request->status != RN_STATUS_OK) return rn__v2_request_error(request, err);
    for (int32_t i = 0; i < p->infer.output_count; i++) RN_TRY(rn__v2_tensor_init(&tensors[i], request, &p->infer.outputs[i], err));
    return RN_STATUS_OK;
}

static void finish(rn_job *job)
{
    infer *p = (infer *)((char *)job - offsetof(infer, write));
    rn__v2_tensor tensors[RN_PLAN_MAX_OUTPUTS] = {0};
    rn_error err;
    if (p->infer.request->status == RN_STATUS_OK) rn_timings_of_request(p->infer.request, &p->call->timings);
    p->call->write_begin_us = rn_clock_us();
    if (make_tensors(p, tensors, &err) == RN_STATUS_OK)
        send_tensors(p, tensors);
    else
        rn__grpc_fail(p->call, &err);
    for (int32_t i = 0; i < p->infer.output_count; i++) rn__v2_tensor_deinit(&tensors[i]);
    rn_request_destroy(p->infer.request);
    free(p);
}

/* On a thread of the engine, which has better to do than encode messages. */
static void on_done(rn_request *request)
{
    infer *p = request->context;
    rn_workers_continue(p->call->service->workers, &p->write);
}

/* ---- parameters ---- */

static rn__v2_parameter read_parameter(const V2__ParameterEntry *entry)
{
    rn__v2_parameter out = {.name = rn__grpc_text(entry->key), .kind = RN__V2_OTHER};
    const V2__InferParameter *value = entry->value;
    switch (value ? value->parameter_choice_case : V2__INFER_PARAMETER__PARAMETER_CHOICE__NOT_SET) {
    case V2__INFER_PARAMETER__PARAMETER_CHOICE_BOOL_PARAM:
        out.kind = RN__V2_BOOL;
        out.boolean = value->bool_param;
        break;
    case V2__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM:
        out.kind = RN__V2_INT;
        out.integer = value->int64_param;
        break;
    case V2__INFER_PARAMETER__PARAMETER_CHOICE_UINT64_PARAM:
        out.kind = value->uint64_param <= INT64_MAX ? RN__V2_INT : RN__V2_OTHER;
        out.integer = (int64_t)value->uint64_param;
        break;
    case V2__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM:
        out.kind = RN__V2_STRING;
        out.string = rn__grpc_text(value->string_param);
        break;
    default:
        break;
    }
    return out;
}

static rn_status read_output(const V2__ModelInferRequest__Output *from, rn__v2_wanted *out, rn_error *err)
{
    RN_TRY(rn__v2_copy_text(out->name, sizeof out->name, rn__grpc_text(from->name), "output name", err));
    for (size_t i = 0; i < from->n_parameters; i++) {
        const rn__v2_parameter parameter = read_parameter(from->parameters[i]);
        RN_TRY(rn__v2_set_output_parameter(out, &parameter, err));
    }
    return RN_STATUS_OK;
}

/* ---- the beginning ---- */

static rn_status read_input(const V2__ModelInferRequest *message, rn__v2_input *out, rn_error *err)
{
    const V2__ModelInferRequest__Input *from = message->inputs[0];
    RN_TRY(rn__v2_copy_text(out->name, sizeof out->name, rn__grpc_text(from->name), "input name", err));
    RN_TRY(rn__v2_copy_text(out->datatype, sizeof out->datatype, rn__grpc_text(from->datatype), "datatype", err));
    if (from->n_shape > RN__V2_MAX_DIMS)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "input '%s': more than %d dimensions", out->name, RN__V2_MAX_DIMS);
    for (size_t i = 0; i < from->n_shape; i++) {
        if (from->shape[i] < 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "input '%s': dimension %zu is negative", out->name, i);
        out->dims[out->rank++] = from->shape[i];
    }
    out->source = RN__V2_TYPED;
    if (message->n_raw_input_contents == 0) return RN_STATUS_OK;
    if (from->contents)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "contents field must not be specified when using raw_input_contents for '%s'",
                       out->name);
    out->source = RN__V2_RAW;
    out->raw = rn__grpc_text(message->raw_input_contents[0]);
    return RN_STATUS_OK;
}

rn_status rn__grpc_v2_parse(const V2__ModelInferRequest *message, rn__v2_query *query, rn_error *err)
{
    memset(query, 0, sizeof *query);
    for (size_t i = 0; i < message->n_parameters; i++) {
        const rn__v2_parameter parameter = read_parameter(message->parameters[i]);
        RN_TRY(rn__v2_set_request_parameter(query, &parameter, err));
    }
    if (message->n_raw_input_contents > 0 && message->n_raw_input_contents != message->n_inputs)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "expected %zu raw_input_contents, one for each input, got %zu", message->n_inputs,
                       message->n_raw_input_contents);
    query->input_count = message->n_inputs < INT32_MAX ? (int32_t)message->n_inputs : INT32_MAX;
    if (message->n_inputs > 0) RN_TRY(read_input(message, &query->input, err));
    if (message->n_outputs > RN_PLAN_MAX_OUTPUTS)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "more than %d outputs are asked for", RN_PLAN_MAX_OUTPUTS);
    for (size_t i = 0; i < message->n_outputs; i++) RN_TRY(read_output(message->outputs[i], &query->outputs[query->output_count++], err));
    return RN_STATUS_OK;
}

/* The list that the type of the input says: exactly as many values as its shape. */
static rn_status read_contents(const V2__InferTensorContents *contents, rn_request *request, rn_error *err)
{
    static const V2__InferTensorContents none = V2__INFER_TENSOR_CONTENTS__INIT;
    const rn_tensor_spec *spec = &request->signature->input;
    const rn_plan_tensor *tensor = &rn_model_plan(request->model)->tensors[spec->tensor];
    const bool pictures = spec->dtype == RN_DTYPE_STRING, floats = spec->dtype == RN_DTYPE_F32;
    const size_t count = (size_t)request->rows * (size_t)(pictures ? 1 : rn_plan_tensor_elements(tensor));
    if (!contents) contents = &none;
    const size_t found = pictures ? contents->n_bytes_contents : floats ? contents->n_fp32_contents : contents->n_uint_contents;
    if (found != count)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "unexpected number of values for input '%s': its shape holds %zu, %s holds %zu",
                       spec->name, count,
                       pictures ? "bytes_contents"
                       : floats ? "fp32_contents"
                                : "uint_contents",
                       found);
    if (floats && count > 0) memcpy(request->input, contents->fp32_contents, count * sizeof(float));
    for (size_t i = 0; i < count && pictures; i++)
        request->pictures[i] = (rn_encoded_picture){contents->bytes_contents[i].data, contents->bytes_contents[i].len};
    for (size_t i = 0; i < count && !pictures && !floats; i++) {
        if (contents->uint_contents[i] > UINT8_MAX)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "input '%s': UINT8 is a whole number from 0 to 255", spec->name);
        ((uint8_t *)request->input)[i] = (uint8_t)contents->uint_contents[i];
    }
    return RN_STATUS_OK;
}

static rn_status prepare(infer *p, rn_model *model, rn_error *err)
{
    const V2__ModelInferRequest *message = message_of(p->call);
    RN_TRY(rn__grpc_v2_parse(message, &p->query, err));
    RN_TRY(rn__v2_prepare(&p->query, rn__grpc_text(message->model_name), model, &p->infer, err));
    if (p->query.input.source != RN__V2_TYPED) return RN_STATUS_OK;
    const rn_status status = read_contents(message->inputs[0]->contents, p->infer.request, err);
    if (status != RN_STATUS_OK) rn_request_destroy(p->infer.request);
    return status;
}

static rn_status begin(infer *p, rn_error *err)
{
    const V2__ModelInferRequest *message = message_of(p->call);
    rn_model *model;
    RN_TRY(rn__grpc_v2_acquire(p->call, message->model_name, message->model_version, &model, &p->infer.version, err));
    const rn_status status = prepare(p, model, err);
    rn_model_release(model); /* the request holds its own reference */
    return status;
}

/* The earlier of the call's deadline and the end of its "timeout". */
static int64_t deadline_us(const infer *p)
{
    const int64_t asked = p->query.timeout_us > 0 ? p->call->begin_us + p->query.timeout_us : 0, deadline = p->call->deadline_us;
    return asked && (!deadline || asked < deadline) ? asked : deadline;
}

void rn__grpc_v2_model_infer(rn__grpc_call *call)
{
    rn_error err;
    infer *p = calloc(1, sizeof *p);
    if (p) p->call = call;
    const rn_status status = p ? begin(p, &err) : RN_FAIL(&err, RN_STATUS_OUT_OF_MEMORY, "no memory for an infer call");
    if (status != RN_STATUS_OK) {
        free(p);
        rn__grpc_fail(call, &err);
        return;
    }
    p->write.run = finish;
    p->infer.request->context = p;
    p->infer.request->done = on_done;
    p->infer.request->cancelled = &call->cancelled;
    p->infer.request->begun_us = call->begin_us;
    p->infer.request->deadline_us = deadline_us(p);
    call->timings.parse = rn_clock_us() - call->begin_us;
    rn_request_submit(p->infer.request);
}
