/* Winograd convolutions: which layers use them, and how the threads share one. */
#include "engine/cpu/cpu_executor.h"
#include "engine/cpu/grid.h"
#include "kernels/cpu/conv2d_winograd.h"

/* What a method costs for one picture, in multiply-adds of a core. A larger tile saves products and needs more weights, which a network of a
 * hundred layers reads from memory every time; so the best tile depends on how many pixels share them.
 *
 * ResNet-101's 3x3 layers on a Xeon (family 6, model 207), one AVX-512 thread, batch 1, weights and inputs evicted before each run: median processor
 * time relative to direct convolution.
 *
 *     size           m = 2   m = 4   chosen
 *     56x56x64       0.73    0.45    4
 *     28x28x128      0.64    0.45    4
 *     14x14x256      0.61    0.77    2
 *     7x7x512        1.02    1.69    direct
 */
enum {
    COST_OF_BYTE = 12,  /* a weight's byte from memory */
    COST_OF_POINT = 16  /* an input or output value's way through its transform, V and P included */
};

static int64_t direct_cost(const rn_conv2d_args *a)
{
    const int64_t weights = (int64_t)a->r * a->s * a->c * a->k;
    return weights * ((int64_t)a->p * a->q + COST_OF_BYTE * (int64_t)rn_dtype_bytes(a->x.dtype));
}

static int64_t winograd_cost(const rn_conv2d_args *a, int32_t m)
{
    const int64_t points = (int64_t)(m + 2) * (m + 2), tiles = (int64_t)((a->p + m - 1) / m) * ((a->q + m - 1) / m);
    const int64_t weights = points * a->c * a->k;
    return weights * (tiles + COST_OF_BYTE * (int64_t)rn_dtype_bytes(a->x.dtype)) + COST_OF_POINT * points * tiles * (a->c + a->k);
}

int32_t rn__cpu_winograd_tile(const rn_executor *e, const rn_op *op)
{
    if (op->kind != RN_OP_CONV2D) return 0;
    const rn_dtype x = e->tensors[op->inputs[0]].dtype, y = e->tensors[op->outputs[op->outputs[0] == RN_NONE]].dtype;
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, op, 1);
    if (x != y || !e->kernels.winograd_input[x].run || !rn_conv2d_winograd_fits(&args)) return 0;
    const int64_t direct = direct_cost(&args), two = winograd_cost(&args, 2), four = winograd_cost(&args, 4);
    if (x != RN_DTYPE_F32) return two < direct ? 2 : 0; /* the points of larger tiles cancel too much to be rounded to bf16: 1.3e-2 of the result */
    if (direct <= two && direct <= four) return 0;
    return two <= four ? 2 : 4;
}

typedef struct {
    const rn_executor *executor;
    rn_conv2d_winograd winograd;
    rn__grid grid;
} job;

static void run_cells(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    const job *j = context;
    void *scratch = (char *)j->executor->scratch + (size_t)thread * j->executor->scratch_bytes;
    for (int32_t i = begin; i < end; i++) {
        const rn__grid_cell cell = rn__grid_cell_at(&j->grid, i);
        rn_conv2d_winograd_run(&j->winograd, cell.tile_begin, cell.tile_end, cell.panel_begin, cell.panel_end, scratch);
    }
}

static size_t filter_bytes(const rn_conv2d_winograd *w)
{
    return (size_t)(w->panel_count * w->panel_bytes);
}

static void run_winograd(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, step->op, rows);
    job j = {.executor = e};
    rn_conv2d_winograd_init(&j.winograd, &args, step->winograd_m, &e->kernels, step->packed);
    j.grid = rn__grid_make(rn__thread_pool_thread_count(e->pool), j.winograd.tile_count, j.winograd.panel_count, (int64_t)filter_bytes(&j.winograd));
    const int32_t cells = j.grid.tile_parts * j.grid.panel_parts;
    rn__thread_pool_run(e->pool, cells, cells, run_cells, &j);
}

rn_status rn__cpu_winograd_prepare(rn_executor *e, rn__cpu_step *step, int32_t m, rn_error *err)
{
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, step->op, 1);
    rn_conv2d_winograd w;
    rn_conv2d_winograd_init(&w, &args, m, &e->kernels, NULL);
    step->run = run_winograd;
    step->winograd_m = m;
    rn__cpu_need_scratch(e, rn_conv2d_winograd_scratch_bytes(&w));
    if (rn__cpu_share_packed(e, step)) return RN_STATUS_OK;
    RN_TRY(rn__cpu_alloc_packed(e, step, filter_bytes(&w), err));
    rn_conv2d_winograd_pack(&w, step->packed);
    return RN_STATUS_OK;
}
