/* The handlers of TensorFlow Serving's REST API that need no inference, and the first checks of those that do. */
#include <stdio.h>
#include <stdlib.h>

#include "http/gzip.h"
#include "http/status_map.h"
#include "http/tfs.h"

/* ---- URLs ---- */

void rn__tfs_malformed(rn_exchange *x)
{
    rn_exchange_fail(x, RN_STATUS_INVALID_ARGUMENT, "Malformed request: %.*s %.*s", RN_TEXT_ARG(x->method), RN_TEXT_ARG(x->path));
}

void rn__tfs_no_model(rn_exchange *x)
{
    rn_exchange_fail(x, RN_STATUS_INVALID_ARGUMENT, "Missing model name in request.");
}

/* A browser asks whether a page of another origin may call. */
void rn__tfs_preflight(rn_exchange *x)
{
    rn_exchange_answer_empty(x, x->web_origin ? 200 : 400);
}

rn_status rn__tfs_acquire(rn_exchange *x, rn_model **out, int64_t *version, rn_error *err)
{
    const rn_target *target = &x->target;
    RN_TRY(rn_serving_acquire(x->service->serving, target->model, target->version, target->label, out, version, err));
    x->asked_model = rn_model_metrics_of(*out);
    return RN_STATUS_OK;
}

rn_status rn__tfs_check_room(rn_exchange *x, rn_error *err)
{
    rn_model *model;
    int64_t version;
    const rn_target *target = &x->target;
    if (rn_serving_acquire(x->service->serving, target->model, target->version, target->label, &model, &version, NULL) != RN_STATUS_OK)
        return RN_STATUS_OK;
    const rn_status status = rn_model_check_room(model, 1, err);
    if (status != RN_STATUS_OK) x->asked_model = rn_model_metrics_of(model);
    rn_model_release(model);
    return status;
}

/* ---- status ---- */

static void write_version_status(rn_json_writer *out, const rn_version_info *info)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)info->version);
    rn_json_begin_object(out);
    rn_json_string_member(out, "version", digits);
    rn_json_string_member(out, "state", rn_version_state_name(info->state));
    rn_json_key(out, rn_text_of("status"));
    rn_json_begin_object(out);
    rn_json_string_member(out, "error_code", rn_status_grpc_name(info->status));
    rn_json_string_member(out, "error_message", info->message);
    rn_json_end_object(out);
    rn_json_end_object(out);
}

/* Labels are not looked at, as in TensorFlow Serving. */
void rn__tfs_status(rn_exchange *x)
{
    const rn_target *target = &x->target;
    rn_version_info *versions;
    int32_t count, shown = 0;
    rn_error err;
    if (rn_serving_list(x->service->serving, target->model, false, &versions, &count, &err) != RN_STATUS_OK) {
        rn_exchange_fail(x, err.status, "%s", err.message);
        return;
    }
    rn_json_writer *out = &x->answer;
    out->indent = 1;
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("model_version_status"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < count; i++) {
        if (target->version != RN_LATEST_VERSION && target->version != versions[i].version) continue;
        write_version_status(out, &versions[i]);
        shown++;
    }
    free(versions);
    rn_json_end_array(out);
    rn_json_end_object(out);
    rn_json_text(out, rn_text_of("\n"));
    if (shown > 0)
        rn_exchange_answer(x);
    else if (target->version == RN_LATEST_VERSION)
        rn_exchange_fail(x, RN_STATUS_NOT_FOUND, "Could not find any versions of model %.*s", RN_TEXT_ARG(target->model));
    else
        rn_exchange_fail(x, RN_STATUS_NOT_FOUND, "Could not find version %lld of model %.*s", (long long)target->version,
                         RN_TEXT_ARG(target->model));
}

/* ---- bodies ---- */

rn_status rn__tfs_body(rn_exchange *x, rn_text *body, char **inflated, rn_error *err)
{
    *body = x->body;
    *inflated = NULL;
    if (!x->gzip || x->body.bytes == 0) return RN_STATUS_OK;
    size_t bytes;
    RN_TRY(rn_gzip_inflate(x->body, x->service->max_request_bytes, inflated, &bytes, err));
    *body = (rn_text){*inflated, bytes};
    return RN_STATUS_OK;
}

rn_status rn__tfs_format_error(const char *at, const char *limit, const char *message, rn_error *err)
{
    rn_json_writer echo;
    rn_json_writer_init(&echo);
    rn_json_echo(&echo, at, limit);
    const rn_status status =
        RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "JSON Value: %.*s %s", (int)echo.bytes, echo.text ? echo.text : "", message);
    rn_json_writer_deinit(&echo);
    return status;
}

static rn_status read_signature_name(rn__tfs_document *document, rn_error *err)
{
    const char *value = document->members[RN__TFS_SIGNATURE_NAME].value, *limit = document->limit;
    strcpy(document->signature_name, "serving_default");
    if (!value) return RN_STATUS_OK;
    if (rn_json_kind_at(value) != RN_JSON_STRING)
        return rn__tfs_format_error(document->root, limit, "not formatted correctly. 'signature_name' key must be a string value.", err);
    bool escaped;
    const rn_text raw = rn_json_string(value, limit, &escaped);
    if (raw.bytes == 0) return RN_STATUS_OK;
    document->signature_name[0] = '\0';
    if (raw.bytes >= sizeof document->signature_name) return RN_STATUS_OK;
    document->signature_name[rn_json_unescape(value, limit, document->signature_name)] = '\0';
    return RN_STATUS_OK;
}

rn_status rn__tfs_parse(rn_text body, rn__tfs_document *out, rn_error *err)
{
    static const char *const names[RN__TFS_MEMBERS] = {
        [RN__TFS_SIGNATURE_NAME] = "signature_name",
        [RN__TFS_INSTANCES] = "instances",
        [RN__TFS_INPUTS] = "inputs",
        [RN__TFS_EXAMPLES] = "examples",
        [RN__TFS_CONTEXT] = "context",
    };
    for (int i = 0; i < RN__TFS_MEMBERS; i++) out->members[i].name = names[i];
    out->limit = body.at + body.bytes;
    RN_TRY(rn_json_check(body, out->members, RN__TFS_MEMBERS, &out->root, err));
    if (rn_json_kind_at(out->root) != RN_JSON_OBJECT) return rn__tfs_format_error(out->root, out->limit, "Is not object", err);
    return read_signature_name(out, err);
}
