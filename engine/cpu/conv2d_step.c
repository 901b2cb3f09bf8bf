/* Convolutions and dense layers by the micro-kernels, directly: filters are packed when the plan is prepared, and the threads share out the tiles
 * of a layer, its panels of output channels, or both. What other kinds of convolution steps need too is here as well. */
#include "engine/cpu/cpu_executor.h"
#include "engine/cpu/grid.h"
#include "engine/cpu/host_memory.h"

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
    return op->kind == RN_OP_DENSE ? dense_args(e, op, rows) : conv2d_args(e, op, rows);
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

static size_t filter_bytes(const rn_conv2d_panels *panels)
{
    return (size_t)(panels->count * panels->bytes);
}

void rn__cpu_direct_run(const rn_executor *e, const rn__cpu_step *step, const rn_conv2d_args *args)
{
    job j;
    rn_conv2d_direct_init(&j.direct, args, &e->kernels.conv2d_tile[args->x.dtype], &step->panels, step->packed);
    j.grid = rn__grid_make(rn__thread_pool_thread_count(e->pool), j.direct.tile_count, step->panels.count, (int64_t)filter_bytes(&step->panels));
    const int32_t cells = j.grid.tile_parts * j.grid.panel_parts;
    rn__thread_pool_run(e->pool, cells, cells, run_cells, &j);
}

static void run_direct(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, step->op, rows);
    rn__cpu_direct_run(e, step, &args);
}

void rn__cpu_need_scratch(rn_executor *e, size_t bytes)
{
    if (bytes > e->scratch_bytes) e->scratch_bytes = (bytes + 63) / 64 * 64;
}

static int32_t filter_of(const rn_op *op)
{
    return op->kind == RN_OP_DENSE ? op->u.dense.weights : op->u.conv2d.filter;
}

static int32_t groups_of(const rn_op *op)
{
    return op->kind == RN_OP_DENSE ? 1 : op->u.conv2d.groups;
}

bool rn__cpu_share_packed(const rn_executor *e, rn__cpu_step *step)
{
    const int32_t filter = filter_of(step->op), groups = groups_of(step->op);
    for (const rn__cpu_step *other = e->steps; other < e->steps + e->plan->op_count; other++) {
        if (!other->owns_packed || filter_of(other->op) != filter) continue;
        if (groups_of(other->op) != groups || other->winograd_m != step->winograd_m) continue;
        if (e->tensors[other->op->inputs[0]].dtype != e->tensors[step->op->inputs[0]].dtype) continue;
        step->packed = other->packed;
        return true;
    }
    return false;
}

rn_status rn__cpu_alloc_packed(rn_executor *e, rn__cpu_step *step, size_t bytes, rn_error *err)
{
    void *memory;
    RN_TRY(rn__host_memory_alloc(bytes, "packed weights", &memory, err));
    step->packed = memory;
    step->owns_packed = true;
    e->weight_bytes += bytes;
    return RN_STATUS_OK;
}

rn_status rn__cpu_direct_pack(rn_executor *e, rn__cpu_step *step, const rn_conv2d_args *args, rn_error *err)
{
    step->panels = rn_conv2d_panels_layout(args, e->kernels.conv2d_tile[args->x.dtype].lanes);
    if (rn__cpu_share_packed(e, step)) return RN_STATUS_OK;
    RN_TRY(rn__cpu_alloc_packed(e, step, filter_bytes(&step->panels), err));
    rn_conv2d_panels_pack(args, &step->panels, step->packed);
    return RN_STATUS_OK;
}

rn_status rn__cpu_direct_prepare(rn_executor *e, rn__cpu_step *step, rn_error *err)
{
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, step->op, 1);
    step->run = run_direct;
    return rn__cpu_direct_pack(e, step, &args, err);
}
