/* Makes one model as it is wanted: looks at its base path, applies the policy, loads, publishes, unloads.
 *
 * The order of a swap is TensorFlow Serving's (core/availability_preserving_policy.cc, resource_preserving_policy.cc). What differs: a
 * version whose files are no model is watched until they stop changing before it is called bad, because it may be half-copied; and a base
 * path that cannot be read any more, or has become empty, takes nothing away from what is being served. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "http/batching_parameters.h"
#include "http/serving_private.h"
#include "http/text_file.h"
#include "loader/storage.h"

enum { PATH_BYTES = 4096 };

/* ---- the base path ---- */

/* Logs an outcome that differs from the last one: a base path that is looked at every second would fill the log. */
static void set_look(rn_serving *serving, rn__served *model, rn_status status, const char *message)
{
    const bool same =
        status == model->look && (status == RN_STATUS_OK || (model->look_message && strcmp(message, model->look_message) == 0));
    if (same) return;
    model->look = status;
    free(model->look_message);
    model->look_message = strdup(status == RN_STATUS_OK ? "" : message);
    if (status != RN_STATUS_OK && status != RN_STATUS_CANCELLED) rn__keeper_log(serving, "model %s: %s", model->config.name, message);
}

/* The version's entry, made where it is missing; NULL without memory. */
static rn__version *want(rn_serving *serving, rn__served *model, int64_t number)
{
    rn__version **link = &model->versions;
    while (*link && (*link)->number > number) link = &(*link)->next;
    if (*link && (*link)->number == number) return *link;
    rn__version *v = calloc(1, sizeof *v);
    if (!v) return NULL;
    *v = (rn__version){.next = *link, .number = number, .state = RN_VERSION_START};
    pthread_mutex_lock(&serving->lock);
    *link = v;
    pthread_mutex_unlock(&serving->lock);
    return v;
}

static void set_state(rn_serving *serving, rn__version *v, rn_version_state state)
{
    pthread_mutex_lock(&serving->lock);
    v->state = state;
    pthread_mutex_unlock(&serving->lock);
}

/* Forgets why it could not be loaded. */
static void set_due(rn_serving *serving, rn__version *v)
{
    pthread_mutex_lock(&serving->lock);
    v->failure = RN_STATUS_OK;
    free(v->message);
    v->message = NULL;
    if (!v->model) v->state = RN_VERSION_START;
    pthread_mutex_unlock(&serving->lock);
    v->retries = 0;
    v->step = RN__LOAD_DUE;
}

/* Whether the files are others than at the latest try. A storage that does not answer tells nothing. */
static bool have_changed(const rn_serving *serving, const rn__version *v)
{
    const uint64_t stamp = rn_storage_stamp(serving->options.storage, v->path);
    return stamp != 0 && stamp != v->stamp;
}

/* The version is wanted and lies at `path`: whether it has to be loaded (anew). */
static void check_files(rn_serving *serving, const rn__served *model, rn__version *v, const char *path)
{
    const bool moved = !v->path || strcmp(v->path, path) != 0;
    if (moved) {
        char *copy = strdup(path);
        if (!copy) return;
        free(v->path);
        v->path = copy;
    }
    switch (v->step) {
    case RN__LOAD_NONE:
        if (!v->model || moved || (model->again && have_changed(serving, v))) set_due(serving, v);
        return;
    case RN__LOAD_FAILED:
        if (moved || model->again || have_changed(serving, v)) set_due(serving, v);
        return;
    default:
        if (moved) set_due(serving, v);
        return;
    }
}

/* Marks what the policy wants among the versions that were found. The rest is idle. Returns how many are wanted. */
static int32_t apply_policy(rn_serving *serving, rn__served *model, const rn_repository_version *found, int32_t count, int64_t *idle,
                            int32_t *idle_count)
{
    int32_t wanted = 0;
    for (rn__version *v = model->versions; v; v = v->next) v->wanted = false;
    for (int32_t i = 0; i < count; i++) {
        char path[PATH_BYTES];
        rn__version *v = NULL;
        if (!rn_version_policy_wants(&model->config.policy, found[i].number, i)) {
            idle[(*idle_count)++] = found[i].number;
            continue;
        }
        if (rn_repository_version_path(model->config.base_path, &found[i], path, sizeof path, NULL) == RN_STATUS_OK)
            v = want(serving, model, found[i].number);
        if (!v) continue;
        v->wanted = true;
        check_files(serving, model, v, path);
        wanted++;
    }
    return wanted;
}

/* What is not wanted any more is not loaded any more. */
static void drop_steps(rn_serving *serving, rn__served *model)
{
    for (rn__version *v = model->versions; v; v = v->next) {
        if (v->wanted) continue;
        v->step = RN__LOAD_NONE;
        if (v->state == RN_VERSION_START || v->state == RN_VERSION_LOADING) set_state(serving, v, RN_VERSION_END);
    }
}

/* A specific version that is not there: the others are served. */
static void check_specific(rn_serving *serving, rn__served *model, int32_t wanted)
{
    const rn_version_policy *policy = &model->config.policy;
    char missing[256] = "";
    size_t used = 0;
    for (int32_t i = 0; i < policy->specific_count && used < sizeof missing; i++) {
        const rn__version *v = rn__served_version(model, policy->specific[i]);
        if (!v || !v->wanted)
            used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%" PRId64, used ? ", " : "", policy->specific[i]);
    }
    char message[PATH_BYTES];
    snprintf(message, sizeof message, "%s: version %s is asked for and is not there", model->config.base_path, missing);
    if (!missing[0])
        set_look(serving, model, RN_STATUS_OK, "");
    else if (wanted == 0)
        set_look(serving, model, RN_STATUS_NOT_FOUND, message);
    else if (!model->look_message || strcmp(model->look_message, message) != 0) {
        set_look(serving, model, RN_STATUS_NOT_FOUND, message);
        model->look = RN_STATUS_OK; /* a warning only: that is how TensorFlow Serving has it */
    }
}

/* A storage that does not answer is asked again as often as a version is loaded again, as long as there is nothing to serve meanwhile. */
static void look_again(const rn_serving *serving, rn__served *model)
{
    const rn_serving_options *o = &serving->options;
    if (model->look != RN_STATUS_UNAVAILABLE || !rn_storage_is_url(model->config.base_path) || model->look_retries >= o->max_retries) return;
    for (const rn__version *v = model->versions; v; v = v->next)
        if (v->model) return;
    model->look_retries++;
    model->look_at_us = rn_clock_us() + o->retry_us;
    rn__keeper_log(serving, "model %s: retry %d of %d in %.1f s", model->config.name, model->look_retries, o->max_retries, 1e-6 * (double)o->retry_us);
}

static void look(rn_serving *serving, rn__served *model)
{
    rn_repository_version *found;
    int32_t count, idle_count = 0;
    rn_error err;
    model->look_at_us = 0;
    if (rn_storage_versions(serving->options.storage, model->config.base_path, &found, &count, &err) != RN_STATUS_OK) {
        set_look(serving, model, err.status, err.message);
        look_again(serving, model);
        return;
    }
    model->look_retries = 0;
    int64_t *idle = malloc((size_t)count * sizeof *idle);
    if (idle) {
        const int32_t wanted = apply_policy(serving, model, found, count, idle, &idle_count);
        check_specific(serving, model, wanted);
        pthread_mutex_lock(&serving->lock);
        int64_t *old = model->idle;
        model->idle = idle;
        model->idle_count = idle_count;
        pthread_mutex_unlock(&serving->lock);
        free(old);
    }
    free(found);
}

void rn__sync_look(rn_serving *serving, rn__served *model)
{
    if (model->configured && !model->suspended) {
        look(serving, model);
    } else {
        for (rn__version *v = model->versions; v; v = v->next) v->wanted = false;
        set_look(serving, model, RN_STATUS_OK, "");
        model->look_at_us = 0;
    }
    drop_steps(serving, model);
}

/* ---- loading ---- */

/* Whether other files could make the difference. */
static bool is_about_files(rn_status status)
{
    return status == RN_STATUS_DATA_LOSS || status == RN_STATUS_NOT_FOUND || status == RN_STATUS_INVALID_ARGUMENT ||
           status == RN_STATUS_UNSUPPORTED || status == RN_STATUS_FAILED_PRECONDITION;
}

static void retire(rn_serving *serving, rn_model *model, rn__version *version)
{
    rn__retired *r = malloc(sizeof *r);
    if (!r) { /* then whoever holds the last reference frees it */
        rn_model_release(model);
        if (version) set_state(serving, version, RN_VERSION_END);
        return;
    }
    *r = (rn__retired){.next = serving->retired, .model = model, .version = version};
    serving->retired = r;
}

/* What the version says of its batches itself, if it does. */
static rn_status read_batching(const char *path, rn_model_options *options, rn_error *err)
{
    char file[PATH_BYTES];
    rn_text text;
    if (snprintf(file, sizeof file, "%s/batching_params.pbtxt", path) >= (int)sizeof file) return RN_STATUS_OK;
    const rn_status status = rn_text_file_read(file, &text, err);
    if (status == RN_STATUS_NOT_FOUND) return RN_STATUS_OK;
    RN_TRY(status);
    const rn_status applied = rn_batching_parameters_apply(text, file, options, err);
    free((char *)text.at);
    return applied;
}

static rn_status warm_up(const rn_serving *serving, const rn__served *served, const rn__version *v, const char *path, rn_model *model,
                         rn_error *err)
{
    int32_t count;
    if (!serving->options.warm_up) return RN_STATUS_OK;
    RN_TRY(rn_warmup_run(model, path, &serving->options.warmup, &count, err));
    if (count > 0) rn__keeper_log(serving, "model %s, version %" PRId64 ": %d warm-up records", served->config.name, v->number, count);
    return RN_STATUS_OK;
}

/* path: of the version's files on this machine. */
static rn_status load_files(const rn_serving *serving, const rn__served *served, const rn__version *v, const char *path, rn_model **out,
                            rn_error *err)
{
    rn_model_options options = serving->options.model;
    rn_plan *plan;
    const int64_t begin_us = rn_clock_us();
    RN_TRY(rn_metrics_model(serving->options.metrics, served->config.name, v->number, &options.metrics, err));
    if (serving->options.per_model_batching) RN_TRY(read_batching(path, &options, err));
    RN_TRY(rn_repository_load_ahead(path, NULL, &plan, err));
    RN_TRY(rn_model_create(plan, serving->options.backend, &options, serving->options.workers, out, err));
    const rn_status status = warm_up(serving, served, v, path, *out, err);
    if (status != RN_STATUS_OK) {
        rn_model_release(*out);
        return status;
    }
    char sha256[RN_SHA256_TEXT_BYTES];
    rn_repository_sha256(path, sha256);
    rn_model_metrics_origin(options.metrics, sha256, rn_clock_us() - begin_us);
    return RN_STATUS_OK;
}

static void count_failure(const rn_serving *serving, const rn__served *served, const rn__version *v)
{
    rn_model_metrics *record;
    if (rn_metrics_model(serving->options.metrics, served->config.name, v->number, &record, NULL) == RN_STATUS_OK)
        rn_counter_add(&record->load_failures, 1);
}

static rn_status load(const rn_serving *serving, const rn__served *served, const rn__version *v, rn_model **out, rn_error *err)
{
    rn_storage_files files;
    rn_status status = rn_storage_fetch(serving->options.storage, v->path, &files, err);
    if (status == RN_STATUS_OK) status = load_files(serving, served, v, files.path, out, err);
    rn_storage_release(&files, status == RN_STATUS_DATA_LOSS);
    if (status == RN_STATUS_OK) return status;
    count_failure(serving, served, v);
    const bool named = strncmp(err->message, v->path, strlen(v->path)) == 0;
    rn_error_prefix(err, "model %s, version %" PRId64 "%s%s", served->config.name, v->number, named ? "" : ", ", named ? "" : v->path);
    return status;
}

static void publish(rn_serving *serving, rn__version *v, rn_model *model)
{
    pthread_mutex_lock(&serving->lock);
    rn_model *old = v->model;
    v->model = model;
    v->state = RN_VERSION_AVAILABLE;
    if (!old) serving->available++;
    pthread_mutex_unlock(&serving->lock);
    if (old) retire(serving, old, NULL);
    v->step = RN__LOAD_NONE;
}

static void give_up(rn_serving *serving, rn__version *v)
{
    v->step = RN__LOAD_FAILED;
    if (!v->model) set_state(serving, v, RN_VERSION_END);
}

static void note_failure(rn_serving *serving, rn__version *v, const rn_error *err)
{
    char *message = strdup(err->message);
    pthread_mutex_lock(&serving->lock);
    free(v->message);
    v->message = message;
    v->failure = err->status;
    pthread_mutex_unlock(&serving->lock);
}

/* Another try in the same process would meet the same device. */
static bool is_about_device(rn_status status)
{
    return status == RN_STATUS_DEVICE_FAILED || status == RN_STATUS_DEVICE_LOST;
}

/* Decides what comes next after a load that failed. */
static void handle_failure(rn_serving *serving, rn__version *v, const rn_error *err)
{
    const rn_serving_options *o = &serving->options;
    note_failure(serving, v, err);
    if (is_about_files(err->status) && o->poll_us > 0) {
        v->step = RN__LOAD_WAITS;
        v->try_us = rn_clock_us() + o->poll_us;
        rn__keeper_log(serving, "%s; waiting for its files, in case that they are being copied", err->message);
    } else if (!is_about_files(err->status) && !is_about_device(err->status) && v->retries < o->max_retries) {
        v->retries++;
        v->step = RN__LOAD_RETRIES;
        v->try_us = rn_clock_us() + o->retry_us;
        rn__keeper_log(serving, "%s; retry %d of %d in %.1f s", err->message, v->retries, o->max_retries, 1e-6 * (double)o->retry_us);
    } else {
        give_up(serving, v);
        rn__keeper_log(serving, "%s", err->message);
    }
}

static void try_to_load(rn_serving *serving, const rn__served *served, rn__version *v)
{
    const int64_t begin = rn_clock_us();
    rn_model *model;
    rn_error err;
    v->stamp = rn_storage_stamp(serving->options.storage, v->path);
    if (!v->model) set_state(serving, v, RN_VERSION_LOADING);
    if (load(serving, served, v, &model, &err) != RN_STATUS_OK) {
        handle_failure(serving, v, &err);
        return;
    }
    rn__keeper_log(serving, "model %s, version %" PRId64 ": %s; %s; loaded and tested in %.2f s", served->config.name, v->number,
                   rn_model_plan(model)->architecture, rn_model_device(model), 1e-6 * (double)(rn_clock_us() - begin));
    publish(serving, v, model);
}

/* Takes the version's next step if it is time. False: not now. */
static bool step_version(rn_serving *serving, const rn__served *served, rn__version *v, int64_t *next_us)
{
    const bool timed = v->step == RN__LOAD_WAITS || v->step == RN__LOAD_RETRIES;
    if (timed && rn_clock_us() < v->try_us) {
        if (v->try_us < *next_us) *next_us = v->try_us;
        return false;
    }
    if (!timed && v->step != RN__LOAD_DUE) return false;
    if (v->step == RN__LOAD_WAITS && rn_storage_stamp(serving->options.storage, v->path) == v->stamp) {
        give_up(serving, v);
        rn__keeper_log(serving, "%s; its files do not change any more", v->message ? v->message : "");
        return true;
    }
    try_to_load(serving, served, v);
    return true;
}

/* ---- unloading ---- */

static void unload(rn_serving *serving, const rn__served *served, rn__version *v)
{
    pthread_mutex_lock(&serving->lock);
    rn_model *model = v->model;
    v->model = NULL;
    v->state = RN_VERSION_UNLOADING;
    serving->available--;
    pthread_mutex_unlock(&serving->lock);
    rn__keeper_log(serving, "model %s, version %" PRId64 ": unloading", served->config.name, v->number);
    retire(serving, model, v);
}

void rn__sync_free_retired(rn_serving *serving)
{
    for (rn__retired **link = &serving->retired; *link;) {
        rn__retired *r = *link;
        if (rn_model_is_shared(r->model)) {
            link = &r->next;
            continue;
        }
        *link = r->next;
        rn_model_release(r->model);
        malloc_trim(0); /* the heap would keep what belonged to it between what others hold */
        if (r->version && r->version->state == RN_VERSION_UNLOADING) set_state(serving, r->version, RN_VERSION_END);
        free(r);
    }
}

/* Old versions go when a new one is there, or when none is wanted; with unload_first, at once. */
static bool may_unload(const rn_serving *serving, const rn__served *model)
{
    bool any_wanted = false;
    for (const rn__version *v = model->versions; v; v = v->next) {
        if (v->wanted && v->model) return true;
        any_wanted = any_wanted || v->wanted;
    }
    return !any_wanted || serving->options.unload_first;
}

static bool unload_one(rn_serving *serving, const rn__served *model)
{
    if (!may_unload(serving, model)) return false;
    for (rn__version *v = model->versions; v; v = v->next) {
        if (v->wanted || !v->model) continue;
        unload(serving, model, v);
        return true;
    }
    return false;
}

bool rn__sync_step(rn_serving *serving, rn__served *model, int64_t *next_us)
{
    if (unload_one(serving, model)) return true;
    for (rn__version *v = model->versions; v; v = v->next)
        if (v->wanted && step_version(serving, model, v, next_us)) return true;
    return false;
}

void rn__sync_cancel(rn_serving *serving)
{
    rn_storage_cancel(serving->options.storage);
}

bool rn__sync_is_settled(const rn__served *model)
{
    if (model->look_at_us) return false;
    for (const rn__version *v = model->versions; v; v = v->next)
        if (v->wanted && v->step != RN__LOAD_NONE && v->step != RN__LOAD_FAILED) return false;
    return true;
}

bool rn__sync_is_unloaded(const rn__served *model)
{
    for (const rn__version *v = model->versions; v; v = v->next)
        if (v->model || v->state == RN_VERSION_UNLOADING) return false;
    return true;
}

/* ---- labels ---- */

/* Whether the label is in use for another version. */
static bool moves(const rn__served *model, const rn_version_label *label)
{
    for (int32_t i = 0; i < model->label_count; i++)
        if (strcmp(model->labels[i].label, label->label) == 0) return model->labels[i].version != label->version;
    return false;
}

static rn_status check_labels(const rn_serving *serving, const rn__served *model, rn_error *err)
{
    const rn_model_config *config = &model->config;
    for (int32_t i = 0; i < config->label_count; i++) {
        const rn_version_label *label = &config->labels[i];
        const rn__version *v = rn__served_version(model, label->version);
        if (v && v->model) continue;
        if (serving->options.allow_early_labels && !moves(model, label)) continue;
        return RN_FAIL(err, RN_STATUS_FAILED_PRECONDITION,
                       "Request to assign label to version %" PRId64 " of model %s, which is not currently available for inference",
                       label->version, config->name);
    }
    return RN_STATUS_OK;
}

rn_status rn__sync_labels(rn_serving *serving, rn__served *model, rn_error *err)
{
    RN_TRY(check_labels(serving, model, err));
    rn_model_config copy;
    RN_TRY(rn_model_config_copy(&model->config, &copy, err));
    /* What is assigned and the copy change places. */
    const rn_model_config fresh = copy;
    pthread_mutex_lock(&serving->lock);
    copy.labels = model->labels;
    copy.label_count = model->label_count;
    model->labels = fresh.labels;
    model->label_count = fresh.label_count;
    pthread_mutex_unlock(&serving->lock);
    rn_model_config_deinit(&copy);
    return RN_STATUS_OK;
}
