/* The table of models. It is read once for each request, so that its lock is held for a few comparisons only; the keeper alone writes it.
 */
#include "http/serving_private.h"

#include <stdlib.h>

#include "engine/clock.h"

/* ---- life ---- */

rn_status rn_serving_create(const rn_serving_options *options, rn_serving **out, rn_error *err)
{
    rn_serving *serving = calloc(1, sizeof *serving);
    if (!serving) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the list of models");
    serving->options = *options;
    rn_clock_cond_init(&serving->wake);
    pthread_mutex_init(&serving->lock, NULL);
    const rn_status status = rn__keeper_start(serving, err);
    if (status != RN_STATUS_OK) {
        pthread_mutex_destroy(&serving->lock);
        pthread_cond_destroy(&serving->wake);
        free(serving);
        return status;
    }
    *out = serving;
    return RN_STATUS_OK;
}

static void free_version(rn__version *v)
{
    rn_model_release(v->model);
    free(v->message);
    free(v->path);
    free(v);
}

static void free_served(rn__served *model)
{
    for (rn__version *v = model->versions, *next; v; v = next) {
        next = v->next;
        free_version(v);
    }
    rn_model_config_deinit(&model->config);
    for (int32_t i = 0; i < model->label_count; i++) free(model->labels[i].label);
    free(model->labels);
    free(model->idle);
    free(model->look_message);
    free(model);
}

void rn_serving_destroy(rn_serving *serving)
{
    if (!serving) return;
    rn__keeper_stop(serving);
    for (rn__retired *r = serving->retired, *next; r; r = next) {
        next = r->next;
        rn_model_release(r->model);
        free(r);
    }
    for (rn__served *m = serving->models, *next; m; m = next) {
        next = m->next;
        free_served(m);
    }
    pthread_mutex_destroy(&serving->lock);
    pthread_cond_destroy(&serving->wake);
    free(serving);
}

/* ---- looking up ---- */

rn__served *rn__serving_find(const rn_serving *serving, rn_text name)
{
    for (rn__served *m = serving->models; m; m = m->next)
        if (rn_text_equals(name, m->config.name)) return m;
    return NULL;
}

rn__version *rn__served_version(const rn__served *model, int64_t number)
{
    for (rn__version *v = model->versions; v; v = v->next)
        if (v->number == number) return v;
    return NULL;
}

/* The version of a label: false when there is no such label. */
static bool resolve(const rn__served *model, rn_text label, int64_t *version)
{
    for (int32_t i = 0; model && i < model->label_count; i++) {
        if (!rn_text_equals(label, model->labels[i].label)) continue;
        *version = model->labels[i].version;
        return true;
    }
    return false;
}

static rn_model *acquire(const rn__served *model, int64_t version, int64_t *found)
{
    for (const rn__version *v = model ? model->versions : NULL; v; v = v->next) {
        if (!v->model || (version != RN_LATEST_VERSION && version != v->number)) continue;
        *found = v->number;
        rn_model_acquire(v->model);
        return v->model;
    }
    return NULL;
}

rn_status rn_serving_acquire(rn_serving *serving, rn_text name, int64_t version, rn_text label, rn_model **out, int64_t *found,
                             rn_error *err)
{
    pthread_mutex_lock(&serving->lock);
    const rn__served *model = rn__serving_find(serving, name);
    const bool resolved = !label.at || resolve(model, label, &version);
    *out = resolved ? acquire(model, version, found) : NULL;
    pthread_mutex_unlock(&serving->lock);
    if (*out) return RN_STATUS_OK;
    if (!resolved) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unrecognized servable version label: %.*s", RN_TEXT_ARG(label));
    if (version == RN_LATEST_VERSION)
        return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Servable not found for request: Latest(%.*s)", RN_TEXT_ARG(name));
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "Servable not found for request: Specific(%.*s, %lld)", RN_TEXT_ARG(name), (long long)version);
}

bool rn_serving_knows(rn_serving *serving, rn_text name)
{
    pthread_mutex_lock(&serving->lock);
    const rn__served *model = rn__serving_find(serving, name);
    const bool known = model && model->configured;
    pthread_mutex_unlock(&serving->lock);
    return known;
}

rn_status rn_serving_config_of(rn_serving *serving, rn_text name, rn_model_config *out, rn_error *err)
{
    pthread_mutex_lock(&serving->lock);
    const rn__served *model = rn__serving_find(serving, name);
    const rn_status status = model && model->configured
                                 ? rn_model_config_copy(&model->config, out, err)
                                 : RN_FAIL(err, RN_STATUS_NOT_FOUND, "no model of the name \"%.*s\" is configured", RN_TEXT_ARG(name));
    pthread_mutex_unlock(&serving->lock);
    return status;
}

/* ---- listing ---- */

const char *rn_version_state_name(rn_version_state state)
{
    switch (state) {
    case RN_VERSION_START:
        return "START";
    case RN_VERSION_LOADING:
        return "LOADING";
    case RN_VERSION_AVAILABLE:
        return "AVAILABLE";
    case RN_VERSION_UNLOADING:
        return "UNLOADING";
    case RN_VERSION_END:
        return "END";
    default:
        return "UNKNOWN";
    }
}

/* Entries and their texts in one block: first counted, then written. */
typedef struct {
    rn_version_info *entries; /* NULL: only count */
    char *texts;
    int32_t count;
    size_t text_bytes;
} listing;

static const char *put_text(listing *list, const char *text)
{
    const size_t bytes = strlen(text) + 1, at = list->text_bytes;
    list->text_bytes += bytes;
    return list->entries ? memcpy(list->texts + at, text, bytes) : NULL;
}

static void put_entry(listing *list, const char *name, int64_t number, const rn__version *v)
{
    const bool failed = v && v->state == RN_VERSION_END && v->failure != RN_STATUS_OK;
    const rn_version_info entry = {.model = put_text(list, name),
                                   .version = number,
                                   .state = v ? v->state : RN_VERSION_UNKNOWN,
                                   .status = failed ? v->failure : RN_STATUS_OK,
                                   .message = put_text(list, failed && v->message ? v->message : "")};
    if (list->entries) list->entries[list->count] = entry;
    list->count++;
}

/* Both lists fall; a number that is in both was asked for once. */
static void put_model(listing *list, const rn__served *model, bool idle)
{
    const char *name = model->config.name;
    int32_t i = 0;
    for (const rn__version *v = model->versions; v; v = v->next) {
        for (; idle && i < model->idle_count && model->idle[i] >= v->number; i++)
            if (model->idle[i] > v->number) put_entry(list, name, model->idle[i], NULL);
        put_entry(list, name, v->number, v);
    }
    for (; idle && i < model->idle_count; i++) put_entry(list, name, model->idle[i], NULL);
}

static void put_models(listing *list, const rn_serving *serving, rn_text name, bool idle)
{
    for (const rn__served *m = serving->models; m; m = m->next)
        if (!name.at || rn_text_equals(name, m->config.name)) put_model(list, m, idle);
}

rn_status rn_serving_list(rn_serving *serving, rn_text name, bool idle, rn_version_info **out, int32_t *count, rn_error *err)
{
    listing list = {0};
    *out = NULL;
    pthread_mutex_lock(&serving->lock);
    put_models(&list, serving, name, idle);
    *count = list.count;
    if (list.count > 0) {
        const size_t entry_bytes = (size_t)list.count * sizeof *list.entries;
        *out = malloc(entry_bytes + list.text_bytes);
        list = (listing){.entries = *out, .texts = (char *)*out + entry_bytes};
        if (*out) put_models(&list, serving, name, idle);
    }
    pthread_mutex_unlock(&serving->lock);
    if (*count == 0 || *out) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a list of %d versions", *count);
}

/* ---- readiness ---- */

const char *rn_serving_why_not_ready(rn_serving *serving)
{
    const bool ready = atomic_load(&serving->ready);
    if (!ready) return atomic_load(&serving->was_ready) ? "draining" : "starting: models are loaded, tested and warmed";
    pthread_mutex_lock(&serving->lock);
    const bool any = serving->available > 0;
    pthread_mutex_unlock(&serving->lock);
    return any ? NULL : "no version of any model is available";
}

bool rn_serving_is_ready(rn_serving *serving)
{
    return !rn_serving_why_not_ready(serving);
}

void rn_serving_set_ready(rn_serving *serving, bool ready)
{
    atomic_store(&serving->ready, ready);
    if (ready) atomic_store(&serving->was_ready, true);
}
