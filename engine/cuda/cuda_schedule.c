/* A signature's operations on the stream, for one bucket of rows. */
#include "engine/cuda/cuda_executor.h"

/* What one call works on. */
typedef struct {
    rn_executor *e;
    const rn_signature *signature;
    const rn__cuda_slot *slot;
    const rn__cuda_tensor *tensors; /* of these rows: where they lie */
    int32_t bucket, rows;
    int32_t first; /* of the rows, in the batch */
    rn_error *err;
} run;

static rn_status launched(rn_status status, const char *what, rn_error *err)
{
    return status == RN_STATUS_OK ? status : rn__cuda_fail(cudaGetLastError(), what, err);
}

static int64_t pixels(const run *r, const rn__cuda_tensor *t)
{
    return (int64_t)r->rows * t->h * t->w;
}

static const rn_cuda_kernels *kernels_for(const rn__cuda_tensor *t)
{
    return rn_cuda_kernels_of(t->dtype);
}

/* From the caller's rows; without factors when no operation stands between. */
static rn_status pack(const run *r, const rn__cuda_tensor *y, const rn__cuda_step *factors, bool relu)
{
    const rn_executor *e = r->e;
    const rn_plan_tensor *feed = &e->plan->tensors[r->signature->feed];
    const rn_cuda_pack_args args = {.x = r->slot->upload + (size_t)r->first * rn_plan_tensor_bytes(feed),
                                    .scale = factors ? factors->scale : NULL,
                                    .shift = factors ? factors->shift : NULL,
                                    .y = y->data,
                                    .pixels = pixels(r, y),
                                    .channels = y->channels,
                                    .c = y->c,
                                    .relu = relu};
    const rn_cuda_kernels *kernels = kernels_for(y);
    return feed->dtype == RN_DTYPE_U8 ? kernels->pack_u8(&args, e->stream) : kernels->pack_f32(&args, e->stream);
}

/* From pictures of any size: resized on the way. */
static rn_status fit(const run *r, const rn__cuda_tensor *y, const rn__cuda_step *factors, bool relu)
{
    const rn_executor *e = r->e;
    const rn_cuda_image_fit_args args = {.pictures = (const rn_cuda_picture *)r->slot->upload + r->first,
                                         .pixels = (const uint8_t *)r->slot->upload + rn__cuda_table_bytes(e),
                                         .scale = factors->scale,
                                         .shift = factors->shift,
                                         .y = y->data,
                                         .n = r->rows,
                                         .h = y->h,
                                         .w = y->w,
                                         .c = y->c,
                                         .channels = y->channels,
                                         .relu = relu};
    return kernels_for(y)->image_fit(&args, e->stream);
}

static rn_status enter(const run *r, const rn__cuda_tensor *y, const rn__cuda_step *factors, bool relu)
{
    return rn__cuda_picture_bytes(r->e, r->signature) ? fit(r, y, factors, relu) : pack(r, y, factors, relu);
}

static rn_status scale_shift(const run *r, const char *x, const rn__cuda_tensor *y, const rn__cuda_step *step, bool relu)
{
    const rn_cuda_scale_shift_args args = {
        .x = x, .scale = step->scale, .shift = step->shift, .y = y->data, .pixels = pixels(r, y), .c = y->c, .relu = relu};
    return kernels_for(y)->scale_shift(&args, r->e->stream);
}

static char *data_of(const run *r, int32_t tensor)
{
    return tensor == RN_NONE ? NULL : r->tensors[tensor].data;
}

static rn_status conv(const run *r, const rn_op *op, const rn__cuda_step *step)
{
    const rn_executor *e = r->e;
    const rn__conv_buffers buffers = {.x = data_of(r, op->inputs[0]),
                                      .filter = step->filter,
                                      .bias = step->bias,
                                      .residual = data_of(r, op->inputs[1]),
                                      .y = data_of(r, op->outputs[0]),
                                      .y2 = data_of(r, op->outputs[1]),
                                      .scale = step->scale,
                                      .shift = step->shift,
                                      .workspace = e->workspace};
    return rn__conv_set_run(e->convs, step->conv[r->bucket], &buffers, r->err);
}

static rn_status max_pool(const run *r, const rn_max_pool_op *p, const rn__cuda_tensor *x, const rn__cuda_tensor *y)
{
    const rn_cuda_max_pool_args args = {.x = x->data,
                                        .y = y->data,
                                        .n = r->rows,
                                        .h = x->h,
                                        .w = x->w,
                                        .c = x->c,
                                        .p = y->h,
                                        .q = y->w,
                                        .r = p->r,
                                        .s = p->s,
                                        .stride_h = p->stride_h,
                                        .stride_w = p->stride_w,
                                        .pad_top = p->pad_top,
                                        .pad_left = p->pad_left,
                                        .pad_zero = p->pad_zero};
    return kernels_for(y)->max_pool(&args, r->e->stream);
}

/* The operations that are one kernel of our own. */
static rn_status own_kernel(const run *r, const rn_op *op, const rn__cuda_step *step)
{
    const rn_executor *e = r->e;
    const rn__cuda_tensor *x = &r->tensors[op->inputs[0]], *y = &r->tensors[op->outputs[0]];
    switch (op->kind) {
    case RN_OP_SCALE_SHIFT:
        if (op->inputs[0] == r->signature->feed) return enter(r, y, step, op->u.scale_shift.relu);
        return scale_shift(r, x->data, y, step, op->u.scale_shift.relu);
    case RN_OP_ADD: {
        const rn_cuda_add_args args = {
            .a = x->data, .b = r->tensors[op->inputs[1]].data, .y = y->data, .elements = pixels(r, y) * y->c, .relu = op->u.add.relu};
        return kernels_for(y)->add(&args, e->stream);
    }
    case RN_OP_MAX_POOL:
        return max_pool(r, &op->u.max_pool, x, y);
    case RN_OP_GLOBAL_AVERAGE_POOL: {
        const rn_cuda_global_average_pool_args args = {.x = x->data, .y = y->data, .n = r->rows, .positions = x->h * x->w, .c = x->c};
        return kernels_for(x)->global_average_pool(&args, e->stream);
    }
    case RN_OP_SOFTMAX: {
        const rn_cuda_softmax_args args = {
            .x = x->data, .y = (float *)y->data, .rows = pixels(r, x), .channels = x->channels, .c = x->c, .y_c = y->c};
        return kernels_for(x)->softmax(&args, e->stream);
    }
    default: {
        const rn_cuda_top_k_args args = {.x = x->data,
                                         .values = (float *)y->data,
                                         .indexes = (int32_t *)r->tensors[op->outputs[1]].data,
                                         .rows = r->rows,
                                         .channels = x->channels,
                                         .c = x->c,
                                         .k = op->u.top_k.k};
        return kernels_for(x)->top_k(&args, e->stream);
    }
    }
}

/* Outputs as callers want them: dense f32. */
static rn_status unpack_outputs(const run *r)
{
    const rn_executor *e = r->e;
    for (int32_t i = 0; i < r->signature->output_count; i++) {
        const rn__cuda_tensor *t = &r->tensors[r->signature->outputs[i].tensor];
        const rn__cuda_output output = rn__cuda_output_of(e, r->signature, i, r->slot);
        if (!output.unpacked) continue;
        const rn_cuda_unpack_args args = {
            .x = t->data, .y = (float *)(r->slot->download + output.offset), .pixels = pixels(r, t), .channels = t->channels, .c = t->c};
        RN_TRY(launched(kernels_for(t)->unpack(&args, e->stream), "unpacking an output", r->err));
    }
    return RN_STATUS_OK;
}

/* Operations [from, to) of the signature's schedule; before the first, the input is packed where an operation wants it so. */
static rn_status run_ops(const run *r, int32_t from, int32_t to)
{
    const rn_executor *e = r->e;
    if (from == 0 && rn__cuda_feed_is_packed(e->plan, r->signature))
        RN_TRY(launched(pack(r, &r->tensors[r->signature->feed], NULL, false), "packing the input", r->err));
    for (int32_t i = from; i < to; i++) {
        const rn_op *op = &e->plan->ops[r->signature->ops[i]];
        const rn__cuda_step *step = &e->steps[r->signature->ops[i]];
        if (op->kind == RN_OP_CONV2D || op->kind == RN_OP_DENSE)
            RN_TRY(conv(r, op, step));
        else
            RN_TRY(launched(own_kernel(r, op, step), op->name, r->err));
    }
    return RN_STATUS_OK;
}

/* The last chunk may overlap the one before it: its rows come out the same. */
static rn_status run_chunks(const run *whole, const rn__cuda_chunks *chunks)
{
    rn_executor *e = whole->e;
    run r = *whole;
    r.bucket = chunks->bucket;
    r.rows = e->buckets[chunks->bucket];
    r.tensors = e->chunk_tensors;
    for (int32_t row = 0; row < whole->rows; row += r.rows) {
        r.first = row < whole->rows - r.rows ? row : whole->rows - r.rows;
        rn__cuda_chunks_move(e, r.signature, chunks->ops, r.first);
        RN_TRY(run_ops(&r, 0, chunks->ops));
    }
    return RN_STATUS_OK;
}

rn_status rn__cuda_schedule_run(rn_executor *e, const rn_signature *signature, int32_t bucket, const rn__cuda_slot *slot, rn_error *err)
{
    const run r = {
        .e = e, .signature = signature, .slot = slot, .tensors = e->tensors, .bucket = bucket, .rows = e->buckets[bucket], .err = err};
    const rn__cuda_chunks *chunks = rn__cuda_chunks_of(e, signature, bucket);
    if (chunks->ops > 0) RN_TRY(run_chunks(&r, chunks));
    RN_TRY(run_ops(&r, chunks->ops, signature->op_count));
    return unpack_outputs(&r);
}

/* ---- recording ---- */

rn_status rn__cuda_schedule_record_slot(rn_executor *e, const rn_signature *signature, int32_t bucket, const rn__cuda_slot *slot,
                                        rn_error *err)
{
    cudaGraph_t graph = NULL;
    RN_CUDA_TRY(cudaStreamBeginCapture(e->stream, cudaStreamCaptureModeThreadLocal), "recording a graph");
    const rn_status recorded = rn__cuda_schedule_run(e, signature, bucket, slot, err);
    cudaError_t error = cudaStreamEndCapture(e->stream, &graph); /* also after a failure, or the stream stays unusable */
    if (recorded == RN_STATUS_OK && error == cudaSuccess)
        error = cudaGraphInstantiate(rn__cuda_graph(e, signature, bucket, slot), graph, 0);
    if (graph) (void)cudaGraphDestroy(graph);
    RN_TRY(recorded);
    RN_CUDA_TRY(error, "recording a graph");
    return RN_STATUS_OK;
}

static rn_status record(rn_executor *e, const rn_signature *signature, int32_t bucket, rn_error *err)
{
    RN_TRY(rn__cuda_schedule_run(e, signature, bucket, &e->slots[0], err));
    RN_CUDA_TRY(cudaStreamSynchronize(e->stream), "the first run");
    RN_TRY(rn__cuda_chunks_choose(e, signature, bucket, err));
    for (int i = 0; i < RN__CUDA_SLOTS; i++) RN_TRY(rn__cuda_schedule_record_slot(e, signature, bucket, &e->slots[i], err));
    return RN_STATUS_OK;
}

rn_status rn__cuda_schedule_record(rn_executor *e, rn_error *err)
{
    for (int32_t s = 0; s < e->plan->signature_count; s++) {
        for (int32_t b = 0; b < e->bucket_count; b++) {
            const rn_status status = record(e, &e->plan->signatures[s], b, err);
            if (status != RN_STATUS_OK) {
                rn_error_prefix(err, "signature %s, batch %d", e->plan->signatures[s].name, e->buckets[b]);
                return status;
            }
        }
    }
    return RN_STATUS_OK;
}
