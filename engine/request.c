/* The way of one request: pictures are decoded on the workers, one job each, straight into the rows of the input; then the batch queue;
 * then back to whoever asked. */
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/image/image.h"
#include "engine/model_private.h"

struct rn_decode {
    rn_job job;
    rn_request *request;
    int32_t index;
    rn_status status;
    rn_error error;
};

enum { ALIGNMENT = 64 };

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Hands out consecutive aligned pieces of one block; with a NULL base it only counts. */
static void *carve(char *base, size_t *used, size_t bytes)
{
    void *piece = base ? base + *used : NULL;
    *used += aligned(bytes);
    return piece;
}

static size_t lay_out(rn_request *request, char *base, const rn_plan *plan, const rn_signature *signature, size_t rows,
                      size_t scratch_bytes)
{
    size_t used = aligned(sizeof *request);
    void *input = carve(base, &used, rows * rn_plan_tensor_bytes(&plan->tensors[signature->feed]));
    void *outputs[RN_PLAN_MAX_OUTPUTS];
    for (int32_t i = 0; i < signature->output_count; i++)
        outputs[i] = carve(base, &used, rows * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[i].tensor]));
    const size_t pictures = signature->image_op == RN_NONE ? 0 : rows;
    void *encoded = carve(base, &used, pictures * sizeof(rn_encoded_picture));
    void *decodes = carve(base, &used, pictures * sizeof(rn_decode));
    void *scratch = carve(base, &used, scratch_bytes);
    if (!base) return used;
    request->input = input;
    memcpy(request->outputs, outputs, (size_t)signature->output_count * sizeof outputs[0]);
    request->pictures = signature->image_op == RN_NONE ? NULL : encoded;
    request->decodes = decodes;
    request->scratch = scratch;
    return used;
}

rn_status rn_request_create(rn_model *model, const rn_signature *signature, int64_t rows, size_t scratch_bytes, rn_request **out,
                            rn_error *err)
{
    if (rows > model->max_rows)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Task size %lld is larger than maximum input batch size %d", (long long)rows,
                       model->max_rows);
    const rn_plan *plan = rn_model_plan(model);
    const size_t bytes = lay_out(NULL, NULL, plan, signature, (size_t)rows, scratch_bytes);
    rn_request *request = aligned_alloc(ALIGNMENT, bytes);
    if (!request) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a request of %lld rows (%zu bytes)", (long long)rows, bytes);
    memset(request, 0, sizeof *request);
    lay_out(request, (char *)request, plan, signature, (size_t)rows, scratch_bytes);
    rn_model_acquire(model);
    request->model = model;
    request->signature = signature;
    request->rows = (int32_t)rows;
    request->failed_picture = RN_NONE;
    *out = request;
    return RN_STATUS_OK;
}

void rn_request_destroy(rn_request *request)
{
    if (!request) return;
    rn_model *model = request->model;
    free(request);
    rn_model_release(model);
}

static void count_stages(const rn_request *request)
{
    rn_model_metrics *metrics = request->model->metrics;
    if (request->rows == 0) return;
    if (request->pictures) rn_model_metrics_stage(metrics, RN_STAGE_DECODE, request->decode_us);
    rn_model_metrics_stage(metrics, RN_STAGE_QUEUE, request->batch.queue_us);
    rn_model_metrics_stage(metrics, RN_STAGE_RUN, request->batch.run_us);
}

static void finish(rn_request *request, rn_status status, const rn_error *err)
{
    request->status = status;
    if (err) request->error = *err;
    if (status == RN_STATUS_OK) count_stages(request);
    request->done(request);
}

static void enqueue(rn_request *request);

static void batch_done(rn_batch_request *batch, rn_status status, const rn_error *err)
{
    rn_request *request = (rn_request *)((char *)batch - offsetof(rn_request, batch));
    if (status == RN_STATUS_DEVICE_LOST)
        enqueue(request); /* another device takes it; the last one is gone when this is refused */
    else
        finish(request, status, err);
}

static void enqueue(rn_request *request)
{
    rn_error err;
    const rn_status status = rn_replicas_submit(request->model->replicas, &request->batch, &err);
    if (status != RN_STATUS_OK) finish(request, status, &err);
}

/* ---- pictures ---- */

/* Keeps the lowest position among the pictures that failed, so that the answer does not depend on the order of threads. */
static void note_failure(rn_request *request, int32_t index)
{
    int first = atomic_load(&request->first_bad_picture);
    while (index < first && !atomic_compare_exchange_weak(&request->first_bad_picture, &first, index)) continue;
}

static void all_decoded(rn_request *request)
{
    request->decode_us = rn_clock_us() - request->submitted_us;
    const int32_t bad = atomic_load(&request->first_bad_picture);
    if (bad < request->rows) {
        const rn_decode *decode = &request->decodes[bad];
        const bool unwanted = decode->status == RN_STATUS_CANCELLED || decode->status == RN_STATUS_DEADLINE_EXCEEDED;
        request->failed_picture = unwanted ? RN_NONE : bad;
        finish(request, decode->status, &decode->error);
    } else {
        enqueue(request);
    }
}

static void decode(rn_job *job)
{
    rn_decode *self = (rn_decode *)job; /* its first member */
    rn_request *request = self->request;
    const rn_plan *plan = rn_model_plan(request->model);
    const rn_image_op *op = &plan->ops[request->signature->image_op].u.image;
    const rn_encoded_picture *picture = &request->pictures[self->index];
    const size_t row_bytes = rn_plan_tensor_bytes(&plan->tensors[request->signature->feed]);
    uint8_t *row = (uint8_t *)request->input + (size_t)self->index * row_bytes;

    self->status = rn_batch_request_check(&request->batch, rn_clock_us(), &self->error);
    if (self->status == RN_STATUS_OK) self->status = rn_image_run(op, picture->bytes, picture->byte_count, row, &self->error);
    if (self->status != RN_STATUS_OK) note_failure(request, self->index);
    if (atomic_fetch_sub(&request->pictures_left, 1) == 1) all_decoded(request);
}

static void fill_batch(rn_request *request)
{
    request->batch = (rn_batch_request){.signature = request->signature,
                                        .part = {.rows = request->rows, .input = request->input},
                                        .priority = request->priority,
                                        .begun_us = request->begun_us ? request->begun_us : request->submitted_us,
                                        .deadline_us = request->deadline_us,
                                        .cancelled = request->cancelled,
                                        .done = batch_done};
    memcpy(request->batch.part.outputs, request->outputs, sizeof request->outputs);
}

void rn_request_submit(rn_request *request)
{
    request->submitted_us = rn_clock_us();
    fill_batch(request);
    if (request->rows == 0) {
        finish(request, RN_STATUS_OK, NULL);
        return;
    }
    if (!request->pictures) {
        enqueue(request);
        return;
    }
    rn_error err;
    if (rn_model_check_room(request->model, request->rows, &err) != RN_STATUS_OK) { /* pictures are not decoded to be refused then */
        finish(request, err.status, &err);
        return;
    }
    atomic_init(&request->pictures_left, request->rows);
    atomic_init(&request->first_bad_picture, request->rows);
    rn_workers *workers = request->model->workers;
    const int32_t rows = request->rows; /* the last job may end the request before the loop ends */
    rn_decode *decodes = request->decodes;
    for (int32_t i = 0; i < rows; i++) decodes[i] = (rn_decode){.job.run = decode, .request = request, .index = i};
    for (int32_t i = 0; i < rows; i++) rn_workers_continue(workers, &decodes[i].job);
}
