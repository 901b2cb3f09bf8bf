/* ModelService: model_servers/get_model_status_impl.cc, model_service_impl.cc. */
#include "http/grpc_tfs.h"

enum { MAX_VERSIONS = 256 };

/* The versions that `spec` asks for; a label is not looked at, as in TensorFlow Serving. */
static rn_status find_versions(const rn__grpc_call *call, int64_t *versions, int32_t *count, rn_error *err)
{
    const Tfs__ModelSpec *spec = ((const Tfs__GetModelStatusRequest *)call->request)->model_spec;
    if (!spec) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Missing ModelSpec");
    const rn_text name = rn__grpc_text(spec->name);
    *count = rn_serving_versions(call->service->serving, name, versions, MAX_VERSIONS);
    if (*count > MAX_VERSIONS) *count = MAX_VERSIONS;
    if (spec->version_choice_case != TFS__MODEL_SPEC__VERSION_CHOICE_VERSION) {
        if (*count > 0) return RN_STATUS_OK;
        return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Could not find any versions of model %.*s", RN_TEXT_ARG(name));
    }
    const int64_t wanted = spec->version->value;
    for (int32_t i = 0; i < *count; i++) {
        if (versions[i] != wanted) continue;
        versions[0] = wanted;
        *count = 1;
        return RN_STATUS_OK;
    }
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Could not find version %lld of model %.*s", (long long)wanted, RN_TEXT_ARG(name));
}

void rn__grpc_get_model_status(rn__grpc_call *call)
{
    int64_t versions[MAX_VERSIONS];
    int32_t count = 0;
    rn_error err;
    if (find_versions(call, versions, &count, &err) != RN_STATUS_OK) {
        rn__grpc_fail(call, &err);
        return;
    }
    Tfs__GetModelStatusResponse response = TFS__GET_MODEL_STATUS_RESPONSE__INIT;
    Tfs__GetModelStatusResponse__Status ok = TFS__GET_MODEL_STATUS_RESPONSE__STATUS__INIT;
    Tfs__GetModelStatusResponse__VersionStatus entries[MAX_VERSIONS], *list[MAX_VERSIONS];
    for (int32_t i = 0; i < count; i++) {
        tfs__get_model_status_response__version_status__init(&entries[i]);
        entries[i].version = versions[i];
        entries[i].state = TFS__GET_MODEL_STATUS_RESPONSE__STATE__AVAILABLE;
        entries[i].status = &ok;
        list[i] = &entries[i];
    }
    response.n_model_version_status = (size_t)count;
    response.model_version_status = list;
    rn__grpc_answer(call, &response.base);
}

void rn__grpc_reload_config(rn__grpc_call *call)
{
    const Tfs__ReloadConfigRequest__Config *config = ((const Tfs__ReloadConfigRequest *)call->request)->config;
    rn_error err;
    if (config && config->config_case == TFS__RELOAD_CONFIG_REQUEST__CONFIG__CONFIG_MODEL_CONFIG_LIST)
        RN_FAIL(&err, RN_STATUS_UNSUPPORTED,
                "Models are named when the server starts, by --model_name and --model_base_path; start it anew.");
    else
        RN_FAIL(&err, RN_STATUS_INVALID_ARGUMENT,
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported");
    rn__grpc_fail(call, &err);
}
