/* Runs a plan on one NVIDIA GPU.
 *
 * Preparing decides and measures everything: how tensors lie, the fastest way of every convolution at every batch, one block of weights,
 * one arena for the largest batch, pinned staging, and recorded graphs for each signature and bucket (1, 2, 4, ... rows). Afterwards
 * nothing is allocated: cuda_run.c takes batches through the device.
 *
 * A device error that comes back on every call (an illegal address, a lost GPU) takes the executor out of service: later runs fail at once
 * with the first reason.
 */
#include "engine/cuda/cuda_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu_count.h"
#include "engine/cuda/conv_cudnn.h"
#include "engine/cuda/conv_matmul.h"
#include "engine/cuda/cuda_executor.h"

enum { MAX_BATCH = 4096, MAX_PLANNING_THREADS = 16 };

/* ---- options ---- */

static const struct {
    const char *name;
    rn_dtype storage;
    bool tf32;
} precisions[] = {
    {"fp16", RN_DTYPE_F16, false},
    {"bf16", RN_DTYPE_BF16, false},
    {"tf32", RN_DTYPE_F32, true},
    {"fp32", RN_DTYPE_F32, false},
};

static rn_status choose_precision(rn_executor *e, const char *name, rn_error *err)
{
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        if (name && strcmp(precisions[i].name, name) != 0) continue;
        e->precision = precisions[i].name;
        e->storage = precisions[i].storage;
        e->tf32 = precisions[i].tf32;
        return RN_STATUS_OK;
    }
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "precision %s is not known: expected fp16, bf16, tf32 or fp32", name);
}

static rn_status choose_buckets(rn_executor *e, int32_t max_batch, rn_error *err)
{
    if (max_batch < 1 || max_batch > MAX_BATCH) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "cuda backend: a largest batch of %d, expected 1 to %d", max_batch, MAX_BATCH);
    }
    for (int32_t rows = 1; rows < max_batch; rows *= 2) e->buckets[e->bucket_count++] = rows;
    e->buckets[e->bucket_count++] = max_batch;
    return RN_STATUS_OK;
}

/* Kernels count vectors and pixels of a whole batch in 32 bits. */
static rn_status check_sizes(const rn_executor *e, rn_error *err)
{
    const int32_t max_batch = e->buckets[e->bucket_count - 1];
    for (int32_t t = 0; t < e->plan->tensor_count; t++) {
        const rn__cuda_tensor *tensor = &e->tensors[t];
        if ((int64_t)tensor->h * tensor->w * tensor->c <= INT32_MAX / max_batch) continue;
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "tensor %s: %dx%dx%d times a batch of %d are more than 2^31 elements",
                       e->plan->tensors[t].name, tensor->h, tensor->w, tensor->c, max_batch);
    }
    return RN_STATUS_OK;
}

/* ---- memory ---- */

static rn_status allocate_steps(rn_executor *e, rn_error *err)
{
    e->steps = calloc((size_t)e->plan->op_count + 1, sizeof *e->steps);
    e->graphs = calloc((size_t)(e->plan->signature_count * e->bucket_count * RN__CUDA_SLOTS) + 1, sizeof *e->graphs);
    if (e->steps && e->graphs) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to prepare %d operations", e->plan->op_count);
}

/* ---- prepare ---- */

static rn_status open_libraries(rn_executor *e, const rn_backend_options *options, rn_error *err)
{
    RN_CUDA_TRY(cudaStreamCreateWithFlags(&e->stream, cudaStreamNonBlocking), "a stream");
    e->context = (rn__conv_context){.device = &e->device,
                                    .stream = e->stream,
                                    .memory_limit_bytes = options->memory_limit_bytes,
                                    .log = options->log,
                                    .log_context = options->log_context};
    cudnnStatus_t dnn = cudnnCreate(&e->context.cudnn);
    if (dnn != CUDNN_STATUS_SUCCESS) return rn__cudnn_fail(dnn, "a handle", err);
    dnn = cudnnSetStream(e->context.cudnn, e->stream);
    if (dnn != CUDNN_STATUS_SUCCESS) return rn__cudnn_fail(dnn, "the stream of a handle", err);
    const cublasStatus_t blas = cublasLtCreate(&e->context.cublas);
    if (blas != CUBLAS_STATUS_SUCCESS) return rn__cublas_fail(blas, "a handle", err);
    return rn__cudnn_device_create(e->device.index, &e->context.description, err);
}

static rn_status choose_convolutions(rn_executor *e, const rn_backend_options *options, rn_error *err)
{
    rn__tuning_cache *cache = NULL;
    char owner[400];
    snprintf(owner, sizeof owner, "%s sm_%d, driver %d, runtime %d, cuDNN %zu, cuBLASLt %zu", e->device.name, e->device.sm,
             e->device.driver, e->device.runtime, cudnnGetVersion(), cublasLtGetVersion());
    RN_TRY(rn__tuning_cache_open(options->cache_directory, e->device.sm, owner, options->log, options->log_context, &cache, err));
    rn_status status = rn__conv_set_create(&e->context, &e->convs, err);
    if (status == RN_STATUS_OK) status = rn__cuda_convs_add(e, err);
    const int32_t allowed = options->thread_count > 0 ? options->thread_count : rn__cpu_count();
    const int32_t threads = allowed < MAX_PLANNING_THREADS ? allowed : MAX_PLANNING_THREADS;
    if (status == RN_STATUS_OK) status = rn__conv_set_prepare(e->convs, cache, threads, err);
    rn__tuning_cache_close(cache);
    return status;
}

static void describe_executor(rn_executor *e)
{
    snprintf(
        e->description, sizeof e->description,
        "cuda:%d %s sm_%d %s, %.1f MB weights, %.1f MB arena, %.1f MB workspace, %.1f MB staging, %d convolutions of which %d measured, "
        "%d fused by our own kernel",
        e->device.index, e->device.name, e->device.sm, e->precision, (double)e->weight_bytes * 1e-6, (double)e->arena_bytes * 1e-6,
        (double)e->workspace_bytes * 1e-6, RN__CUDA_SLOTS * (double)(e->upload_bytes + e->download_bytes) * 1e-6,
        rn__conv_set_count(e->convs), rn__conv_set_measured(e->convs), rn__conv_set_own(e->convs));
}

static rn_status prepare_executor(rn_executor *e, const rn_plan *plan, const rn_backend_options *options, rn_error *err)
{
    e->plan = plan;
    e->memory_limit_bytes = options->memory_limit_bytes;
    if (options->deterministic) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "deterministic results are for the cpu: the cuda libraries round differently for every batch size");
    }
    RN_TRY(choose_precision(e, options->precision, err));
    RN_TRY(choose_buckets(e, options->max_batch, err));
    RN_TRY(rn__cuda_tensors_lay_out(e, err));
    RN_TRY(check_sizes(e, err));
    RN_TRY(allocate_steps(e, err));
    RN_TRY(rn__cuda_device_open(options->device, &e->device, err));
    RN_TRY(open_libraries(e, options, err));
    RN_TRY(choose_convolutions(e, options, err));
    RN_TRY(rn__cuda_weights_upload(e, err));
    RN_TRY(rn__cuda_tensors_place(e, err));
    RN_TRY(rn__cuda_chunks_create(e, err));
    RN_TRY(rn__cuda_slots_create(e, err));
    RN_CUDA_TRY(cudaMemsetAsync(e->arena, 0, e->arena_bytes, e->stream), "clearing feature maps");
    e->workspace_bytes = rn__conv_set_workspace_bytes(e->convs);
    RN_TRY(rn__cuda_take(e, e->workspace_bytes, "memory for workspace", &e->workspace, err));
    RN_TRY(rn__cuda_schedule_record(e, err));
    describe_executor(e);
    return RN_STATUS_OK;
}

/* In the reverse order. Errors are of no interest: what can be released is. */
static void destroy(rn_executor *e)
{
    if (!e) return;
    (void)cudaSetDevice(e->device.index);
    if (e->stream) (void)cudaStreamSynchronize(e->stream);
    for (int32_t i = 0; e->graphs && i < e->plan->signature_count * e->bucket_count * RN__CUDA_SLOTS; i++) {
        if (e->graphs[i]) (void)cudaGraphExecDestroy(e->graphs[i]);
    }
    rn__conv_set_destroy(e->convs);
    rn__cuda_slots_destroy(e);
    rn__cuda_chunks_destroy(e);
    (void)cudaFree(e->workspace);
    (void)cudaFree(e->arena);
    (void)cudaFree(e->weights);
    if (e->context.description) (void)cudnnBackendDestroyDescriptor(e->context.description);
    if (e->context.cublas) (void)cublasLtDestroy(e->context.cublas);
    if (e->context.cudnn) (void)cudnnDestroy(e->context.cudnn);
    if (e->stream) (void)cudaStreamDestroy(e->stream);
    (void)cudaGetLastError();
    free(e->graphs);
    free(e->steps);
    free(e->tensors);
    free(e);
}

/* Adds to an out-of-memory message what the device had left. */
static rn_status explain_memory(const rn_executor *e, rn_status status, rn_error *err)
{
    size_t free_bytes, total_bytes;
    if (status != RN_STATUS_OUT_OF_MEMORY || !e->stream || cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) return status;
    rn_error_prefix(err, "GPU %d (%s), %.0f of %.0f MB free, largest batch %d", e->device.index, e->device.name, (double)free_bytes * 1e-6,
                    (double)total_bytes * 1e-6, e->buckets[e->bucket_count - 1]);
    return status;
}

static rn_status prepare(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    rn_executor *e = calloc(1, sizeof *e);
    if (!e) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for an executor");
    const rn_status status = prepare_executor(e, plan, options, err);
    if (status == RN_STATUS_OK) {
        *out = e;
        return RN_STATUS_OK;
    }
    (void)explain_memory(e, status, err);
    destroy(e);
    return status;
}

static void memory(const rn_executor *e, int64_t bytes[RN_MEMORY_COUNT])
{
    bytes[RN_MEMORY_WEIGHTS] = (int64_t)e->weight_bytes;
    bytes[RN_MEMORY_FEATURE_MAPS] = (int64_t)(e->arena_bytes + e->chunk_bytes);
    bytes[RN_MEMORY_WORKSPACE] = (int64_t)e->workspace_bytes;
    bytes[RN_MEMORY_STAGING] = RN__CUDA_SLOTS * (int64_t)(e->upload_bytes + e->download_bytes);
}

static const char *describe(const rn_executor *e)
{
    return e->description;
}

const rn_backend rn_cuda_backend = {
    .name = "cuda",
    .probe = rn__cuda_probe,
    .prepare = prepare,
    .run = rn__cuda_run,
    .runs_int8 = NULL,
    .describe = describe,
    .destroy = destroy,
    .device_count = rn__cuda_device_count,
    .begin = rn__cuda_begin,
    .finish = rn__cuda_finish,
    .device_state = rn__cuda_device_state,
    .picture_bytes = rn__cuda_picture_bytes,
    .memory = memory,
};
