/* A change in flight owns the configuration that it is about, so that reading the next one never has to wait for it. */
#include "http/config_source.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/model_config_proto.h"
#include "http/text_file.h"

void rn_config_source_deinit(rn_config_source *source)
{
    free((char *)source->latest.at);
    source->latest = (rn_text){0};
}

static void log_line(void (*log)(const char *), const char *what, const char *message)
{
    char line[RN_ERROR_MESSAGE_BYTES + 64];
    snprintf(line, sizeof line, "%s%s", what, message);
    log(line);
}

/* *changed: whether the file holds something else than last time. */
static rn_status read_configs(rn_config_source *source, rn_model_configs *out, bool *changed, rn_error *err)
{
    *out = (rn_model_configs){0};
    *changed = false;
    if (!*source->file) return rn_model_configs_init_single(out, source->model_name, source->base_path, err);
    rn_text text;
    RN_TRY(rn_text_file_read(source->file, &text, err));
    *changed = !source->latest.at || text.bytes != source->latest.bytes || memcmp(text.at, source->latest.at, text.bytes) != 0;
    free((char *)source->latest.at);
    source->latest = text;
    return rn_model_configs_init_text(out, text, source->file, err);
}

/* ---- the first time ---- */

typedef struct {
    rn_change change;
    rn_status status;
    rn_error *err;
    sem_t done;
} awaited_change;

static void on_awaited(rn_change *change, const rn_error *err)
{
    awaited_change *awaited = (awaited_change *)change; /* its first member */
    awaited->status = err ? err->status : RN_STATUS_OK;
    if (err) *awaited->err = *err;
    sem_post(&awaited->done);
}

rn_status rn_config_source_load(rn_config_source *source, rn_serving *serving, rn_error *err)
{
    rn_model_configs configs;
    bool changed;
    RN_TRY(read_configs(source, &configs, &changed, err));
    awaited_change awaited = {.change = {.kind = RN_CHANGE_CONFIGURE, .configs = &configs, .done = on_awaited}, .err = err};
    sem_init(&awaited.done, 0, 0);
    rn_serving_submit(serving, &awaited.change);
    while (sem_wait(&awaited.done) != 0) continue;
    sem_destroy(&awaited.done);
    rn_model_configs_deinit(&configs);
    return awaited.status;
}

/* ---- again ---- */

typedef struct {
    rn_change change;
    rn_model_configs configs;
    void (*log)(const char *line);
} reload;

static void on_reloaded(rn_change *change, const rn_error *err)
{
    reload *r = (reload *)change; /* its first member */
    log_line(r->log, err ? "configuration: " : "configuration: all models are as it says", err ? err->message : "");
    rn_model_configs_deinit(&r->configs);
    free(r);
}

void rn_config_source_reload(rn_config_source *source, rn_serving *serving, bool always)
{
    rn_model_configs configs;
    rn_error err;
    bool changed;
    const rn_status status = read_configs(source, &configs, &changed, &err);
    if (!changed && !always) {
        rn_model_configs_deinit(&configs);
        return;
    }
    reload *r = status == RN_STATUS_OK ? malloc(sizeof *r) : NULL;
    if (!r) {
        log_line(source->log, "the configuration stays as it is: ", status == RN_STATUS_OK ? "no memory for another" : err.message);
        rn_model_configs_deinit(&configs);
        return;
    }
    *r = (reload){.change = {.kind = RN_CHANGE_CONFIGURE, .done = on_reloaded}, .configs = configs, .log = source->log};
    r->change.configs = &r->configs;
    rn_serving_submit(serving, &r->change);
}
