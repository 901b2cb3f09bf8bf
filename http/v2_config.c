/* GET /v2/models/NAME/config: what clients look at before they send batches, such as Triton's image client and its load generator.
 *
 * Fields without a meaning here (ensembles, sequences, optimisation, files) are left out, which readers of protocol buffers take for their
 * defaults. max_batch_size is the largest batch that runs in one piece; larger requests are served in several. */
#include "http/v2_config.h"

rn_status rn__v2_config_open(const rn_service *service, rn_text name, int64_t version, rn_text label, const char *signature_name,
                             rn__v2_config *out, rn_error *err)
{
    int64_t found;
    *out = (rn__v2_config){0};
    RN_TRY(rn__v2_acquire(service, name, version, label, &out->model, &found, err));
    rn_status status = rn__v2_signature(out->model, signature_name, &out->signature, err);
    if (status == RN_STATUS_OK) status = rn_serving_config_of(service->serving, name, &out->config, err);
    if (status != RN_STATUS_OK) {
        rn_model_release(out->model);
        return status;
    }
    out->scheduling = rn_model_scheduling_of(out->model);
    return RN_STATUS_OK;
}

void rn__v2_config_close(rn__v2_config *config)
{
    rn_model_config_deinit(&config->config);
    rn_model_release(config->model);
}

rn__v2_config_type rn__v2_config_type_of(const rn_tensor_spec *spec)
{
    static const rn__v2_config_type types[RN_DTYPE_COUNT] = {
        [RN_DTYPE_F32] = {11, "TYPE_FP32"},     [RN_DTYPE_F16] = {10, "TYPE_FP16"}, [RN_DTYPE_BF16] = {14, "TYPE_BF16"},
        [RN_DTYPE_U8] = {2, "TYPE_UINT8"},      [RN_DTYPE_I32] = {8, "TYPE_INT32"}, [RN_DTYPE_I64] = {9, "TYPE_INT64"},
        [RN_DTYPE_STRING] = {13, "TYPE_STRING"}};
    return types[spec->dtype];
}

bool rn__v2_config_is_nhwc(const rn_tensor_spec *spec)
{
    return spec->rank == 4 && spec->dtype != RN_DTYPE_STRING;
}

/* ---- REST ---- */

static void write_int(rn_json_writer *out, const char *key, int64_t value)
{
    rn_json_key(out, rn_text_of(key));
    rn_json_int_value(out, value);
}

static void write_tensor(rn_json_writer *out, const rn_tensor_spec *spec, bool is_input)
{
    rn_json_begin_object(out);
    rn_json_string_member(out, "name", spec->name);
    rn_json_string_member(out, "data_type", rn__v2_config_type_of(spec).name);
    if (is_input) rn_json_string_member(out, "format", rn__v2_config_is_nhwc(spec) ? "FORMAT_NHWC" : "FORMAT_NONE");
    rn_json_key(out, rn_text_of("dims"));
    rn_json_begin_array(out);
    for (int32_t i = 1; i < spec->rank; i++) rn_json_int_value(out, spec->dims[i]);
    rn_json_end_array(out);
    rn_json_end_object(out);
}

static void write_policy(rn_json_writer *out, const rn_version_policy *policy)
{
    static const char *const names[] = {[RN_VERSIONS_LATEST] = "latest", [RN_VERSIONS_ALL] = "all", [RN_VERSIONS_SPECIFIC] = "specific"};
    rn_json_key(out, rn_text_of("version_policy"));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of(names[policy->kind]));
    rn_json_begin_object(out);
    if (policy->kind == RN_VERSIONS_LATEST) write_int(out, "num_versions", policy->latest_count);
    if (policy->kind == RN_VERSIONS_SPECIFIC) {
        rn_json_key(out, rn_text_of("versions"));
        rn_json_begin_array(out);
        for (int32_t i = 0; i < policy->specific_count; i++) rn_json_int_value(out, policy->specific[i]);
        rn_json_end_array(out);
    }
    rn_json_end_object(out);
    rn_json_end_object(out);
}

static void write_instances(rn_json_writer *out, const rn__v2_config *config)
{
    rn_json_key(out, rn_text_of("instance_group"));
    rn_json_begin_array(out);
    rn_json_begin_object(out);
    rn_json_string_member(out, "name", config->config.name);
    rn_json_string_member(out, "kind", strcmp(config->scheduling.backend, "cpu") == 0 ? "KIND_CPU" : "KIND_GPU");
    write_int(out, "count", config->scheduling.device_count);
    rn_json_end_object(out);
    rn_json_end_array(out);
}

static void write_batching(rn_json_writer *out, const rn_model_scheduling *scheduling)
{
    if (scheduling->one_at_a_time) return;
    rn_json_key(out, rn_text_of("dynamic_batching"));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("preferred_batch_size"));
    rn_json_begin_array(out);
    rn_json_end_array(out);
    write_int(out, "max_queue_delay_microseconds", scheduling->gather_us);
    rn_json_end_object(out);
}

static void write_config(rn_json_writer *out, const rn__v2_config *config)
{
    out->compact = true;
    rn_json_begin_object(out);
    rn_json_string_member(out, "name", config->config.name);
    rn_json_string_member(out, "platform", RN__V2_PLATFORM);
    rn_json_string_member(out, "backend", RN__V2_BACKEND);
    write_policy(out, &config->config.policy);
    write_int(out, "max_batch_size", config->scheduling.max_batch);
    rn_json_key(out, rn_text_of("input"));
    rn_json_begin_array(out);
    write_tensor(out, &config->signature->input, true);
    rn_json_end_array(out);
    rn_json_key(out, rn_text_of("output"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < config->signature->output_count; i++) write_tensor(out, &config->signature->outputs[i], false);
    rn_json_end_array(out);
    write_instances(out, config);
    write_batching(out, &config->scheduling);
    rn_json_key(out, rn_text_of("model_transaction_policy"));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("decoupled"));
    rn_json_bool_value(out, false);
    rn_json_end_object(out);
    rn_json_end_object(out);
}

void rn__v2_config_page(rn_exchange *x)
{
    rn__v2_config config;
    char signature_name[RN_PLAN_NAME_BYTES];
    rn_error err;
    rn__v2_query_value(x, "signature_name", signature_name, sizeof signature_name);
    if (rn__v2_config_open(x->service, x->target.model, x->target.version, x->target.label, signature_name, &config, &err) !=
        RN_STATUS_OK) {
        rn__v2_fail(x, &err);
        return;
    }
    x->asked_model = rn_model_metrics_of(config.model);
    write_config(&x->answer, &config);
    rn__v2_config_close(&config);
    rn_exchange_answer(x);
}
