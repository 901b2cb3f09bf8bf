/* The blocks, panels and points of a Winograd convolution.
 *
 * Every call of run transforms the inputs that it needs itself, even if another thread works on other output channels of the same tiles: the
 * transform is cheap against the products, and to share its result would cost a barrier and move more data between cores than the inputs.
 */
#include "kernels/cpu/conv2d_winograd.h"

#include <string.h>

#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/weight_rounding.h"

enum {
    LINE_BYTES = 64,
    LARGE_BYTES = 4 << 20, /* of a filter that the second cache level does not hold, and then of V */
    SMALL_BYTES = 1 << 20, /* of a V that is not cut */
    LEAST_BYTES = 256 << 10,
    GROUP_PANELS = 4,
    WIDE_CHANNELS = 256,
    TAPS = 9, MOST_POINTS = 49, MOST_LANES = 32, PART_CHANNELS = 4
};

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

static int32_t cut(int32_t count, int32_t part, int32_t parts)
{
    return (int32_t)((int64_t)count * part / parts);
}

/* Rounded up to an odd number of cache lines: planes are written side by side, and even multiples of lines crowd into few cache sets. */
static int64_t odd_lines(int64_t elements, rn_dtype dtype)
{
    const int64_t line = LINE_BYTES / (int64_t)rn_dtype_bytes(dtype);
    return ((elements + line - 1) / line | 1) * line;
}

bool rn_conv2d_winograd_fits(const rn_conv2d_args *a)
{
    return a->r == 3 && a->s == 3 && a->stride_h == 1 && a->stride_w == 1 && a->groups == 1 && a->c % RN_WINOGRAD_CHANNELS == 0 &&
           a->k % RN_WINOGRAD_CHANNELS == 0;
}

/* Points of larger tiles cancel each other more: of one layer's outputs bf16 costs 0.002 without Winograd, 0.003 with m = 2, 0.008 with 4 and 0.017
 * with 5. What is behind a layer makes its errors larger, so that only the late and wide layers may have them. All of ResNet-101 in bf16, relative rms
 * difference from fp32 of the answers to 32 pictures, random weights, and how many of 10,000 Fashion-MNIST pictures the bundled network, an eighth as
 * wide and made to do the same in its stages, puts into another class:
 *
 *     m = 4 from              V1       V2      pictures
 *     nowhere               0.027    0.0060        8
 *     7x7x512               0.027    0.0062        8
 *     14x14x256             0.030    0.0083       12
 *     28x28x128             0.036    0.0094       13
 *     56x56x64              0.039    0.0113       13
 *
 * Bytes have lost more already than any tile costs them: int8 differs by 0.126 and 0.057 without Winograd, by 0.122 and 0.058 with the tiles that are
 * fastest; of 9,750 pictures the bundled network, made to take them, puts 9,694 into the class of fp32, and 9,675 without.
 */
bool rn_conv2d_winograd_bears_bf16(const rn_conv2d_args *a, int32_t m)
{
    return m == 2 || a->x.dtype == RN_DTYPE_U8 || (m == 4 && a->x.dtype == RN_DTYPE_BF16 && a->c >= WIDE_CHANNELS);
}

rn_dtype rn_conv2d_winograd_point_dtype(const rn_conv2d_args *a)
{
    return a->x.dtype == RN_DTYPE_U8 ? RN_DTYPE_BF16 : a->x.dtype;
}

/* Of V. */
static int64_t tile_bytes(const rn_conv2d_winograd *w)
{
    return (int64_t)rn_dtype_bytes(w->point_dtype) * w->points * w->v_row;
}

static void set_block(rn_conv2d_winograd *w, int32_t tiles)
{
    w->block = tiles;
    w->v_plane = odd_lines(tiles * w->v_row, w->point_dtype);
    w->p_plane = odd_lines((int64_t)tiles * w->group * w->tile.lanes, RN_DTYPE_F32);
}

void rn_conv2d_winograd_init(rn_conv2d_winograd *w, const rn_conv2d_args *args, int32_t m, const rn_cpu_kernels *kernels, const void *packed)
{
    const rn_dtype dtype = args->x.dtype;
    *w = (rn_conv2d_winograd){.args = *args, .packed = packed, .m = m, .points = (m + 2) * (m + 2)};
    w->args.chained = args->chained && rn_conv2d_winograd_bears_bf16(args, m);
    w->point_dtype = rn_conv2d_winograd_point_dtype(args);
    const rn_conv2d_args product = {.x = {.dtype = w->point_dtype}, .chained = w->args.chained};
    w->tile = rn_conv2d_tile_for(kernels, &product);
    w->steps = args->c / rn_conv2d_step_channels(&product);
    w->input = &kernels->winograd_input[dtype];
    w->output = &kernels->winograd_output[dtype];
    w->filter = &kernels->winograd_filter[RN_DTYPE_F32];
    const int32_t lanes = w->tile.lanes;
    w->tiles_h = ceil_div(args->p, m);
    w->tiles_w = ceil_div(args->q, m);
    w->tile_count = args->n * w->tiles_h * w->tiles_w;
    w->panel_count = ceil_div(args->k, lanes);
    w->lead = w->args.chained ? LINE_BYTES : 0;
    w->slice_bytes = w->lead + (int64_t)w->steps * lanes * RN_STEP_BYTES;
    w->panel_bytes = w->points * w->slice_bytes;
    w->v_row = odd_lines(args->c, w->point_dtype);
    /* Every block reads the whole filter again, and every group of panels the whole block. A block that the second cache level holds is best as
     * long as the filter comes from there too: a quarter of it. A larger filter comes from memory, and then it is V that had better come from the third
     * level. Xeon (family 6, model 207, 2 MiB), two cores: 14x14x256, batch 8, m = 5, best of many runs: 2.5 ms a layer with blocks of 1 MiB, 1.8 with
     * 4 MiB, 1.7 with 8 MiB; 28x28x128 with m = 4: 2.0 ms with 1 MiB, 2.5 with 4 MiB; all of ResNet-101, fp32, batch 1, where 14x14x256 with m = 2 has
     * a filter of 4 MiB: best 44.9 ms when each of its blocks read 256 KiB, 41.1 when it is one block, and 40.2 with 512 KiB for what is smaller. Zen 4
     * (family 25, model 17, 1 MiB), effective GFLOP/s of one core, m = 4, batch 8: 56x56x64 with 256 KiB 287, with 1 MiB 251; 28x28x128 340 and 336;
     * 7x7x512 with 1 MiB 261, with 4 MiB 316. Zen 3 (family 25, model 1, 512 KiB), two cores: 28x28x128, m = 4: batch 1, 1.04 ms a layer with 128 KiB, 0.79
     * with 256 KiB, 0.70 with one block of 0.9 MiB; batch 8, 6.3, 5.9 and 6.9 (3.6 MiB). */
    const bool large_filter = w->panel_count * w->panel_bytes >= LARGE_BYTES, small_batch = w->tile_count * tile_bytes(w) <= SMALL_BYTES;
    const int64_t block_bytes = large_filter ? LARGE_BYTES : small_batch ? SMALL_BYTES : max((int32_t)kernels->l2_bytes / 4, LEAST_BYTES);
    w->group = min(GROUP_PANELS, w->panel_count);
    set_block(w, min(max((int32_t)(block_bytes / tile_bytes(w)), w->tile.rows), w->tile_count));
}

size_t rn_conv2d_winograd_scratch_bytes(const rn_conv2d_winograd *w)
{
    rn_conv2d_winograd widest = *w;
    set_block(&widest, max(w->block, min(w->tile_count, (int32_t)(SMALL_BYTES / tile_bytes(w))))); /* of fewer pictures, which are not cut */
    return (size_t)w->points * ((size_t)widest.v_plane * rn_dtype_bytes(w->point_dtype) + (size_t)widest.p_plane * sizeof(float));
}

/* ---- filter ---- */

/* PART_CHANNELS input channels of a panel, of a filter of either type. to: [3][3][PART_CHANNELS][lanes]; lanes beyond k are left as they are */
static void read_filter(const rn_conv2d_args *a, int32_t c_begin, int32_t k_begin, int32_t lanes, float *to)
{
    const bool bytes = a->x.dtype == RN_DTYPE_U8;
    for (int32_t tap = 0; tap < TAPS; tap++) {
        for (int32_t c = c_begin; c < c_begin + PART_CHANNELS; c++, to += lanes) {
            const int64_t from = (int64_t)(tap * a->c + c) * a->k + k_begin;
            for (int32_t lane = 0; lane < lanes && k_begin + lane < a->k; lane++) to[lane] = bytes ? a->filter8[from + lane] : a->filter[from + lane];
        }
    }
}

/* The points of PART_CHANNELS input channels at a time, as f32, and then as bf16: each point goes on where it had ended. */
static void pack_bf16(const rn_conv2d_winograd *w, int32_t k_begin, char *panel)
{
    const int32_t lanes = w->tile.lanes;
    float points[MOST_POINTS * PART_CHANNELS * MOST_LANES] __attribute__((aligned(LINE_BYTES))); /* [points][PART_CHANNELS][lanes] */
    float filter[TAPS * PART_CHANNELS * MOST_LANES] = {0}, lost[MOST_POINTS][MOST_LANES] = {{0}};
    const rn_winograd_filter_args part = {.filter = filter, .m = w->m, .c = PART_CHANNELS, .k = lanes, .c_end = PART_CHANNELS, .lanes = lanes,
                                          .panel = points};
    for (int32_t point = 0; point < w->points; point++) memset(panel + point * w->slice_bytes, 0, (size_t)w->lead);
    for (int32_t c = 0; c < w->args.c; c += PART_CHANNELS) {
        read_filter(&w->args, c, k_begin, lanes, filter);
        w->filter->run(&part);
        for (int32_t point = 0; point < w->points; point++) {
            const float *weights = points + point * PART_CHANNELS * lanes;
            rn_bf16 *to = (rn_bf16 *)(panel + point * w->slice_bytes + w->lead) + c * lanes;
            for (int32_t i = 0; i < PART_CHANNELS * lanes; i++) {
                const int32_t channel = i / (2 * lanes) * 2 + i % 2, lane = i / 2 % lanes;
                to[i] = rn_round_weight(weights[channel * lanes + lane], w->args.chained, w->args.chained ? to[i - 1] : 0, &lost[point][lane]);
            }
        }
    }
}

static void pack_f32(const rn_conv2d_winograd *w, int32_t k_begin, char *panel)
{
    const rn_conv2d_args *a = &w->args;
    const rn_winograd_filter_args args = {.filter = a->filter, .m = w->m, .c = a->c, .k = a->k, .c_end = a->c, .k_begin = k_begin, .lanes = w->tile.lanes,
                                          .panel = (float *)panel};
    w->filter->run(&args);
}

void rn_conv2d_winograd_pack_panels(const rn_conv2d_winograd *w, int32_t begin, int32_t end, void *to)
{
    const bool bf16 = w->args.chained || w->point_dtype == RN_DTYPE_BF16;
    for (int32_t panel = begin; panel < end; panel++) (bf16 ? pack_bf16 : pack_f32)(w, panel * w->tile.lanes, (char *)to + panel * w->panel_bytes);
}

void rn_conv2d_winograd_pack(const rn_conv2d_winograd *w, void *to)
{
    rn_conv2d_winograd_pack_panels(w, 0, w->panel_count, to);
}

/* ---- run ---- */

/* The weights of one panel at one point. `at` counts the points' panels of a group one after the other; the group's last one is followed by the
 * panel after the group. */
static const char *filter_slice(const rn_conv2d_winograd *w, int32_t panel_begin, int32_t panels, int32_t at)
{
    if (at == w->points * panels) return w->packed + (panel_begin + panels) * w->panel_bytes;
    return w->packed + (panel_begin + at % panels) * w->panel_bytes + at / panels * w->slice_bytes;
}

/* P = V x a group of panels: for every point the tiles of the block, as evenly cut as the micro-kernel allows. While a slice of the filter is
 * multiplied, the next one is prefetched; while the first panel is, what it will read of V at the next point. */
static void multiply(const rn_conv2d_winograd *w, const char *v, float *p, int32_t tiles, int32_t panel_begin, int32_t panels)
{
    const rn_conv2d_tile_kernel *kernel = &w->tile;
    const int32_t parts = ceil_div(tiles, kernel->rows), half = kernel->rows / 2, most = ceil_div(tiles, parts), large_parts = tiles - (most - 1) * parts;
    const int64_t size = (int64_t)rn_dtype_bytes(w->point_dtype), p_row = (int64_t)panels * kernel->lanes, slice_share = w->slice_bytes / parts;
    rn_conv2d_tile_args t = {
        .a_pixel = w->v_row,
        .tap_rows = 1,
        .tap_columns = 1,
        .steps = w->steps,
        .channels = kernel->lanes,
        .y_dtype = RN_DTYPE_F32,
        .y_pixel = p_row,
        .ahead_bytes = ceil_div(kernel->lanes * RN_STEP_BYTES, parts),
    };
    const int32_t next_step_bytes = ceil_div((int32_t)(most * w->v_row * size), t.steps);
    for (int32_t at = 0; at < w->points * panels; at++) {
        const int32_t point = at / panels, panel = at % panels;
        const char *a = v + point * w->v_plane * size;
        float *y = p + point * w->p_plane + panel * kernel->lanes;
        t.panel = filter_slice(w, panel_begin, panels, at) + w->lead;
        t.ahead = filter_slice(w, panel_begin, panels, at + 1);
        t.inputs_ahead_bytes = panel == 0 && point + 1 < w->points ? next_step_bytes : 0;
        for (int32_t part = 0; part < parts; part++) {
            t.pixels = part < large_parts ? most : most - 1;
            t.a0 = a;
            t.a1 = a + half * w->v_row * size;
            t.y0 = y;
            t.y1 = y + half * p_row;
            t.inputs_ahead = a + w->v_plane * size;
            t.y_next = y; /* nobody else has asked for it */
            kernel->run(&t);
            t.ahead += slice_share;
            a += t.pixels * w->v_row * size;
            y += t.pixels * p_row;
        }
    }
}

void rn_conv2d_winograd_run(const rn_conv2d_winograd *w, int32_t tile_begin, int32_t tile_end, int32_t panel_begin, int32_t panel_end, void *scratch)
{
    const int32_t lanes = w->tile.lanes;
    char *v = scratch;
    float *p = (float *)(v + w->points * w->v_plane * (int64_t)rn_dtype_bytes(w->point_dtype));
    const int32_t count = tile_end - tile_begin, blocks = ceil_div(count, w->block);
    for (int32_t block = 0; block < blocks; block++) {
        rn_winograd_args t = {.conv = &w->args, .m = w->m, .tiles_h = w->tiles_h, .tiles_w = w->tiles_w,
                              .tile_begin = tile_begin + cut(count, block, blocks), .tile_end = tile_begin + cut(count, block + 1, blocks),
                              .points = v, .plane = w->v_plane, .row = w->v_row};
        w->input->run(&t);
        t.points = p;
        t.plane = w->p_plane;
        for (int32_t panel = panel_begin; panel < panel_end; panel += w->group) {
            const int32_t panels = min(w->group, panel_end - panel);
            multiply(w, v, p, t.tile_end - t.tile_begin, panel, panels);
            t.row = (int64_t)panels * lanes;
            t.k_begin = panel * lanes;
            t.k_end = min(t.k_begin + panels * lanes, w->args.k);
            w->output->run(&t);
        }
    }
}
