/* A short list behind a lock. It is read once for each request, so that the lock is held for a few comparisons only. */
#include "http/serving.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/repository.h"

typedef struct entry {
    struct entry *next; /* falling versions within a name */
    char *name;
    int64_t version;
    rn_model *model;
} entry;

struct rn_serving {
    atomic_bool ready;
    pthread_mutex_t lock; /* guards the list */
    entry *entries;
};

rn_status rn_serving_create(rn_serving **out, rn_error *err)
{
    rn_serving *serving = calloc(1, sizeof *serving);
    if (!serving) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the list of models");
    pthread_mutex_init(&serving->lock, NULL);
    *out = serving;
    return RN_STATUS_OK;
}

void rn_serving_destroy(rn_serving *serving)
{
    if (!serving) return;
    for (entry *e = serving->entries, *next; e; e = next) {
        next = e->next;
        rn_model_release(e->model);
        free(e->name);
        free(e);
    }
    pthread_mutex_destroy(&serving->lock);
    free(serving);
}

/* ---- loading ---- */

static bool holds_file(const char *directory, const char *name)
{
    char path[4096];
    struct stat info;
    return snprintf(path, sizeof path, "%s/%s", directory, name) < (int)sizeof path && stat(path, &info) == 0;
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* Where the model lies, and its version: a model directory or file itself is version 1. */
static rn_status find_version(const char *base, char *path, size_t path_bytes, int64_t *version, rn_error *err)
{
    const bool bare = is_file(base) || holds_file(base, "saved_model.pb") || holds_file(base, "model.safetensors");
    int written;
    if (bare) {
        *version = 1;
        written = snprintf(path, path_bytes, "%s", base);
    } else {
        rn_repository_version *versions;
        int32_t count;
        RN_TRY(rn_repository_versions(base, &versions, &count, err));
        *version = versions[0].number;
        written = snprintf(path, path_bytes, "%s/%s", base, versions[0].name);
        free(versions);
    }
    if (written >= (int)path_bytes) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.200s...: path too long", base);
    return RN_STATUS_OK;
}

static rn_status publish(rn_serving *serving, const char *name, int64_t version, rn_model *model, rn_error *err)
{
    entry *e = calloc(1, sizeof *e);
    char *copy = strdup(name);
    if (!e || !copy) {
        free(copy);
        free(e);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the list of models");
    }
    *e = (entry){.name = copy, .version = version, .model = model};
    pthread_mutex_lock(&serving->lock);
    entry **link = &serving->entries;
    while (*link && (strcmp((*link)->name, name) != 0 || (*link)->version > version)) link = &(*link)->next;
    e->next = *link;
    *link = e;
    pthread_mutex_unlock(&serving->lock);
    return RN_STATUS_OK;
}

rn_status rn_serving_load(rn_serving *serving, const rn_serving_source *source, rn_error *err)
{
    char path[4096];
    int64_t version;
    rn_plan *plan;
    rn_model *model;
    RN_TRY(find_version(source->base_path, path, sizeof path, &version, err));
    rn_status status = rn_repository_load(path, NULL, &plan, err);
    rn_model_options options = source->options;
    if (status == RN_STATUS_OK) {
        status = rn_metrics_model(source->metrics, source->name, version, &options.metrics, err);
        if (status != RN_STATUS_OK) rn_plan_destroy(plan);
    }
    if (status == RN_STATUS_OK) status = rn_model_create(plan, source->backend, &options, source->workers, &model, err);
    if (status != RN_STATUS_OK) {
        rn_error_prefix(err, "model %s, version %lld, %s", source->name, (long long)version, path);
        return status;
    }
    status = publish(serving, source->name, version, model, err);
    if (status != RN_STATUS_OK) rn_model_release(model);
    return status;
}

/* ---- looking up ---- */

rn_model *rn_serving_acquire(rn_serving *serving, rn_text name, int64_t version, int64_t *found)
{
    rn_model *model = NULL;
    pthread_mutex_lock(&serving->lock);
    for (const entry *e = serving->entries; e && !model; e = e->next) {
        if (!rn_text_equals(name, e->name) || (version != RN_LATEST_VERSION && version != e->version)) continue;
        model = e->model;
        *found = e->version;
        rn_model_acquire(model);
    }
    pthread_mutex_unlock(&serving->lock);
    return model;
}

int32_t rn_serving_versions(rn_serving *serving, rn_text name, int64_t *out, int32_t capacity)
{
    int32_t count = 0;
    pthread_mutex_lock(&serving->lock);
    for (const entry *e = serving->entries; e; e = e->next) {
        if (!rn_text_equals(name, e->name)) continue;
        if (count < capacity) out[count] = e->version;
        count++;
    }
    pthread_mutex_unlock(&serving->lock);
    return count;
}

bool rn_serving_is_ready(const rn_serving *serving)
{
    return atomic_load(&serving->ready);
}

void rn_serving_set_ready(rn_serving *serving, bool ready)
{
    atomic_store(&serving->ready, ready);
}
