/* Inside of the CPU backend: a plan prepared for the host, and the steps that its operations become. */
#ifndef RN_ENGINE_CPU_CPU_EXECUTOR_H
#define RN_ENGINE_CPU_CPU_EXECUTOR_H

#include "engine/backend.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/cpu/cpu_tensor.h"
#include "engine/cpu/host_memory.h"
#include "engine/cpu/thread_pool.h"
#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/cpu/cpu_kernels.h"

/* How sums of products of bytes become outputs: what rn_conv2d_args has beside the filter. One allocation, which multiplier points to. */
typedef struct rn__cpu_rescale {
    float *multiplier, *bias, *scale2, *shift2; /* [k] */
    float residual_multiplier;
} rn__cpu_rescale;

/* A convolution's filter as the micro-kernel of one method reads it, shared between the steps that have the same weights. */
typedef struct rn__cpu_filter {
    int32_t winograd_m;         /* 0: direct */
    bool owned;                 /* this step packs it */
    size_t offset;              /* in executor->packed */
    void *packed;
} rn__cpu_filter;

/* The best method depends on how many pictures share a reading of the weights: one is chosen for few pictures, as if for one, and one for
 * LARGE_BATCH and more, as if for twice as many. */
enum { RN__CPU_LARGE_BATCH = 4, RN__CPU_BATCH_CLASSES = 2 };

/* One operation, ready to run. */
typedef struct rn__cpu_step rn__cpu_step;
struct rn__cpu_step {
    const rn_op *op;
    /* Runs the operation on `rows` batch rows, on all threads of the pool. */
    void (*run)(const rn_executor *executor, const rn__cpu_step *step, int32_t rows);

    /* Convolution and dense layer by micro-kernels. */
    rn__cpu_filter filters[RN__CPU_BATCH_CLASSES]; /* the second only where passes are large */
    bool ran_large;             /* at least once with the second */
    rn_conv2d_panels panels;    /* of the direct filter */
    rn__cpu_rescale rescale;    /* of a convolution on bytes */
};

/* What feature maps and weights are kept in where the kernels allow it: both F32, both BF16, or F32 and chained BF16. */
typedef struct rn__cpu_types {
    rn_dtype maps, weights;
    bool bf16_points;           /* Winograd's transforms of bytes, whose points are bf16, are worth it */
} rn__cpu_types;

struct rn_executor {
    const rn_plan *plan;
    int32_t max_batch, pass_rows; /* of a run; that run together, in the arena */
    rn_batch_part *pieces;      /* [pass_rows] of the callers' parts: those of a pass */
    rn__cpu_types types;
    bool *chained;              /* [plan->op_count]: whether the operation's weights are chained bf16 */
    rn_cpu_kernels kernels;
    bool deterministic;         /* no method that depends on the batch */
    rn__thread_pool *pool;
    rn__cpu_tensor *tensors;    /* [plan->tensor_count] */
    rn__cpu_step *steps;        /* [plan->op_count]; op NULL where no signature's schedule runs the operation here */
    rn__host_memory packed;     /* all packed filters, of weight_bytes */
    rn__host_memory arena;      /* all tensors, by lifetimes */
    rn__host_memory scratch;    /* [thread_count][scratch_bytes] */
    rn__host_memory class_weights; /* float [pass_rows][c] of the classes that are being explained; empty without explanations */
    size_t arena_bytes, scratch_bytes, weight_bytes;
    char description[256];
    rn_cpu_observer *observer;  /* or NULL */
    void *observer_context;
};

/* What the backend's entries are made of. */
rn_status rn__cpu_create(const rn_plan *plan, const rn_backend_options *options, rn__cpu_types types, rn_executor **out, rn_error *err);
rn_status rn__cpu_run(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err);
void rn__cpu_destroy(rn_executor *executor);
/* Writes the description, which ends with the remark. */
void rn__cpu_describe(rn_executor *executor, const char *remark);
/* The instruction set of that name, the machine's best one for NULL. */
rn_status rn__cpu_choose_isa(const char *name, rn_isa *out, rn_error *err);

/* Whether the micro-kernel for bf16 maps multiplies faster than the one for f32 maps and chained weights; false where there is none. */
rn_status rn__cpu_bf16_is_faster(const rn_cpu_kernels *kernels, bool *out, rn_error *err);

/* The backend's prepare: decides on the precision (precision.c). */
rn_status rn__cpu_prepare(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err);

/* Sets the type of every tensor and which weights are chained. Needs the kernel table. */
void rn__cpu_choose_types(rn_executor *executor);

/* Each sets step->run, raises executor->weight_bytes by what it wants packed and executor->scratch_bytes to what one thread needs. The first three
 * serve convolutions and dense layers, int8 those whose filter is I8, OpenBLAS machines without a micro-kernel. */
void rn__cpu_conv2d_prepare(rn_executor *executor, rn__cpu_step *step);
rn_status rn__cpu_int8_prepare(rn_executor *executor, rn__cpu_step *step, rn_error *err);
void rn__cpu_blas_prepare(rn_executor *executor, rn__cpu_step *step);
void rn__cpu_pointwise_prepare(rn__cpu_step *step); /* every other operation */

/* Gives a filter, whose method is known, its place among the packed ones; packs all of them. */
void rn__cpu_place_filter(rn_executor *executor, rn__cpu_step *step, rn__cpu_filter *filter);
rn_status rn__cpu_pack_filters(rn_executor *executor, rn_error *err);

/* Writes the explanations that parts want of a batch that has just run; what executor->class_weights has to hold for it. */
void rn__cpu_explain(const rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count);
size_t rn__cpu_class_weight_elements(const rn_executor *executor);

/* Winograd's part of a convolution step: the output tile m with which it is the fastest way to run the operation for `rows` pictures, or 0; what
 * its filter takes, which raises executor->scratch_bytes; what packs it; and a run. */
int32_t rn__cpu_winograd_tile(const rn_executor *executor, const rn_op *op, int32_t rows);
size_t rn__cpu_winograd_prepare(rn_executor *executor, const rn__cpu_step *step, int32_t m);
rn_conv2d_winograd rn__cpu_winograd_without_filter(const rn_executor *executor, const rn__cpu_step *step, int32_t m);
void rn__cpu_winograd_run(const rn_executor *executor, const rn__cpu_step *step, const rn__cpu_filter *filter, int32_t rows);

/* The method of an operation in a batch class. */
int32_t rn__cpu_class_tile(const rn_executor *executor, const rn_op *op, int32_t batch_class);
/* How many batch classes a largest batch needs. */
int32_t rn__cpu_class_count(const rn_executor *executor);

/* Raises the scratch memory of each thread to `bytes`. */
void rn__cpu_need_scratch(rn_executor *executor, size_t bytes);

/* The map of tensor t, or one that is not there for RN_NONE. */
rn_map rn__cpu_map(const rn_executor *executor, int32_t tensor);
/* Values of weights w, or NULL for RN_NONE. */
const float *rn__cpu_weights(const rn_executor *executor, int32_t weights);
/* A convolution's arguments for `rows` batch rows; a dense layer as the 1x1 convolution of a picture one pixel high and wide. */
rn_conv2d_args rn__cpu_conv2d_args(const rn_executor *executor, const rn_op *op, int32_t rows);
/* The same of a step that is prepared, whatever its type. */
rn_conv2d_args rn__cpu_step_args(const rn_executor *executor, const rn__cpu_step *step, int32_t rows);
/* Whether it is a convolution on bytes, and the arguments of such a step once it is prepared. */
bool rn__cpu_is_int8(const rn_executor *executor, const rn_op *op);
rn_conv2d_args rn__cpu_int8_args(const rn_executor *executor, const rn__cpu_step *step, int32_t rows);

#endif
