/* What each version in memory is and where it came from, and the names that recipes for clusters expect beside the page's own. */
#include <stdio.h>
#include <string.h>

#include "http/prometheus.h"

static const rn_model_metrics *loaded_from(const rn_model_metrics *model)
{
    while (model && model->loaded == 0) model = model->next;
    return model;
}

#define EACH_LOADED(model, metrics)                                 \
    const rn_model_metrics *model = loaded_from((metrics)->models); \
    model;                                                          \
    model = loaded_from(model->next)

static void write_info(rn__page *page, const rn_metrics *metrics, const char *mlflow_run_id)
{
    rn__page_family(page, "resnetd_model_info", "gauge",
                    "1 for every version in memory, with the hash of a converted file and the run it comes from.");
    for (EACH_LOADED(model, metrics)) {
        const rn__page_labels labels = {.model_key = "model_name",
                                        .version_key = "model_version",
                                        .model = model,
                                        .more = {{"sha256", model->sha256}, {"mlflow_run_id", mlflow_run_id}}};
        rn__page_begin(page, "");
        rn__page_labels_write(page, &labels);
        rn__page_end_int(page, 1);
    }
}

static void write_load_seconds(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_model_load_seconds", "gauge",
                    "From the first look at its files until the version could answer, when it was loaded last.");
    for (EACH_LOADED(model, metrics)) {
        const rn__page_labels labels = {.model_key = "model_name", .version_key = "model_version", .model = model};
        rn__page_begin(page, "");
        rn__page_labels_write(page, &labels);
        rn__page_end_seconds(page, model->load_us);
    }
}

/* By model and not by version: a counter that begins with the failure that it counts shows no increase. */
static void write_load_failures(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_model_load_failures_total", "counter", "Tries to load a version of the model that came to nothing.");
    for (const rn_model_metrics *model = metrics->models; model; model = model->next) {
        const rn_model_metrics *first = metrics->models;
        uint64_t failures = 0;
        while (strcmp(first->name, model->name) != 0) first = first->next;
        if (first != model) continue;
        for (const rn_model_metrics *m = model; m; m = m->next)
            if (strcmp(m->name, model->name) == 0) failures += rn_counter_get(&m->load_failures);
        rn__page_begin(page, "");
        rn__page_label(page, "model", model->name);
        rn__page_end_int(page, (int64_t)failures);
    }
}

/* Versions that run on the same device have one sample together. */
static bool is_first_on_its_device(const rn_metrics *metrics, const rn_model_metrics *model)
{
    const size_t bytes = strcspn(model->description, ",") + 1;
    for (EACH_LOADED(m, metrics)) {
        if (m == model) return true;
        if (strncmp(m->description, model->description, bytes) == 0) return false;
    }
    return true;
}

static void write_devices(rn__page *page, const rn_metrics *metrics, bool required)
{
    rn__page_family(page, "resnetd_device_info", "gauge",
                    "1 for every device in use; required: --device names it, so that there is no other to fall back to.");
    for (EACH_LOADED(model, metrics)) {
        char device[32], name[sizeof model->description];
        if (!is_first_on_its_device(metrics, model)) continue;
        snprintf(device, sizeof device, "%.*s", (int)strcspn(model->description, " ,"), model->description);
        snprintf(name, sizeof name, "%.*s", (int)strcspn(model->description, ","), model->description);
        rn__page_begin(page, "");
        rn__page_label(page, "device", device);
        rn__page_label(page, "required", required ? "true" : "false");
        rn__page_label(page, "name", name);
        rn__page_end_int(page, 1);
    }
}

static void write_batches(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_batch_size", "histogram", "The same as resnetd_batch_rows.");
    for (const rn_model_metrics *model = metrics->models; model; model = model->next) {
        const rn__page_labels labels = {.model_key = "model_name", .version_key = "model_version", .model = model};
        rn__page_histogram(page, &model->batch_rows, RN__SHOWN_AS_ROWS, &labels);
    }
}

void rn__page_models(rn__page *page, const rn_metrics *metrics, const char *mlflow_run_id, bool device_required)
{
    write_info(page, metrics, mlflow_run_id);
    write_load_seconds(page, metrics);
    write_load_failures(page, metrics);
    write_devices(page, metrics, device_required);
    write_batches(page, metrics);
}
