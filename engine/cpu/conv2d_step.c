/* Convolutions and dense layers by the micro-kernels: filters are packed when the plan is prepared, and the threads share out the tiles of
 * a layer, its panels of output channels, or both. */
#include <stdlib.h>

#include "engine/cpu/cpu_executor.h"
#include "engine/cpu/host_memory.h"

/* Weights of more than this are shared out by panels, so that each of them is read by one core only. Below it every core's second cache level
 * keeps the whole filter, and to share out tiles lets a core read only its part of the inputs. */
enum { LARGE_FILTER_BYTES = 1 << 20 };

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
        .filter = rn__cpu_weights(e, conv->filter),
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

/* A layer cut into a grid of parts. */
typedef struct {
    const rn_conv2d_direct *direct;
    int32_t tile_parts, panel_parts;
} grid;

static int32_t cut(int32_t count, int32_t part, int32_t parts)
{
    return (int32_t)((int64_t)count * part / parts);
}

static void run_grid(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    (void)thread;
    const grid *g = context;
    for (int32_t i = begin; i < end; i++) {
        const int32_t tile = i / g->panel_parts, panel = i % g->panel_parts, tiles = g->direct->tile_count, panels = g->direct->panels.count;
        rn_conv2d_direct_run(g->direct, cut(tiles, tile, g->tile_parts), cut(tiles, tile + 1, g->tile_parts),
                             cut(panels, panel, g->panel_parts), cut(panels, panel + 1, g->panel_parts));
    }
}

static int32_t min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static void run_direct(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, step->op, rows);
    rn_conv2d_direct direct;
    rn_conv2d_direct_init(&direct, &args, &e->kernels.conv2d_tile, &step->panels, step->packed);

    const int32_t threads = rn__thread_pool_thread_count(e->pool), panels = step->panels.count, tiles = direct.tile_count;
    const bool large = (int64_t)panels * step->panels.elements * (int64_t)sizeof(float) > LARGE_FILTER_BYTES;
    grid g = {&direct, 1, 1};
    if (large) {
        g.panel_parts = min(threads, panels);
        g.tile_parts = min((threads + g.panel_parts - 1) / g.panel_parts, tiles);
    } else {
        g.tile_parts = min(threads, tiles);
        g.panel_parts = min((threads + g.tile_parts - 1) / g.tile_parts, panels);
    }
    const int32_t parts = g.tile_parts * g.panel_parts;
    rn__thread_pool_run(e->pool, parts, parts, run_grid, &g);
}

static int32_t filter_of(const rn_op *op)
{
    return op->kind == RN_OP_DENSE ? op->u.dense.weights : op->kind == RN_OP_CONV2D ? op->u.conv2d.filter : RN_NONE;
}

/* An earlier step whose panels serve this one too, or NULL. */
static const rn__cpu_step *find_packed(const rn_executor *e, const rn__cpu_step *step)
{
    const int32_t filter = filter_of(step->op);
    for (const rn__cpu_step *other = e->steps; other < step; other++) {
        if (!other->packed || filter_of(other->op) != filter) continue;
        if (other->panels.steps == step->panels.steps && other->panels.elements == step->panels.elements) return other;
    }
    return NULL;
}

rn_status rn__cpu_direct_prepare(rn_executor *e, rn__cpu_step *step, rn_error *err)
{
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, step->op, 1);
    step->run = run_direct;
    step->panels = rn_conv2d_panels_layout(&args, e->kernels.conv2d_tile.lanes);
    const rn__cpu_step *same = find_packed(e, step);
    if (same) {
        step->packed = same->packed;
        return RN_STATUS_OK;
    }
    const size_t bytes = (size_t)step->panels.count * (size_t)step->panels.elements * sizeof(float);
    void *memory;
    RN_TRY(rn__host_memory_alloc(bytes, "packed weights", &memory, err));
    step->packed = memory;
    step->owns_packed = true;
    e->weight_bytes += bytes;
    rn_conv2d_panels_pack(&args, &step->panels, step->packed);
    return RN_STATUS_OK;
}
