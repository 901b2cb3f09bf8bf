/* PredictionService.Classify, Regress and MultiInference: servables/tensorflow/classifier.cc, regressor.cc, multi_inference.cc. They take
 * serialized Examples, which no image network's signature does: after the checks of model and signature every call ends in the refusal that
 * TensorFlow Serving gives for such a signature. */
#include "http/grpc_tfs.h"

static rn_status refuse(const char *kind, rn_text signature, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_FAILED_PRECONDITION,
                   "No %s inputs found in SignatureDef: %.*s takes no serialized Examples. Send pictures or pixels to Predict.", kind,
                   RN_TEXT_ARG(signature));
}

static rn_status check_examples(rn__grpc_call *call, const char *kind, const char *method, rn_error *err)
{
    const Tfs__ModelSpec *spec = ((const Tfs__ExamplesRequest *)call->request)->model_spec;
    rn_model *model;
    int64_t version;
    RN_TRY(rn__grpc_acquire(call, spec, &model, &version, err));
    const rn_text name = rn__grpc_signature_name(spec);
    const rn_signature *signature = rn__grpc_signature(model, name);
    rn_status status;
    if (!signature)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "No signature was found with the name: %.*s", RN_TEXT_ARG(name));
    else if (call->service->checks_method_names)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, RN__TFS_METHOD_NAME_ERROR, kind, method, signature->method_name);
    else
        status = refuse(kind, name, err);
    rn_model_release(model);
    return status;
}

/* The first task decides: there is none that could succeed. */
static rn_status check_tasks(rn__grpc_call *call, rn_error *err)
{
    const Tfs__MultiInferenceRequest *request = (const Tfs__MultiInferenceRequest *)call->request;
    const Tfs__ModelSpec none = TFS__MODEL_SPEC__INIT;
    const Tfs__MultiInferenceRequest__Task *task = request->n_tasks > 0 ? request->tasks[0] : NULL;
    const Tfs__ModelSpec *spec = task && task->model_spec ? task->model_spec : &none;
    rn_model *model;
    int64_t version;
    RN_TRY(rn__grpc_acquire(call, spec, &model, &version, err));
    const rn_text name = rn__grpc_signature_name(spec), method = rn__grpc_text(task->method_name);
    const bool known = rn__grpc_signature(model, name) != NULL;
    rn_model_release(model);
    if (!known) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Requested signature not found in model graph: %.*s", RN_TEXT_ARG(name));
    if (rn_text_equals(method, RN__TFS_CLASSIFY_METHOD)) return refuse("classification", name, err);
    if (rn_text_equals(method, RN__TFS_REGRESS_METHOD)) return refuse("regression", name, err);
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "Unsupported signature method_name: %.*s", RN_TEXT_ARG(method));
}

void rn__grpc_classify(rn__grpc_call *call)
{
    rn_error err = {.status = RN_STATUS_INTERNAL};
    check_examples(call, "classification", RN__TFS_CLASSIFY_METHOD, &err);
    rn__grpc_fail(call, &err);
}

void rn__grpc_regress(rn__grpc_call *call)
{
    rn_error err = {.status = RN_STATUS_INTERNAL};
    check_examples(call, "regression", RN__TFS_REGRESS_METHOD, &err);
    rn__grpc_fail(call, &err);
}

void rn__grpc_multi_inference(rn__grpc_call *call)
{
    rn_error err = {.status = RN_STATUS_INTERNAL};
    check_tasks(call, &err);
    rn__grpc_fail(call, &err);
}
