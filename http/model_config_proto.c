/* Checks and words are those of model_servers/server_core.cc (ValidateModelConfigList) where it has them. */
#include "http/model_config_proto.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/text_proto.h"

enum { MAX_ENTRIES = 4096 }; /* of a list: each is compared with all others */

static rn_text text_of(ProtobufCBinaryData bytes)
{
    return bytes.len > 0 ? (rn_text){(const char *)bytes.data, bytes.len} : rn_text_of("");
}

static rn_status no_memory(rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a model's configuration");
}

static rn_status copy_text(ProtobufCBinaryData bytes, const char *what, char **out, rn_error *err)
{
    if (bytes.len > 0 && memchr(bytes.data, 0, bytes.len)) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s holds a zero byte", what);
    *out = strndup(bytes.len > 0 ? (const char *)bytes.data : "", bytes.len);
    return *out ? RN_STATUS_OK : no_memory(err);
}

static rn_status check_number(int64_t version, rn_error *err)
{
    if (version >= 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "version %" PRId64 " is negative", version);
}

static rn_status read_policy(const Config__VersionPolicy *policy, rn_version_policy *out, rn_error *err)
{
    out->kind = RN_VERSIONS_LATEST;
    out->latest_count = 1;
    if (!policy) return RN_STATUS_OK;
    switch (policy->policy_choice_case) {
    case CONFIG__VERSION_POLICY__POLICY_CHOICE_LATEST: {
        const uint32_t count = policy->latest->num_versions;
        if (count > 0) out->latest_count = count > INT32_MAX ? INT32_MAX : (int32_t)count;
        return RN_STATUS_OK;
    }
    case CONFIG__VERSION_POLICY__POLICY_CHOICE_ALL:
        out->kind = RN_VERSIONS_ALL;
        return RN_STATUS_OK;
    case CONFIG__VERSION_POLICY__POLICY_CHOICE_SPECIFIC: {
        const size_t count = policy->specific->n_versions;
        out->kind = RN_VERSIONS_SPECIFIC;
        if (count > MAX_ENTRIES) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "more than %d specific versions", MAX_ENTRIES);
        out->specific = calloc(count + 1, sizeof *out->specific);
        if (!out->specific) return no_memory(err);
        for (size_t i = 0; i < count; i++) {
            RN_TRY(check_number(policy->specific->versions[i], err));
            out->specific[out->specific_count++] = policy->specific->versions[i];
        }
        return RN_STATUS_OK;
    }
    default:
        return RN_STATUS_OK;
    }
}

/* Of two entries for a label the last one counts, as in any map. */
static rn_status read_labels(const Config__ModelConfig *from, rn_model_config *out, rn_error *err)
{
    if (from->n_version_labels > MAX_ENTRIES) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "more than %d version labels", MAX_ENTRIES);
    out->labels = calloc(from->n_version_labels + 1, sizeof *out->labels);
    if (!out->labels) return no_memory(err);
    for (size_t i = 0; i < from->n_version_labels; i++) {
        const Config__VersionLabel *entry = from->version_labels[i];
        const rn_text label = text_of(entry->key);
        int32_t at = 0;
        if (label.bytes == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "a version label is empty");
        RN_TRY(check_number(entry->value, err));
        while (at < out->label_count && !rn_text_equals(label, out->labels[at].label)) at++;
        out->labels[at].version = entry->value;
        if (at < out->label_count) continue;
        RN_TRY(copy_text(entry->key, "a version label", &out->labels[at].label, err));
        out->label_count++;
    }
    return RN_STATUS_OK;
}

static rn_status read_model(const Config__ModelConfig *from, rn_model_config *out, rn_error *err)
{
    const rn_text platform = text_of(from->model_platform);
    RN_TRY(copy_text(from->name, "the name", &out->name, err));
    RN_TRY(copy_text(from->base_path, "base_path", &out->base_path, err));
    if (!*out->base_path) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "base_path is missing");
    if (platform.bytes > 0 && !rn_text_equals(platform, "tensorflow"))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "model_platform \"%.*s\": expected \"tensorflow\"", RN_TEXT_ARG(platform));
    if (from->model_type == CONFIG__MODEL_CONFIG__TYPE__OTHER)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "model_type OTHER: expected TENSORFLOW");
    RN_TRY(read_policy(from->model_version_policy, &out->policy, err));
    return read_labels(from, out, err);
}

static rn_status read_models(rn_model_configs *out, const Config__ModelConfigList *list, rn_error *err)
{
    if (list->n_config > MAX_ENTRIES) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "more than %d models", MAX_ENTRIES);
    out->models = calloc(list->n_config + 1, sizeof *out->models);
    if (!out->models) return no_memory(err);
    for (size_t i = 0; i < list->n_config; i++) {
        const rn_text name = text_of(list->config[i]->name);
        rn_model_config *model = &out->models[out->count++]; /* counted first, so that a half-read one is freed */
        RN_TRY(rn_model_config_check_name(name, err));
        const rn_status status = read_model(list->config[i], model, err);
        if (status != RN_STATUS_OK) {
            rn_error_prefix(err, "model %.*s", RN_TEXT_ARG(name));
            return status;
        }
        for (size_t j = 0; j < i; j++)
            if (strcmp(out->models[j].name, model->name) == 0)
                return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Illegal to list model %s multiple times in config list", model->name);
    }
    return RN_STATUS_OK;
}

rn_status rn_model_configs_init_message(rn_model_configs *out, const Config__ModelConfigList *list, rn_error *err)
{
    *out = (rn_model_configs){0};
    const rn_status status = read_models(out, list, err);
    if (status != RN_STATUS_OK) rn_model_configs_deinit(out);
    return status;
}

rn_status rn_model_configs_init_text(rn_model_configs *out, rn_text text, const char *source, rn_error *err)
{
    ProtobufCMessage *message;
    rn_status status;
    RN_TRY(rn_text_proto_parse(text, source, &config__model_server_config__descriptor, &message, err));
    const Config__ModelServerConfig *config = (const Config__ModelServerConfig *)message;
    if (config->config_case == CONFIG__MODEL_SERVER_CONFIG__CONFIG_MODEL_CONFIG_LIST)
        status = rn_model_configs_init_message(out, config->model_config_list, err);
    else
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "expected a model_config_list");
    if (status != RN_STATUS_OK) rn_error_prefix(err, "%s", source);
    protobuf_c_message_free_unpacked(message, NULL);
    return status;
}
