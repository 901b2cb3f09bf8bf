/* Winograd convolutions: which layers use them, and how the threads share one. */
#include <string.h>

#include "engine/cpu/cpu_executor.h"
#include "engine/cpu/grid.h"

/* What a method costs, in quarters of a core's multiply-add of f32. A larger tile saves products and needs more weights, which a network of a hundred
 * layers reads from memory every time; so the best tile depends on how many pictures share them.
 *
 * ResNet-101's 3x3 layers within the whole network, Xeon (family 6, model 207), two AVX-512 threads, microseconds a layer (best of many
 * runs; the machine's speed differed between batches by a third, so compare along lines only):
 *
 *     size        pictures   direct   m = 2   m = 4   m = 5   chosen
 *     28x28x128      1           -      446     299     380   4
 *     28x28x128      8           -     3722    2189    2447   4
 *     14x14x256      1         776      426     513     619   2
 *     14x14x256      4        2464     1355    1097     958   5
 *     14x14x256      8        5846     3445    2982    2058   5
 *     7x7x512        1         975      918    1524    2201   2
 *     7x7x512        4        2631     1659    1824    2614   4
 *     7x7x512        8        6498     4393    2825    3888   4
 *
 * One core of a Zen 4 (family 25, model 17), whose memory is faster beside its products; a layer alone, weights from memory:
 *
 *     14x14x256      1           -      975     787     655   5
 *     14x14x256      8           -     8020    6220    4800   5
 *     7x7x512        1           -     1266    1895    2577   2
 *     7x7x512        2           -     2500    1880    2580   4
 *     7x7x512        8           -     9870    5900    8460   4
 *
 * The same core in bf16, effective GFLOP/s of a layer alone:
 *
 *     14x14x256      1         231      475     611       -   4
 *     14x14x256      8         232      460     571       -   4
 *     7x7x512        1         231      366     272       -   2
 *     7x7x512        8         231      363     581       -   4
 *
 * Two of these cores in int8, within the whole network, microseconds a layer:
 *
 *     size        pictures   direct   chosen
 *     56x56x64       1         266       210   m = 4
 *     56x56x64       8        2122      1600   4
 *     28x28x128      1         262       184   4
 *     28x28x128      8        2049      1341   4
 *     14x14x256      1         264       198   5
 *     14x14x256      8        1978      1255   5
 *     7x7x512        8        2094      1570   4
 *
 * Within the whole network in fp32 on two of them, batch 2, COST_OF_BYTE_AMD of 8 is 3.6 % faster than 12, and 0.8 % at batch 1; 4 is no better at batch 2
 * and slower at 1.
 */
enum {
    COST_OF_PRODUCT = 4,  /* of f32, which chained weights are multiplied as */
    COST_OF_BF16_PRODUCT = 2,
    COST_OF_U8_PRODUCT = 1,
    COST_OF_BYTE = 24,
    COST_OF_BYTE_AMD = 8, /* a weight's byte from memory: hidden behind the products if these take longer */
    COST_OF_POINT = 32,   /* an input or output value's way through its transform, V and P included */
    SHARING_PERCENT = 3   /* what a small batch may lose by this count so that it shares the filter of large ones; the count is no better than that */
};

static int32_t cost_of_byte(void)
{
    return strncmp(rn_cpu_model(), "AMD", 3) == 0 ? COST_OF_BYTE_AMD : COST_OF_BYTE;
}

/* `weights` weights, each of which is multiplied with `times` values of type x. */
static int64_t product_cost(int64_t weights, rn_dtype x, bool chained, int64_t times)
{
    const int64_t load = cost_of_byte() * (int64_t)rn_dtype_bytes(chained ? RN_DTYPE_BF16 : x);
    const int64_t products = times * (x == RN_DTYPE_U8 ? COST_OF_U8_PRODUCT : x == RN_DTYPE_BF16 ? COST_OF_BF16_PRODUCT : COST_OF_PRODUCT);
    return weights * (products > load ? products : load);
}

static int64_t direct_cost(const rn_conv2d_args *a)
{
    return product_cost((int64_t)a->r * a->s * a->c * a->k, a->x.dtype, a->chained, (int64_t)a->n * a->p * a->q);
}

static int64_t winograd_cost(const rn_conv2d_args *a, int32_t m)
{
    const int64_t points = (int64_t)(m + 2) * (m + 2), tiles = (int64_t)a->n * ((a->p + m - 1) / m) * ((a->q + m - 1) / m);
    const bool chained = a->chained && rn_conv2d_winograd_bears_bf16(a, m);
    return product_cost(points * a->c * a->k, rn_conv2d_winograd_point_dtype(a), chained, tiles) + COST_OF_POINT * points * tiles * (a->c + a->k);
}

/* Whether the maps are such as the transforms take. */
static bool maps_fit(const rn_executor *e, const rn_op *op)
{
    const rn_dtype x = e->tensors[op->inputs[0]].dtype;
    const int32_t others[] = {op->inputs[1], op->outputs[0], op->outputs[1]};
    for (int i = 0; i < 3; i++) {
        if (others[i] != RN_NONE && e->tensors[others[i]].dtype != x) return false;
    }
    const bool plain = e->plan->tensors[op->inputs[0]].zero == 0 && op->inputs[1] == RN_NONE && op->outputs[1] == RN_NONE;
    return x != RN_DTYPE_U8 || (plain && e->types.bf16_points);
}

/* m of the least cost, 0 for the direct method; *least: its cost. */
static int32_t best_tile(const rn_conv2d_args *args, int64_t *least)
{
    static const int32_t tiles[] = {2, 4, 5};
    int32_t best = 0;
    *least = direct_cost(args);
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        const int64_t cost = winograd_cost(args, tiles[i]);
        if (cost >= *least || (args->x.dtype != RN_DTYPE_F32 && !rn_conv2d_winograd_bears_bf16(args, tiles[i]))) continue;
        *least = cost;
        best = tiles[i];
    }
    return best;
}

int32_t rn__cpu_winograd_tile(const rn_executor *e, const rn_op *op, int32_t rows)
{
    if (op->kind != RN_OP_CONV2D || e->deterministic) return 0;
    const rn_conv2d_args args = rn__cpu_conv2d_args(e, op, rows);
    const rn_dtype x = args.x.dtype;
    if (e->kernels.conv2d_tile[x].isa == RN_ISA_AMX)
        return 0; /* products are too fast there for transforms to pay: computed, not measured */
    if (!maps_fit(e, op) || !e->kernels.winograd_input[x].run || !rn_conv2d_winograd_fits(&args)) return 0;
    int64_t least, least_large;
    const int32_t best = best_tile(&args, &least);
    if (rows >= RN__CPU_LARGE_BATCH || e->pass_rows < RN__CPU_LARGE_BATCH) return best;
    /* Where small batches lose next to nothing with the tile of the large ones, a second copy of the weights is not worth packing. */
    const rn_conv2d_args large = rn__cpu_conv2d_args(e, op, 2 * RN__CPU_LARGE_BATCH);
    const int32_t shared = best_tile(&large, &least_large);
    return shared > 0 && winograd_cost(&args, shared) * 100 <= least * (100 + SHARING_PERCENT) ? shared : best;
}

typedef struct {
    const rn_executor *executor;
    rn_conv2d_winograd winograd;
    rn__grid grid;
} job;

static void run_cells(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    const job *j = context;
    void *scratch = (char *)j->executor->scratch.at + (size_t)thread * j->executor->scratch_bytes;
    for (int32_t i = begin; i < end; i++) {
        const rn__grid_cell cell = rn__grid_cell_at(&j->grid, i);
        rn_conv2d_winograd_run(&j->winograd, cell.tile_begin, cell.tile_end, cell.panel_begin, cell.panel_end, scratch);
    }
}

static size_t filter_bytes(const rn_conv2d_winograd *w)
{
    return (size_t)(w->panel_count * w->panel_bytes);
}

/* Of Winograd, two micro-kernel tiles for each reading of the filter. Each core then transforms only its own inputs. */
enum { MANY_TILES = 28 };

void rn__cpu_winograd_run(const rn_executor *e, const rn__cpu_step *step, const rn__cpu_filter *filter, int32_t rows)
{
    const rn_conv2d_args args = rn__cpu_step_args(e, step, rows);
    job j = {.executor = e};
    rn_conv2d_winograd_init(&j.winograd, &args, filter->winograd_m, &e->kernels, filter->packed);
    j.grid = rn__grid_make(rn__thread_pool_thread_count(e->pool), j.winograd.tile_count, j.winograd.panel_count,
                           (int64_t)filter_bytes(&j.winograd), MANY_TILES);
    const int32_t cells = j.grid.tile_parts * j.grid.panel_parts;
    rn__thread_pool_run(e->pool, cells, cells, run_cells, &j);
}

rn_conv2d_winograd rn__cpu_winograd_without_filter(const rn_executor *e, const rn__cpu_step *step, int32_t m)
{
    const rn_conv2d_args args = rn__cpu_step_args(e, step, e->pass_rows);
    rn_conv2d_winograd w;
    rn_conv2d_winograd_init(&w, &args, m, &e->kernels, NULL);
    return w;
}

size_t rn__cpu_winograd_prepare(rn_executor *e, const rn__cpu_step *step, int32_t m)
{
    const rn_conv2d_winograd w = rn__cpu_winograd_without_filter(e, step, m);
    rn__cpu_need_scratch(e, rn_conv2d_winograd_scratch_bytes(&w));
    return filter_bytes(&w);
}
