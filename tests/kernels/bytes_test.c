/* Every kernel on bytes of the list against the reference, bit by bit: the convolution over all layer shapes of ResNet-101 and sizes around its tile with
 * every epilogue, type of output and zero; max pool and quantize over sizes around a vector. Winograd's transforms of bytes, whose points are rounded,
 * within what that may cost. And the reference against sums done by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "tests/support/layer_shapes.h"

enum { SEED = 20240229, GUARD = 64, POISON = 0xa5, MAX_SAMPLES = 4 };

static uint32_t next_random = SEED;

static uint32_t draw(void)
{
    next_random = next_random * 1664525u + 1013904223u;
    return next_random >> 8;
}

/* Uniform in [-1, 1). */
static float draw_float(void)
{
    return (float)draw() * 0x1p-23f - 1;
}

/* ---- maps of bytes or floats, POISON wherever the map is not ---- */

typedef struct {
    rn_map map;
    int32_t n, h, w, c;
    size_t bytes;
    unsigned char *memory, *inside; /* [bytes] */
} test_map;

/* spare: elements after each pixel; around each image `border` pixels of bytes `edge`. */
static test_map create_map(rn_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c, int32_t spare, int32_t border, uint8_t edge)
{
    const int64_t size = (int64_t)rn_dtype_bytes(dtype), pixel = c + spare, row = (w + 2 * border) * pixel, image = (h + 2 * border) * row;
    test_map m = {.n = n, .h = h, .w = w, .c = c, .bytes = (size_t)(n * image * size) + 2 * GUARD};
    m.memory = aligned_alloc(64, (m.bytes + 63) / 64 * 64);
    m.inside = calloc(m.bytes, 1);
    assert_true(m.memory && m.inside);
    memset(m.memory, POISON, m.bytes);
    m.map = (rn_map){m.memory + GUARD + (border * row + border * pixel) * size, image, row, pixel, dtype};
    for (int32_t i = 0; i < n; i++) {
        for (int32_t y = -border; y < h + border; y++) {
            for (int32_t x = -border; x < w + border; x++) {
                unsigned char *at = rn_map_at(&m.map, i * image + y * row + x * pixel);
                memset(m.inside + (at - m.memory), 1, (size_t)(c * size));
                if (y < 0 || y >= h || x < 0 || x >= w) memset(at, edge, (size_t)(c * size));
            }
        }
    }
    return m;
}

static void destroy_map(test_map *m)
{
    free(m->memory);
    free(m->inside);
}

static unsigned char *map_at(const test_map *m, int32_t row, int32_t x, int32_t c)
{
    return rn_map_at(&m->map, row / m->h * m->map.image + row % m->h * m->map.row + x * m->map.pixel + c);
}

/* Bytes below `values`; floats in [-values, values). */
static void fill_map(test_map *m, uint32_t values)
{
    for (int32_t row = 0; row < m->n * m->h; row++) {
        for (int32_t i = 0; i < m->w * m->c; i++) {
            void *at = map_at(m, row, i / m->c, i % m->c);
            if (m->map.dtype == RN_DTYPE_U8) *(uint8_t *)at = (uint8_t)(draw() % values);
            else *(float *)at = draw_float() * (float)values;
        }
    }
}

/* Equal bits in a row, and the poison between pixels untouched. */
static void check_row(const char *kernel, const test_map *expected, const test_map *got, int32_t row)
{
    const size_t pixel = (size_t)expected->c * rn_dtype_bytes(expected->map.dtype);
    for (int32_t x = 0; x < expected->w; x++) {
        const unsigned char *a = map_at(expected, row, x, 0), *b = map_at(got, row, x, 0);
        for (size_t i = 0; i < pixel; i++) {
            if (a[i] != b[i]) fail_msg("%s: row %d, pixel %d, byte %zu of its channels: expected %d, got %d", kernel, row, x, i, a[i], b[i]);
        }
    }
}

static void check_outside(const char *kernel, const test_map *m)
{
    for (size_t i = 0; i < m->bytes; i++) {
        if (!m->inside[i] && m->memory[i] != POISON) fail_msg("%s: byte %zu outside the map was written", kernel, i);
    }
}

/* ---- convolution ---- */

typedef struct {
    rn_conv2d_args args;
    test_map x, residual, expected, expected2, got, got2;
    int8_t *filter;
    float *vectors; /* multiplier, bias, scale2, shift2 */
} problem;

/* How large sums get; ties gives sums of halves, many of which round to even. */
typedef struct {
    rn_dtype y;
    uint8_t x_zero;
    bool ties;
} variant;

static void fill_factors(problem *t, const rn_layer_shape *s, const variant *v)
{
    const size_t filter = (size_t)s->r * (size_t)s->s * (size_t)(s->c / s->groups) * (size_t)s->k;
    const float terms = (float)(s->r * s->s * s->c / s->groups), k = v->ties ? 0.5f : 100 / (sqrtf(terms) * 9000);
    for (size_t i = 0; i < filter; i++) t->filter[i] = v->ties ? (int8_t)(draw() % 3) - 1 : (int8_t)(draw() % 255 - 127);
    for (int32_t i = 0; i < s->k; i++) {
        t->vectors[i] = v->ties ? k : k * (1 + 0.5f * draw_float());
        t->vectors[s->k + i] = v->ties ? 8 : 128 + 64 * draw_float();
        t->vectors[2 * s->k + i] = draw_float();
        t->vectors[3 * s->k + i] = 100 * draw_float();
    }
}

static problem create_problem(const rn_layer_shape *s, int32_t n, int32_t spare, const variant *v)
{
    const int32_t p = rn_layer_shape_p(s), q = rn_layer_shape_q(s);
    const int32_t border = (int32_t)fmax(fmax(s->pad_top, s->pad_bottom), fmax(s->pad_left, s->pad_right));
    problem t = {.filter = malloc((size_t)s->r * (size_t)s->s * (size_t)(s->c / s->groups) * (size_t)s->k),
                 .vectors = malloc(4 * (size_t)s->k * sizeof(float))};
    fill_factors(&t, s, v);
    t.x = create_map(RN_DTYPE_U8, n, s->h, s->w, s->c, 4 * spare, border, v->x_zero);
    t.residual = create_map(RN_DTYPE_U8, n, p, q, s->k, spare, 0, 0);
    fill_map(&t.x, v->ties ? 3 : 256);
    fill_map(&t.residual, 256);
    t.expected = create_map(v->y, n, p, q, s->k, 0, 0, 0);
    t.expected2 = create_map(v->y, n, p, q, s->k, 0, 0, 0);
    t.got = create_map(v->y, n, p, q, s->k, spare, spare ? 1 : 0, 0);
    t.got2 = create_map(v->y, n, p, q, s->k, spare, 0, 0);
    const bool second = rn_layer_shape_has(s, 'y'), first = !second || rn_layer_shape_has(s, 'x');
    t.args = (rn_conv2d_args){
        .x = t.x.map, .residual = rn_layer_shape_has(s, 'a') ? t.residual.map : (rn_map){0},
        .y = first ? t.expected.map : (rn_map){0}, .y2 = second ? t.expected2.map : (rn_map){0},
        .filter8 = t.filter, .multiplier = t.vectors, .bias = t.vectors + s->k, .scale2 = t.vectors + 2 * s->k, .shift2 = t.vectors + 3 * s->k,
        .residual_multiplier = v->ties ? 0.5f : 0.37f, .x_zero = v->x_zero,
        .n = n, .h = s->h, .w = s->w, .c = s->c, .p = p, .q = q, .k = s->k, .r = s->r, .s = s->s, .stride_h = s->stride, .stride_w = s->stride,
        .pad_top = s->pad_top, .pad_left = s->pad_left, .groups = s->groups, .row_end = n * p, .relu = rn_layer_shape_has(s, 'r'),
    };
    return t;
}

static void destroy_problem(problem *t)
{
    test_map *maps[] = {&t->x, &t->residual, &t->expected, &t->expected2, &t->got, &t->got2};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) destroy_map(maps[i]);
    free(t->filter);
    free(t->vectors);
}

/* The whole convolution in two parts each way, as two threads would. */
static void run_direct(const problem *t, const rn_conv2d_tile_kernel *kernel)
{
    rn_conv2d_args args = t->args;
    if (args.y.data) args.y = t->got.map;
    if (args.y2.data) args.y2 = t->got2.map;
    assert_true(rn_conv2d_direct_fits(&args));
    const rn_conv2d_panels panels = rn_conv2d_panels_layout(&args, kernel->lanes);
    void *packed = aligned_alloc(64, ((size_t)panels.count * (size_t)panels.bytes + 63) / 64 * 64);
    rn_conv2d_panels_pack(&args, &panels, packed);
    rn_conv2d_direct d;
    rn_conv2d_direct_init(&d, &args, *kernel, &panels, packed);
    const int32_t tile = d.tile_count / 2, panel = panels.count / 2;
    rn_conv2d_direct_run(&d, 0, tile, 0, panels.count);
    rn_conv2d_direct_run(&d, tile, d.tile_count, 0, panel);
    rn_conv2d_direct_run(&d, tile, d.tile_count, panel, panels.count);
    free(packed);
}

/* samples 0: all rows, else as many of them. */
static void test_conv2d(const rn_conv2d_tile_kernel *kernel, const rn_layer_shape *s, int32_t n, int32_t spare, int32_t samples, const variant *v)
{
    problem t = create_problem(s, n, spare, v);
    const int32_t rows = n * t.args.p;
    run_direct(&t, kernel);
    for (int32_t i = 0; i < (samples ? samples : rows); i++) {
        const int32_t row = samples ? (int32_t)((int64_t)(rows - 1) * i / (samples - 1)) : i;
        t.args.row_begin = row;
        t.args.row_end = row + 1;
        rn_conv2d_u8__ref(&t.args);
        if (t.args.y.data) check_row(kernel->name, &t.expected, &t.got, row);
        if (t.args.y2.data) check_row(kernel->name, &t.expected2, &t.got2, row);
    }
    check_outside(kernel->name, &t.got);
    check_outside(kernel->name, &t.got2);
    destroy_problem(&t);
}

/* The kernel, or NULL, and then a SKIP was counted. */
static int skipped;

#ifdef RN_TEST_TILE_KERNEL /* another one than the machine's, of the file that includes this one */
static const rn_conv2d_tile_kernel *tile_of_machine(void)
{
    return &RN_TEST_TILE_KERNEL;
}
#else
static rn_conv2d_tile_kernel tile_kernel;

static const rn_conv2d_tile_kernel *tile_of_machine(void)
{
    rn_cpu_kernels table;
    rn_cpu_kernels_select(rn_cpu_best_isa(), &table);
    tile_kernel = table.conv2d_tile[RN_DTYPE_U8];
    return tile_kernel.run ? &tile_kernel : NULL;
}
#endif

static void every_layer_shape(void **state)
{
    (void)state;
    const rn_conv2d_tile_kernel *kernel = tile_of_machine();
    if (!kernel) skip();
    FILE *file = fopen("tests/shapes/resnet101.txt", "r");
    assert_non_null(file);
    rn_layer_shape s;
    bool bad = false;
    int lines = 0;
    for (; rn_layer_shape_read(file, &s, &bad);) {
        if (strcmp(s.op, "conv2d") != 0) continue;
        const bool stem = s.c % 4 != 0;
        s.c = (s.c + 3) / 4 * 4;
        const variant v = {lines % 5 == 4 ? RN_DTYPE_F32 : RN_DTYPE_U8, stem ? 118 : 0, false};
        test_conv2d(kernel, &s, 1, s.c == 1024 ? 16 : 0, MAX_SAMPLES, &v);
        lines++;
    }
    fclose(file);
    assert_false(bad);
    assert_true(lines > 20);
    printf("%s: %d layer shapes equal to the bit\n", kernel->name, lines);
}

/* Widths and channels at and around the tile, with each epilogue, padding on all sides and on one, strides, batches, zeros, types of output. */
static void sizes_around_the_tile(void **state)
{
    (void)state;
    static const char *const epilogues[] = {"-", "r", "ar", "a", "ay", "xy", "arxy", "axy"};
    static const struct {
        int32_t r, stride, top, left, bottom, right;
    } windows[] = {{1, 1, 0, 0, 0, 0}, {3, 1, 1, 1, 1, 1}, {3, 2, 0, 0, 1, 1}, {3, 2, 1, 1, 1, 1}, {1, 2, 0, 0, 0, 0}, {7, 2, 3, 3, 3, 3}};
    const rn_conv2d_tile_kernel *kernel = tile_of_machine();
    if (!kernel) skip();
    const int32_t widths[] = {1, 2, kernel->rows / 2, kernel->rows - 1, kernel->rows, kernel->rows + 1};
    const int32_t outputs[] = {1, kernel->lanes / 2, kernel->lanes / 2 + 1, kernel->lanes - 1, kernel->lanes, kernel->lanes + 1, 2 * kernel->lanes + 3};
    int count = 0;
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        for (size_t q = 0; q < sizeof widths / sizeof *widths; q++) {
            for (size_t k = 0; k < sizeof outputs / sizeof *outputs; k++, count++) {
                rn_layer_shape s = {.h = 3 + count % 4, .w = widths[q] * windows[w].stride, .c = 4 + 4 * (count % 9), .k = outputs[k], .r = windows[w].r,
                                    .s = windows[w].r, .stride = windows[w].stride, .pad_top = windows[w].top, .pad_left = windows[w].left,
                                    .pad_bottom = windows[w].bottom, .pad_right = windows[w].right, .groups = 1};
                strcpy(s.flags, epilogues[count % 8]);
                if (rn_layer_shape_p(&s) < 1 || rn_layer_shape_q(&s) < 1) continue;
                const variant v = {count % 3 ? RN_DTYPE_U8 : RN_DTYPE_F32, (uint8_t)(count % 5 ? 0 : 128), count % 7 == 0};
                test_conv2d(kernel, &s, 1 + count % 3, count % 5, 0, &v);
            }
        }
    }
    printf("%s: %d sizes around the tile equal to the bit\n", kernel->name, count);
}

static void groups(void **state)
{
    (void)state;
    static const int32_t cases[][3] = {{8, 8, 2}, {128, 128, 32}, {96, 96, 2}, {24, 24, 3}, {64, 64, 16}, {80, 120, 5}}; /* c, k, groups */
    const rn_conv2d_tile_kernel *kernel = tile_of_machine();
    if (!kernel) skip();
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) {
        rn_layer_shape s = {.flags = "ar", .h = 9, .w = 9, .c = cases[j][0], .k = cases[j][1], .r = 3, .s = 3, .stride = 1, .pad_top = 1,
                            .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = cases[j][2]};
        test_conv2d(kernel, &s, 2, 0, 0, &(variant){RN_DTYPE_U8, (uint8_t)(j % 2 ? 77 : 0), false});
    }
}

/* ---- Winograd ---- */

static bool has_winograd(rn_cpu_kernels *table)
{
    rn_cpu_kernels_select(rn_cpu_best_isa() < RN_ISA_AVX512_BF16 ? rn_cpu_best_isa() : RN_ISA_AVX512_BF16, table);
    return table->winograd_input[RN_DTYPE_U8].run != NULL;
}

/* In two parts each way, as two threads would. */
static void run_winograd(const rn_conv2d_args *args, int32_t m, const rn_cpu_kernels *table)
{
    rn_conv2d_winograd w;
    assert_true(rn_conv2d_winograd_fits(args));
    rn_conv2d_winograd_init(&w, args, m, table, NULL);
    void *packed = aligned_alloc(64, (size_t)(w.panel_count * w.panel_bytes));
    void *scratch = aligned_alloc(64, (rn_conv2d_winograd_scratch_bytes(&w) + 63) / 64 * 64);
    memset(packed, 0xff, (size_t)(w.panel_count * w.panel_bytes));
    memset(scratch, 0xff, rn_conv2d_winograd_scratch_bytes(&w)); /* NaN */
    rn_conv2d_winograd_pack(&w, packed);
    w.packed = packed;
    const int32_t tile = w.tile_count / 2, panel = w.panel_count / 2;
    rn_conv2d_winograd_run(&w, 0, tile, 0, w.panel_count, scratch);
    rn_conv2d_winograd_run(&w, tile, w.tile_count, 0, panel, scratch);
    rn_conv2d_winograd_run(&w, tile, w.tile_count, panel, w.panel_count, scratch);
    free(scratch);
    free(packed);
}

/* The largest difference between what the sums are worth and the bytes that became of them, as a share of what bf16 points may make of it: a byte's own
 * half, and of the largest sum two roundings with m = 2, ten with m = 4 (conv2d_test.c), twenty with 5. */
static double winograd_share(const problem *t, const test_map *got, int32_t m)
{
    const rn_map *expected = &t->expected.map;
    double worst = 0, largest = 0;
    for (int32_t row = 0; row < got->n * got->h; row++) {
        for (int32_t i = 0; i < got->w * got->c; i++) {
            const int32_t x = i / got->c, c = i % got->c;
            const int64_t at = row / got->h * expected->image + row % got->h * expected->row + x * expected->pixel + c;
            const double value = (double)*(const float *)rn_map_at(expected, at);
            worst = fmax(worst, fabs(fmin(fmax(value, 0), 255) - *map_at(got, row, x, c)));
            largest = fmax(largest, fabs(value - (double)t->args.bias[c]));
        }
    }
    return worst / (0.5 + 0x1p-8 * (m == 2 ? 2 : m == 4 ? 10 : 20) * largest);
}

/* Around the picture lie bytes that are none of its: nobody reads them. */
static double test_winograd(const rn_layer_shape *s, int32_t n, int32_t spare, int32_t m, const rn_cpu_kernels *table)
{
    problem t = create_problem(s, n, spare, &(variant){RN_DTYPE_F32, 99, false});
    test_map got = create_map(RN_DTYPE_U8, n, t.args.p, t.args.q, s->k, spare, spare ? 1 : 0, 0);
    t.args.x_zero = 0;
    rn_conv2d_u8__ref(&t.args);
    rn_conv2d_args args = t.args;
    args.y = got.map;
    run_winograd(&args, m, table);
    const double share = winograd_share(&t, &got, m);
    check_outside(table->winograd_output[RN_DTYPE_U8].name, &got);
    destroy_map(&got);
    destroy_problem(&t);
    return share;
}

/* Small whole numbers are exact at the points of m = 2, so that there every byte is that of the reference, ties included. */
static void winograd_of_small_numbers(void **state)
{
    (void)state;
    rn_cpu_kernels table;
    if (!has_winograd(&table)) skip();
    for (int32_t side = 1; side <= 9; side++) {
        const rn_layer_shape s = {.flags = "r", .h = side, .w = 10 - side, .c = 32, .k = 48, .r = 3, .s = 3, .stride = 1, .pad_top = 1, .pad_left = 1,
                                  .pad_bottom = 1, .pad_right = 1, .groups = 1};
        problem t = create_problem(&s, 2, side % 3, &(variant){RN_DTYPE_U8, 0, true});
        rn_conv2d_u8__ref(&t.args);
        rn_conv2d_args args = t.args;
        args.y = t.got.map;
        run_winograd(&args, 2, &table);
        for (int32_t row = 0; row < 2 * t.args.p; row++) check_row(table.winograd_output[RN_DTYPE_U8].name, &t.expected, &t.got, row);
        check_outside(table.winograd_output[RN_DTYPE_U8].name, &t.got);
        destroy_problem(&t);
    }
}

/* Pictures around the tile, channels around the panel and those of ResNet's last stages, paddings of 0 to 2. */
static void winograd(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 2, 3, 4, 5, 7, 9, 14, 30}, channels[] = {16, 32, 48, 80, 256}, tiles[] = {2, 4, 5};
    rn_cpu_kernels table;
    if (!has_winograd(&table)) skip();
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        double worst = 0;
        for (int count = 0; count < 81; count++) {
            rn_layer_shape s = {.h = sizes[count / 9], .w = sizes[count % 9], .c = channels[count % 5], .k = channels[count / 5 % 5], .r = 3, .s = 3,
                                .stride = 1, .pad_top = count % 3, .pad_left = (count + 1) % 3, .pad_bottom = 2, .pad_right = 2 - count % 2, .groups = 1};
            strcpy(s.flags, count % 2 ? "r" : "-");
            worst = fmax(worst, test_winograd(&s, 1 + count % 3, count % 5, tiles[i], &table));
        }
        printf("%s: Winograd %dx%d, at most %.0f %% of the allowed difference\n", table.winograd_input[RN_DTYPE_U8].name, tiles[i], tiles[i], 100 * worst);
        assert_true(worst < 1);
    }
}

/* One pixel, two channels in and out, every number small enough to follow. */
static void reference_by_hand(void **state)
{
    (void)state;
    uint8_t x[2] = {10, 200}, residual[2] = {100, 7}, y[2], y2[2];
    const int8_t filter[4] = {1, -2, 3, 4}; /* [c][k] */
    const float multiplier[2] = {0.5f, 0.25f}, bias[2] = {-200, 0.5f}, scale2[2] = {1, -1}, shift2[2] = {2.5f, 300};
    rn_conv2d_args a = {.x = {x, 2, 2, 2, RN_DTYPE_U8}, .residual = {residual, 2, 2, 2, RN_DTYPE_U8}, .y = {y, 2, 2, 2, RN_DTYPE_U8},
                        .y2 = {y2, 2, 2, 2, RN_DTYPE_U8}, .filter8 = filter, .multiplier = multiplier, .bias = bias, .scale2 = scale2,
                        .shift2 = shift2, .residual_multiplier = 0.25f, .n = 1, .h = 1, .w = 1, .c = 2, .p = 1, .q = 1, .k = 2, .r = 1, .s = 1,
                        .stride_h = 1, .stride_w = 1, .groups = 1, .row_end = 1};
    rn_conv2d_u8__ref(&a);
    /* Channel 0: (10 + 600) / 2 - 200 + 25 = 130. Channel 1: (-20 + 800) / 4 + 0.5 + 1.75 = 197.25. */
    assert_int_equal(y[0], 130);
    assert_int_equal(y[1], 197);
    assert_int_equal(y2[0], 132); /* 132.5 to even */
    assert_int_equal(y2[1], 103); /* 102.75 */
    /* Around a picture of one pixel lie bytes of 3: a 3x1 filter sees 3, x, 3. */
    const int8_t column[3] = {5, 1, -1};
    a = (rn_conv2d_args){.x = {x, 1, 1, 1, RN_DTYPE_U8}, .y = {y, 1, 1, 1, RN_DTYPE_U8}, .filter8 = column, .multiplier = multiplier, .bias = bias + 1,
                         .x_zero = 3, .n = 1, .h = 1, .w = 1, .c = 1, .p = 1, .q = 1, .k = 1, .r = 3, .s = 1, .stride_h = 1, .stride_w = 1,
                         .pad_top = 1, .groups = 1, .row_end = 1};
    rn_conv2d_u8__ref(&a);
    assert_int_equal(y[0], 12); /* (15 + 10 - 3) / 2 + 0.5 = 11.5, to even */
}

/* ---- the others, on every instruction set ---- */

static const rn_isa isas[] = {RN_ISA_SCALAR, RN_ISA_AVX2, RN_ISA_AVX512};
enum { ISA_COUNT = sizeof isas / sizeof *isas };

static void max_pools(void **state)
{
    (void)state;
    static const int32_t channels[] = {1, 4, 31, 63, 64, 65, 200};
    for (int i = 0; i < ISA_COUNT && isas[i] <= rn_cpu_best_isa(); i++) {
        rn_cpu_kernels table;
        rn_cpu_kernels_select(isas[i], &table);
        assert_int_equal(table.max_pool[RN_DTYPE_U8].isa, isas[i]);
        for (int j = 0; j < 7 * 4; j++) {
            const int32_t size = 1 + j % 3, c = channels[j % 7], h = 6 + j % 2, w = 5 + j % 5, pad = size / 2, p = (h + 2 * pad - size) / (1 + j % 2) + 1;
            const int32_t q = (w + 2 * pad - size) / (1 + j % 2) + 1;
            test_map x = create_map(RN_DTYPE_U8, 2, h, w, c, j % 3, 0, 0), expected = create_map(RN_DTYPE_U8, 2, p, q, c, 0, 0, 0);
            test_map got = create_map(RN_DTYPE_U8, 2, p, q, c, j % 4, j % 2, 0);
            fill_map(&x, 256);
            rn_max_pool_args args = {.x = x.map, .y = expected.map, .h = h, .w = w, .c = c, .p = p, .q = q, .r = size, .s = size,
                                     .stride_h = 1 + j % 2, .stride_w = 1 + j % 2, .pad_top = pad, .pad_left = pad, .row_end = 2 * p,
                                     .pad_zero = j % 2, .zero = (uint8_t)(j % 4 == 3 ? 130 : 0)};
            rn_max_pool_u8__ref(&args);
            args.y = got.map;
            table.max_pool[RN_DTYPE_U8].run(&args);
            for (int32_t row = 0; row < 2 * p; row++) check_row(table.max_pool[RN_DTYPE_U8].name, &expected, &got, row);
            check_outside(table.max_pool[RN_DTYPE_U8].name, &got);
            destroy_map(&x), destroy_map(&expected), destroy_map(&got);
        }
    }
}

static void quantizing(void **state)
{
    (void)state;
    static const int32_t channels[][2] = {{1, 1}, {3, 4}, {5, 8}, {16, 16}, {64, 64}, {65, 68}};
    for (int i = 0; i < ISA_COUNT && isas[i] <= rn_cpu_best_isa(); i++) {
        rn_cpu_kernels table;
        rn_cpu_kernels_select(isas[i], &table);
        assert_int_equal(table.quantize[RN_DTYPE_F32].isa, isas[i]);
        for (int j = 0; j < 6 * 3; j++) {
            const int32_t c = channels[j % 6][0], y_c = channels[j % 6][1], h = 3, w = 7 + j;
            test_map x = create_map(RN_DTYPE_F32, 2, h, w, c, j % 3, 0, 0), expected = create_map(RN_DTYPE_U8, 2, h, w, y_c, 0, 0, 0);
            test_map got = create_map(RN_DTYPE_U8, 2, h, w, y_c, j / 6, j % 2, 0);
            fill_map(&x, 300);
            *(float *)map_at(&x, 0, 0, 0) = NAN;
            *(float *)map_at(&x, 1, 0, 0) = INFINITY;
            *(float *)map_at(&x, 1, 1, 0) = -INFINITY;
            *(float *)map_at(&x, 1, 2, 0) = 2.5f;
            rn_quantize_args args = {.x = x.map, .y = expected.map, .multiplier = 1, .zero = (uint8_t)(j % 2 ? 100 : 0), .h = h, .w = w, .c = c,
                                     .y_c = y_c, .row_end = 2 * h};
            rn_quantize_f32__ref(&args);
            assert_int_equal(*map_at(&expected, 0, 0, 0), 0);
            assert_int_equal(*map_at(&expected, 1, 0, 0), 255);
            assert_int_equal(*map_at(&expected, 1, 1, 0), 0);
            assert_int_equal(*map_at(&expected, 1, 2, 0), args.zero + 2);
            if (y_c > c) assert_int_equal(*map_at(&expected, 2, 3, c), args.zero);
            args.y = got.map;
            table.quantize[RN_DTYPE_F32].run(&args);
            for (int32_t row = 0; row < 2 * h; row++) check_row(table.quantize[RN_DTYPE_F32].name, &expected, &got, row);
            check_outside(table.quantize[RN_DTYPE_F32].name, &got);
            destroy_map(&x), destroy_map(&expected), destroy_map(&got);
        }
    }
}

int main(void)
{
#ifdef RN_TEST_NEEDS /* which that kernel takes */
    if (rn_cpu_best_isa() < RN_TEST_NEEDS) {
        printf("SKIP %s: this processor lacks %s\n1 SKIP\n", RN_TEST_TILE_KERNEL.name, rn_isa_name(RN_TEST_NEEDS));
        return 0;
    }
#endif
    if (!tile_of_machine()) printf("SKIP int8 convolution: this processor lacks %s\n", rn_isa_name(RN_ISA_AVX512_VNNI)), skipped++;
    rn_cpu_kernels table;
    if (!has_winograd(&table)) printf("SKIP int8 Winograd: this processor lacks %s\n", rn_isa_name(RN_ISA_AVX512_BF16)), skipped++;
    printf("seed %d\n", SEED);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_shape), cmocka_unit_test(sizes_around_the_tile), cmocka_unit_test(groups),
        cmocka_unit_test(winograd),          cmocka_unit_test(winograd_of_small_numbers), cmocka_unit_test(reference_by_hand),
        cmocka_unit_test(max_pools),         cmocka_unit_test(quantizing),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("%d SKIP\n", skipped);
    return failed;
}
