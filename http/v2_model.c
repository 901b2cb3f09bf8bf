/* What the protocol tells about a model, and the answers that all its REST handlers share. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/status_map.h"
#include "http/v2.h"
#include "kernels/base/version.h"

const char *const rn__v2_extensions[] = {"classification",     "model_repository", "schedule_policy",
                                         "binary_tensor_data", "parameters",       "statistics",     "model_configuration"};
const int32_t rn__v2_extension_count = sizeof rn__v2_extensions / sizeof rn__v2_extensions[0];

/* ---- errors and queries ---- */

static void send_error(rn_exchange *x, int32_t code, const char *message)
{
    rn_json_writer *out = &x->answer;
    rn_json_writer_deinit(out);
    rn_json_writer_init(out);
    out->compact = true;
    x->content_type = "application/json";
    rn__write_error(out, message);
    rn_exchange_answer_code(x, code);
}

void rn__v2_fail(rn_exchange *x, const rn_error *err)
{
    send_error(x, rn_status_http_code(err->status), err->message);
}

void rn__v2_fail_code(rn_exchange *x, int32_t code, const char *format, ...)
{
    char message[RN_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    send_error(x, code, message);
}

void rn__v2_query_value(const rn_exchange *x, const char *name, char *out, size_t capacity)
{
    const size_t name_bytes = strlen(name);
    const char *limit = x->path.at + x->path.bytes, *p = memchr(x->path.at, '?', x->path.bytes);
    out[0] = '\0';
    while (p && p < limit) {
        p++;
        const char *end = memchr(p, '&', (size_t)(limit - p));
        if (!end) end = limit;
        if ((size_t)(end - p) > name_bytes && memcmp(p, name, name_bytes) == 0 && p[name_bytes] == '=') {
            const char *value = p + name_bytes + 1;
            snprintf(out, capacity, "%.*s", (int)(end - value), value);
            return;
        }
        p = end;
    }
}

/* ---- models ---- */

rn_status rn__v2_acquire(const rn_service *service, rn_text name, int64_t version, rn_text label, rn_model **out, int64_t *found,
                         rn_error *err)
{
    const rn_status status = rn_serving_acquire(service->serving, name, version, label, out, found, err);
    if (status != RN_STATUS_NOT_FOUND) return status;
    if (version == RN_LATEST_VERSION)
        return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Request for unknown model: '%.*s' is not found", RN_TEXT_ARG(name));
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Request for unknown model: '%.*s' version %lld is not found", RN_TEXT_ARG(name),
                   (long long)version);
}

rn_status rn__v2_list_versions(rn_serving *serving, rn_text name, rn__v2_versions *out, rn_error *err)
{
    rn_version_info *infos;
    int32_t count;
    out->count = 0;
    RN_TRY(rn_serving_list(serving, name, false, &infos, &count, err));
    for (int32_t i = count - 1; i >= 0; i--)
        if (infos[i].state == RN_VERSION_AVAILABLE && out->count < RN__V2_MAX_VERSIONS)
            snprintf(out->text[out->count++], sizeof out->text[0], "%lld", (long long)infos[i].version);
    free(infos);
    return RN_STATUS_OK;
}

rn_status rn__v2_signature(const rn_model *model, const char *name, const rn_signature **out, rn_error *err)
{
    const rn_plan *plan = rn_model_plan(model);
    *out = rn_plan_signature(plan, name[0] ? name : "serving_default");
    if (!*out && !name[0]) *out = &plan->signatures[0];
    if (*out) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature '%s' is not one of this model's", name);
}

const char *rn__v2_datatype(const rn_tensor_spec *spec)
{
    static const char *const names[RN_DTYPE_COUNT] = {
        [RN_DTYPE_F32] = "FP32",  [RN_DTYPE_F16] = "FP16",  [RN_DTYPE_BF16] = "BF16",   [RN_DTYPE_U8] = "UINT8",
        [RN_DTYPE_I32] = "INT32", [RN_DTYPE_I64] = "INT64", [RN_DTYPE_STRING] = "BYTES"};
    return names[spec->dtype];
}

/* ---- handlers ---- */

/* *model: with a reference for the caller, also on failure when it is not NULL. */
static rn_status find_signature(rn_exchange *x, rn_model **model, const rn_signature **signature, rn_error *err)
{
    char name[RN_PLAN_NAME_BYTES];
    int64_t version;
    rn__v2_query_value(x, "signature_name", name, sizeof name);
    RN_TRY(rn__v2_acquire(x->service, x->target.model, x->target.version, x->target.label, model, &version, err));
    x->asked_model = rn_model_metrics_of(*model);
    return rn__v2_signature(*model, name, signature, err);
}

static void write_tensor(rn_json_writer *out, const rn_tensor_spec *spec)
{
    rn_json_begin_object(out);
    rn_json_string_member(out, "name", spec->name);
    rn_json_string_member(out, "datatype", rn__v2_datatype(spec));
    rn_json_key(out, rn_text_of("shape"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < spec->rank; i++) rn_json_int_value(out, spec->dims[i]);
    rn_json_end_array(out);
    rn_json_end_object(out);
}

/* mlflow_run_id: empty where nobody told; a property then is left out, as KServe's messages have it. */
static void write_metadata(rn_json_writer *out, rn_text name, const rn_signature *signature, const rn__v2_versions *versions,
                           const char *mlflow_run_id)
{
    out->compact = true;
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("name"));
    rn_json_string_value(out, name);
    rn_json_key(out, rn_text_of("versions"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < versions->count; i++) rn_json_string_value(out, rn_text_of(versions->text[i]));
    rn_json_end_array(out);
    rn_json_string_member(out, "platform", RN__V2_PLATFORM);
    rn_json_key(out, rn_text_of("inputs"));
    rn_json_begin_array(out);
    write_tensor(out, &signature->input);
    rn_json_end_array(out);
    rn_json_key(out, rn_text_of("outputs"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < signature->output_count; i++) write_tensor(out, &signature->outputs[i]);
    rn_json_end_array(out);
    if (*mlflow_run_id) {
        rn_json_key(out, rn_text_of("properties"));
        rn_json_begin_object(out);
        rn_json_string_member(out, "mlflow_run_id", mlflow_run_id);
        rn_json_end_object(out);
    }
    rn_json_end_object(out);
}

/* GET /v2/models/NAME[/versions/N] */
void rn__v2_metadata(rn_exchange *x)
{
    rn_error err;
    rn_model *model = NULL;
    const rn_signature *signature;
    rn__v2_versions versions;
    rn_status status = find_signature(x, &model, &signature, &err);
    if (status == RN_STATUS_OK) status = rn__v2_list_versions(x->service->serving, x->target.model, &versions, &err);
    if (status == RN_STATUS_OK) write_metadata(&x->answer, x->target.model, signature, &versions, x->service->mlflow_run_id);
    rn_model_release(model);
    if (status == RN_STATUS_OK)
        rn_exchange_answer(x);
    else
        rn__v2_fail(x, &err);
}

/* GET .../ready: a model that is known is ready, as none is published before it is; unless the process drains. */
void rn__v2_model_ready(rn_exchange *x)
{
    rn_error err;
    rn_model *model;
    int64_t version;
    if (rn__v2_acquire(x->service, x->target.model, x->target.version, x->target.label, &model, &version, &err) != RN_STATUS_OK) {
        rn__v2_fail(x, &err);
        return;
    }
    x->asked_model = rn_model_metrics_of(model);
    rn_model_release(model);
    rn_exchange_answer_empty(x, rn_serving_is_ready(x->service->serving) ? 200 : 503);
}

/* GET /v2 */
void rn__v2_server(rn_exchange *x)
{
    rn_json_writer *out = &x->answer;
    out->compact = true;
    rn_json_begin_object(out);
    rn_json_string_member(out, "name", "resnetd");
    rn_json_string_member(out, "version", rn_version);
    rn_json_key(out, rn_text_of("extensions"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < rn__v2_extension_count; i++) rn_json_string_value(out, rn_text_of(rn__v2_extensions[i]));
    rn_json_end_array(out);
    rn_json_end_object(out);
    rn_exchange_answer(x);
}

/* ---- what is not offered ---- */

void rn__v2_unsupported(rn_exchange *x)
{
    rn__v2_fail_code(x, 501, "Not supported by this server: %.*s", RN_TEXT_ARG(x->path));
}

void rn__v2_wrong_method(rn_exchange *x)
{
    rn__v2_fail_code(x, 405, "Method Not Allowed");
}

void rn__v2_not_found(rn_exchange *x)
{
    rn__v2_fail_code(x, 404, "Not Found");
}
