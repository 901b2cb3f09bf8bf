/* Batches on their way through the device: copied in, computed, copied out.
 *
 * Two slots of pinned staging take turns, so that a second batch is gathered and copied while the first is computed, and the first's
 * results leave while the second is computed. Feature maps and workspace exist once: computations follow one another on one stream. A batch
 * that is alone makes all its steps on that stream, for waiting across streams costs microseconds; one that follows another is copied on
 * streams of its own, which events tie to the computation.
 *
 * What a batch leaves in the arena is its results too, unless they had to be unpacked: the next computation waits until they are copied.
 */
#include <stdio.h>
#include <string.h>

#include "engine/cuda/cuda_executor.h"

/* ---- life ---- */

static rn_status create_slot(rn_executor *e, rn__cuda_slot *slot, rn_error *err)
{
    RN_TRY(rn__cuda_take(e, e->upload_bytes, "memory for inputs", &slot->upload, err));
    RN_TRY(rn__cuda_take(e, e->download_bytes, "memory for outputs", &slot->download, err));
    RN_CUDA_TRY(cudaMallocHost((void **)&slot->host_in, e->upload_bytes), "pinned memory for inputs");
    RN_CUDA_TRY(cudaMallocHost((void **)&slot->host_out, e->download_bytes), "pinned memory for outputs");
    RN_CUDA_TRY(cudaEventCreateWithFlags(&slot->arrived, cudaEventDisableTiming), "an event");
    RN_CUDA_TRY(cudaEventCreateWithFlags(&slot->computed, cudaEventDisableTiming), "an event");
    RN_CUDA_TRY(cudaEventCreateWithFlags(&slot->left, cudaEventDisableTiming), "an event");
    RN_CUDA_TRY(cudaMemsetAsync(slot->upload, 0, e->upload_bytes, e->stream), "clearing inputs");
    RN_TRY(rn__cuda_upload_init(e, slot, err));
    return rn__cuda_explanations_create(e, slot, err);
}

rn_status rn__cuda_slots_create(rn_executor *e, rn_error *err)
{
    const size_t rows = (size_t)e->buckets[e->bucket_count - 1];
    rn__cuda_upload_size(e);
    for (int32_t s = 0; s < e->plan->signature_count; s++) {
        const rn_signature *signature = &e->plan->signatures[s];
        const rn__cuda_output last = rn__cuda_output_of(e, signature, signature->output_count - 1, NULL);
        const size_t out = last.offset + rows * last.row_bytes;
        if (out > e->download_bytes) e->download_bytes = out;
    }
    RN_CUDA_TRY(cudaStreamCreateWithFlags(&e->copy_in, cudaStreamNonBlocking), "a stream");
    RN_CUDA_TRY(cudaStreamCreateWithFlags(&e->copy_out, cudaStreamNonBlocking), "a stream");
    for (int i = 0; i < RN__CUDA_SLOTS; i++) RN_TRY(create_slot(e, &e->slots[i], err));
    return RN_STATUS_OK;
}

void rn__cuda_slots_destroy(rn_executor *e)
{
    for (int i = 0; i < RN__CUDA_SLOTS; i++) {
        rn__cuda_slot *slot = &e->slots[i];
        rn__cuda_explanations_destroy(slot);
        if (slot->left) (void)cudaEventDestroy(slot->left);
        if (slot->computed) (void)cudaEventDestroy(slot->computed);
        if (slot->arrived) (void)cudaEventDestroy(slot->arrived);
        (void)cudaFreeHost(slot->host_out);
        (void)cudaFreeHost(slot->host_in);
        (void)cudaFree(slot->download);
        (void)cudaFree(slot->upload);
    }
    if (e->copy_out) (void)cudaStreamDestroy(e->copy_out);
    if (e->copy_in) (void)cudaStreamDestroy(e->copy_in);
}

/* ---- the steps of a batch ---- */

/* The smallest graph that is large enough. Rows beyond the batch are computed from what was there before and thrown away. */
static rn_status compute(rn_executor *e, rn__cuda_slot *slot, rn_error *err)
{
    const int32_t bucket = rn__cuda_bucket_of(e, slot->rows);
    RN_CUDA_TRY(cudaGraphLaunch(*rn__cuda_graph(e, slot->signature, bucket, slot), e->stream), "launching a graph");
    return RN_STATUS_OK;
}

static rn_status copy_out(rn_executor *e, rn__cuda_slot *slot, cudaStream_t stream, rn_error *err)
{
    for (int32_t o = 0; o < slot->signature->output_count; o++) {
        const rn__cuda_output output = rn__cuda_output_of(e, slot->signature, o, slot);
        const size_t bytes = (size_t)slot->rows * output.row_bytes;
        RN_CUDA_TRY(cudaMemcpyAsync(slot->host_out + output.offset, output.data, bytes, cudaMemcpyDeviceToHost, stream), "copying outputs");
    }
    RN_CUDA_TRY(cudaEventRecord(slot->left, stream), "an event");
    return RN_STATUS_OK;
}

static rn_status pass_alone(rn_executor *e, rn__cuda_slot *slot, rn_error *err)
{
    RN_TRY(rn__cuda_upload(e, slot, e->stream, err));
    RN_TRY(compute(e, slot, err));
    RN_TRY(rn__cuda_explain(e, slot, err));
    return copy_out(e, slot, e->stream, err);
}

static rn_status pass_behind(rn_executor *e, rn__cuda_slot *slot, const rn__cuda_slot *before, rn_error *err)
{
    RN_TRY(rn__cuda_upload(e, slot, e->copy_in, err));
    RN_CUDA_TRY(cudaEventRecord(slot->arrived, e->copy_in), "an event");
    RN_CUDA_TRY(cudaStreamWaitEvent(e->stream, slot->arrived, 0), "waiting for inputs");
    RN_CUDA_TRY(cudaStreamWaitEvent(e->stream, before->left, 0), "waiting for the outputs of another batch");
    RN_TRY(compute(e, slot, err));
    RN_TRY(rn__cuda_explain(e, slot, err));
    RN_CUDA_TRY(cudaEventRecord(slot->computed, e->stream), "an event");
    RN_CUDA_TRY(cudaStreamWaitEvent(e->copy_out, slot->computed, 0), "waiting for a batch");
    return copy_out(e, slot, e->copy_out, err);
}

static void hand_out(const rn_executor *e, const rn__cuda_slot *slot)
{
    for (int32_t o = 0; o < slot->signature->output_count; o++) {
        const rn__cuda_output output = rn__cuda_output_of(e, slot->signature, o, slot);
        const char *from = slot->host_out + output.offset;
        for (int32_t i = 0; i < slot->part_count; i++) {
            memcpy(slot->parts[i].outputs[o], from, (size_t)slot->parts[i].rows * output.row_bytes);
            from += (size_t)slot->parts[i].rows * output.row_bytes;
        }
    }
    rn__cuda_explanations_hand_out(e, slot);
}

/* ---- failure ---- */

static rn_status out_of_service(const rn_executor *e, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_DEVICE_LOST, "GPU %d is out of service: %s", e->device.index, e->reason);
}

/* Waits for all that is under way, and sees whether the error stays. */
static rn_status after_failure(rn_executor *e, const rn_error *failure, rn_error *err)
{
    const cudaStream_t streams[] = {e->copy_in, e->stream, e->copy_out};
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) e->broken |= cudaStreamSynchronize(streams[i]) != cudaSuccess;
    (void)cudaGetLastError();
    if (e->broken) {
        snprintf(e->reason, sizeof e->reason, "%s", failure->message);
        return out_of_service(e, err);
    }
    if (err) *err = *failure;
    return failure->status;
}

/* ---- the entries ---- */

static rn_status count_rows(const rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count,
                            int32_t *out, rn_error *err)
{
    int64_t rows = 0;
    for (int32_t i = 0; i < part_count; i++) rows += parts[i].rows;
    const int32_t max_batch = e->buckets[e->bucket_count - 1];
    *out = (int32_t)rows;
    if (rows >= 1 && rows <= max_batch) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: a batch of %lld rows, expected 1 to %d", signature->name,
                   (long long)rows, max_batch);
}

static rn_status start(rn_executor *e, rn__cuda_slot *slot, rn_error *err)
{
    RN_CUDA_TRY(cudaSetDevice(e->device.index), "choosing a GPU");
    return e->under_way == 0 ? pass_alone(e, slot, err) : pass_behind(e, slot, &e->slots[1 - e->next], err);
}

rn_status rn__cuda_begin(rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    rn__cuda_slot *slot = &e->slots[e->next];
    int32_t rows;
    RN_TRY(count_rows(e, signature, parts, part_count, &rows, err));
    if (e->broken) return out_of_service(e, err);
    if (e->under_way == RN__CUDA_SLOTS) return RN_FAIL(err, RN_STATUS_INTERNAL, "%d batches are under way already", e->under_way);
    slot->signature = signature;
    slot->parts = parts;
    slot->part_count = part_count;
    slot->rows = rows;
    rn_error failure = {0};
    if (start(e, slot, &failure) != RN_STATUS_OK) return after_failure(e, &failure, err);
    e->next = 1 - e->next;
    e->under_way++;
    return RN_STATUS_OK;
}

static rn_status wait_for(rn_executor *e, const rn__cuda_slot *slot, rn_error *err)
{
    RN_CUDA_TRY(cudaSetDevice(e->device.index), "choosing a GPU");
    RN_CUDA_TRY(cudaEventSynchronize(slot->left), "waiting for a batch");
    return RN_STATUS_OK;
}

rn_status rn__cuda_finish(rn_executor *e, rn_error *err)
{
    const rn__cuda_slot *slot = &e->slots[(e->next + e->under_way) % RN__CUDA_SLOTS]; /* the oldest one */
    if (e->under_way == 0) return RN_FAIL(err, RN_STATUS_INTERNAL, "no batch is under way");
    e->under_way--;
    if (e->broken) return out_of_service(e, err);
    rn_error failure = {0};
    if (wait_for(e, slot, &failure) != RN_STATUS_OK) return after_failure(e, &failure, err);
    hand_out(e, slot);
    return RN_STATUS_OK;
}

rn_status rn__cuda_run(rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    RN_TRY(rn__cuda_begin(e, signature, parts, part_count, err));
    return rn__cuda_finish(e, err);
}
