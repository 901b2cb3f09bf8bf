/* GRPCInferenceService's answers about the server and its models. */
#include "http/grpc_v2.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/base/version.h"

rn_status rn__grpc_v2_version(ProtobufCBinaryData field, int64_t *out, rn_error *err)
{
    const rn_text text = rn__grpc_text(field);
    int64_t version = 0;
    bool valid = true;
    for (size_t i = 0; i < text.bytes && valid; i++)
        valid = text.at[i] >= '0' && text.at[i] <= '9' && !__builtin_mul_overflow(version, 10, &version) &&
                !__builtin_add_overflow(version, text.at[i] - '0', &version);
    if (!valid)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "failed to get model version from specified version string '%.*s', version should be an integral value > 0",
                       RN_TEXT_ARG(text));
    *out = text.bytes ? version : RN_LATEST_VERSION;
    return RN_STATUS_OK;
}

rn_status rn__grpc_v2_acquire(rn__grpc_call *call, ProtobufCBinaryData name, ProtobufCBinaryData version, rn_model **out, int64_t *found,
                              rn_error *err)
{
    int64_t wanted = RN_LATEST_VERSION;
    RN_TRY(rn__grpc_v2_version(version, &wanted, err));
    const rn_text no_label = {NULL, 0};
    RN_TRY(rn__v2_acquire(call->service, rn__grpc_text(name), wanted, no_label, out, found, err));
    call->asked_model = rn_model_metrics_of(*out);
    return RN_STATUS_OK;
}

/* ---- the server ---- */

void rn__grpc_v2_server_live(rn__grpc_call *call)
{
    V2__ServerLiveResponse response = V2__SERVER_LIVE_RESPONSE__INIT;
    response.live = true;
    rn__grpc_answer(call, &response.base);
}

void rn__grpc_v2_server_ready(rn__grpc_call *call)
{
    V2__ServerReadyResponse response = V2__SERVER_READY_RESPONSE__INIT;
    response.ready = rn_serving_is_ready(call->service->serving);
    rn__grpc_answer(call, &response.base);
}

void rn__grpc_v2_server_metadata(rn__grpc_call *call)
{
    V2__ServerMetadataResponse response = V2__SERVER_METADATA_RESPONSE__INIT;
    response.name = rn__grpc_unconst("resnetd");
    response.version = rn__grpc_unconst(rn_version);
    response.n_extensions = (size_t)rn__v2_extension_count;
    response.extensions = (char **)rn__v2_extensions;
    rn__grpc_answer(call, &response.base);
}

/* ---- a model ---- */

/* An unknown model is an error, as in Triton; KServe's clients take both for "not ready". */
void rn__grpc_v2_model_ready(rn__grpc_call *call)
{
    const V2__ModelRequest *request = (const V2__ModelRequest *)call->request;
    V2__ModelReadyResponse response = V2__MODEL_READY_RESPONSE__INIT;
    rn_model *model;
    int64_t version;
    rn_error err;
    if (rn__grpc_v2_acquire(call, request->name, request->version, &model, &version, &err) != RN_STATUS_OK) {
        rn__grpc_fail(call, &err);
        return;
    }
    rn_model_release(model);
    response.ready = rn_serving_is_ready(call->service->serving);
    rn__grpc_answer(call, &response.base);
}

static void init_tensor(V2__TensorMetadata *out, const rn_tensor_spec *spec)
{
    v2__tensor_metadata__init(out);
    out->name = rn__grpc_unconst(spec->name);
    out->datatype = rn__grpc_unconst(rn__v2_datatype(spec));
    out->n_shape = (size_t)spec->rank;
    out->shape = (int64_t *)spec->dims;
}

static void send_metadata(rn__grpc_call *call, const rn_signature *signature, const rn__v2_versions *versions)
{
    V2__ModelMetadataResponse response = V2__MODEL_METADATA_RESPONSE__INIT;
    V2__TensorMetadata input, outputs[RN_PLAN_MAX_OUTPUTS], *input_list[] = {&input}, *output_list[RN_PLAN_MAX_OUTPUTS];
    char *version_list[RN__V2_MAX_VERSIONS];
    init_tensor(&input, &signature->input);
    for (int32_t i = 0; i < signature->output_count; i++) {
        init_tensor(&outputs[i], &signature->outputs[i]);
        output_list[i] = &outputs[i];
    }
    for (int32_t i = 0; i < versions->count; i++) version_list[i] = rn__grpc_unconst(versions->text[i]);
    response.name = ((const V2__ModelRequest *)call->request)->name;
    response.platform = rn__grpc_unconst(RN__V2_PLATFORM);
    response.n_versions = (size_t)versions->count;
    response.versions = version_list;
    response.n_inputs = 1;
    response.inputs = input_list;
    response.n_outputs = (size_t)signature->output_count;
    response.outputs = output_list;
    rn__grpc_answer(call, &response.base);
}

void rn__grpc_v2_model_metadata(rn__grpc_call *call)
{
    const V2__ModelRequest *request = (const V2__ModelRequest *)call->request;
    const rn_signature *signature;
    rn__v2_versions versions;
    rn_model *model = NULL;
    int64_t version;
    rn_error err;
    rn_status status = rn__grpc_v2_acquire(call, request->name, request->version, &model, &version, &err);
    if (status == RN_STATUS_OK) status = rn__v2_signature(model, "", &signature, &err);
    if (status == RN_STATUS_OK) status = rn__v2_list_versions(call->service->serving, rn__grpc_text(request->name), &versions, &err);
    if (status == RN_STATUS_OK)
        send_metadata(call, signature, &versions);
    else
        rn__grpc_fail(call, &err);
    rn_model_release(model);
}

void rn__grpc_v2_stream(rn__grpc_call *call)
{
    rn_error err;
    RN_FAIL(&err, RN_STATUS_UNSUPPORTED, "ModelStreamInfer of %s is not supported: send each request with ModelInfer", RN__GRPC_V2_SERVICE);
    rn__grpc_fail(call, &err);
}
