/* The loops around the micro-kernels: panel packing, and a walk over blocks of tiles, panels of output channels and tiles.
 *
 * A panel of weights is fetched once a block and reused by all its tiles, while the block's inputs are read again for every panel. When the
 * weights are the larger part there is one block, so that they come from memory exactly once. While a panel is multiplied the next one is
 * prefetched.
 *
 * Filter rows that lie wholly above or below the picture are skipped: their products are zero. That is 5 % of a 3x3 layer at 14x14.
 */
#include "kernels/cpu/conv2d_direct.h"

#include <string.h>

#include "kernels/base/bf16.h"

/* Inputs of a block of tiles; outputs and residual of an expanding 1x1 layer are four times as much each, and all should stay in the second
 * cache level. Xeon (family 6, model 207), 56x56x64 -> 256 with residual, best of 300 runs on one core: 138 GFLOP/s at 1 MiB, 149 at 512 KiB, 160
 * at 128 KiB; the other layers of ResNet-101 change by less than 3 %. One Zen 4 core does not care: less than 4 % for any layer from 64 to 448 KiB. */
enum { BLOCK_BYTES = 128 << 10 };

static int32_t min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static int32_t ceil_div(int32_t a, int32_t b)
{
    return (a + b - 1) / b;
}

bool rn_conv2d_direct_fits(const rn_conv2d_args *a)
{
    return a->c / a->groups % rn_step_channels(a->x.dtype) == 0;
}

static int32_t panel_channels(const rn_conv2d_panels *panels)
{
    return panels->steps * rn_step_channels(panels->dtype);
}

/* First input channel that a panel reads. Panels have equally many steps, so the last one may start before its first group. */
static int32_t panel_channel(const rn_conv2d_args *a, const rn_conv2d_panels *panels, int32_t panel)
{
    const int32_t group = panel * panels->lanes / (a->k / a->groups);
    return min(group * (a->c / a->groups), a->c - panel_channels(panels));
}

rn_conv2d_panels rn_conv2d_panels_layout(const rn_conv2d_args *a, int32_t lanes)
{
    const int32_t group = a->k / a->groups;
    rn_conv2d_panels panels = {.dtype = a->x.dtype, .lanes = lanes, .count = ceil_div(a->k, lanes)};
    int32_t channels = 0;
    for (int32_t first = 0; first < a->k; first += lanes) {
        const int32_t last = min(first + lanes, a->k) - 1;
        channels = max(channels, (last / group - first / group + 1) * (a->c / a->groups));
    }
    panels.steps = channels / rn_step_channels(panels.dtype);
    panels.bytes = (int64_t)a->r * a->s * panels.steps * lanes * RN_STEP_BYTES;
    return panels;
}

static void pack_f32(const float *from, int32_t count, float *to)
{
    memcpy(to, from, (size_t)count * sizeof *to);
}

/* Every other element of a step is the weight of its other channel. */
static void pack_bf16(const float *from, int32_t count, rn_bf16 *to)
{
    for (int32_t i = 0; i < count; i++) to[2 * i] = rn_bf16_from_f32(from[i]);
}

/* Three of four elements of a step belong to its other channels. */
static void pack_i8(const int8_t *from, int32_t count, int8_t *to)
{
    for (int32_t i = 0; i < count; i++) to[4 * i] = from[i];
}

/* The weights between input channel c and the output channels of a panel; to: those of the step that c belongs to. */
static void pack_channel(const rn_conv2d_args *a, int32_t tap, int32_t c, int32_t first, int32_t count, char *to)
{
    const int32_t inputs = a->c / a->groups, outputs = a->k / a->groups, group = c / inputs;
    const int32_t begin = max(first, group * outputs), end = min(first + count, (group + 1) * outputs);
    if (begin >= end) return;
    const int64_t from = ((int64_t)tap * inputs + c % inputs) * a->k + begin;
    to += (begin - first) * RN_STEP_BYTES;
    if (a->x.dtype == RN_DTYPE_U8) pack_i8(a->filter8 + from, end - begin, (int8_t *)to + c % 4);
    else if (a->x.dtype == RN_DTYPE_BF16) pack_bf16(a->filter + from, end - begin, (rn_bf16 *)to + c % 2);
    else pack_f32(a->filter + from, end - begin, (float *)to);
}

void rn_conv2d_panels_pack_range(const rn_conv2d_args *a, const rn_conv2d_panels *panels, int32_t begin, int32_t end, void *packed)
{
    const int32_t per_step = rn_step_channels(panels->dtype);
    char *to = (char *)packed + begin * panels->bytes;
    for (int32_t panel = begin; panel < end; panel++) {
        const int32_t first = panel * panels->lanes, count = min(panels->lanes, a->k - first), c0 = panel_channel(a, panels, panel);
        if (count < panels->lanes || a->groups > 1) memset(to, 0, (size_t)panels->bytes);
        for (int32_t tap = 0; tap < a->r * a->s; tap++) {
            for (int32_t c = 0; c < panel_channels(panels); c++) {
                pack_channel(a, tap, c0 + c, first, count, to + (int64_t)(c / per_step) * panels->lanes * RN_STEP_BYTES);
            }
            to += (int64_t)panels->steps * panels->lanes * RN_STEP_BYTES;
        }
    }
}

void rn_conv2d_panels_pack(const rn_conv2d_args *a, const rn_conv2d_panels *panels, void *packed)
{
    rn_conv2d_panels_pack_range(a, panels, 0, panels->count, packed);
}

/* Whether the rows and images of a [n,h,w] map follow each other like its pixels, so that it is one long row. */
static bool is_one_row(const rn_map *map, int32_t h, int32_t w)
{
    return !map->data || (map->row == w * map->pixel && map->image == h * map->row);
}

void rn_conv2d_direct_init(rn_conv2d_direct *d, const rn_conv2d_args *args, const rn_conv2d_tile_kernel *kernel,
                           const rn_conv2d_panels *panels, const void *packed)
{
    *d = (rn_conv2d_direct){.args = *args, .kernel = kernel, .panels = *panels, .packed = packed};
    rn_conv2d_args *a = &d->args;
    const bool pointwise = a->r == 1 && a->s == 1 && a->stride_h == 1 && a->stride_w == 1 && a->p == a->h && a->q == a->w;
    if (pointwise && is_one_row(&a->x, a->h, a->w) && is_one_row(&a->residual, a->p, a->q) && is_one_row(&a->y, a->p, a->q) &&
        is_one_row(&a->y2, a->p, a->q)) {
        a->q = a->w = a->n * a->h * a->w;
        a->n = a->h = a->p = 1;
    }
    d->merged = a->x.pixel == panel_channels(panels);
    d->row_tiles = 2 * a->q == kernel->rows ? 0 : ceil_div(a->q, kernel->rows);
    d->tile_count = d->row_tiles ? a->n * a->p * d->row_tiles : ceil_div(a->n * a->p, 2);
}

/* Output pixels of one tile: `pixels` of row `row` from column `q` on, or rows `row` and `row1` whole. */
typedef struct {
    int32_t row, row1, q, pixels;
} tile_place;

static tile_place place_tile(const rn_conv2d_direct *d, int32_t tile)
{
    const rn_conv2d_args *a = &d->args;
    if (!d->row_tiles) {
        const int32_t row = 2 * tile, row1 = min(row + 1, a->n * a->p - 1);
        return (tile_place){row, row1, 0, row1 == row ? a->q : 2 * a->q};
    }
    const int32_t row = tile / d->row_tiles, part = tile % d->row_tiles;
    const int32_t begin = (int32_t)((int64_t)a->q * part / d->row_tiles), end = (int32_t)((int64_t)a->q * (part + 1) / d->row_tiles);
    return (tile_place){row, row, begin, end - begin};
}

/* Offset of column q of row `row` of an output map. */
static int64_t output_offset(const rn_conv2d_args *a, const rn_map *map, int32_t row, int32_t q)
{
    return row / a->p * map->image + row % a->p * map->row + q * map->pixel;
}

/* The addresses of pixel 0 and of the first pixel after half a tile. */
static void output_bases(const rn_conv2d_direct *d, const rn_map *map, const tile_place *place, int32_t k, void **first, void **second)
{
    *first = *second = NULL;
    if (!map->data) return;
    const rn_conv2d_args *a = &d->args;
    const int64_t begin = output_offset(a, map, place->row, place->q) + k;
    *first = rn_map_at(map, begin);
    *second = rn_map_at(map, d->row_tiles ? begin + d->kernel->rows / 2 * map->pixel : output_offset(a, map, place->row1, 0) + k);
}

static int64_t input_offset(const rn_conv2d_args *a, int32_t row, int32_t q)
{
    return row / a->p * a->x.image + (int64_t)(row % a->p * a->stride_h - a->pad_top) * a->x.row +
           (int64_t)(q * a->stride_w - a->pad_left) * a->x.pixel;
}

/* First filter row that meets the picture, and the one after the last; all rows where what surrounds it counts. */
static void filter_rows(const rn_conv2d_args *a, int32_t row, int32_t *begin, int32_t *end)
{
    const int32_t top = row % a->p * a->stride_h - a->pad_top;
    *begin = a->x_zero ? 0 : min(max(0, -top), a->r);
    *end = a->x_zero ? a->r : max(*begin, min(a->r, a->h - top));
}

static void run_tile(const rn_conv2d_direct *d, rn_conv2d_tile_args *t, int32_t tile, int32_t panel)
{
    const rn_conv2d_args *a = &d->args;
    const tile_place place = place_tile(d, tile);
    int32_t begin, end, begin1, end1;
    filter_rows(a, place.row, &begin, &end);
    filter_rows(a, place.row1, &begin1, &end1);
    begin = min(begin, begin1);
    end = max(end, end1);

    const int64_t x = panel_channel(a, &d->panels, panel) + begin * a->x.row, x0 = x + input_offset(a, place.row, place.q);
    const int32_t k = panel * d->panels.lanes;
    void *residual0, *residual1;
    output_bases(d, &a->residual, &place, k, &residual0, &residual1);
    output_bases(d, &a->y, &place, k, &t->y0, &t->y1);
    output_bases(d, &a->y2, &place, k, &t->z0, &t->z1);
    t->residual0 = residual0;
    t->residual1 = residual1;
    t->a0 = rn_map_at(&a->x, x0);
    t->a1 = rn_map_at(&a->x, d->row_tiles ? x0 + d->kernel->rows / 2 * t->a_pixel : x + input_offset(a, place.row1, 0));
    t->panel = d->packed + panel * d->panels.bytes + (int64_t)begin * a->s * d->panels.steps * d->panels.lanes * RN_STEP_BYTES;
    t->tap_rows = end - begin;
    t->pixels = place.pixels;
    d->kernel->run(t);
}

/* What tile `tile` is the first to read: the pixels of its last filter row. */
static void prefetch_inputs(const rn_conv2d_direct *d, rn_conv2d_tile_args *t, int32_t tile)
{
    const rn_conv2d_args *a = &d->args;
    const tile_place place = place_tile(d, tile);
    const int64_t size = (int64_t)rn_dtype_bytes(a->x.dtype), bytes = place.pixels * t->a_pixel * size;
    const int32_t row = min(place.row % a->p * a->stride_h - a->pad_top + a->r - 1, a->h - 1);
    t->inputs_ahead = rn_map_at(&a->x, place.row / a->p * a->x.image + row * a->x.row + (int64_t)place.q * t->a_pixel);
    t->inputs_ahead_bytes = (int32_t)ceil_div((int32_t)bytes, max(1, a->r * t->tap_columns * t->steps));
}

/* Tiles [tile_begin, tile_end) of one panel. first_panel: nobody has read the inputs yet; after them come those of tile tile_next, if there is one. */
static void run_block(const rn_conv2d_direct *d, int32_t tile_begin, int32_t tile_end, int32_t panel, bool first_panel, bool last_panel)
{
    const rn_conv2d_args *a = &d->args;
    const int32_t k = panel * d->panels.lanes, tiles = tile_end - tile_begin;
    rn_conv2d_tile_args t = {
        .a_pixel = a->stride_w * a->x.pixel,
        .a_tap_row = a->x.row,
        .a_tap_column = a->x.pixel,
        .tap_columns = d->merged ? 1 : a->s,
        .steps = d->merged ? a->s * d->panels.steps : d->panels.steps,
        .channels = min(d->panels.lanes, a->k - k),
        .bias = a->bias ? a->bias + k : NULL,
        .scale2 = a->y2.data ? a->scale2 + k : NULL,
        .shift2 = a->y2.data ? a->shift2 + k : NULL,
        .multiplier = a->multiplier ? a->multiplier + k : NULL,
        .residual_multiplier = a->residual_multiplier,
        .residual_dtype = a->residual.dtype,
        .y_dtype = a->y.dtype,
        .z_dtype = a->y2.dtype,
        .residual_pixel = a->residual.pixel,
        .y_pixel = a->y.pixel,
        .z_pixel = a->y2.pixel,
        .relu = a->relu,
    };
    const char *next = d->packed + (panel + (last_panel ? 0 : 1)) * d->panels.bytes;
    t.ahead_bytes = last_panel ? 0 : ceil_div(d->panels.lanes * RN_STEP_BYTES, tiles);
    for (int32_t tile = tile_begin; tile < tile_end; tile++) {
        t.ahead = next + d->panels.bytes * (tile - tile_begin) / tiles;
        if (first_panel && tile + 1 < d->tile_count) prefetch_inputs(d, &t, tile + 1);
        run_tile(d, &t, tile, panel);
    }
}

void rn_conv2d_direct_run(const rn_conv2d_direct *d, int32_t tile_begin, int32_t tile_end, int32_t panel_begin, int32_t panel_end)
{
    const rn_conv2d_args *a = &d->args;
    const int64_t tile_bytes = (int64_t)d->kernel->rows * a->stride_h * a->stride_w * a->x.pixel * (int64_t)rn_dtype_bytes(a->x.dtype);
    const int64_t weight_bytes = (panel_end - panel_begin) * d->panels.bytes;
    int32_t block = max(1, (int32_t)(BLOCK_BYTES / tile_bytes));
    if (weight_bytes > (tile_end - tile_begin) * tile_bytes) block = tile_end - tile_begin;
    for (int32_t tile = tile_begin; tile < tile_end; tile += block) {
        for (int32_t panel = panel_begin; panel < panel_end; panel++) {
            run_block(d, tile, min(tile + block, tile_end), panel, panel == panel_begin, panel + 1 == panel_end);
        }
    }
}
