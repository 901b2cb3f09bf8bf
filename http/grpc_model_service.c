/* ModelService: model_servers/get_model_status_impl.cc, model_service_impl.cc. */
#include <stdlib.h>

#include "http/grpc_tfs.h"
#include "http/model_config_proto.h"
#include "http/status_map.h"

/* Moves those of `versions` that `spec` asks for to the front; a label is not looked at, as in TensorFlow Serving. */
static rn_status choose_versions(const Tfs__ModelSpec *spec, rn_version_info *versions, int32_t *count, rn_error *err)
{
    const rn_text name = rn__grpc_text(spec->name);
    if (spec->version_choice_case != TFS__MODEL_SPEC__VERSION_CHOICE_VERSION) {
        if (*count > 0) return RN_STATUS_OK;
        return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Could not find any versions of model %.*s", RN_TEXT_ARG(name));
    }
    const int64_t wanted = spec->version->value;
    for (int32_t i = 0; i < *count; i++) {
        if (versions[i].version != wanted) continue;
        versions[0] = versions[i];
        *count = 1;
        return RN_STATUS_OK;
    }
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Could not find version %lld of model %.*s", (long long)wanted, RN_TEXT_ARG(name));
}

/* One entry of the answer, with what it points to. */
typedef struct {
    Tfs__GetModelStatusResponse__VersionStatus message;
    Tfs__GetModelStatusResponse__Status status;
} status_entry;

static void fill_entry(status_entry *entry, const rn_version_info *info)
{
    tfs__get_model_status_response__version_status__init(&entry->message);
    tfs__get_model_status_response__status__init(&entry->status);
    entry->status.error_code = rn_status_grpc_code(info->status);
    entry->status.error_message = (char *)info->message;
    entry->message.version = info->version;
    entry->message.state = (Tfs__GetModelStatusResponse__State)info->state; /* the same numbers */
    entry->message.status = &entry->status;
}

static rn_status answer_status(rn__grpc_call *call, const rn_version_info *versions, int32_t count, rn_error *err)
{
    Tfs__GetModelStatusResponse response = TFS__GET_MODEL_STATUS_RESPONSE__INIT;
    status_entry *entries = calloc((size_t)count, sizeof *entries);
    response.model_version_status = calloc((size_t)count, sizeof *response.model_version_status);
    response.n_model_version_status = (size_t)count;
    const bool complete = entries && response.model_version_status;
    for (int32_t i = 0; complete && i < count; i++) {
        fill_entry(&entries[i], &versions[i]);
        response.model_version_status[i] = &entries[i].message;
    }
    if (complete) rn__grpc_answer(call, &response.base);
    free(response.model_version_status);
    free(entries);
    return complete ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the status of %d versions", count);
}

static rn_status get_status(rn__grpc_call *call, rn_error *err)
{
    const Tfs__ModelSpec *spec = ((const Tfs__GetModelStatusRequest *)call->request)->model_spec;
    rn_version_info *versions;
    int32_t count;
    if (!spec) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Missing ModelSpec");
    RN_TRY(rn_serving_list(call->service->serving, rn__grpc_text(spec->name), false, &versions, &count, err));
    rn_status status = choose_versions(spec, versions, &count, err);
    if (status == RN_STATUS_OK) status = answer_status(call, versions, count, err);
    free(versions);
    return status;
}

void rn__grpc_get_model_status(rn__grpc_call *call)
{
    rn_error err;
    if (get_status(call, &err) != RN_STATUS_OK) rn__grpc_fail(call, &err);
}

/* ---- reload ---- */

typedef struct {
    rn_change change;
    rn_model_configs configs;
    rn__grpc_call *call;
} reload;

/* Whatever keeps a model from becoming available is UNKNOWN here, as TensorFlow Serving has it; labels have a status of their own. */
static rn_error as_reported(const rn_error *err)
{
    rn_error out = *err;
    if (err->status != RN_STATUS_FAILED_PRECONDITION && err->status != RN_STATUS_CANCELLED) out.status = RN_STATUS_UNKNOWN;
    return out;
}

static void on_reloaded(rn_change *change, const rn_error *err)
{
    reload *r = (reload *)change; /* its first member */
    Tfs__ReloadConfigResponse__Status ok = TFS__RELOAD_CONFIG_RESPONSE__STATUS__INIT;
    Tfs__ReloadConfigResponse response = TFS__RELOAD_CONFIG_RESPONSE__INIT;
    response.status = &ok;
    if (err) {
        const rn_error reported = as_reported(err);
        rn__grpc_fail(r->call, &reported);
    } else {
        rn__grpc_answer(r->call, &response.base);
    }
    rn_model_configs_deinit(&r->configs);
    free(r);
}

static rn_status begin_reload(rn__grpc_call *call, rn_error *err)
{
    const Config__ModelServerConfig *config = ((const Tfs__ReloadConfigRequest *)call->request)->config;
    if (!config || config->config_case != CONFIG__MODEL_SERVER_CONFIG__CONFIG_MODEL_CONFIG_LIST)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported");
    reload *r = calloc(1, sizeof *r);
    if (!r) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a configuration");
    const rn_status status = rn_model_configs_init_message(&r->configs, config->model_config_list, err);
    if (status != RN_STATUS_OK) {
        free(r);
        return status;
    }
    r->change = (rn_change){.kind = RN_CHANGE_CONFIGURE, .configs = &r->configs, .done = on_reloaded};
    r->call = call;
    rn_serving_submit(call->service->serving, &r->change);
    return RN_STATUS_OK;
}

/* Answered when all models are available, or one has been given up. */
void rn__grpc_reload_config(rn__grpc_call *call)
{
    rn_error err;
    if (begin_reload(call, &err) != RN_STATUS_OK) rn__grpc_fail(call, &err);
}
