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

#include "kernels/cpu/weight_rounding.h"

/* Inputs of a block of tiles; outputs and residual of an expanding 1x1 layer are four times as much each, and all should stay in the second
 * cache level. Xeon (family 6, model 207), 56x56x64 -> 256 with residual, best of 300 runs on one core: 138 GFLOP/s at 1 MiB, 149 at 512 KiB, 160
 * at 128 KiB; the other layers of ResNet-101 change by less than 3 %. One Zen 4 core does not care: less than 4 % for any layer from 64 to 448 KiB. */
enum { BLOCK_BYTES = 128 << 10, MOST_TILES = 128, MOST_LANES = 32, LINE_BYTES = 64 };

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

rn_conv2d_tile_kernel rn_conv2d_tile_for(const rn_cpu_kernels *kernels, const rn_conv2d_args *a)
{
    const rn_conv2d_tile_chained_kernel *chained = &kernels->conv2d_tile_chained[a->x.dtype];
    if (!a->chained) return kernels->conv2d_tile[a->x.dtype];
    return (rn_conv2d_tile_kernel){chained->run, chained->name, chained->isa, chained->rows, chained->lanes};
}

bool rn_conv2d_direct_fits(const rn_conv2d_args *a)
{
    return a->c / a->groups % rn_conv2d_step_channels(a) == 0;
}

static int32_t panel_channels(const rn_conv2d_panels *panels)
{
    return panels->steps * panels->step_channels;
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
    rn_conv2d_panels panels = {.step_channels = rn_conv2d_step_channels(a), .lanes = lanes, .count = ceil_div(a->k, lanes)};
    int32_t channels = 0;
    for (int32_t first = 0; first < a->k; first += lanes) {
        const int32_t last = min(first + lanes, a->k) - 1;
        channels = max(channels, (last / group - first / group + 1) * (a->c / a->groups));
    }
    panels.steps = channels / panels.step_channels;
    panels.lead = a->chained ? LINE_BYTES : 0;
    panels.bytes = panels.lead + (int64_t)a->r * a->s * panels.steps * lanes * RN_STEP_BYTES;
    return panels;
}

static void pack_f32(const float *from, int32_t count, float *to)
{
    memcpy(to, from, (size_t)count * sizeof *to);
}

/* Three of four elements of a step belong to its other channels. */
static void pack_i8(const int8_t *from, int32_t count, int8_t *to)
{
    for (int32_t i = 0; i < count; i++) to[4 * i] = from[i];
}

/* The weights between input channel c and the output channels of a panel; to: those of the step that c belongs to, f32 or bytes. */
static void pack_channel(const rn_conv2d_args *a, int32_t tap, int32_t c, int32_t first, int32_t count, char *to)
{
    const int32_t inputs = a->c / a->groups, outputs = a->k / a->groups, group = c / inputs;
    const int32_t begin = max(first, group * outputs), end = min(first + count, (group + 1) * outputs);
    if (begin >= end) return;
    const int64_t from = ((int64_t)tap * inputs + c % inputs) * a->k + begin;
    to += (begin - first) * RN_STEP_BYTES;
    if (a->x.dtype == RN_DTYPE_U8) pack_i8(a->filter8 + from, end - begin, (int8_t *)to + c % 4);
    else pack_f32(a->filter + from, end - begin, (float *)to);
}

/* A step of bf16: two channels, packed as f32 first. lost: [lanes] */
static void pack_bf16_step(const rn_conv2d_args *a, const rn_conv2d_panels *panels, int32_t tap, int32_t c, int32_t first, int32_t count, float *lost,
                           rn_bf16 *to)
{
    float weights[2][MOST_LANES] = {0};
    for (int32_t i = 0; i < 2; i++) pack_channel(a, tap, c + i, first, count, (char *)weights[i]);
    for (int32_t i = 0; i < 2 * panels->lanes; i++) to[i] = rn_round_weight(weights[i % 2][i / 2], a->chained, a->chained ? to[i - 1] : 0, &lost[i / 2]);
}

static void pack_step(const rn_conv2d_args *a, const rn_conv2d_panels *panels, int32_t tap, int32_t c, int32_t first, int32_t count, char *to)
{
    for (int32_t i = 0; i < panels->step_channels; i++) pack_channel(a, tap, c + i, first, count, to);
}

void rn_conv2d_panels_pack_range(const rn_conv2d_args *a, const rn_conv2d_panels *panels, int32_t begin, int32_t end, void *packed)
{
    const int32_t per_step = panels->step_channels;
    const bool bf16 = a->chained || a->x.dtype == RN_DTYPE_BF16;
    for (int32_t panel = begin; panel < end; panel++) {
        const int32_t first = panel * panels->lanes, count = min(panels->lanes, a->k - first), c0 = panel_channel(a, panels, panel);
        char *to = (char *)packed + panel * panels->bytes;
        memset(to, 0, (size_t)(count < panels->lanes || a->groups > 1 ? panels->bytes : panels->lead));
        to += panels->lead;
        float lost[MOST_LANES] = {0};
        for (int32_t tap = 0; tap < a->r * a->s; tap++) {
            for (int32_t step = 0; step < panels->steps; step++, to += panels->lanes * RN_STEP_BYTES) {
                if (bf16) pack_bf16_step(a, panels, tap, c0 + step * per_step, first, count, lost, (rn_bf16 *)to);
                else pack_step(a, panels, tap, c0 + step * per_step, first, count, to);
            }
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

void rn_conv2d_direct_init(rn_conv2d_direct *d, const rn_conv2d_args *args, rn_conv2d_tile_kernel kernel,
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
    d->row_tiles = 2 * a->q == kernel.rows ? 0 : ceil_div(a->q, kernel.rows);
    d->tile_count = d->row_tiles ? a->n * a->p * d->row_tiles : ceil_div(a->n * a->p, 2);
}

/* Offset of column q of row `row` of an output map. */
static int64_t output_offset(const rn_conv2d_args *a, const rn_map *map, int32_t row, int32_t q)
{
    return row / a->p * map->image + row % a->p * map->row + q * map->pixel;
}

/* Of what the first filter row sees of it. */
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

/* Bytes from a map's first element to what pixel 0 of a tile has there, and to the first pixel after half a tile. */
typedef struct {
    int64_t first, second;
} tile_offsets;

/* Where a tile reads and writes, whatever the panel. */
typedef struct {
    tile_offsets x, residual, y, y2;
    int64_t x_new;              /* bytes to what it is the first to read: the pixels of its last filter row */
    int64_t weights;            /* bytes to the first filter row that it needs */
    int32_t pixels, tap_rows;
} tile_place;

/* `pixels` output pixels of row `row` from column q on, or rows `row` and `row1` whole. */
static tile_offsets output_offsets(const rn_conv2d_direct *d, const rn_map *map, int32_t row, int32_t row1, int32_t q)
{
    if (!map->data) return (tile_offsets){0, 0};
    const int64_t size = (int64_t)rn_dtype_bytes(map->dtype), first = output_offset(&d->args, map, row, q);
    return (tile_offsets){first * size, (d->row_tiles ? first + d->kernel.rows / 2 * map->pixel : output_offset(&d->args, map, row1, 0)) * size};
}

static tile_place place_tile(const rn_conv2d_direct *d, int32_t tile)
{
    const rn_conv2d_args *a = &d->args;
    int32_t row, row1, q = 0, pixels, begin, end, begin1, end1;
    if (d->row_tiles) {
        const int32_t part = tile % d->row_tiles;
        row = row1 = tile / d->row_tiles;
        q = (int32_t)((int64_t)a->q * part / d->row_tiles);
        pixels = (int32_t)((int64_t)a->q * (part + 1) / d->row_tiles) - q;
    } else {
        row = 2 * tile;
        row1 = min(row + 1, a->n * a->p - 1);
        pixels = row1 == row ? a->q : 2 * a->q;
    }
    filter_rows(a, row, &begin, &end);
    filter_rows(a, row1, &begin1, &end1);
    begin = min(begin, begin1);
    end = max(end, end1);
    const int64_t size = (int64_t)rn_dtype_bytes(a->x.dtype), x = begin * a->x.row, first = x + input_offset(a, row, q);
    const int64_t second = d->row_tiles ? first + (int64_t)(d->kernel.rows / 2) * a->stride_w * a->x.pixel : x + input_offset(a, row1, 0);
    const int32_t new_row = min(row % a->p * a->stride_h - a->pad_top + a->r - 1, a->h - 1);
    return (tile_place){
        .x = {first * size, second * size},
        .residual = output_offsets(d, &a->residual, row, row1, q),
        .y = output_offsets(d, &a->y, row, row1, q),
        .y2 = output_offsets(d, &a->y2, row, row1, q),
        .x_new = (row / a->p * a->x.image + new_row * a->x.row + (int64_t)q * a->stride_w * a->x.pixel) * size,
        .weights = (int64_t)begin * a->s * d->panels.steps * d->panels.lanes * RN_STEP_BYTES,
        .pixels = pixels,
        .tap_rows = end - begin,
    };
}

/* The first channel of a panel, in each map that there is. */
typedef struct {
    char *x, *residual, *y, *y2;
} panel_maps;

static char *find(const rn_map *map, int64_t channel)
{
    return map->data ? rn_map_at(map, channel) : NULL;
}

static panel_maps find_maps(const rn_conv2d_direct *d, int32_t panel)
{
    const rn_conv2d_args *a = &d->args;
    const int32_t k = panel * d->panels.lanes;
    return (panel_maps){find(&a->x, panel_channel(a, &d->panels, panel)), find(&a->residual, k), find(&a->y, k), find(&a->y2, k)};
}

static void set_tile(rn_conv2d_tile_args *t, const panel_maps *maps, const char *weights, const tile_place *place)
{
    t->a0 = maps->x + place->x.first;
    t->a1 = maps->x + place->x.second;
    t->residual0 = maps->residual + place->residual.first;
    t->residual1 = maps->residual + place->residual.second;
    t->y0 = maps->y + place->y.first;
    t->y1 = maps->y + place->y.second;
    t->z0 = maps->y2 + place->y2.first;
    t->z1 = maps->y2 + place->y2.second;
    t->panel = weights + place->weights;
    t->tap_rows = place->tap_rows;
    t->pixels = place->pixels;
}

/* The tile that comes after this one. */
static void set_next(rn_conv2d_tile_args *t, const panel_maps *maps, const tile_place *next)
{
    t->residual_next = maps->residual + next->residual.first;
    t->y_next = maps->y + next->y.first;
    t->z_next = maps->y2 + next->y2.first;
    if (t->residual_next == t->y_next || t->residual_next == t->z_next) t->residual_next = NULL; /* the output lies upon it */
}

/* Tiles at `places` of one panel. `after`: whose inputs come after theirs, or NULL; first_panel: nobody has read their inputs yet. */
static void run_panel(const rn_conv2d_direct *d, const tile_place *places, int32_t tiles, const tile_place *after, int32_t panel, bool first_panel,
                      bool last_panel)
{
    const rn_conv2d_args *a = &d->args;
    const int32_t k = panel * d->panels.lanes;
    const panel_maps maps = find_maps(d, panel);
    const char *weights = d->packed + panel * d->panels.bytes, *weights_after = last_panel ? weights : weights + d->panels.bytes;
    const int64_t weights_share = d->panels.bytes / tiles;
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
        .ahead_bytes = last_panel ? 0 : ceil_div(d->panels.lanes * RN_STEP_BYTES, tiles),
    };
    const int32_t new_bytes = d->kernel.rows * (int32_t)(t.a_pixel * (int64_t)rn_dtype_bytes(a->x.dtype));
    const int32_t new_step_bytes = ceil_div(new_bytes, a->r * t.tap_columns * t.steps);
    for (int32_t i = 0; i < tiles; i++) {
        const bool last = i + 1 == tiles;
        const tile_place *new = !first_panel ? NULL : last ? after : &places[i + 1];
        set_tile(&t, &maps, weights + d->panels.lead, &places[i]);
        if (!last) {
            set_next(&t, &maps, &places[i + 1]);
        } else if (!last_panel) {
            const panel_maps next = find_maps(d, panel + 1);
            set_next(&t, &next, places);
        } else {
            t.residual_next = t.y_next = t.z_next = NULL;
        }
        t.ahead = weights_after + weights_share * i;
        t.inputs_ahead = new ? (char *)a->x.data + new->x_new : NULL;
        t.inputs_ahead_bytes = new ? new_step_bytes : 0;
        d->kernel.run(&t);
    }
}

void rn_conv2d_direct_run(const rn_conv2d_direct *d, int32_t tile_begin, int32_t tile_end, int32_t panel_begin, int32_t panel_end)
{
    const rn_conv2d_args *a = &d->args;
    const int64_t tile_bytes = (int64_t)d->kernel.rows * a->stride_h * a->stride_w * a->x.pixel * (int64_t)rn_dtype_bytes(a->x.dtype);
    const int64_t weight_bytes = (panel_end - panel_begin) * d->panels.bytes;
    int32_t block = max(1, (int32_t)(BLOCK_BYTES / tile_bytes));
    if (weight_bytes > (tile_end - tile_begin) * tile_bytes) block = tile_end - tile_begin;
    block = min(block, MOST_TILES);
    tile_place places[MOST_TILES + 1];
    for (int32_t tile = tile_begin; tile < tile_end; tile += block) {
        const int32_t tiles = min(block, tile_end - tile);
        const bool more = tile + tiles < d->tile_count;
        for (int32_t i = 0; i < tiles + more; i++) places[i] = place_tile(d, tile + i);
        for (int32_t panel = panel_begin; panel < panel_end; panel++)
            run_panel(d, places, tiles, more ? &places[tiles] : NULL, panel, panel == panel_begin, panel + 1 == panel_end);
    }
}
