/* Which models: made from flags here, from protocol buffers in model_config_proto.c. */
#include "http/model_config.h"

#include <stdlib.h>

rn_status rn_model_config_check_name(rn_text name, rn_error *err)
{
    if (name.bytes == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "the model's name is empty");
    for (size_t i = 0; i < name.bytes; i++)
        if (name.at[i] == '/' || name.at[i] == ':' || (unsigned char)name.at[i] < ' ')
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "model name \"%.*s\": it holds '/', ':' or a control character", RN_TEXT_ARG(name));
    return RN_STATUS_OK;
}

rn_status rn_model_configs_init_single(rn_model_configs *out, const char *name, const char *base_path, rn_error *err)
{
    *out = (rn_model_configs){0};
    RN_TRY(rn_model_config_check_name(rn_text_of(name), err));
    rn_model_config model = {.name = (char *)name, .base_path = (char *)base_path, .policy.latest_count = 1};
    out->models = calloc(1, sizeof *out->models);
    if (!out->models) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a model's configuration");
    out->count = 1;
    const rn_status status = rn_model_config_copy(&model, &out->models[0], err);
    if (status != RN_STATUS_OK) rn_model_configs_deinit(out);
    return status;
}

void rn_model_config_deinit(rn_model_config *config)
{
    for (int32_t i = 0; i < config->label_count; i++) free(config->labels[i].label);
    free(config->labels);
    free(config->policy.specific);
    free(config->name);
    free(config->base_path);
    *config = (rn_model_config){0};
}

void rn_model_configs_deinit(rn_model_configs *configs)
{
    for (int32_t i = 0; i < configs->count; i++) rn_model_config_deinit(&configs->models[i]);
    free(configs->models);
    *configs = (rn_model_configs){0};
}

/* A copy of `bytes` bytes; of none, something to be freed all the same. */
static void *copy(const void *from, size_t bytes)
{
    void *out = malloc(bytes + 1);
    if (out && bytes > 0) memcpy(out, from, bytes);
    return out;
}

rn_status rn_model_config_copy(const rn_model_config *from, rn_model_config *out, rn_error *err)
{
    *out = (rn_model_config){.policy = from->policy};
    out->name = strdup(from->name);
    out->base_path = strdup(from->base_path);
    out->policy.specific = copy(from->policy.specific, (size_t)from->policy.specific_count * sizeof *out->policy.specific);
    out->labels = calloc((size_t)from->label_count + 1, sizeof *out->labels);
    bool complete = out->name && out->base_path && out->policy.specific && out->labels;
    for (int32_t i = 0; complete && i < from->label_count; i++) {
        out->labels[i] = (rn_version_label){.label = strdup(from->labels[i].label), .version = from->labels[i].version};
        out->label_count++;
        complete = out->labels[i].label != NULL;
    }
    if (complete) return RN_STATUS_OK;
    rn_model_config_deinit(out);
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a model's configuration");
}

bool rn_version_policy_wants(const rn_version_policy *policy, int64_t number, int32_t rank)
{
    switch (policy->kind) {
    case RN_VERSIONS_LATEST:
        return rank < policy->latest_count;
    case RN_VERSIONS_ALL:
        return true;
    default:
        for (int32_t i = 0; i < policy->specific_count; i++)
            if (policy->specific[i] == number) return true;
        return false;
    }
}
