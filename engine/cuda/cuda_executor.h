/* A plan prepared for one GPU: what the files of this folder share. */
#ifndef RN_ENGINE_CUDA_CUDA_EXECUTOR_H
#define RN_ENGINE_CUDA_CUDA_EXECUTOR_H

#include "engine/backend.h"
#include "engine/cuda/conv_set.h"
#include "engine/cuda/cuda_device.h"
#include "kernels/cuda/cuda_kernels.h"

enum {
    RN__CUDA_MAX_BUCKETS = 33, /* the powers of two and the largest batch itself */
    RN__CUDA_SLOTS = 2,        /* of staging: one batch is copied while another is computed */
    RN__CUDA_ALIGNMENT = 256   /* of everything that has an address of its own in a block of device memory */
};

/* How a tensor lies in device memory: [rows][h][w][c] of dtype. */
typedef struct rn__cuda_tensor {
    rn_dtype dtype;     /* of storage; U8 and I32 as in the plan */
    int32_t h, w, c;    /* c: padded to 16 bytes, but for U8, I32 and the values of top-k, which are dense */
    int32_t channels;   /* of which these exist */
    size_t row_bytes;   /* of one batch row */
    char *data;         /* in the arena; NULL when no operation touches it there */
} rn__cuda_tensor;

/* What one operation has on the device beside its tensors. Pointers lie in the executor's block of weights. */
typedef struct rn__cuda_step {
    void *filter, *bias;        /* CONV2D, DENSE: [k][r][s][c / groups] and [k], padded channels and all */
    float *scale, *shift;       /* SCALE_SHIFT, CONV2D with a second output: [c], expanded */
    int32_t conv[RN__CUDA_MAX_BUCKETS]; /* CONV2D, DENSE: in the set, for each bucket */
} rn__cuda_step;

/* How a signature is run for a bucket: the first operations of its schedule in chunks of a smaller bucket's rows, the rest at once. */
typedef struct rn__cuda_chunks {
    int32_t ops;                /* 0: everything at once */
    int32_t bucket;             /* of a chunk */
} rn__cuda_chunks;

/* A batch on its way, and what it is staged in. Valid while it is under way: signature, parts (borrowed) and the counts. */
typedef struct rn__cuda_slot {
    char *upload, *download;    /* device memory: rows as callers have them; outputs that have to be unpacked, one after the other */
    char *host_in, *host_out;   /* pinned, of the same sizes */
    cudaEvent_t arrived, computed, left; /* inputs are on the device; outputs are there; outputs are in host_out */
    struct rn__cuda_explanations *explanations; /* NULL where no signature has any */
    const rn_signature *signature;
    const rn_batch_part *parts;
    int32_t part_count, rows;
} rn__cuda_slot;

struct rn_executor {
    const rn_plan *plan;
    rn__cuda_device device;
    const char *precision;      /* "fp16" */
    rn_dtype storage;           /* of feature maps */
    bool tf32;
    int32_t bucket_count, buckets[RN__CUDA_MAX_BUCKETS]; /* rising; the last one is the largest batch */

    rn__cuda_tensor *tensors;   /* [tensor] */
    rn__cuda_step *steps;       /* [operation] */
    char *weights, *arena, *workspace; /* device memory */
    size_t weight_bytes, arena_bytes, workspace_bytes;
    rn__cuda_chunks *chunks;    /* [signature][bucket] */
    int32_t *last_uses;         /* [signature][tensor] the step that reads it last; op_count: an output */
    rn__cuda_tensor *chunk_tensors; /* [tensor] as they lie for the chunk that is scheduled */
    char **chunk_data;          /* [tensor] in chunk_arena; NULL: not there */
    char *chunk_arena;          /* device memory for what lives within a chunk; NULL: no chunks */
    size_t chunk_bytes;
    rn__cuda_slot slots[RN__CUDA_SLOTS];
    int32_t next, under_way;    /* the slot for the batch to come; batches that were begun and not finished */
    size_t upload_bytes, download_bytes; /* of a slot */
    size_t picture_bytes[RN_PLAN_MAX_SIGNATURES]; /* see rn_backend: 0 where rows are uploaded as they are */
    size_t device_bytes, memory_limit_bytes; /* taken so far; 0: no limit */

    cudaStream_t stream;        /* computes */
    cudaStream_t copy_in, copy_out;
    rn__conv_context context;
    rn__conv_set *convs;
    cudaGraphExec_t *graphs;    /* [signature][bucket][slot] */

    bool broken;                /* the device does not answer any more: every run fails with `reason` */
    char reason[RN_ERROR_MESSAGE_BYTES];
    char description[512];
};

/* cuda_memory.c: takes device memory, *(void **)address is where; the executor owns it. OUT_OF_MEMORY, also beyond the limit. */
rn_status rn__cuda_take(rn_executor *e, size_t bytes, const char *what, void *address, rn_error *err);

/* cuda_tensors.c: decides how every tensor lies, then gives each its place in the arena. UNSUPPORTED names the operation that cannot be
 * run. */
rn_status rn__cuda_tensors_lay_out(rn_executor *e, rn_error *err);
rn_status rn__cuda_tensors_place(rn_executor *e, rn_error *err);
/* Where the rows of an output lie when a signature has run: in the tensor itself when that is what callers want, else unpacked. slot: NULL
 * when only the sizes are of interest. */
typedef struct rn__cuda_output {
    const char *data;
    size_t row_bytes;           /* f32 or i32, dense */
    size_t offset;              /* in the slot's host_out, and in its `download` when unpacked */
    bool unpacked;
} rn__cuda_output;
rn__cuda_output rn__cuda_output_of(const rn_executor *e, const rn_signature *signature, int32_t index, const rn__cuda_slot *slot);

/* cuda_weights.c: repacks all weights, uploads them and fills the steps' pointers. */
rn_status rn__cuda_weights_upload(rn_executor *e, rn_error *err);

/* cuda_convs.c: adds every convolution and dense layer, for every bucket, to the set. */
rn_status rn__cuda_convs_add(rn_executor *e, rn_error *err);
/* One of them: `op` is a CONV2D or DENSE, tensors are laid out. */
rn__conv_shape rn__cuda_conv_shape(const rn_executor *e, const rn_op *op, int32_t rows);
/* Groups of a convolution on the device: as in the plan, or 1 when padded channels would cut through them. */
int32_t rn__cuda_conv_groups(int32_t groups, const rn__cuda_tensor *x, const rn__cuda_tensor *y);

/* cuda_schedule.c: puts a signature's work for a bucket on the stream, from the slot's uploaded rows to the outputs in its download. */
rn_status rn__cuda_schedule_run(rn_executor *e, const rn_signature *signature, int32_t bucket, const rn__cuda_slot *slot, rn_error *err);
/* Records it as the slot's graph. */
rn_status rn__cuda_schedule_record_slot(rn_executor *e, const rn_signature *signature, int32_t bucket, const rn__cuda_slot *slot,
                                        rn_error *err);

/* cuda_chunks.c: memory for chunks, where a batch is large enough for any; needs the tensors' places. Out of memory means no chunks. */
rn_status rn__cuda_chunks_create(rn_executor *e, rn_error *err);
void rn__cuda_chunks_destroy(rn_executor *e);
/* Measures ways to divide the signature's work for the bucket and keeps the fastest. */
rn_status rn__cuda_chunks_choose(rn_executor *e, const rn_signature *signature, int32_t bucket, rn_error *err);
/* Fills chunk_tensors for the rows from `first` on, when the first `ops` operations are chunked. */
void rn__cuda_chunks_move(rn_executor *e, const rn_signature *signature, int32_t ops, int32_t first);
static inline rn__cuda_chunks *rn__cuda_chunks_of(const rn_executor *e, const rn_signature *signature, int32_t bucket)
{
    return &e->chunks[(signature - e->plan->signatures) * e->bucket_count + bucket];
}

/* The same recorded: fills e->graphs, after one run of each signature and bucket that loads what is loaded lazily. */
rn_status rn__cuda_schedule_record(rn_executor *e, rn_error *err);
static inline cudaGraphExec_t *rn__cuda_graph(const rn_executor *e, const rn_signature *signature, int32_t bucket,
                                              const rn__cuda_slot *slot)
{
    return &e->graphs[((signature - e->plan->signatures) * e->bucket_count + bucket) * RN__CUDA_SLOTS + (slot - e->slots)];
}

/* cuda_upload.c: what is uploaded of a batch. For a signature that takes pictures, it is a table of all rows of the bucket and then the pixels; a
 * row that comes as such is a picture of its own size. */
void rn__cuda_upload_size(rn_executor *e); /* sets upload_bytes and picture_bytes */
static inline size_t rn__cuda_table_bytes(const rn_executor *e)
{
    const size_t bytes = (size_t)e->buckets[e->bucket_count - 1] * sizeof(rn_cuda_picture);
    return (bytes + RN__CUDA_ALIGNMENT - 1) / RN__CUDA_ALIGNMENT * RN__CUDA_ALIGNMENT;
}
/* Makes a table of pictures of one pixel, so that a slot can be run before anything was uploaded. */
rn_status rn__cuda_upload_init(rn_executor *e, const rn__cuda_slot *slot, rn_error *err);
/* Gathers the slot's batch and copies it to the device, part by part, so that the copy of one part overlaps the gathering of the next. */
rn_status rn__cuda_upload(rn_executor *e, rn__cuda_slot *slot, cudaStream_t stream, rn_error *err);
size_t rn__cuda_picture_bytes(const rn_executor *e, const rn_signature *signature);
/* The smallest bucket that holds the rows. */
static inline int32_t rn__cuda_bucket_of(const rn_executor *e, int32_t rows)
{
    int32_t bucket = 0;
    while (e->buckets[bucket] < rows) bucket++;
    return bucket;
}

/* cuda_run.c: streams and staging; then the backend's entries. What destroy finds may be half made. */
rn_status rn__cuda_slots_create(rn_executor *e, rn_error *err);
void rn__cuda_slots_destroy(rn_executor *e);
rn_status rn__cuda_begin(rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err);
rn_status rn__cuda_finish(rn_executor *e, rn_error *err);
rn_status rn__cuda_run(rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err);

/* class_map.c: explanations of a batch that has been computed. create takes the slot's memory for them; explain puts their work on the
 * executor's stream where a part wants them, from its classes to pinned memory; hand_out gives them to the parts. */
rn_status rn__cuda_explanations_create(rn_executor *e, rn__cuda_slot *slot, rn_error *err);
void rn__cuda_explanations_destroy(rn__cuda_slot *slot);
rn_status rn__cuda_explain(rn_executor *e, const rn__cuda_slot *slot, rn_error *err);
void rn__cuda_explanations_hand_out(const rn_executor *e, const rn__cuda_slot *slot);

/* Whether the plan's tensor is read by this signature's operations otherwise than by a scale_shift, which takes it from the upload. */
bool rn__cuda_feed_is_packed(const rn_plan *plan, const rn_signature *signature);

#endif
