/* From a plan to a model that answers: each device is prepared and tested before anybody can send a request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"
#include "engine/passes.h"
#include "engine/quantize.h"
#include "engine/self_test.h"

/* ---- life ---- */

static void free_model(rn_model *model)
{
    if (model->loaded) rn_model_metrics_unloaded(model->metrics);
    rn_replicas_destroy(model->replicas);
    rn_plan_destroy(model->plan);
    free(model->device);
    free(model);
}

/* Adds what an executor says of itself to the line of the model. */
static rn_status add_description(rn_model *model, const char *text, rn_error *err)
{
    char *line;
    if (asprintf(&line, "%s%s%s", model->device ? model->device : "", model->device ? "; " : "", text) < 0)
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a model");
    free(model->device);
    model->device = line;
    return RN_STATUS_OK;
}

/* Prepares a device while the plan's data are still being checked. Whatever comes of damaged data, that they are damaged is what is told. */
static rn_status prepare_checked(rn_plan *plan, const rn_backend *backend, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    rn_error damage;
    const rn_status status = backend->prepare(plan, options, out, err), verdict = rn_plan_await(plan, &damage);
    if (verdict == RN_STATUS_OK) return status;
    if (status == RN_STATUS_OK) backend->destroy(*out);
    if (err) *err = damage;
    return verdict;
}

static rn_status prepare(rn_model *model, const rn_backend *backend, const rn_model_options *options, rn_error *err)
{
    rn_executor *executor;
    rn_device_metrics *device = NULL;
    if (model->metrics) RN_TRY(rn_metrics_device(model->metrics->registry, backend, options->backend.device, &device, err));
    RN_TRY(prepare_checked(model->plan, backend, &options->backend, &executor, err));
    const int32_t largest = options->every_size ? options->backend.max_batch : 1;
    rn_status status = rn__self_test(model->plan, backend, executor, largest, options->backend.max_batch, options->metrics, err);
    if (status == RN_STATUS_OK) status = add_description(model, backend->describe(executor), err);
    if (status != RN_STATUS_OK) {
        backend->destroy(executor);
        return status;
    }
    return rn_replicas_add(model->replicas, executor, device, err);
}

/* Everything that can fail after the model itself is there. */
static rn_status start(rn_model *model, const rn_backend *backend, const rn_model_options *options, rn_error *err)
{
    const rn_batcher_options batching = {.max_batch = options->backend.max_batch,
                                         .max_waiting_rows = options->max_waiting_rows,
                                         .one_at_a_time = options->one_at_a_time,
                                         .gather_us = options->gather_us,
                                         .target_us = options->target_us,
                                         .metrics = options->metrics};
    const bool widen = rn_plan_is_quantized(model->plan) && !(backend->runs_int8 && backend->runs_int8(&options->backend));
    if (widen) RN_TRY(rn_plan_widen(model->plan, err));
    RN_TRY(rn_plan_explain(model->plan, err));
    RN_TRY(rn_replicas_create(model->plan, backend, &batching, options->device_lost, options->device_lost_context, &model->replicas, err));
    rn_model_metrics_self_test_begin(options->metrics);
    rn_model_options one = *options;
    for (int32_t i = 0; i < options->device_count || i == 0; i++) {
        if (options->device_count > 0) one.backend.device = options->devices[i];
        RN_TRY(prepare(model, backend, &one, err));
    }
    for (int32_t i = 0; i < model->plan->signature_count; i++)
        model->picture_bytes[i] = rn_replicas_picture_bytes(model->replicas, &model->plan->signatures[i]);
    if (widen) RN_TRY(add_description(model, "int8 filters widened", err));
    rn_model_metrics_loaded(options->metrics, model->device);
    model->loaded = true;
    return RN_STATUS_OK;
}

rn_status rn_model_create(rn_plan *plan, const rn_backend *backend, const rn_model_options *options, rn_workers *workers, rn_model **out,
                          rn_error *err)
{
    rn_model *model = calloc(1, sizeof *model);
    if (!model) {
        rn_plan_destroy(plan);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a model");
    }
    model->plan = plan;
    model->workers = workers;
    model->metrics = options->metrics;
    model->max_rows = options->max_request_rows ? options->max_request_rows : options->max_waiting_rows;
    model->max_image_pixels = options->max_image_pixels;
    model->scheduling = (rn_model_scheduling){.backend = backend->name,
                                              .device_count = options->device_count > 0 ? options->device_count : 1,
                                              .max_batch = options->backend.max_batch,
                                              .one_at_a_time = options->one_at_a_time,
                                              .gather_us = options->gather_us};
    atomic_init(&model->references, 1);
    const rn_status status = start(model, backend, options, err);
    if (status != RN_STATUS_OK) {
        free_model(model);
        return status;
    }
    *out = model;
    return RN_STATUS_OK;
}

void rn_model_acquire(rn_model *model)
{
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
}

void rn_model_release(rn_model *model)
{
    if (model && atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) == 1) free_model(model);
}

bool rn_model_is_shared(const rn_model *model)
{
    return atomic_load_explicit(&model->references, memory_order_acquire) > 1;
}

const rn_plan *rn_model_plan(const rn_model *model)
{
    return model->plan;
}

const char *rn_model_device(const rn_model *model)
{
    return model->device;
}

rn_model_scheduling rn_model_scheduling_of(const rn_model *model)
{
    return model->scheduling;
}

rn_model_metrics *rn_model_metrics_of(const rn_model *model)
{
    return model->metrics;
}

int64_t rn_model_max_image_pixels(const rn_model *model)
{
    return model->max_image_pixels;
}

rn_status rn_model_check_room(rn_model *model, int32_t rows, rn_error *err)
{
    if (rn_replicas_have_room(model->replicas, rows)) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_OVERLOADED, RN_BATCHER_FULL);
}

int32_t rn_model_waiting_rows(rn_model *model)
{
    return rn_replicas_waiting_rows(model->replicas);
}

int64_t rn_model_held_us(const rn_model *model)
{
    return rn_replicas_held_us(model->replicas);
}
