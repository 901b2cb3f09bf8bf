/* From the callers' rows or pictures to the device.
 *
 * Pictures are uploaded as they were decoded, their crop alone, and resized by the first kernel of the network. Staging is sized for the
 * largest batch: a picture may have so many times the bytes of a row, and whoever decodes it resizes what is larger on the host.
 */
#include <string.h>

#include "engine/cuda/cuda_executor.h"

enum {
    PICTURE_ROWS = 4 /* 448 x 448 for a network of 224 x 224 */
};
static const size_t STAGING_LIMIT = (size_t)256 << 20; /* of pinned memory for a slot: it is taken from the whole machine */

/* What image_fit.cu computes. In bytes the values of a bilinear resize need no clipping. */
static bool kernel_resizes(const rn_image_op *op)
{
    return op->method == RN_RESIZE_BILINEAR && op->grid == RN_GRID_HALF_PIXEL && op->shorter == 0 && op->full_h == op->h &&
           op->full_w == op->w && !op->reverse && !op->as_float;
}

/* The first kernel of the network reads pixels, and does nothing but scale them. */
static size_t picture_bytes_of(const rn_executor *e, const rn_signature *signature)
{
    const rn_plan_tensor *feed = &e->plan->tensors[signature->feed];
    if (signature->image_op == RN_NONE || feed->dtype != RN_DTYPE_U8 || feed->c > 4 || rn__cuda_feed_is_packed(e->plan, signature))
        return 0;
    if (!kernel_resizes(&e->plan->ops[signature->image_op].u.image)) return 0;
    const size_t row = rn_plan_tensor_bytes(feed), rows = (size_t)e->buckets[e->bucket_count - 1];
    const size_t share = STAGING_LIMIT / rows, bytes = PICTURE_ROWS * row < share ? PICTURE_ROWS * row : share;
    return bytes < row ? 0 : bytes;
}

void rn__cuda_upload_size(rn_executor *e)
{
    const size_t rows = (size_t)e->buckets[e->bucket_count - 1];
    for (int32_t s = 0; s < e->plan->signature_count; s++) {
        const rn_signature *signature = &e->plan->signatures[s];
        const size_t picture = picture_bytes_of(e, signature), row = rn_plan_tensor_bytes(&e->plan->tensors[signature->feed]);
        const size_t bytes = picture ? rn__cuda_table_bytes(e) + rows * picture : rows * row;
        e->picture_bytes[s] = picture;
        if (bytes > e->upload_bytes) e->upload_bytes = bytes;
    }
}

size_t rn__cuda_picture_bytes(const rn_executor *e, const rn_signature *signature)
{
    return e->picture_bytes[signature - e->plan->signatures];
}

static rn_status copy(const rn__cuda_slot *slot, size_t at, size_t bytes, cudaStream_t stream, rn_error *err)
{
    RN_CUDA_TRY(cudaMemcpyAsync(slot->upload + at, slot->host_in + at, bytes, cudaMemcpyHostToDevice, stream), "copying inputs");
    return RN_STATUS_OK;
}

static rn_status upload_rows(rn_executor *e, const rn__cuda_slot *slot, cudaStream_t stream, rn_error *err)
{
    const size_t row_bytes = rn_plan_tensor_bytes(&e->plan->tensors[slot->signature->feed]);
    size_t at = 0;
    for (int32_t i = 0; i < slot->part_count; i++) {
        const size_t bytes = (size_t)slot->parts[i].rows * row_bytes;
        memcpy(slot->host_in + at, slot->parts[i].input, bytes);
        RN_TRY(copy(slot, at, bytes, stream, err));
        at += bytes;
    }
    return RN_STATUS_OK;
}

/* ---- pictures ---- */

static rn_cuda_picture entry_of(int64_t offset, int32_t h, int32_t w, const rn_plan_tensor *feed)
{
    return (rn_cuda_picture){.offset = offset,
                             .row_bytes = w * feed->c,
                             .h = h,
                             .w = w,
                             .ratio_h = (float)h / (float)feed->h,
                             .ratio_w = (float)w / (float)feed->w};
}

/* A picture, or a row in place of one. */
static rn_picture_window window_of(const rn_batch_part *part, int32_t row, const rn_plan_tensor *feed)
{
    if (part->pictures) return part->pictures[row];
    return (rn_picture_window){.pixels = (const uint8_t *)part->input + (size_t)row * rn_plan_tensor_bytes(feed),
                               .h = feed->h,
                               .w = feed->w,
                               .row_bytes = (size_t)feed->w * (size_t)feed->c};
}

static void gather(const rn_picture_window *window, size_t row_bytes, char *to)
{
    if (window->row_bytes == row_bytes) {
        memcpy(to, window->pixels, (size_t)window->h * row_bytes);
        return;
    }
    for (int32_t y = 0; y < window->h; y++) memcpy(to + (size_t)y * row_bytes, window->pixels + (size_t)y * window->row_bytes, row_bytes);
}

/* *at: where the next pixels go, counted from the table's end. */
static rn_status upload_part(rn_executor *e, const rn__cuda_slot *slot, const rn_batch_part *part, rn_cuda_picture *entries, size_t *at,
                             cudaStream_t stream, rn_error *err)
{
    const rn_plan_tensor *feed = &e->plan->tensors[slot->signature->feed];
    const size_t largest = rn__cuda_picture_bytes(e, slot->signature), table = rn__cuda_table_bytes(e), first = *at;
    for (int32_t i = 0; i < part->rows; i++) {
        const rn_picture_window window = window_of(part, i, feed);
        const size_t row_bytes = (size_t)window.w * (size_t)feed->c, bytes = (size_t)window.h * row_bytes;
        if (window.h < 1 || window.w < 1 || bytes > largest)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: a picture of %d x %d pixels, at most %zu bytes are taken",
                           slot->signature->name, window.w, window.h, largest);
        gather(&window, row_bytes, slot->host_in + table + *at);
        entries[i] = entry_of((int64_t)*at, window.h, window.w, feed);
        *at += bytes;
    }
    return copy(slot, table + first, *at - first, stream, err);
}

/* The rows of the bucket beyond the batch are computed too: of one pixel each. */
static rn_status upload_pictures(rn_executor *e, const rn__cuda_slot *slot, cudaStream_t stream, rn_error *err)
{
    rn_cuda_picture *table = (rn_cuda_picture *)slot->host_in;
    const int32_t bucket = e->buckets[rn__cuda_bucket_of(e, slot->rows)];
    int32_t row = 0;
    size_t at = 0;
    for (int32_t i = 0; i < slot->part_count; row += slot->parts[i++].rows)
        RN_TRY(upload_part(e, slot, &slot->parts[i], table + row, &at, stream, err));
    for (; row < bucket; row++) table[row] = entry_of(0, 1, 1, &e->plan->tensors[slot->signature->feed]);
    return copy(slot, 0, (size_t)bucket * sizeof *table, stream, err);
}

rn_status rn__cuda_upload_init(rn_executor *e, const rn__cuda_slot *slot, rn_error *err)
{
    const int32_t rows = e->buckets[e->bucket_count - 1];
    const rn_plan_tensor *feed = NULL;
    for (int32_t s = 0; s < e->plan->signature_count; s++)
        if (e->picture_bytes[s]) feed = &e->plan->tensors[e->plan->signatures[s].feed];
    if (!feed) return RN_STATUS_OK;
    for (int32_t i = 0; i < rows; i++) ((rn_cuda_picture *)slot->host_in)[i] = entry_of(0, 1, 1, feed);
    return copy(slot, 0, (size_t)rows * sizeof(rn_cuda_picture), e->stream, err);
}

rn_status rn__cuda_upload(rn_executor *e, rn__cuda_slot *slot, cudaStream_t stream, rn_error *err)
{
    if (rn__cuda_picture_bytes(e, slot->signature)) return upload_pictures(e, slot, stream, err);
    return upload_rows(e, slot, stream, err);
}
