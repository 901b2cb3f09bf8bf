/* Convolutions and dense layers by the micro-kernels, directly: the threads share out the tiles
 * of a layer, its panels of output channels, or both. What other kinds of convolution steps need too is here as well. */
#include "engine/cpu/cpu_executor.h"
#include "engine/cpu/grid.h"

rn_map rn__cpu_map(const rn_executor *e, int32_t tensor)
{
    return tensor == RN_NONE ? (rn_map){0} : rn__cpu_tensor_map(&e->tensors[tensor]);
}

const float *rn__cpu_weights(const rn_executor *e, int32_t weights)
{
    return weights == RN_NONE ? NULL : e->plan->weights[weights].data;
}

static rn_conv2d_args conv2d_args(const rn_executor *e, const rn_op *op, int32_t rows)
{
    const rn_conv2d_op *conv = &op->u.conv2d;
    const rn_plan_tensor *x = &e->plan->tensors[op->inputs[0]], *y = &e->plan->tensors[op->outputs[op->outputs[0] == RN_NONE]];
    return (rn_conv2d_args){
        .x = rn__cpu_map(e, op->inputs[0]),
        .residual = rn__cpu_map(e, op->inputs[1]),
        .y = rn__cpu_map(e, op->outputs[0]),
        .y2 = rn__cpu_map(e, op->outputs[1]),
        .filter = rn__cpu_is_int8(e, op) ? NULL : rn__cpu_weights(e, conv->filter),
        .bias = rn__cpu_weights(e, conv->bias),
        .scale2 = rn__cpu_weights(e, conv->scale2),
        .shift2 = rn__cpu_weights(e, conv->shift2),
        .n = rows, .h = x->h, .w = x->w, .c = x->c, .p = y->h, .q = y->w, .k = y->c,
        .r = conv->r, .s = conv->s, .stride_h = conv->stride_h, .stride_w = conv->stride_w,
        .pad_top = conv->pad_top, .pad_left = conv->pad_left, .groups = conv->groups,
        .row_begin = 0, .row_end = rows * y->h,
        .relu = conv->relu,
        .x_zero = (uint8_t)x->zero,
    };
}

static rn_conv2d_args dense_args(const rn_executor *e, const rn_op *op, int32_t rows)
{
    const rn_dense_op *dense = &op->u.dense;
    return (rn_conv2d_args){
        .x = rn__cpu_map(e, op->inputs[0]),
        .y = rn__cpu_map(e, op->outputs[0]),
        .filter = rn__cpu_weights(e, dense->weights),
        .bias = rn__cpu_weights(e, dense->bias),
        .n = rows, .h = 1, .w = 1, .c = e->plan->tensors[op->inputs[0]].c, .p = 1, .q = 1, .k = e->plan->tensors[op->outputs[0]].c,
        .r = 1, .s = 1, .stride_h = 1, .stride_w = 1, .groups = 1,
        .row_begin = 0, .row_end = rows,
        .relu = dense->relu,
    };
}

rn_conv2d_args rn__cpu_conv2d_args(const rn_executor *e, const rn_op *op, int32_t rows)
{
    rn_conv2d_args args = op->kind == RN_OP_DENSE ? dense_args(e, op, rows) : conv2d_args(e, op, rows);
    args.chained = e->chained[op - e->plan->ops];
    return args;
}

typedef struct {
    rn_conv2d_direct direct;
    rn__grid grid;
} job;

static void run_cells(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    (void)thread;
    const job *j = context;
    for (int32_t i = begin; i < end; i++) {
        const rn__grid_cell cell = rn__grid_cell_at(&j->grid, i);
        rn_conv2d_direct_run(&j->direct, cell.tile_begin, cell.tile_end, cell.panel_begin, cell.panel_end);
    }
}

rn_conv2d_args rn__cpu_step_args(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    return rn__cpu_is_int8(e, step->op) ? rn__cpu_int8_args(e, step, rows) : rn__cpu_conv2d_args(e, step->op, rows);
}

/* Of the micro-kernel: a hundred pixels for each reading of the weights. */
enum { MANY_TILES = 8 };

static void run_direct(const rn_executor *e, const rn__cpu_step *step, const rn__cpu_filter *filter, int32_t rows)
{
    const rn_conv2d_args args = rn__cpu_step_args(e, step, rows);
    job j;
    rn_conv2d_direct_init(&j.direct, &args, rn_conv2d_tile_for(&e->kernels, &args), &step->panels, filter->packed);
    j.grid = rn__grid_make(rn__thread_pool_thread_count(e->pool), j.direct.tile_count, step->panels.count,
                           (int64_t)(step->panels.count * step->panels.bytes), MANY_TILES);
    const int32_t cells = j.grid.tile_parts * j.grid.panel_parts;
    rn__thread_pool_run(e->pool, cells, cells, run_cells, &j);
}

static void run_conv2d(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn__cpu_filter *filter = &step->filters[rows >= RN__CPU_LARGE_BATCH];
    if (filter->winograd_m > 0) rn__cpu_winograd_run(e, step, filter, rows);
    else run_direct(e, step, filter, rows);
}

void rn__cpu_need_scratch(rn_executor *e, size_t bytes)
{
    if (bytes > e->scratch_bytes) e->scratch_bytes = (bytes + 63) / 64 * 64;
}

int32_t rn__cpu_class_count(const rn_executor *e)
{
    return e->pass_rows < RN__CPU_LARGE_BATCH ? 1 : RN__CPU_BATCH_CLASSES;
}

int32_t rn__cpu_class_tile(const rn_executor *e, const rn_op *op, int32_t batch_class)
{
    return rn__cpu_winograd_tile(e, op, batch_class == 0 ? 1 : 2 * RN__CPU_LARGE_BATCH);
}

void rn__cpu_conv2d_prepare(rn_executor *e, rn__cpu_step *step)
{
    step->run = run_conv2d;
    for (int32_t i = 0; i < rn__cpu_class_count(e); i++) {
        step->filters[i].winograd_m = rn__cpu_class_tile(e, step->op, i);
        rn__cpu_place_filter(e, step, &step->filters[i]);
    }
}
