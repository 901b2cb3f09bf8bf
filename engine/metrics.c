/* The records are a short list that only grows: readers and the loading of models share a lock that calls never take. */
#include "engine/device_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const int64_t rn_histogram_us[RN_HISTOGRAM_BOUNDS] = {100,   250,    500,    1000,   2500,    5000,    10000,   25000,   50000,
                                                      100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};

const int64_t rn_histogram_rows[RN_HISTOGRAM_BOUNDS] = {1,   2,   4,    8,    16,   32,   64,    128,   256,
                                                        512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};

void rn_histogram_observe(rn_histogram *histogram, const int64_t bounds[RN_HISTOGRAM_BOUNDS], int64_t value)
{
    int32_t bucket = 0;
    while (bucket < RN_HISTOGRAM_BOUNDS && value > bounds[bucket]) bucket++;
    rn_counter_add(&histogram->buckets[bucket], 1);
    rn_counter_add(&histogram->sum, (uint64_t)value);
}

void rn_histogram_add(rn_histogram *histogram, const rn_histogram *other)
{
    for (int32_t i = 0; i <= RN_HISTOGRAM_BOUNDS; i++) rn_counter_add(&histogram->buckets[i], rn_counter_get(&other->buckets[i]));
    rn_counter_add(&histogram->sum, rn_counter_get(&other->sum));
}

uint64_t rn_histogram_count(const rn_histogram *histogram)
{
    uint64_t count = 0;
    for (int32_t i = 0; i <= RN_HISTOGRAM_BOUNDS; i++) count += rn_counter_get(&histogram->buckets[i]);
    return count;
}

rn_status rn_metrics_create(rn_metrics **out, rn_error *err)
{
    rn_metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for metrics");
    metrics->no_model.name = "";
    pthread_mutex_init(&metrics->lock, NULL);
    *out = metrics;
    return RN_STATUS_OK;
}

void rn_metrics_destroy(rn_metrics *metrics)
{
    if (!metrics) return;
    for (rn_model_metrics *model = metrics->models, *next; model; model = next) {
        next = model->next;
        free(model);
    }
    for (rn_device_metrics *device = metrics->devices, *next; device; device = next) {
        next = device->next;
        free(device);
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static rn_model_metrics *create_model(rn_metrics *registry, const char *name, int64_t version)
{
    const size_t name_bytes = strlen(name) + 1;
    rn_model_metrics *model = calloc(1, sizeof *model + name_bytes);
    if (!model) return NULL;
    char *copy = (char *)(model + 1);
    memcpy(copy, name, name_bytes);
    model->name = copy;
    model->version = version;
    model->registry = registry;
    model->self_test_error = -1;
    return model;
}

rn_status rn_metrics_model(rn_metrics *metrics, const char *name, int64_t version, rn_model_metrics **out, rn_error *err)
{
    pthread_mutex_lock(&metrics->lock);
    rn_model_metrics **link = &metrics->models;
    while (*link && ((*link)->version != version || strcmp((*link)->name, name) != 0)) link = &(*link)->next;
    if (!*link) *link = create_model(metrics, name, version);
    *out = *link;
    pthread_mutex_unlock(&metrics->lock);
    return *out ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for metrics of model %s", name);
}

/* ---- what the engine reports ---- */

void rn_model_metrics_loaded(rn_model_metrics *model, const char *description)
{
    if (!model) return;
    pthread_mutex_lock(&model->registry->lock);
    model->loaded++;
    snprintf(model->description, sizeof model->description, "%s", description);
    pthread_mutex_unlock(&model->registry->lock);
}

void rn_model_metrics_origin(rn_model_metrics *model, const char *sha256, int64_t load_us)
{
    if (!model) return;
    pthread_mutex_lock(&model->registry->lock);
    model->load_us = load_us;
    snprintf(model->sha256, sizeof model->sha256, "%s", sha256);
    pthread_mutex_unlock(&model->registry->lock);
}

void rn_model_metrics_self_test_begin(rn_model_metrics *model)
{
    if (!model) return;
    pthread_mutex_lock(&model->registry->lock);
    model->self_test_error = -1;
    pthread_mutex_unlock(&model->registry->lock);
}

void rn_model_metrics_self_test(rn_model_metrics *model, double error)
{
    if (!model) return;
    pthread_mutex_lock(&model->registry->lock);
    if (!(error <= model->self_test_error)) model->self_test_error = error;
    pthread_mutex_unlock(&model->registry->lock);
}

void rn_model_metrics_unloaded(rn_model_metrics *model)
{
    if (!model) return;
    pthread_mutex_lock(&model->registry->lock);
    model->loaded--;
    pthread_mutex_unlock(&model->registry->lock);
}

void rn_model_metrics_queued(rn_model_metrics *model, int64_t requests, int64_t rows)
{
    if (!model) return;
    rn_gauge_add(&model->waiting_requests, requests);
    rn_gauge_add(&model->waiting_rows, rows);
}

void rn_model_metrics_ran(rn_model_metrics *model, int64_t rows, int64_t run_us)
{
    if (!model) return;
    struct timespec now;
    int bucket = 0;
    while (bucket < RN_HISTOGRAM_BOUNDS && rows > rn_histogram_rows[bucket]) bucket++;
    clock_gettime(CLOCK_REALTIME, &now);
    rn_counter_add(&model->batch_run_us[bucket], (uint64_t)run_us);
    atomic_store_explicit(&model->last_run_ms, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, memory_order_relaxed);
    rn_histogram_observe(&model->batch_rows, rn_histogram_rows, rows);
    rn_counter_add(&model->busy_us, (uint64_t)run_us);
}

void rn_model_metrics_stage(rn_model_metrics *model, rn_stage stage, int64_t us)
{
    if (model && us >= 0) rn_histogram_observe(&model->stages[stage], rn_histogram_us, us);
}
