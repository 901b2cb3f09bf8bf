/* Which model a call means: model_servers/server_core.cc (ServableRequestFromModelSpec), core/manager.h. */
#include "http/grpc_tfs.h"

static rn_status find(const rn_service *service, const Tfs__ModelSpec *spec, rn_model **out, int64_t *version, rn_error *err)
{
    if (!spec) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Missing ModelSpec");
    if (spec->name.len == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "ModelSpec has no name specified.");
    const rn_text name = rn__grpc_text(spec->name);
    rn_text label = {0};
    int64_t wanted = RN_LATEST_VERSION;
    if (spec->version_choice_case == TFS__MODEL_SPEC__VERSION_CHOICE_VERSION_LABEL) label = rn__grpc_text(spec->version_label);
    if (spec->version_choice_case == TFS__MODEL_SPEC__VERSION_CHOICE_VERSION) {
        wanted = spec->version->value;
        if (wanted < 0) /* RN_LATEST_VERSION is negative */
            return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Servable not found for request: Specific(%.*s, %lld)", RN_TEXT_ARG(name),
                           (long long)wanted);
    }
    return rn_serving_acquire(service->serving, name, wanted, label, out, version, err);
}

rn_status rn__grpc_acquire(rn__grpc_call *call, const Tfs__ModelSpec *spec, rn_model **out, int64_t *version, rn_error *err)
{
    RN_TRY(find(call->service, spec, out, version, err));
    call->asked_model = rn_model_metrics_of(*out);
    return RN_STATUS_OK;
}

rn_text rn__grpc_signature_name(const Tfs__ModelSpec *spec)
{
    return spec->signature_name.len > 0 ? rn__grpc_text(spec->signature_name) : rn_text_of("serving_default");
}

const rn_signature *rn__grpc_signature(const rn_model *model, rn_text name)
{
    const rn_plan *plan = rn_model_plan(model);
    for (int32_t i = 0; i < plan->signature_count; i++)
        if (rn_text_equals(name, plan->signatures[i].name)) return &plan->signatures[i];
    return NULL;
}

void rn__grpc_model_spec_init(rn__grpc_model_spec *out, ProtobufCBinaryData name, int64_t version)
{
    tfs__model_spec__init(&out->message);
    tfs__int64_value__init(&out->version);
    out->version.value = version;
    out->message.name = name;
    out->message.version_choice_case = TFS__MODEL_SPEC__VERSION_CHOICE_VERSION;
    out->message.version = &out->version;
}
