/* PredictionService.Predict: servables/tensorflow/predict_impl.cc, predict_util.cc. Three steps as for REST: read the message (a worker),
 * infer (the engine), write the answer (a worker). */
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "http/grpc_tfs.h"

/* What the steps hand on. */
typedef struct {
    rn__grpc_call *call;
    rn_request *request;
    int64_t version;
    int32_t output_count;
    int32_t outputs[RN_PLAN_MAX_OUTPUTS]; /* which of the signature's are sent, in this order */
    rn_job write;
} predict;

static const Tfs__PredictRequest *message_of(const rn__grpc_call *call)
{
    return (const Tfs__PredictRequest *)call->request;
}

/* ---- the end ---- */

static rn_status write_tensors(const predict *p, rn__grpc_tensor *tensors, rn_error *err)
{
    const bool as_content = p->call->service->tensor_content;
    for (int32_t i = 0; i < p->output_count; i++) RN_TRY(rn__grpc_tensor_init(&tensors[i], p->request, p->outputs[i], as_content, err));
    return RN_STATUS_OK;
}

static void send_tensors(const predict *p, rn__grpc_tensor *tensors)
{
    const rn_signature *signature = p->request->signature;
    Tfs__PredictResponse response = TFS__PREDICT_RESPONSE__INIT;
    Tfs__TensorEntry entries[RN_PLAN_MAX_OUTPUTS], *list[RN_PLAN_MAX_OUTPUTS];
    rn__grpc_model_spec spec;
    rn__grpc_model_spec_init(&spec, message_of(p->call)->model_spec->name, p->version);
    spec.message.signature_name = rn__grpc_bytes(rn_text_of(signature->name));
    for (int32_t i = 0; i < p->output_count; i++) {
        tfs__tensor_entry__init(&entries[i]);
        entries[i].key = rn__grpc_bytes(rn_text_of(signature->outputs[p->outputs[i]].name));
        entries[i].value = &tensors[i].message;
        list[i] = &entries[i];
    }
    response.n_outputs = (size_t)p->output_count;
    response.outputs = list;
    response.model_spec = &spec.message;
    rn__grpc_answer(p->call, &response.base);
}

static void write_answer(rn_job *job)
{
    predict *p = (predict *)((char *)job - offsetof(predict, write));
    rn__grpc_tensor tensors[RN_PLAN_MAX_OUTPUTS] = {0};
    rn_error err;
    p->call->write_begin_us = rn_clock_us();
    if (p->request->status == RN_STATUS_OK) rn_timings_of_request(p->request, &p->call->timings);
    if (p->request->status != RN_STATUS_OK)
        rn__grpc_fail(p->call, &p->request->error);
    else if (write_tensors(p, tensors, &err) != RN_STATUS_OK)
        rn__grpc_fail(p->call, &err);
    else
        send_tensors(p, tensors);
    for (int32_t i = 0; i < p->output_count; i++) rn__grpc_tensor_deinit(&tensors[i]);
    rn_request_destroy(p->request);
    free(p);
}

/* On a thread of the engine, which has better to do than encode messages. */
static void on_done(rn_request *request)
{
    predict *p = request->context;
    rn_workers_continue(p->call->service->workers, &p->write);
}

/* ---- the beginning ---- */

static int compare_texts(const void *a, const void *b)
{
    const rn_text *x = a, *y = b;
    const int order = memcmp(x->at, y->at, x->bytes < y->bytes ? x->bytes : y->bytes);
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The keys of the inputs, in order, each once; returns how many. */
static size_t sort_keys(const Tfs__PredictRequest *message, rn_text *keys)
{
    size_t count = 0;
    for (size_t i = 0; i < message->n_inputs; i++) keys[i] = rn__grpc_text(message->inputs[i]->key);
    qsort(keys, message->n_inputs, sizeof *keys, compare_texts);
    for (size_t i = 0; i < message->n_inputs; i++)
        if (i == 0 || compare_texts(&keys[i], &keys[count - 1]) != 0) keys[count++] = keys[i];
    return count;
}

/* "a,b", leaving out the key `without`; cut where an error's message would be cut anyway. */
static const char *join(char out[RN_ERROR_MESSAGE_BYTES], const rn_text *keys, size_t count, const char *without)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && used < RN_ERROR_MESSAGE_BYTES; i++)
        if (!without || !rn_text_equals(keys[i], without))
            used += (size_t)snprintf(out + used, RN_ERROR_MESSAGE_BYTES - used, "%s%.*s", used ? "," : "", RN_TEXT_ARG(keys[i]));
    return out;
}

/* The only input of the signature, and no other. The last one counts of several with one key, as in any map. */
static rn_status find_input(const Tfs__PredictRequest *message, const rn_tensor_spec *spec, const Sm__Tensor **out, rn_error *err)
{
    const Tfs__TensorEntry *found = NULL;
    for (size_t i = 0; i < message->n_inputs; i++)
        if (rn_text_equals(rn__grpc_text(message->inputs[i]->key), spec->name)) found = message->inputs[i];
    rn_text *keys = malloc((message->n_inputs + 1) * sizeof *keys);
    if (!keys) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu inputs", message->n_inputs);
    const size_t count = sort_keys(message, keys);
    char all[RN_ERROR_MESSAGE_BYTES], extra[RN_ERROR_MESSAGE_BYTES];
    rn_status status = RN_STATUS_OK;
    if (count != 1)
        status =
            RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                    "input size does not match signature: %zu!=1 len({%s}) != len({%s}). Sent extra: {%s}. Missing but required: {%s}.",
                    count, join(all, keys, count, NULL), spec->name, join(extra, keys, count, spec->name), found ? "" : spec->name);
    else if (!found)
        status =
            RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                    "Signature input alias: %s(feed name: %s) not found in request and no default value provided. Inputs expected to be in "
                    "the request {%s}, or default input alias set: ",
                    spec->name, spec->tf_name, join(all, keys, count, NULL));
    else
        *out = found->value;
    free(keys);
    return status;
}

/* Without a filter, all outputs. */
static rn_status choose_outputs(const Tfs__PredictRequest *message, const rn_signature *signature, predict *p, rn_error *err)
{
    bool chosen[RN_PLAN_MAX_OUTPUTS] = {false};
    rn_text names[RN_PLAN_MAX_OUTPUTS];
    const int32_t count = signature->output_count;
    for (int32_t i = 0; i < count; i++) {
        names[i] = rn_text_of(signature->outputs[i].name);
        p->outputs[i] = i;
    }
    p->output_count = message->n_output_filter ? 0 : count;
    for (size_t f = 0; f < message->n_output_filter; f++) {
        const rn_text wanted = rn__grpc_text(message->output_filter[f]);
        int32_t found = 0;
        while (found < count && !rn_text_equals(wanted, signature->outputs[found].name)) found++;
        if (found == count) {
            char all[RN_ERROR_MESSAGE_BYTES];
            qsort(names, (size_t)count, sizeof names[0], compare_texts);
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                           "output tensor alias not found in signature: %.*s Outputs expected to be in the set {%s}.", RN_TEXT_ARG(wanted),
                           join(all, names, (size_t)count, NULL));
        }
        if (chosen[found]) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "duplicate output tensor alias: %.*s", RN_TEXT_ARG(wanted));
        chosen[found] = true;
        p->outputs[p->output_count++] = found;
    }
    return RN_STATUS_OK;
}

rn_status rn__grpc_predict_input(const Tfs__PredictRequest *message, const rn_model *model, const rn_signature **signature,
                                 const Sm__Tensor **tensor, rn_error *err)
{
    const rn_text name = rn__grpc_signature_name(message->model_spec);
    *signature = rn__grpc_signature(model, name);
    if (*signature) return find_input(message, &(*signature)->input, tensor, err);
    return RN_FAIL(err, RN_STATUS_FAILED_PRECONDITION, "Serving signature key \"%.*s\" not found.", RN_TEXT_ARG(name));
}

static rn_status read_message(const rn__grpc_call *call, rn_model *model, predict *p, rn_error *err)
{
    const Tfs__PredictRequest *message = message_of(call);
    const rn_signature *signature;
    const Sm__Tensor *tensor;
    RN_TRY(rn__grpc_predict_input(message, model, &signature, &tensor, err));
    RN_TRY(choose_outputs(message, signature, p, err));
    return rn__grpc_read_input(tensor, model, signature, call->service->max_request_bytes, &p->request, err);
}

static rn_status begin(rn__grpc_call *call, predict *p, rn_error *err)
{
    rn_model *model;
    RN_TRY(rn__grpc_acquire(call, message_of(call)->model_spec, &model, &p->version, err));
    const rn_status status = read_message(call, model, p, err);
    rn_model_release(model); /* the request holds its own reference */
    return status;
}

void rn__grpc_predict(rn__grpc_call *call)
{
    rn_error err;
    predict *p = calloc(1, sizeof *p);
    const rn_status status = p ? begin(call, p, &err) : RN_FAIL(&err, RN_STATUS_OUT_OF_MEMORY, "no memory for a predict call");
    if (status != RN_STATUS_OK) {
        free(p);
        rn__grpc_fail(call, &err);
        return;
    }
    p->call = call;
    p->write.run = write_answer;
    p->request->context = p;
    p->request->done = on_done;
    p->request->cancelled = &call->cancelled;
    p->request->begun_us = call->begin_us;
    p->request->deadline_us = call->deadline_us;
    call->timings.parse = rn_clock_us() - call->begin_us;
    rn_request_submit(p->request);
}
