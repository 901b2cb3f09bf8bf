/* From a plan to a model that answers. The self-test runs the real device before anybody can send a request: bad weights, a wrong driver or
 * a broken kernel show up while the previous version still serves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_private.h"
#include "engine/quantize.h"

/* ---- self-test ---- */

/* A picture of smooth and noisy parts, the same every time. */
static uint8_t test_pixel(int64_t i)
{
    return (uint8_t)((uint32_t)i * 2654435761u >> 24);
}

static void fill_test_input(const rn_plan_tensor *tensor, int32_t rows, void *input)
{
    const int64_t count = rows * rn_plan_tensor_elements(tensor);
    for (int64_t i = 0; i < count; i++) {
        if (tensor->dtype == RN_DTYPE_F32)
            ((float *)input)[i] = (float)test_pixel(i) / 255.0f;
        else
            ((uint8_t *)input)[i] = test_pixel(i);
    }
}

static rn_status check_output(const rn_plan *plan, const rn_signature *signature, const rn_tensor_spec *spec, int32_t rows,
                              const void *output, rn_error *err)
{
    const rn_plan_tensor *tensor = &plan->tensors[spec->tensor];
    const int64_t count = rows * rn_plan_tensor_elements(tensor);
    for (int64_t i = 0; i < count; i++) {
        if (tensor->dtype == RN_DTYPE_F32 && !isfinite(((const float *)output)[i]))
            return RN_FAIL(err, RN_STATUS_INTERNAL, "self-test: signature %s, output %s: element %lld is not finite", signature->name,
                           spec->name, (long long)i);
        if (spec->labels && (uint32_t)((const int32_t *)output)[i] >= (uint32_t)plan->label_count)
            return RN_FAIL(err, RN_STATUS_INTERNAL, "self-test: signature %s, output %s: class %d of %d", signature->name, spec->name,
                           ((const int32_t *)output)[i], plan->label_count);
    }
    return RN_STATUS_OK;
}

static rn_status test_rows(const rn_plan *plan, const rn_backend *backend, rn_executor *executor, const rn_signature *signature,
                           int32_t rows, rn_error *err)
{
    const rn_plan_tensor *feed = &plan->tensors[signature->feed];
    if (feed->dtype != RN_DTYPE_F32 && feed->dtype != RN_DTYPE_U8)
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "signature %s: input %s is %s, expected float or uint8", signature->name,
                       signature->input.name, rn_dtype_tf_name(feed->dtype));
    rn_status status;
    rn_batch_part part = {.rows = rows};
    void *input = malloc((size_t)rows * rn_plan_tensor_bytes(feed));
    bool complete = input != NULL;
    for (int32_t i = 0; i < signature->output_count; i++) {
        part.outputs[i] = malloc((size_t)rows * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[i].tensor]));
        complete = complete && part.outputs[i];
    }
    if (!complete) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "self-test: no memory for %d rows", rows);
        goto cleanup;
    }
    fill_test_input(feed, rows, input);
    part.input = input;
    RN_TRY_CLEANUP(status, backend->run(executor, signature, &part, 1, err));
    for (int32_t i = 0; i < signature->output_count; i++)
        RN_TRY_CLEANUP(status, check_output(plan, signature, &signature->outputs[i], rows, part.outputs[i], err));
cleanup:
    for (int32_t i = 0; i < signature->output_count; i++) free(part.outputs[i]);
    free(input);
    return status;
}

/* One row; with every_size, all sizes of batches for which backends choose algorithms or record graphs, the largest too. */
static rn_status self_test(const rn_plan *plan, const rn_backend *backend, rn_executor *executor, const rn_model_options *options,
                           rn_error *err)
{
    const int32_t largest = options->every_size ? options->backend.max_batch : 1;
    for (int32_t i = 0; i < plan->signature_count; i++) {
        for (int32_t rows = 1; rows < largest; rows *= 2) RN_TRY(test_rows(plan, backend, executor, &plan->signatures[i], rows, err));
        RN_TRY(test_rows(plan, backend, executor, &plan->signatures[i], largest, err));
    }
    return RN_STATUS_OK;
}

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

static rn_status prepare(rn_model *model, const rn_backend *backend, const rn_model_options *options, rn_error *err)
{
    rn_executor *executor;
    RN_TRY(backend->prepare(model->plan, &options->backend, &executor, err));
    rn_status status = self_test(model->plan, backend, executor, options, err);
    if (status == RN_STATUS_OK) status = add_description(model, backend->describe(executor), err);
    if (status != RN_STATUS_OK) {
        backend->destroy(executor);
        return status;
    }
    return rn_replicas_add(model->replicas, executor, err);
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
    RN_TRY(rn_replicas_create(model->plan, backend, &batching, options->device_lost, options->device_lost_context, &model->replicas, err));
    rn_model_options one = *options;
    for (int32_t i = 0; i < options->device_count || i == 0; i++) {
        if (options->device_count > 0) one.backend.device = options->devices[i];
        RN_TRY(prepare(model, backend, &one, err));
    }
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

rn_model_metrics *rn_model_metrics_of(const rn_model *model)
{
    return model->metrics;
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
