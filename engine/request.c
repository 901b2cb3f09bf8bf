/* The way of one request: pictures are decoded on the workers, one job each, straight into the rows of the input, or kept as they are where
 * the device resizes them; then the batch queue; then back to whoever asked. */
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

enum {
    ALIGNMENT = 64,
    HELD_WINDOWS = 2, /* a decoded picture is kept if all of it is at most so many times what the device takes: it waits in the queue */
    MOST_KEPT_BYTES = 64 << 20 /* of the memory that a thread decodes into: 22 million pixels in colour, what cameras make */
};

static size_t picture_bytes_of(const rn_model *model, const rn_signature *signature)
{
    return model->picture_bytes[signature - model->plan->signatures];
}

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

/* What a request holds beside its inputs and outputs. */
typedef struct {
    size_t scratch_bytes;
    bool explained;
} extras;

static size_t lay_out(rn_request *request, char *base, const rn_model *model, const rn_signature *signature, size_t rows, const extras *with)
{
    const rn_plan *plan = model->plan;
    size_t used = aligned(sizeof *request);
    void *feed = carve(base, &used, rows * rn_plan_tensor_bytes(&plan->tensors[signature->feed]));
    void *input = feed;
    if (signature->fit_op != RN_NONE) input = carve(base, &used, rows * rn_plan_tensor_bytes(&plan->tensors[signature->input.tensor]));
    void *outputs[RN_PLAN_MAX_OUTPUTS];
    for (int32_t i = 0; i < signature->output_count; i++)
        outputs[i] = carve(base, &used, rows * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[i].tensor]));
    const size_t pictures = signature->image_op == RN_NONE ? 0 : rows, jobs = signature->fit_op == RN_NONE ? pictures : rows;
    void *encoded = carve(base, &used, pictures * sizeof(rn_encoded_picture));
    void *decodes = carve(base, &used, jobs * sizeof(rn_decode));
    const size_t windowed = picture_bytes_of(model, signature) ? pictures : 0;
    void *decoded = carve(base, &used, windowed * sizeof(rn_picture));
    void *windows = carve(base, &used, windowed * sizeof(rn_picture_window));
    void *scratch = carve(base, &used, with->scratch_bytes);
    void *classes = NULL, *maps = NULL;
    if (with->explained) {
        classes = carve(base, &used, rows * sizeof(int32_t));
        maps = carve(base, &used, rows * rn_plan_tensor_bytes(&plan->tensors[signature->explanation]));
    }
    if (!base) return used;
    request->classes = classes;
    request->maps = maps;
    request->feed = feed;
    request->input = input;
    memcpy(request->outputs, outputs, (size_t)signature->output_count * sizeof outputs[0]);
    request->pictures = signature->image_op == RN_NONE ? NULL : encoded;
    request->decodes = jobs ? decodes : NULL;
    request->decoded = windowed ? decoded : NULL;
    request->windows = windowed ? windows : NULL;
    request->scratch = scratch;
    return used;
}

static rn_status create(rn_model *model, const rn_signature *signature, int64_t rows, const extras *with, rn_request **out, rn_error *err)
{
    if (rows > model->max_rows)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Task size %lld is larger than maximum input batch size %d", (long long)rows,
                       model->max_rows);
    const size_t bytes = lay_out(NULL, NULL, model, signature, (size_t)rows, with);
    rn_request *request = aligned_alloc(ALIGNMENT, bytes);
    if (!request) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a request of %lld rows (%zu bytes)", (long long)rows, bytes);
    memset(request, 0, sizeof *request);
    lay_out(request, (char *)request, model, signature, (size_t)rows, with);
    rn_model_acquire(model);
    request->model = model;
    request->signature = signature;
    request->rows = (int32_t)rows;
    request->failed_picture = RN_NONE;
    *out = request;
    return RN_STATUS_OK;
}

rn_status rn_request_create(rn_model *model, const rn_signature *signature, int64_t rows, size_t scratch_bytes, rn_request **out,
                            rn_error *err)
{
    return create(model, signature, rows, &(extras){scratch_bytes, false}, out, err);
}

rn_status rn_request_create_explained(rn_model *model, const rn_signature *signature, int64_t rows, size_t scratch_bytes, rn_request **out,
                                      rn_error *err)
{
    if (signature->explanation == RN_NONE) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "signature %s cannot be explained: its network does not end in global average pooling and a dense layer", signature->name);
    }
    RN_TRY(create(model, signature, rows, &(extras){scratch_bytes, true}, out, err));
    for (int32_t i = 0; i < (*out)->rows; i++) (*out)->classes[i] = RN_NONE;
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
    for (int32_t i = 0; request->decoded && i < request->rows; i++) rn_picture_deinit(&request->decoded[i]);
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

/* ---- front ends: pictures, and numbers that have to be fitted ---- */

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

static size_t bytes_of(int32_t h, int32_t w, int32_t c)
{
    return (size_t)h * (size_t)w * (size_t)c;
}

static rn_picture_source source_of(const rn_request *request, int32_t index)
{
    const rn_encoded_picture *picture = &request->pictures[index];
    return (rn_picture_source){picture->bytes, picture->byte_count, request->model->max_image_pixels};
}

/* Decodes for the device; what is too large for it is resized here. */
static rn_status decode_window(rn_request *request, const rn_image_op *op, int32_t index, uint8_t *row, rn_error *err)
{
    const rn_picture_source source = source_of(request, index);
    const size_t limit = picture_bytes_of(request->model, request->signature);
    rn_picture_window *window = &request->windows[index];
    rn_picture picture;
    RN_TRY(rn_picture_decode(&source, op->decode_channels, &picture, err));
    rn_status status = rn_picture_crop(op, &picture, window, err);
    if (status == RN_STATUS_OK && bytes_of(window->h, window->w, picture.c) <= limit &&
        bytes_of(picture.h, picture.w, picture.c) <= HELD_WINDOWS * limit) {
        request->decoded[index] = picture;
        return RN_STATUS_OK;
    }
    if (status == RN_STATUS_OK) status = rn_picture_fit(op, &picture, row, err);
    *window = (rn_picture_window){.pixels = row, .h = op->h, .w = op->w, .row_bytes = (size_t)op->w * (size_t)op->c};
    rn_picture_deinit(&picture);
    return status;
}

/* Decodes into the memory that the thread keeps: the pages of a large picture cost as much as a third of decoding it (12 million pixels: 50
 * ms in place of 34, EPYC of family 25), because a heap gives them back and takes them anew. */
static rn_status run_picture(rn_workers *workers, const rn_image_op *op, const rn_picture_source *source, void *row, rn_error *err)
{
    rn_worker_memory *memory = rn_workers_memory(workers);
    rn_picture between = {.pixels = memory->at, .room_bytes = memory->bytes};
    const rn_status status = rn_image_run_again(op, source, &between, row, err);
    if (between.room_bytes > MOST_KEPT_BYTES) rn_picture_deinit(&between);
    *memory = (rn_worker_memory){between.pixels, between.room_bytes};
    return status;
}

/* One row of the input to one of the feed. */
static rn_status run_front_end(rn_request *request, int32_t index, rn_error *err)
{
    const rn_plan *plan = rn_model_plan(request->model);
    const rn_signature *signature = request->signature;
    void *row = (char *)request->feed + (size_t)index * rn_plan_tensor_bytes(&plan->tensors[signature->feed]);
    if (request->windows) return decode_window(request, &plan->ops[signature->image_op].u.image, index, row, err);
    if (request->pictures) {
        const rn_picture_source source = source_of(request, index);
        return run_picture(request->model->workers, &plan->ops[signature->image_op].u.image, &source, row, err);
    }
    const rn_plan_tensor *input = &plan->tensors[signature->input.tensor];
    const char *from = (const char *)request->input + (size_t)index * rn_plan_tensor_bytes(input);
    return rn_fit_run(&plan->ops[signature->fit_op].u.fit, input, from, row, err);
}

static void decode(rn_job *job)
{
    rn_decode *self = (rn_decode *)job; /* its first member */
    rn_request *request = self->request;

    self->status = rn_batch_request_check(&request->batch, rn_clock_us(), &self->error);
    if (self->status == RN_STATUS_OK) self->status = run_front_end(request, self->index, &self->error);
    if (self->status != RN_STATUS_OK) note_failure(request, self->index);
    if (atomic_fetch_sub(&request->pictures_left, 1) == 1) all_decoded(request);
}

static void fill_batch(rn_request *request)
{
    request->batch = (rn_batch_request){.signature = request->signature,
                                        .part = {.rows = request->rows,
                                                 .input = request->feed,
                                                 .pictures = request->windows,
                                                 .classes = request->classes,
                                                 .maps = request->maps},
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
    if (!request->decodes) {
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
    for (int32_t i = 0; request->decoded && i < rows; i++) request->decoded[i] = (rn_picture){0};
    for (int32_t i = 0; i < rows; i++) decodes[i] = (rn_decode){.job.run = decode, .request = request, .index = i};
    for (int32_t i = 0; i < rows; i++) rn_workers_continue(workers, &decodes[i].job);
}
