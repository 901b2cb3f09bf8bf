/* The model repository API: docs/protocol/extension_model_repository.md of Triton. A repository here is what the configuration names;
 * loading means to look for new versions, unloading to serve none until told otherwise. */
#include <stdio.h>
#include <stdlib.h>

#include "http/json_reader.h"
#include "http/v2.h"

/* ---- bodies ---- */

/* The body's object in `members`; an empty body is one without members. */
static rn_status read_members(const rn_exchange *x, rn_json_member *members, int32_t count, rn_error *err)
{
    const char *root;
    if (x->body.bytes == 0) return RN_STATUS_OK;
    RN_TRY(rn_json_check(x->body, members, count, &root, err));
    if (*root == '{') return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse 'request': expected an object, found %s", rn_json_kind_name(root));
}

/* ---- the index ---- */

const char *rn__v2_version_state(rn_version_state state)
{
    switch (state) {
    case RN_VERSION_AVAILABLE:
        return "READY";
    case RN_VERSION_START:
    case RN_VERSION_LOADING:
        return "LOADING";
    case RN_VERSION_UNLOADING:
        return "UNLOADING";
    default:
        return "UNAVAILABLE";
    }
}

static void write_index(rn_json_writer *out, const rn_version_info *infos, int32_t count, bool ready)
{
    out->compact = true;
    rn_json_begin_array(out);
    for (int32_t i = 0; i < count; i++) {
        char version[24];
        if (ready && infos[i].state != RN_VERSION_AVAILABLE) continue;
        snprintf(version, sizeof version, "%lld", (long long)infos[i].version);
        rn_json_begin_object(out);
        rn_json_string_member(out, "name", infos[i].model);
        rn_json_string_member(out, "version", version);
        rn_json_string_member(out, "state", rn__v2_version_state(infos[i].state));
        if (infos[i].message[0]) rn_json_string_member(out, "reason", infos[i].message);
        rn_json_end_object(out);
    }
    rn_json_end_array(out);
}

static rn_status index_of(rn_exchange *x, rn_error *err)
{
    rn_json_member ready = {.name = "ready"};
    rn_version_info *infos;
    int32_t count;
    RN_TRY(read_members(x, &ready, 1, err));
    const rn_json_kind kind = ready.value ? rn_json_kind_at(ready.value) : RN_JSON_FALSE;
    if (kind != RN_JSON_FALSE && kind != RN_JSON_TRUE)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse 'ready': expected true or false");
    RN_TRY(rn_serving_list(x->service->serving, (rn_text){NULL, 0}, true, &infos, &count, err));
    write_index(&x->answer, infos, count, kind == RN_JSON_TRUE);
    free(infos);
    return RN_STATUS_OK;
}

/* POST /v2/repository/index */
void rn__v2_index(rn_exchange *x)
{
    rn_error err;
    if (index_of(x, &err) == RN_STATUS_OK)
        rn_exchange_answer(x);
    else
        rn__v2_fail(x, &err);
}

/* ---- loading and unloading ---- */

typedef struct {
    rn_change change;
    rn_exchange *x;
} pending;

static void on_changed(rn_change *change, const rn_error *err)
{
    pending *p = (pending *)((char *)change - offsetof(pending, change));
    rn_exchange *x = p->x;
    free(p);
    if (err)
        rn__v2_fail(x, err);
    else
        rn_exchange_answer_empty(x, 200);
}

static rn_status begin(rn_exchange *x, rn_change_kind kind, rn_error *err)
{
    rn_json_member parameters = {.name = "parameters"};
    RN_TRY(read_members(x, &parameters, 1, err));
    if (kind == RN_CHANGE_LOAD && parameters.value && *parameters.value == '{' && rn_json_first(parameters.value))
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "parameters of load are not supported: models are loaded as the server is configured");
    if (x->target.version != RN_LATEST_VERSION || x->target.label.at)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "models are loaded and unloaded by name; versions follow the version policy");
    pending *p = calloc(1, sizeof *p);
    if (!p) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a change");
    p->x = x;
    p->change = (rn_change){.kind = kind, .name = x->target.model, .done = on_changed};
    rn_serving_submit(x->service->serving, &p->change);
    return RN_STATUS_OK;
}

/* POST /v2/repository/models/NAME/load: answered when the model is available. */
void rn__v2_load(rn_exchange *x)
{
    rn_error err;
    if (begin(x, RN_CHANGE_LOAD, &err) != RN_STATUS_OK) rn__v2_fail(x, &err);
}

void rn__v2_unload(rn_exchange *x)
{
    rn_error err;
    if (begin(x, RN_CHANGE_UNLOAD, &err) != RN_STATUS_OK) rn__v2_fail(x, &err);
}
