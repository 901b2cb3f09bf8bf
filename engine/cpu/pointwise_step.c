/* Operations that are bound by memory: the threads share out rows (channels, for the average over a picture), each with the table's kernel. */
#include "engine/cpu/cpu_executor.h"

/* Elements that one thread gets through in about the time that it takes to hand out work. */
enum { GRAIN_ELEMENTS = 8192, CHANNEL_BLOCK = 64 };

/* `slot`_job and slot_part: a kernel's arguments, and the call for a part of their range. */
#define DEFINE_JOB(slot, range_begin, range_end)                                                                                           \
    typedef struct {                                                                                                                       \
        rn_##slot##_fn *kernel;                                                                                                            \
        rn_##slot##_args args;                                                                                                             \
    } slot##_job;                                                                                                                          \
    static void slot##_part(const void *context, int32_t begin, int32_t end, int32_t thread)                                               \
    {                                                                                                                                      \
        (void)thread;                                                                                                                      \
        const slot##_job *job = context;                                                                                                   \
        rn_##slot##_args args = job->args;                                                                                                 \
        args.range_begin = begin;                                                                                                          \
        args.range_end = end;                                                                                                              \
        job->kernel(&args);                                                                                                                \
    }
DEFINE_JOB(scale_shift, row_begin, row_end)
DEFINE_JOB(add, row_begin, row_end)
DEFINE_JOB(max_pool, row_begin, row_end)
DEFINE_JOB(quantize, row_begin, row_end)
DEFINE_JOB(softmax, row_begin, row_end)
DEFINE_JOB(top_k, image_begin, image_end)
#undef DEFINE_JOB

/* Hands out `count` rows of `elements` elements together. */
static void split(const rn_executor *e, int32_t count, int64_t elements, rn__range_fn *part, const void *job)
{
    const int64_t most = 1 + elements / GRAIN_ELEMENTS;
    const int32_t threads = rn__thread_pool_thread_count(e->pool);
    rn__thread_pool_run(e->pool, count, most < threads ? (int32_t)most : threads, part, job);
}

static const rn_plan_tensor *input_of(const rn_executor *e, const rn_op *op)
{
    return &e->plan->tensors[op->inputs[0]];
}

/* As the tensor is kept here. */
static rn_dtype input_type(const rn_executor *e, const rn_op *op)
{
    return e->tensors[op->inputs[0]].dtype;
}

static int64_t elements_of(const rn_executor *e, int32_t tensor, int32_t rows)
{
    return rows * rn_plan_tensor_elements(&e->plan->tensors[tensor]);
}

static bool is_per_channel(const rn_executor *e, int32_t weights)
{
    return weights != RN_NONE && e->plan->weights[weights].element_count > 1;
}

static void run_scale_shift(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_op *op = step->op;
    const rn_scale_shift_op *params = &op->u.scale_shift;
    const rn_plan_tensor *x = input_of(e, op);
    const rn_dtype made = e->tensors[op->outputs[0]].dtype; /* the kernel for bf16 reads f32 too */
    const scale_shift_job job = {e->kernels.scale_shift[made == RN_DTYPE_BF16 ? made : input_type(e, op)].run,
                                 {.x = rn__cpu_map(e, op->inputs[0]), .y = rn__cpu_map(e, op->outputs[0]),
                                  .scale = rn__cpu_weights(e, params->scale), .shift = rn__cpu_weights(e, params->shift),
                                  .scale_per_channel = is_per_channel(e, params->scale), .shift_per_channel = is_per_channel(e, params->shift),
                                  .h = x->h, .w = x->w, .c = x->c, .relu = params->relu}};
    split(e, rows * x->h, elements_of(e, op->inputs[0], rows), scale_shift_part, &job);
}

static void run_add(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_op *op = step->op;
    const rn_plan_tensor *x = input_of(e, op);
    const add_job job = {e->kernels.add[input_type(e, op)].run,
                         {.a = rn__cpu_map(e, op->inputs[0]), .b = rn__cpu_map(e, op->inputs[1]), .y = rn__cpu_map(e, op->outputs[0]),
                          .h = x->h, .w = x->w, .c = x->c, .relu = op->u.add.relu}};
    split(e, rows * x->h, elements_of(e, op->inputs[0], rows), add_part, &job);
}

static void run_max_pool(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_op *op = step->op;
    const rn_max_pool_op *pool = &op->u.max_pool;
    const rn_plan_tensor *x = input_of(e, op), *y = &e->plan->tensors[op->outputs[0]];
    const max_pool_job job = {e->kernels.max_pool[input_type(e, op)].run,
                              {.x = rn__cpu_map(e, op->inputs[0]), .y = rn__cpu_map(e, op->outputs[0]),
                               .h = x->h, .w = x->w, .c = x->c, .p = y->h, .q = y->w,
                               .r = pool->r, .s = pool->s, .stride_h = pool->stride_h, .stride_w = pool->stride_w,
                               .pad_top = pool->pad_top, .pad_left = pool->pad_left, .pad_zero = pool->pad_zero, .zero = (uint8_t)x->zero}};
    split(e, rows * y->h, elements_of(e, op->outputs[0], rows) * pool->r * pool->s, max_pool_part, &job);
}

static void run_quantize(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_op *op = step->op;
    const rn_plan_tensor *x = input_of(e, op), *y = &e->plan->tensors[op->outputs[0]];
    const quantize_job job = {e->kernels.quantize[RN_DTYPE_F32].run,
                              {.x = rn__cpu_map(e, op->inputs[0]), .y = rn__cpu_map(e, op->outputs[0]), .multiplier = 1 / y->step,
                               .zero = (uint8_t)y->zero, .h = x->h, .w = x->w, .c = x->c, .y_c = y->c}};
    split(e, rows * x->h, elements_of(e, op->inputs[0], rows), quantize_part, &job);
}

typedef struct {
    rn_global_average_pool_fn *kernel;
    rn_global_average_pool_args args;
} average_job;

static void average_part(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    (void)thread;
    const average_job *job = context;
    rn_global_average_pool_args args = job->args;
    const int32_t first = begin * CHANNEL_BLOCK, last = end * CHANNEL_BLOCK < args.c ? end * CHANNEL_BLOCK : args.c;
    args.x.data = rn_map_at(&args.x, first);
    args.y.data = rn_map_at(&args.y, first);
    args.c = last - first;
    job->kernel(&args);
}

static void run_global_average_pool(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_op *op = step->op;
    const rn_plan_tensor *x = input_of(e, op);
    const average_job job = {e->kernels.global_average_pool[input_type(e, op)].run,
                             {.x = rn__cpu_map(e, op->inputs[0]), .y = rn__cpu_map(e, op->outputs[0]), .h = x->h, .w = x->w, .c = x->c,
                              .image_begin = 0, .image_end = rows}};
    split(e, (x->c + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK, elements_of(e, op->inputs[0], rows), average_part, &job);
}

static void run_softmax(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_op *op = step->op;
    const rn_plan_tensor *x = input_of(e, op);
    const softmax_job job = {e->kernels.softmax[input_type(e, op)].run,
                             {.x = rn__cpu_map(e, op->inputs[0]), .y = rn__cpu_map(e, op->outputs[0]), .h = x->h, .w = x->w, .c = x->c}};
    split(e, rows * x->h, elements_of(e, op->inputs[0], rows), softmax_part, &job);
}

static void run_top_k(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_op *op = step->op;
    const rn__cpu_tensor *indexes = &e->tensors[op->outputs[1]];
    const top_k_job job = {e->kernels.top_k[input_type(e, op)].run,
                           {.x = rn__cpu_map(e, op->inputs[0]), .values = rn__cpu_map(e, op->outputs[0]),
                            .indexes = rn__cpu_tensor_data(indexes), .index_image = indexes->image, .c = input_of(e, op)->c,
                            .k = op->u.top_k.k}};
    split(e, rows, elements_of(e, op->inputs[0], rows), top_k_part, &job);
}

void rn__cpu_pointwise_prepare(rn__cpu_step *step)
{
    switch (step->op->kind) {
    case RN_OP_SCALE_SHIFT: step->run = run_scale_shift; break;
    case RN_OP_ADD: step->run = run_add; break;
    case RN_OP_MAX_POOL: step->run = run_max_pool; break;
    case RN_OP_GLOBAL_AVERAGE_POOL: step->run = run_global_average_pool; break;
    case RN_OP_SOFTMAX: step->run = run_softmax; break;
    case RN_OP_TOP_K: step->run = run_top_k; break;
    case RN_OP_QUANTIZE: step->run = run_quantize; break;
    case RN_OP_IMAGE:
    case RN_OP_FIT:
    case RN_OP_CONV2D:
    case RN_OP_DENSE:
    case RN_OP_CLASS_MAP: /* in no schedule: class_map_step.c */
    case RN_OP_COUNT: break;
    }
}
