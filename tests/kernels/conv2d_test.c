/* Every convolution micro-kernel of the list, under the tile walk and under Winograd's transforms, against the reference: all layer shapes of
 * ResNet-101, and sizes around the tile with every combination of the epilogue. The reference computes in f32 on inputs, residuals and weights that
 * the kernel's types can hold, so that what differs is the kernel's own rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/cpu/weight_rounding.h"
#include "tests/support/layer_shapes.h"
#include "tests/support/test_map.h"

enum { SEED = 20240229, MAX_SAMPLES = 4, TILES = 3 };
static const int32_t winograd_tiles[TILES] = {2, 4, 5};

static int skipped;

/* A micro-kernel of this machine with types of residual, first and second output, and the table of its instruction set, which has Winograd's transforms
 * too. */
typedef struct {
    rn_cpu_kernels table;
    rn_dtype x, residual, y, z;
    bool chained;
} variant;
static variant variants[20];
static int variant_count;

static rn_conv2d_tile_kernel tile_of(const variant *v)
{
    return rn_conv2d_tile_for(&v->table, &(rn_conv2d_args){.x = {.dtype = v->x}, .chained = v->chained});
}

static bool one_type(const variant *v)
{
    return v->x == v->residual && v->x == v->y && v->x == v->z;
}

/* "rn_conv2d_f32__avx512_14x32 to BF16, BF16" */
static const char *name_of(const variant *v)
{
    static char name[128];
    if (one_type(v)) return tile_of(v).name;
    snprintf(name, sizeof name, "%s, residual %s to %s, %s", tile_of(v).name, rn_dtype_name(v->residual), rn_dtype_name(v->y), rn_dtype_name(v->z));
    return name;
}

static void collect(rn_isa isa, rn_dtype x, bool chained, rn_dtype residual, rn_dtype y, rn_dtype z, const char *symbol)
{
    variant *v = &variants[variant_count++];
    assert_in_range(variant_count, 1, sizeof variants / sizeof *variants);
    rn_cpu_kernels_select(isa, &v->table);
    v->x = x;
    v->chained = chained;
    v->residual = residual;
    v->y = y;
    v->z = z;
    assert_string_equal(tile_of(v).name, symbol);
    assert_non_null(v->table.winograd_input[x].run);
    assert_non_null(v->table.winograd_output[x].run);
}

/* A kernel that this machine cannot run is counted, not run. */
static int collect_kernels(void **state)
{
    (void)state;
#define RN_CPU_KERNEL(slot, dtype, symbol, needs, tile_rows, tile_lanes)                                                                   \
    if (RN_ISA_##needs > rn_cpu_best_isa()) {                                                                                              \
        printf("SKIP %s: this processor lacks %s\n", #symbol, rn_isa_name(RN_ISA_##needs));                                                \
        skipped++;                                                                                                                         \
    } else if (strncmp(#slot, "conv2d_tile", 11) == 0 && RN_DTYPE_##dtype != RN_DTYPE_U8) { /* bytes_test.c has those */                   \
        const rn_dtype f = RN_DTYPE_F32, b = RN_DTYPE_BF16, own = RN_DTYPE_##dtype;                                                        \
        const bool chained = strcmp(#slot, "conv2d_tile_chained") == 0;                                                                    \
        collect(RN_ISA_##needs, own, chained, own, own, own, #symbol);                                                                     \
        if (own == b) {                                                                                                                    \
            collect(RN_ISA_##needs, b, chained, f, f, f, #symbol);                                                                         \
            collect(RN_ISA_##needs, b, chained, f, f, b, #symbol);                                                                         \
            collect(RN_ISA_##needs, b, chained, b, f, b, #symbol);                                                                         \
        }                                                                                                                                  \
        if (own == f && RN_ISA_##needs == RN_ISA_AVX512) {                                                                                 \
            collect(RN_ISA_##needs, f, chained, b, b, b, #symbol);                                                                         \
            collect(RN_ISA_##needs, f, chained, f, b, f, #symbol);                                                                         \
        }                                                                                                                                  \
    }
#include "kernels/cpu/cpu_kernels.def"
#undef RN_CPU_KERNEL
    printf("seed %d\n", SEED);
    return 0;
}

/* A convolution with its maps: expected by the reference, got by a kernel. */
typedef struct {
    rn_conv2d_args args;    /* of the kernel */
    rn_dtype x_dtype;
    bool winograd;
    rn_test_map x, residual, expected, expected2, typed_x, typed_residual, got, got2;
    float *filter, *vectors; /* vectors: bias, scale2, shift2 */
    int32_t samples[MAX_SAMPLES];
    int sample_count;
} problem;

/* Makes the filter what the panels hold of it, which packing it again does not change. The panels are read as conv2d_direct.h describes them. */
static void round_chained(const rn_conv2d_args *a, int32_t lanes, float *filter)
{
    const rn_conv2d_panels panels = rn_conv2d_panels_layout(a, lanes);
    const int32_t inputs = a->c / a->groups, outputs = a->k / a->groups, channels = panels.steps * 2;
    char *packed = aligned_alloc(64, (size_t)(panels.count * panels.bytes));
    assert_non_null(packed);
    rn_conv2d_panels_pack(a, &panels, packed);
    for (int32_t k = 0; k < a->k; k++) {
        const int32_t panel = k / lanes, group = panel * lanes / outputs, first = group * inputs < a->c - channels ? group * inputs : a->c - channels;
        const rn_bf16 *chain = (const rn_bf16 *)(packed + panel * panels.bytes + panels.lead);
        for (int32_t i = 0; i < a->r * a->s * inputs; i++) {
            const int32_t channel = k / outputs * inputs + i % inputs - first, step = i / inputs * panels.steps + channel / 2;
            const rn_bf16 *at = chain + (step * lanes + k % lanes) * 2 + channel % 2;
            const float value = rn_bf16_chained_to_f32(at[0], at[-1]);
            assert_true(fabsf(value - filter[i * a->k + k]) <= 0x1p-8f * (fabsf(value) + 1)); /* its own rounding, and a part of what others lost */
            filter[i * a->k + k] = value;
        }
    }
    free(packed);
}

/* flags as in the shapes file. spare: elements between pixels. all_rows: compare everything, not a sample of the rows. */
static problem create_problem(const variant *v, const rn_layer_shape *s, int32_t n, int32_t spare, bool all_rows)
{
    const int32_t p = rn_layer_shape_p(s), q = rn_layer_shape_q(s);
    const int32_t border = (int32_t)fmax(fmax(s->pad_top, s->pad_bottom), fmax(s->pad_left, s->pad_right));
    const size_t filter = (size_t)s->r * (size_t)s->s * (size_t)(s->c / s->groups) * (size_t)s->k;
    problem t = {.filter = malloc(filter * sizeof(float)), .vectors = malloc(3 * (size_t)s->k * sizeof(float))};
    rn_test_fill(t.filter, filter, SEED);
    rn_test_round(t.filter, filter, v->x);
    rn_test_fill(t.vectors, 3 * (size_t)s->k, SEED + 1);
    t.x = rn_test_map_create(n, s->h, s->w, s->c, 0, 0);
    rn_test_map_fill(&t.x, SEED + 2);
    rn_test_map_round(&t.x, v->x);
    t.residual = rn_test_map_create(n, p, q, s->k, 0, 0);
    rn_test_map_fill(&t.residual, SEED + 3);
    rn_test_map_round(&t.residual, v->residual);
    t.x_dtype = v->x;
    t.typed_x = rn_test_map_convert(&t.x, v->x, spare, border);
    t.typed_residual = rn_test_map_convert(&t.residual, v->residual, spare, 0);
    t.expected = rn_test_map_create(n, p, q, s->k, 0, 0);
    t.expected2 = rn_test_map_create(n, p, q, s->k, 0, 0);
    t.got = rn_test_map_create_typed(v->y, n, p, q, s->k, spare, spare ? 1 : 0);
    t.got2 = rn_test_map_create_typed(v->z, n, p, q, s->k, spare, 0);
    const bool second = rn_layer_shape_has(s, 'y'), first = !second || rn_layer_shape_has(s, 'x');
    t.args = (rn_conv2d_args){
        .x = t.x.map, .residual = rn_layer_shape_has(s, 'a') ? t.residual.map : (rn_map){0},
        .y = first ? t.expected.map : (rn_map){0}, .y2 = second ? t.expected2.map : (rn_map){0},
        .filter = t.filter, .bias = rn_layer_shape_has(s, 'b') ? t.vectors : NULL, .scale2 = t.vectors + s->k, .shift2 = t.vectors + 2 * s->k,
        .n = n, .h = s->h, .w = s->w, .c = s->c, .p = p, .q = q, .k = s->k, .r = s->r, .s = s->s, .stride_h = s->stride, .stride_w = s->stride,
        .pad_top = s->pad_top, .pad_left = s->pad_left, .groups = s->groups, .relu = rn_layer_shape_has(s, 'r'),
    };
    t.args.chained = v->chained && rn_conv2d_direct_fits(&(rn_conv2d_args){.c = s->c, .groups = s->groups, .chained = true});
    if (t.args.chained) round_chained(&t.args, tile_of(v).lanes, t.filter);
    const int32_t rows = n * p, picked[MAX_SAMPLES] = {0, rows / 3, rows / 2, rows - 1};
    memcpy(t.samples, picked, sizeof picked);
    t.sample_count = all_rows ? 0 : MAX_SAMPLES;
    for (int i = 0; i < t.sample_count; i++) {
        t.args.row_begin = t.samples[i];
        t.args.row_end = t.samples[i] + 1;
        rn_conv2d_f32__ref(&t.args);
    }
    t.args.row_begin = 0;
    t.args.row_end = rows;
    if (all_rows) rn_conv2d_f32__ref(&t.args);
    t.args.x = t.typed_x.map;
    if (t.args.residual.data) t.args.residual = t.typed_residual.map;
    if (first) t.args.y = t.got.map;
    if (second) t.args.y2 = t.got2.map;
    return t;
}

static void destroy_problem(problem *t)
{
    rn_test_map *maps[] = {&t->x, &t->residual, &t->expected, &t->expected2, &t->typed_x, &t->typed_residual, &t->got, &t->got2};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) rn_test_map_destroy(maps[i]);
    free(t->filter);
    free(t->vectors);
}

/* The whole convolution by one micro-kernel, in two parts each way as two threads would. */
static void run_direct(const problem *t, const rn_cpu_kernels *kernels)
{
    assert_true(rn_conv2d_direct_fits(&t->args));
    const rn_conv2d_tile_kernel kernel = rn_conv2d_tile_for(kernels, &t->args);
    const rn_conv2d_panels panels = rn_conv2d_panels_layout(&t->args, kernel.lanes);
    void *packed = aligned_alloc(64, ((size_t)(panels.count * panels.bytes) + 63) / 64 * 64);
    rn_conv2d_panels_pack(&t->args, &panels, packed);
    rn_conv2d_direct d;
    rn_conv2d_direct_init(&d, &t->args, kernel, &panels, packed);
    const int32_t tile = d.tile_count / 2, panel = panels.count / 2;
    rn_conv2d_direct_run(&d, 0, tile, 0, panels.count);
    rn_conv2d_direct_run(&d, tile, d.tile_count, 0, panel);
    rn_conv2d_direct_run(&d, tile, d.tile_count, panel, panels.count);
    free(packed);
}

/* The same by Winograd with m x m outputs a tile. */
static void run_winograd(problem *t, const rn_cpu_kernels *kernels, int32_t m)
{
    t->winograd = true;
    rn_conv2d_winograd w;
    rn_conv2d_winograd_init(&w, &t->args, m, kernels, NULL);
    void *packed = aligned_alloc(64, ((size_t)(w.panel_count * w.panel_bytes) + 63) / 64 * 64);
    rn_conv2d_winograd_pack(&w, packed);
    w.packed = packed;
    void *scratch = aligned_alloc(64, (rn_conv2d_winograd_scratch_bytes(&w) + 63) / 64 * 64);
    memset(scratch, 0xff, rn_conv2d_winograd_scratch_bytes(&w)); /* NaN */
    const int32_t tile = w.tile_count / 2, panel = w.panel_count / 2;
    rn_conv2d_winograd_run(&w, 0, tile, 0, w.panel_count, scratch);
    rn_conv2d_winograd_run(&w, tile, w.tile_count, 0, panel, scratch);
    rn_conv2d_winograd_run(&w, tile, w.tile_count, panel, w.panel_count, scratch);
    free(scratch);
    free(packed);
}

/* One rounding for each of the n products that are summed, at random: sqrt(n) of them, relative to the largest result. The second output
 * multiplies the first by up to 1 and rounds twice more. Winograd sums fewer products, but larger ones that cancel each other: for m = 4 the
 * output transform multiplies by up to 3.4 each way. It gets the same allowance, and shows how much of it that takes. For m = 5 the factor is 9.4 each
 * way, so that the allowance is three times as large. */
static double f32_allowance(const rn_conv2d_args *a, int32_t m, double largest)
{
    return FLT_EPSILON * (sqrt((double)a->r * a->s * a->c / a->groups) + 4) * largest * (m == 5 ? 3 : 1);
}

/* bf16 outputs are rounded once more, by up to 2^-8 of themselves. Under Winograd points are rounded to bf16 too, those of inputs and filter or of the
 * filter alone: all products of an output are then wrong independently of each other, and with the output that adds up to what two roundings of the
 * largest may be. With m = 4 the points cancel each other more: the rms at the corners of a tile is five times that of m = 2. */
static double allowance(const problem *t, int32_t m, double largest)
{
    const bool rounded = (t->args.y.data && t->args.y.dtype == RN_DTYPE_BF16) || (t->args.y2.data && t->args.y2.dtype == RN_DTYPE_BF16);
    const int roundings = t->winograd && (t->x_dtype == RN_DTYPE_BF16 || t->args.chained) ? m == 4 ? 10 : 2 : rounded;
    return f32_allowance(&t->args, m, largest) + 0x1p-8 * roundings * largest;
}

/* The error that takes the largest share of its allowance. */
typedef struct {
    double error, allowance;
} verdict;

/* m: 0 for the direct method. */
static void check(problem *t, int32_t m, verdict *v)
{
    double worst = 0, largest = 0;
    const int32_t rows = t->args.n * t->args.p;
    for (int i = 0; i < (t->sample_count ? t->sample_count : 1); i++) {
        const int32_t begin = t->sample_count ? t->samples[i] : 0, end = t->sample_count ? t->samples[i] + 1 : rows;
        if (t->args.y.data) rn_test_map_compare(&t->expected, &t->got, begin, end, &worst, &largest);
        if (t->args.y2.data) rn_test_map_compare(&t->expected2, &t->got2, begin, end, &worst, &largest);
    }
    rn_test_map_check_outside(&t->got);
    rn_test_map_check_outside(&t->got2);
    const double allowed = allowance(t, m, largest);
    if (v->allowance == 0 || worst / allowed > v->error / v->allowance) *v = (verdict){worst, allowed};
}

static void every_layer_shape(void **state)
{
    (void)state;
    FILE *file = fopen("tests/shapes/resnet101.txt", "r");
    assert_non_null(file);
    rn_layer_shape s;
    bool bad = false;
    int lines = 0;
    while (rn_layer_shape_read(file, &s, &bad)) {
        if (strcmp(s.op, "conv2d") != 0) continue;
        lines++;
        char what[128];
        snprintf(what, sizeof what, "%dx%dx%d -> %d, %dx%d/%d, %s", s.h, s.w, s.c, s.k, s.r, s.s, s.stride, s.flags);
        for (int i = 0; i < variant_count; i++) {
            problem t = create_problem(&variants[i], &s, 1, s.c == 1024 ? 16 : 0, false);
            verdict v = {0};
            if (rn_conv2d_direct_fits(&t.args)) {
                run_direct(&t, &variants[i].table);
                check(&t, 0, &v);
                rn_test_report(name_of(&variants[i]), what, v.error, v.allowance);
            } else {
                assert_int_equal(s.c, 3); /* the stem of a network in bf16 reads f32 */
            }
            destroy_problem(&t);
        }
    }
    fclose(file);
    assert_false(bad);
    assert_true(lines > 20);
}

/* Widths and channels at and around the tile, with each epilogue, padding on all sides and on one, strides, batches. */
static void sizes_around_the_tile(void **state)
{
    (void)state;
    static const char *const epilogues[] = {"-", "b", "br", "bar", "ar", "bay", "bxy", "barxy", "r"};
    static const struct {
        int32_t r, stride, top, left, bottom, right;
    } windows[] = {{1, 1, 0, 0, 0, 0}, {3, 1, 1, 1, 1, 1}, {3, 2, 0, 0, 1, 1}, {3, 2, 1, 1, 1, 1}, {1, 2, 0, 0, 0, 0}, {5, 1, 2, 2, 2, 2}};
    for (int i = 0; i < variant_count; i++) {
        const rn_conv2d_tile_kernel kernel = tile_of(&variants[i]);
        const int32_t step = rn_conv2d_step_channels(&(rn_conv2d_args){.x = {.dtype = variants[i].x}, .chained = variants[i].chained});
        const int32_t widths[] = {1, 2, kernel.rows / 2, kernel.rows - 1, kernel.rows, kernel.rows + 1};
        const int32_t outputs[] = {1, kernel.lanes / 2, kernel.lanes - 1, kernel.lanes, kernel.lanes + 1, 2 * kernel.lanes + 3};
        verdict v = {0};
        int count = 0;
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
            for (size_t q = 0; q < sizeof widths / sizeof *widths; q++) {
                for (size_t k = 0; k < sizeof outputs / sizeof *outputs; k++, count++) {
                    rn_layer_shape s = {.h = 3 + count % 4, .w = widths[q] * windows[w].stride, .c = (1 + count % 9) * step, .k = outputs[k], .r = windows[w].r,
                                        .s = windows[w].r, .stride = windows[w].stride, .pad_top = windows[w].top, .pad_left = windows[w].left,
                                        .pad_bottom = windows[w].bottom, .pad_right = windows[w].right, .groups = 1};
                    strcpy(s.flags, epilogues[count % 9]);
                    if (rn_layer_shape_p(&s) < 1 || rn_layer_shape_q(&s) < 1) continue;
                    problem t = create_problem(&variants[i], &s, 1 + count % 3, count % 5, true);
                    run_direct(&t, &variants[i].table);
                    check(&t, 0, &v);
                    destroy_problem(&t);
                }
            }
        }
        rn_test_report(name_of(&variants[i]), "sizes around the tile", v.error, v.allowance);
    }
}

/* The transforms write the type that they read; in bf16 only some tiles are used, whatever the number of channels here. */
static bool winograd_serves(const variant *v, int32_t m)
{
    const rn_conv2d_args wide = {.x = {.dtype = v->x}, .chained = v->chained, .c = 512};
    return one_type(v) && (rn_conv2d_winograd_bears_bf16(&wide, m) || (v->x == RN_DTYPE_F32 && !v->chained));
}

static void points_in_bf16(void **state)
{
    (void)state;
    static const struct {
        rn_dtype x;
        bool chained;
        int32_t m, least; /* input channels; 0: any number */
    } rules[] = {{RN_DTYPE_BF16, false, 2, 0}, {RN_DTYPE_BF16, false, 4, 256}, {RN_DTYPE_BF16, false, 5, INT32_MAX},
                 {RN_DTYPE_F32, true, 2, 0},   {RN_DTYPE_F32, true, 4, INT32_MAX}, {RN_DTYPE_F32, true, 5, INT32_MAX},
                 {RN_DTYPE_U8, false, 2, 0},   {RN_DTYPE_U8, false, 4, 0},         {RN_DTYPE_U8, false, 5, 0}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        for (int32_t c = 16; c <= 2048; c += 16) {
            const rn_conv2d_args args = {.x = {.dtype = rules[i].x}, .chained = rules[i].chained, .c = c};
            assert_int_equal(rn_conv2d_winograd_bears_bf16(&args, rules[i].m), c >= rules[i].least);
        }
    }
}

static void winograd_layer_shapes(void **state)
{
    (void)state;
    FILE *file = fopen("tests/shapes/resnet101.txt", "r");
    assert_non_null(file);
    rn_layer_shape s;
    bool bad = false;
    int lines = 0;
    while (rn_layer_shape_read(file, &s, &bad)) {
        if (strcmp(s.op, "conv2d") != 0) continue;
        for (int i = 0; i < TILES * variant_count; i++) {
            const variant *kind = &variants[i / TILES];
            const int32_t m = winograd_tiles[i % TILES];
            if (!winograd_serves(kind, m)) continue;
            problem t = create_problem(kind, &s, 1, 0, false);
            if (rn_conv2d_winograd_fits(&t.args)) {
                verdict v = {0};
                char what[128];
                snprintf(what, sizeof what, "Winograd %dx%d, %dx%dx%d -> %d", m, m, s.h, s.w, s.c, s.k);
                run_winograd(&t, &kind->table, m);
                check(&t, m, &v);
                rn_test_report(kind->table.winograd_input[kind->x].name, what, v.error, v.allowance);
                lines++;
            }
            destroy_problem(&t);
        }
    }
    fclose(file);
    assert_false(bad);
    int served = 0;
    for (int i = 0; i < variant_count; i++) served += one_type(&variants[i]);
    assert_true(lines >= 4 * served);
}

/* Pictures around the tile and around a block of tiles, channels around the panel, every epilogue, paddings of 0 to 2. */
static void winograd_sizes(void **state)
{
    (void)state;
    static const char *const epilogues[] = {"-", "b", "br", "bar", "ar", "bay", "bxy", "barxy", "r"};
    static const int32_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 30}, channels[] = {16, 32, 48, 64, 80};
    for (int i = 0; i < TILES * variant_count; i++) {
        const variant *kind = &variants[i / TILES];
        const int32_t m = winograd_tiles[i % TILES];
        if (!winograd_serves(kind, m)) continue;
        verdict v = {0};
        int count = 0;
        for (size_t h = 0; h < sizeof sizes / sizeof *sizes; h++) {
            for (size_t w = 0; w < sizeof sizes / sizeof *sizes; w++, count++) {
                rn_layer_shape s = {.h = sizes[h], .w = sizes[w], .c = channels[count % 5], .k = channels[count / 5 % 5], .r = 3, .s = 3, .stride = 1,
                                    .pad_top = count % 3, .pad_left = (count + 1) % 3, .pad_bottom = 2, .pad_right = 2 - count % 2, .groups = 1};
                strcpy(s.flags, epilogues[count % 9]);
                problem t = create_problem(kind, &s, 1 + count % 3, count % 5, true);
                run_winograd(&t, &kind->table, m);
                check(&t, m, &v);
                destroy_problem(&t);
            }
        }
        char what[32];
        snprintf(what, sizeof what, "Winograd %dx%d, sizes", m, m);
        rn_test_report(kind->table.winograd_input[kind->x].name, what, v.error, v.allowance);
    }
}

/* Scratch for a batch holds what every smaller one makes of it, though few pictures go through in one block and many in several. */
static void scratch_is_for_fewer_pictures(void **state)
{
    (void)state;
    static const struct {
        int32_t side, channels;
    } layers[] = {{56, 16}, {56, 64}, {28, 128}, {14, 256}, {7, 512}};
    for (int32_t i = 0; i < variant_count * TILES * (int32_t)(sizeof layers / sizeof *layers); i++) {
        const variant *v = &variants[i % variant_count];
        const int32_t m = winograd_tiles[i / variant_count % TILES], side = layers[i / variant_count / TILES].side;
        const int32_t channels = layers[i / variant_count / TILES].channels;
        if (!winograd_serves(v, m)) continue;
        rn_conv2d_args args = {.x = {.dtype = v->x}, .h = side, .w = side, .c = channels, .p = side, .q = side, .k = channels, .r = 3, .s = 3,
                               .stride_h = 1, .stride_w = 1, .pad_top = 1, .pad_left = 1, .groups = 1};
        size_t largest = 0;
        for (args.n = 1; args.n <= 32; args.n++) {
            rn_conv2d_winograd w;
            rn_conv2d_winograd_init(&w, &args, m, &v->table, NULL);
            const size_t needed = (size_t)w.points * ((size_t)w.v_plane * rn_dtype_bytes(v->x) + (size_t)w.p_plane * sizeof(float));
            if (needed > largest) largest = needed;
            assert_true(rn_conv2d_winograd_scratch_bytes(&w) >= largest);
        }
    }
}

/* The points of a chained filter are those of the f32 filter, each rounded behind the one that is read before it. Points that bear no bf16 stay f32. */
static void chained_points(void **state)
{
    (void)state;
    enum { C = 32, K = 48 };
    float filter[9 * C * K];
    rn_test_fill(filter, 9 * C * K, SEED);
    for (int i = 0; i < variant_count; i++) {
        if (!variants[i].chained || !one_type(&variants[i])) continue;
        const rn_conv2d_args args = {.x = {.dtype = RN_DTYPE_F32}, .filter = filter, .n = 1, .h = 4, .w = 4, .c = C, .p = 4, .q = 4, .k = K, .r = 3, .s = 3,
                                     .stride_h = 1, .stride_w = 1, .pad_top = 1, .pad_left = 1, .groups = 1, .chained = true};
        rn_conv2d_args plain = args;
        plain.chained = false;
        rn_conv2d_winograd chained, f32, large;
        rn_conv2d_winograd_init(&large, &args, 4, &variants[i].table, NULL);
        assert_false(large.args.chained);
        rn_conv2d_winograd_init(&chained, &args, 2, &variants[i].table, NULL);
        rn_conv2d_winograd_init(&f32, &plain, 2, &variants[i].table, NULL);
        char *got = aligned_alloc(64, (size_t)(chained.panel_count * chained.panel_bytes));
        char *points = aligned_alloc(64, (size_t)(f32.panel_count * f32.panel_bytes));
        assert_true(got && points);
        memset(got, 0xff, (size_t)(chained.panel_count * chained.panel_bytes));
        rn_conv2d_winograd_pack(&chained, got);
        rn_conv2d_winograd_pack(&f32, points);
        const int32_t lanes = chained.tile.lanes;
        for (int32_t slice = 0; slice < chained.panel_count * chained.points; slice++) {
            const rn_bf16 *at = (const rn_bf16 *)(got + slice * chained.slice_bytes + chained.lead);
            const float *point = (const float *)(points + slice * f32.slice_bytes);
            float lost[64] = {0};
            assert_int_equal(at[-1], 0);
            for (int32_t j = 0; j < C * lanes; j++, at++) {
                const int32_t channel = j / (2 * lanes) * 2 + j % 2, lane = j / 2 % lanes;
                assert_int_equal(*at, rn_round_weight(point[channel * lanes + lane], true, at[-1], &lost[lane]));
            }
        }
        free(got);
        free(points);
    }
}

static void groups(void **state)
{
    (void)state;
    static const int32_t cases[][3] = {{8, 8, 2}, {32, 32, 32}, {96, 96, 2}, {12, 24, 3}, {64, 64, 16}, {6, 9, 3}, {80, 120, 5}}; /* c, k, groups */
    for (int i = 0; i < variant_count; i++) {
        const int32_t step = rn_conv2d_step_channels(&(rn_conv2d_args){.x = {.dtype = variants[i].x}, .chained = variants[i].chained});
        verdict v = {0};
        for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) {
            rn_layer_shape s = {.flags = "bar", .h = 9, .w = 9, .c = cases[j][0] * step, .k = cases[j][1], .r = 3, .s = 3, .stride = 1, .pad_top = 1,
                                .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = cases[j][2]};
            problem t = create_problem(&variants[i], &s, 2, 0, true);
            run_direct(&t, &variants[i].table);
            check(&t, 0, &v);
            destroy_problem(&t);
        }
        rn_test_report(name_of(&variants[i]), "groups", v.error, v.allowance);
    }
}

/* A NaN in one input pixel reaches the outputs whose windows hold it, through ReLU, and no others. */
static void nan_passes_through(void **state)
{
    (void)state;
    for (int i = 0; i < variant_count; i++) {
        rn_layer_shape s = {.flags = "br", .h = 5, .w = 5, .c = 4, .k = 5, .r = 3, .s = 3, .stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1,
                            .pad_right = 1, .groups = 1};
        problem t = create_problem(&variants[i], &s, 1, 0, true);
        rn_test_map_set(&t.typed_x, 0, 1, 1, 2, NAN);
        run_direct(&t, &variants[i].table);
        for (int32_t y = 0; y < 5; y++) {
            for (int32_t x = 0; x < 5; x++) assert_int_equal(isnan(rn_test_map_get(&t.got, 0, y, x, 4)) != 0, y <= 2 && x <= 2);
        }
        destroy_problem(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_shape),
        cmocka_unit_test(sizes_around_the_tile),
        cmocka_unit_test(points_in_bf16),
        cmocka_unit_test(winograd_layer_shapes),
        cmocka_unit_test(winograd_sizes),
        cmocka_unit_test(scratch_is_for_fewer_pictures),
        cmocka_unit_test(chained_points),
        cmocka_unit_test(groups),
        cmocka_unit_test(nan_passes_through),
    };
    const int failed = cmocka_run_group_tests(tests, collect_kernels, NULL);
    printf("%d SKIP\n", skipped);
    return failed;
}
