/* The keeper's thread: takes changes, looks at the base paths when it is time, and lets serving_sync.c take one step after the other. It
 * never holds on to one model or one change: a load that is to be retried in a minute leaves everything else free to go on, and a later
 * configuration takes effect at once. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "http/serving_private.h"

enum { RETIRED_LOOK_US = 2000 }; /* until it is looked anew whether a retired model is still in use */

void rn__keeper_log(const rn_serving *serving, const char *format, ...)
{
    char line[RN_ERROR_MESSAGE_BYTES + 256];
    va_list args;
    if (!serving->options.log) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    serving->options.log(line);
}

/* ---- beginning a change ---- */

/* A model that is new to the table, at its end. */
static rn_status add_model(rn_serving *serving, const rn_model_config *config, rn_error *err)
{
    rn__served *model = calloc(1, sizeof *model);
    if (!model) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a model's entry");
    const rn_status status = rn_model_config_copy(config, &model->config, err);
    if (status != RN_STATUS_OK) {
        free(model);
        return status;
    }
    rn__served **link = &serving->models;
    while (*link) link = &(*link)->next;
    pthread_mutex_lock(&serving->lock);
    *link = model;
    model->configured = true;
    pthread_mutex_unlock(&serving->lock);
    model->look_due = true;
    return RN_STATUS_OK;
}

/* The table's own name stays where it is, because others compare with it. */
static rn_status replace_config(rn_serving *serving, rn__served *model, const rn_model_config *config, rn_error *err)
{
    rn_model_config fresh;
    RN_TRY(rn_model_config_copy(config, &fresh, err));
    pthread_mutex_lock(&serving->lock);
    rn_model_config old = model->config;
    model->config = fresh;
    model->configured = true;
    pthread_mutex_unlock(&serving->lock);
    rn_model_config_deinit(&old);
    model->suspended = false;
    model->look_due = true;
    return RN_STATUS_OK;
}

static const rn_model_config *config_of(const rn_model_configs *configs, const char *name)
{
    for (int32_t i = 0; i < configs->count; i++)
        if (strcmp(configs->models[i].name, name) == 0) return &configs->models[i];
    return NULL;
}

static rn_status configure(rn_serving *serving, const rn_model_configs *configs, rn_error *err)
{
    for (rn__served *m = serving->models; m; m = m->next) {
        const rn_model_config *config = config_of(configs, m->config.name);
        if (config) {
            RN_TRY(replace_config(serving, m, config, err));
            continue;
        }
        pthread_mutex_lock(&serving->lock);
        m->configured = false;
        pthread_mutex_unlock(&serving->lock);
        for (int32_t i = 0; i < m->config.label_count; i++) free(m->config.labels[i].label);
        m->config.label_count = 0;
        m->look_due = true;
    }
    for (int32_t i = 0; i < configs->count; i++)
        if (!rn__serving_find(serving, rn_text_of(configs->models[i].name))) RN_TRY(add_model(serving, &configs->models[i], err));
    return RN_STATUS_OK;
}

/* A configuration that is still being worked at is over when the next one comes. */
static void supersede(rn_serving *serving)
{
    for (rn_change **link = &serving->pending; *link;) {
        rn_change *change = *link;
        if (change->kind != RN_CHANGE_CONFIGURE) {
            link = &change->next;
            continue;
        }
        rn_error err;
        *link = change->next;
        RN_FAIL(&err, RN_STATUS_CANCELLED, "another configuration came before all models of this one were available");
        change->done(change, &err);
    }
}

static rn_status begin(rn_serving *serving, const rn_change *change, rn_error *err)
{
    if (change->kind == RN_CHANGE_CONFIGURE) {
        supersede(serving);
        return configure(serving, change->configs, err);
    }
    rn__served *model = rn__serving_find(serving, change->name);
    if (!model || !model->configured)
        return RN_FAIL(err, RN_STATUS_NOT_FOUND, "no model of the name \"%.*s\" is configured", RN_TEXT_ARG(change->name));
    model->suspended = change->kind == RN_CHANGE_UNLOAD;
    model->again = change->kind == RN_CHANGE_LOAD;
    model->look_due = true;
    return RN_STATUS_OK;
}

static void begin_all(rn_serving *serving, rn_change *submitted)
{
    rn_change *oldest_first = NULL;
    for (rn_change *change = submitted, *next; change; change = next) {
        next = change->next;
        change->next = oldest_first;
        oldest_first = change;
    }
    for (rn_change *change = oldest_first, *next; change; change = next) {
        rn_error err;
        next = change->next;
        if (begin(serving, change, &err) != RN_STATUS_OK) {
            change->done(change, &err);
            continue;
        }
        rn_change **link = &serving->pending;
        while (*link) link = &(*link)->next;
        *link = change;
        change->next = NULL;
    }
}

/* ---- ending a change ---- */

static bool concerns(const rn_change *change, const rn__served *model)
{
    return change->kind == RN_CHANGE_CONFIGURE || rn_text_equals(change->name, model->config.name);
}

static bool is_settled(const rn_serving *serving, const rn_change *change)
{
    for (const rn__served *m = serving->models; m; m = m->next) {
        if (!concerns(change, m)) continue;
        if (!rn__sync_is_settled(m) || (change->kind == RN_CHANGE_UNLOAD && !rn__sync_is_unloaded(m))) return false;
    }
    return true;
}

/* What did not become available, one after the other. */
typedef struct {
    rn_status status; /* of the first */
    int32_t count;
    size_t used;
    char list[RN_ERROR_MESSAGE_BYTES];
} failures;

static void note(failures *f, const char *name, const rn__version *v, rn_status status, const char *message)
{
    char version[48] = "";
    if (f->count++ == 0) f->status = status;
    if (v) snprintf(version, sizeof version, " version: %lld", (long long)v->number);
    if (f->used >= sizeof f->list) return;
    f->used += (size_t)snprintf(f->list + f->used, sizeof f->list - f->used, "%s{{name: %s%s} due to error: %s}", f->used ? ", " : "", name,
                                version, message);
}

static void note_model(failures *f, const rn__served *model)
{
    if (!model->configured || model->suspended) return;
    bool any = false; /* the reason why a version failed is that of the look too, when the storage is gone */
    for (const rn__version *v = model->versions; v; v = v->next) {
        if (!v->wanted || v->step != RN__LOAD_FAILED) continue;
        note(f, model->config.name, v, v->failure, v->message ? v->message : "");
        any = true;
    }
    if (model->look != RN_STATUS_OK && !any) note(f, model->config.name, NULL, model->look, model->look_message ? model->look_message : "");
}

static rn_status outcome(rn_serving *serving, const rn_change *change, rn_error *err)
{
    failures f = {0};
    rn_status labels = RN_STATUS_OK;
    for (rn__served *m = serving->models; m; m = m->next) {
        if (!concerns(change, m)) continue;
        m->again = false;
        note_model(&f, m);
        if (change->kind != RN_CHANGE_CONFIGURE) continue;
        const rn_status status = rn__sync_labels(serving, m, labels == RN_STATUS_OK ? err : NULL);
        if (labels == RN_STATUS_OK) labels = status;
    }
    if (f.count == 0) return labels;
    return RN_FAIL(err, f.status, "%d model(s) did not become available: {%s}", f.count, f.list);
}

static bool finish_settled(rn_serving *serving)
{
    bool any = false;
    for (rn_change **link = &serving->pending; *link;) {
        rn_change *change = *link;
        rn_error err;
        if (!is_settled(serving, change)) {
            link = &change->next;
            continue;
        }
        *link = change->next;
        change->done(change, outcome(serving, change, &err) == RN_STATUS_OK ? NULL : &err);
        any = true;
    }
    return any;
}

/* ---- the thread ---- */

static void look_where_due(rn_serving *serving)
{
    const int64_t now = rn_clock_us();
    const bool poll = now >= serving->poll_us;
    for (rn__served *m = serving->models; m; m = m->next) {
        if (!poll && !m->look_due && (!m->look_at_us || now < m->look_at_us)) continue;
        m->look_due = false;
        rn__sync_look(serving, m);
    }
    if (poll) serving->poll_us = now + serving->options.poll_us;
}

static int64_t next_look_us(const rn_serving *serving)
{
    int64_t next_us = serving->poll_us;
    for (const rn__served *m = serving->models; m; m = m->next)
        if (m->look_at_us && m->look_at_us < next_us) next_us = m->look_at_us;
    return next_us;
}

/* One step of the first model that has one to take, so that changes are seen between loads. */
static bool step(rn_serving *serving, int64_t *next_us)
{
    for (rn__served *m = serving->models; m; m = m->next)
        if (rn__sync_step(serving, m, next_us)) return true;
    return false;
}

static void wait_until(rn_serving *serving, int64_t time_us)
{
    if (time_us == INT64_MAX) {
        pthread_cond_wait(&serving->wake, &serving->lock);
        return;
    }
    const struct timespec at = {.tv_sec = time_us / 1000000, .tv_nsec = time_us % 1000000 * 1000};
    pthread_cond_timedwait(&serving->wake, &serving->lock, &at);
}

static void *keep(void *argument)
{
    rn_serving *serving = argument;
    pthread_mutex_lock(&serving->lock);
    while (!serving->stopping) {
        rn_change *submitted = serving->submitted;
        serving->submitted = NULL;
        pthread_mutex_unlock(&serving->lock);

        begin_all(serving, submitted);
        look_where_due(serving);
        rn__sync_free_retired(serving);
        int64_t next_us = next_look_us(serving);
        const bool moved = step(serving, &next_us) || finish_settled(serving);
        if (serving->retired && next_us > rn_clock_us() + RETIRED_LOOK_US) next_us = rn_clock_us() + RETIRED_LOOK_US;

        pthread_mutex_lock(&serving->lock);
        if (!moved && !serving->stopping && !serving->submitted) wait_until(serving, next_us);
    }
    pthread_mutex_unlock(&serving->lock);
    return NULL;
}

rn_status rn__keeper_start(rn_serving *serving, rn_error *err)
{
    serving->poll_us = serving->options.poll_us > 0 ? rn_clock_us() + serving->options.poll_us : INT64_MAX;
    if (pthread_create(&serving->keeper, NULL, keep, serving) == 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no thread for the models");
}

void rn__keeper_stop(rn_serving *serving)
{
    pthread_mutex_lock(&serving->lock);
    serving->stopping = true;
    pthread_cond_signal(&serving->wake);
    pthread_mutex_unlock(&serving->lock);
    rn__sync_cancel(serving);
    pthread_join(serving->keeper, NULL);
    rn_error err;
    RN_FAIL(&err, RN_STATUS_CANCELLED, "the server is stopping");
    for (rn_change *change = serving->pending, *next; change; change = next) {
        next = change->next;
        change->done(change, &err);
    }
    for (rn_change *change = serving->submitted, *next; change; change = next) {
        next = change->next;
        change->done(change, &err);
    }
}

void rn_serving_submit(rn_serving *serving, rn_change *change)
{
    pthread_mutex_lock(&serving->lock);
    change->next = serving->submitted;
    serving->submitted = change;
    pthread_cond_signal(&serving->wake);
    pthread_mutex_unlock(&serving->lock);
}
