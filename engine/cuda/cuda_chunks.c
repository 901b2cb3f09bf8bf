/* The early layers of a large batch, a few rows at a time.
 *
 * Conv2 and conv3 move more bytes than any other layers: at a batch of 256 each of their maps is hundreds of megabytes, goes to device
 * memory and comes back. In chunks of 16 or 32 rows, all of which use the same memory, the maps stay in the L2; what it costs is more and
 * smaller launches. Which is faster depends on the device, so both are measured, and a chunk is a batch for which convolutions were chosen
 * anyhow.
 *
 * What lives within a chunk has a small arena of its own. What lives on is written where the whole batch lies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cuda_executor.h"
#include "engine/passes.h"

enum { RUNS = 3, GAIN_PERCENT = 2 };
static const int32_t chunk_rows[] = {16, 32};
/* A chunked part ends before the first map whose height is the input's over this: conv3 and conv4 of networks that halve it five times. */
static const int32_t divisors[] = {8, 16};
enum { ROWS_COUNT = sizeof chunk_rows / sizeof *chunk_rows, ENDS = sizeof divisors / sizeof *divisors };

static int32_t output_of(const rn_op *op)
{
    return op->outputs[op->outputs[0] == RN_NONE];
}

/* How many operations come before the maps are that small; 0 where none is. */
static int32_t ops_before(const rn_executor *e, const rn_signature *signature, int32_t divisor)
{
    const int32_t height = e->plan->tensors[signature->feed].h;
    for (int32_t i = 0; i < signature->op_count; i++)
        if (e->plan->tensors[output_of(&e->plan->ops[signature->ops[i]])].h * divisor <= height) return i;
    return 0;
}

/* The bucket of exactly that many rows, or -1. */
static int32_t bucket_of_rows(const rn_executor *e, int32_t rows)
{
    for (int32_t b = 0; b < e->bucket_count; b++)
        if (e->buckets[b] == rows) return b;
    return -1;
}

static int32_t *last_uses_of(const rn_executor *e, const rn_signature *signature)
{
    return e->last_uses + (signature - e->plan->signatures) * e->plan->tensor_count;
}

static void find_last_uses(rn_executor *e, const rn_signature *signature)
{
    int32_t *last = last_uses_of(e, signature);
    for (int32_t t = 0; t < e->plan->tensor_count; t++) last[t] = -1;
    for (int32_t i = 0; i < signature->op_count; i++) {
        const rn_op *op = &e->plan->ops[signature->ops[i]];
        for (int j = 0; j < 2; j++) {
            if (op->inputs[j] != RN_NONE) last[op->inputs[j]] = i;
            if (op->outputs[j] != RN_NONE) last[op->outputs[j]] = i;
        }
    }
    for (int32_t i = 0; i < signature->output_count; i++) last[signature->outputs[i].tensor] = signature->op_count;
}

static int32_t most_ops(const rn_executor *e, const rn_signature *signature)
{
    int32_t most = 0;
    for (int i = 0; i < ENDS; i++) {
        const int32_t ops = ops_before(e, signature, divisors[i]);
        if (ops > most) most = ops;
    }
    return most;
}

/* Memory for every tensor that lives within a chunk of any signature. */
static rn_status place(rn_executor *e, int32_t rows, rn_error *err)
{
    const rn_plan *plan = e->plan;
    const size_t tensors = (size_t)plan->tensor_count + 1;
    rn_status status;
    size_t *bytes = calloc(tensors, sizeof *bytes), *offsets = calloc(tensors, sizeof *offsets);
    if (!bytes || !offsets) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to place %d tensors", plan->tensor_count);
        goto cleanup;
    }
    for (int32_t s = 0; s < plan->signature_count; s++) {
        const rn_signature *signature = &plan->signatures[s];
        const int32_t *last = last_uses_of(e, signature), ops = most_ops(e, signature);
        for (int32_t t = 0; t < plan->tensor_count; t++)
            if (e->tensors[t].data && last[t] >= 0 && last[t] < ops) bytes[t] = (size_t)rows * e->tensors[t].row_bytes;
    }
    RN_TRY_CLEANUP(status, rn_plan_layout_arena(plan, bytes, NULL, offsets, &e->chunk_bytes, err));
    RN_TRY_CLEANUP(status, rn__cuda_take(e, e->chunk_bytes, "memory for chunks of a batch", &e->chunk_arena, err));
    for (int32_t t = 0; t < plan->tensor_count; t++)
        if (bytes[t]) e->chunk_data[t] = e->chunk_arena + offsets[t];
cleanup:
    free(bytes);
    free(offsets);
    return status;
}

static void log_line(const rn_executor *e, const char *line)
{
    if (e->context.log) e->context.log(e->context.log_context, line);
}

/* The largest chunk that half of the largest batch holds; 0: none. */
static int32_t largest_chunk(const rn_executor *e)
{
    int32_t largest = 0;
    for (int i = 0; i < ROWS_COUNT; i++)
        if (2 * chunk_rows[i] <= e->buckets[e->bucket_count - 1]) largest = chunk_rows[i];
    return largest;
}

rn_status rn__cuda_chunks_create(rn_executor *e, rn_error *err)
{
    const size_t signatures = (size_t)e->plan->signature_count, tensors = (size_t)e->plan->tensor_count + 1;
    e->chunks = calloc(signatures * (size_t)e->bucket_count + 1, sizeof *e->chunks);
    e->last_uses = calloc(signatures * tensors, sizeof *e->last_uses);
    e->chunk_tensors = calloc(tensors, sizeof *e->chunk_tensors);
    e->chunk_data = calloc(tensors, sizeof *e->chunk_data);
    if (!e->chunks || !e->last_uses || !e->chunk_tensors || !e->chunk_data)
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for chunks of %d tensors", e->plan->tensor_count);
    for (int32_t s = 0; s < e->plan->signature_count; s++) find_last_uses(e, &e->plan->signatures[s]);
    const int32_t rows = largest_chunk(e);
    if (rows == 0) return RN_STATUS_OK;
    rn_error reason = {0};
    const rn_status status = place(e, rows, &reason);
    if (status == RN_STATUS_OK) {
        RN_CUDA_TRY(cudaMemsetAsync(e->chunk_arena, 0, e->chunk_bytes, e->stream), "clearing feature maps");
        return RN_STATUS_OK;
    }
    e->chunk_bytes = 0;
    if (status == RN_STATUS_OUT_OF_MEMORY) {
        char line[RN_ERROR_MESSAGE_BYTES + 64];
        snprintf(line, sizeof line, "batches are not run in chunks: %s", reason.message);
        log_line(e, line);
        return RN_STATUS_OK;
    }
    if (err) *err = reason;
    return status;
}

void rn__cuda_chunks_destroy(rn_executor *e)
{
    (void)cudaFree(e->chunk_arena);
    free(e->chunk_data);
    free(e->chunk_tensors);
    free(e->last_uses);
    free(e->chunks);
}

void rn__cuda_chunks_move(rn_executor *e, const rn_signature *signature, int32_t ops, int32_t first)
{
    const int32_t *last = last_uses_of(e, signature);
    for (int32_t t = 0; t < e->plan->tensor_count; t++) {
        rn__cuda_tensor *tensor = &e->chunk_tensors[t];
        *tensor = e->tensors[t];
        if (tensor->data) tensor->data = last[t] < ops ? e->chunk_data[t] : tensor->data + (size_t)first * tensor->row_bytes;
    }
}

/* ---- measuring ---- */

static rn_status time_graph(cudaGraphExec_t graph, cudaStream_t stream, cudaEvent_t start, cudaEvent_t stop, float *best, rn_error *err)
{
    for (int i = 0; i <= RUNS; i++) { /* the first one warms up */
        float milliseconds;
        RN_CUDA_TRY(cudaEventRecord(start, stream), "an event");
        RN_CUDA_TRY(cudaGraphLaunch(graph, stream), "launching a graph");
        RN_CUDA_TRY(cudaEventRecord(stop, stream), "an event");
        RN_CUDA_TRY(cudaEventSynchronize(stop), "waiting for a graph");
        RN_CUDA_TRY(cudaEventElapsedTime(&milliseconds, start, stop), "the time of a graph");
        if (i == 1 || (i > 1 && milliseconds < *best)) *best = milliseconds;
    }
    return RN_STATUS_OK;
}

/* Records the signature divided like this, times it and drops the recording. */
static rn_status time_chunks(rn_executor *e, const rn_signature *signature, int32_t bucket, rn__cuda_chunks chunks, cudaEvent_t start,
                             cudaEvent_t stop, float *best, rn_error *err)
{
    cudaGraphExec_t *graph = rn__cuda_graph(e, signature, bucket, &e->slots[0]);
    *rn__cuda_chunks_of(e, signature, bucket) = chunks;
    RN_TRY(rn__cuda_schedule_run(e, signature, bucket, &e->slots[0], err)); /* loads what is loaded lazily */
    RN_CUDA_TRY(cudaStreamSynchronize(e->stream), "the first run");
    RN_TRY(rn__cuda_schedule_record_slot(e, signature, bucket, &e->slots[0], err));
    const rn_status status = time_graph(*graph, e->stream, start, stop, best, err);
    (void)cudaGraphExecDestroy(*graph);
    *graph = NULL;
    return status;
}

static rn_status choose(rn_executor *e, const rn_signature *signature, int32_t bucket, cudaEvent_t start, cudaEvent_t stop, rn_error *err)
{
    rn__cuda_chunks best = {0};
    float whole = 0, fastest;
    RN_TRY(time_chunks(e, signature, bucket, best, start, stop, &whole, err));
    fastest = whole * (1 - GAIN_PERCENT / 100.0f);
    for (int i = 0; i < ENDS * ROWS_COUNT; i++) {
        const rn__cuda_chunks tried = {ops_before(e, signature, divisors[i / ROWS_COUNT]), bucket_of_rows(e, chunk_rows[i % ROWS_COUNT])};
        float milliseconds = 0;
        if (tried.ops == 0 || tried.bucket < 0 || 2 * e->buckets[tried.bucket] > e->buckets[bucket]) continue;
        RN_TRY(time_chunks(e, signature, bucket, tried, start, stop, &milliseconds, err));
        if (milliseconds >= fastest) continue;
        fastest = milliseconds;
        best = tried;
    }
    *rn__cuda_chunks_of(e, signature, bucket) = best;
    if (best.ops == 0) return RN_STATUS_OK;
    char line[RN_PLAN_NAME_BYTES + 160];
    snprintf(line, sizeof line, "signature %s, batch %d: the first %d operations in chunks of %d rows: %.3f ms in place of %.3f",
             signature->name, e->buckets[bucket], best.ops, e->buckets[best.bucket], (double)fastest, (double)whole);
    log_line(e, line);
    return RN_STATUS_OK;
}

rn_status rn__cuda_chunks_choose(rn_executor *e, const rn_signature *signature, int32_t bucket, rn_error *err)
{
    cudaEvent_t start = NULL, stop = NULL;
    if (!e->chunk_arena || most_ops(e, signature) == 0 || 2 * chunk_rows[0] > e->buckets[bucket]) return RN_STATUS_OK;
    cudaError_t error = cudaEventCreate(&start);
    if (error == cudaSuccess) error = cudaEventCreate(&stop);
    const rn_status status = error == cudaSuccess ? choose(e, signature, bucket, start, stop, err) : rn__cuda_fail(error, "an event", err);
    if (stop) (void)cudaEventDestroy(stop);
    if (start) (void)cudaEventDestroy(start);
    return status;
}
