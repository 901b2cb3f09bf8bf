/* Every memory-bound kernel of the list against the reference kernel of its slot: the layer shapes of ResNet-101, sizes around the vector and
 * around the blocks of plain_kernels.h, strided and dense maps. */
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

#include "tests/support/layer_shapes.h"
#include "tests/support/test_map.h"

enum { SEED = 20240301 };

/* A kernel of the list: its instruction set and the type of its maps. The reference computes in f32 on values that the type can hold. */
typedef struct {
    rn_isa isa;
    rn_dtype dtype;
} kind;

/* Shapes of one test: from the file, then around vectors and blocks. */
static const int32_t widths[] = {1, 2, 7, 16, 17};
static const int32_t channels[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 47, 48, 49, 63, 64, 65, 130};

typedef void shape_test(kind kind, const rn_layer_shape *shape, int32_t n, int32_t spare, double *worst);

static void run_shapes(const char *op, const char *kernel, kind kind, shape_test *test, double allowance)
{
    double worst = 0;
    FILE *file = fopen("tests/shapes/resnet101.txt", "r");
    assert_non_null(file);
    rn_layer_shape s;
    bool bad = false;
    int count = 0;
    while (rn_layer_shape_read(file, &s, &bad)) {
        if (strcmp(s.op, op) == 0) test(kind, &s, 1, 0, &worst), count++;
    }
    fclose(file);
    assert_false(bad);
    assert_true(count > 0);
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++, count++) {
            static const char *const flags[] = {"-", "b", "br", "r", "bz", "z"};
            s = (rn_layer_shape){.h = 1 + count % 5, .w = widths[w], .c = channels[c], .k = channels[c], .stride = 1 + count % 2, .groups = 1};
            s.r = s.s = 1 + count % 3;
            s.pad_top = s.pad_left = s.r / 2;
            s.pad_bottom = s.pad_right = s.r - 1;
            strcpy(s.flags, flags[count % 6]);
            test(kind, &s, 1 + count % 3, count % 4, &worst);
        }
    }
    char what[64];
    snprintf(what, sizeof what, "%d shapes", count);
    rn_test_report(kernel, what, worst, allowance);
}

/* An f32 map of random values that the type can hold. */
static rn_test_map create_input(rn_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c, uint32_t seed)
{
    rn_test_map m = rn_test_map_create(n, h, w, c, 0, 0);
    rn_test_map_fill(&m, seed);
    rn_test_map_round(&m, dtype);
    return m;
}

static void relative(const rn_test_map *expected, const rn_test_map *got, double *worst)
{
    double error = 0, largest = 0;
    rn_test_map_compare(expected, got, 0, expected->n * expected->h, &error, &largest);
    rn_test_map_check_outside(got);
    if (largest > 0) error /= largest;
    if (error > *worst) *worst = error;
}

/* ---- scale and shift ---- */

static rn_scale_shift_args scale_shift_args(const rn_layer_shape *s, const float *vectors, const rn_test_map *x, const rn_test_map *y)
{
    const bool present = rn_layer_shape_has(s, 'b');
    return (rn_scale_shift_args){.x = x->map, .y = y->map, .scale = present ? vectors : NULL, .shift = present ? vectors + s->c : NULL,
                                 .scale_per_channel = s->h != 2, .shift_per_channel = s->h != 3, .h = x->h, .w = x->w, .c = x->c,
                                 .row_begin = 0, .row_end = x->n * x->h, .relu = rn_layer_shape_has(s, 'r')};
}

static void test_scale_shift_from(rn_dtype from, kind kind, const rn_layer_shape *s, int32_t n, int32_t spare, double *worst)
{
    rn_cpu_kernels table;
    rn_cpu_kernels_select(kind.isa, &table);
    rn_test_map x = create_input(from, n, s->h, s->w, s->c, SEED + 1), expected = rn_test_map_create(n, s->h, s->w, s->c, 0, 0);
    rn_test_map typed = rn_test_map_convert(&x, from, spare, 0);
    rn_test_map got = rn_test_map_create_typed(kind.dtype, n, s->h, s->w, s->c, spare, spare > 1);
    float *vectors = malloc(2 * (size_t)s->c * sizeof *vectors);
    rn_test_fill(vectors, 2 * (size_t)s->c, SEED);
    rn_scale_shift_args args = scale_shift_args(s, vectors, &x, &expected);
    rn_scale_shift_f32__ref(&args);
    args.x = typed.map, args.y = got.map;
    table.scale_shift[kind.dtype].run(&args);
    relative(&expected, &got, worst);
    rn_test_map_destroy(&x), rn_test_map_destroy(&typed), rn_test_map_destroy(&expected), rn_test_map_destroy(&got);
    free(vectors);
}

static void test_scale_shift(kind kind, const rn_layer_shape *s, int32_t n, int32_t spare, double *worst)
{
    test_scale_shift_from(kind.dtype, kind, s, n, spare, worst);
}

/* The kernel for bf16 narrows f32 too. */
static void test_scale_shift_narrowing(kind kind, const rn_layer_shape *s, int32_t n, int32_t spare, double *worst)
{
    test_scale_shift_from(RN_DTYPE_F32, kind, s, n, spare, worst);
}

static void test_scale_shift_u8(kind kind, const rn_layer_shape *s, int32_t n, int32_t spare, double *worst)
{
    rn_cpu_kernels table;
    rn_cpu_kernels_select(kind.isa, &table);
    rn_test_map x = rn_test_map_create(n, s->h, s->w, s->c, spare, 0), expected = rn_test_map_create(n, s->h, s->w, s->c, 0, 0);
    rn_test_map got = rn_test_map_create(n, s->h, s->w, s->c, spare, 0);
    float *vectors = malloc(2 * (size_t)s->c * sizeof *vectors);
    rn_test_fill(vectors, 2 * (size_t)s->c, SEED);
    uint8_t *bytes = malloc(x.elements); /* the strides of x */
    for (size_t i = 0; i < x.elements; i++) bytes[i] = (uint8_t)(i * 37 + i / 256);
    rn_scale_shift_args args = scale_shift_args(s, vectors, &x, &expected);
    args.x.data = bytes;
    args.x.dtype = RN_DTYPE_U8;
    rn_scale_shift_u8__ref(&args);
    args.y = got.map;
    table.scale_shift[RN_DTYPE_U8].run(&args);
    relative(&expected, &got, worst);
    rn_test_map_destroy(&x), rn_test_map_destroy(&expected), rn_test_map_destroy(&got);
    free(vectors);
    free(bytes);
}

/* ---- the others ---- */

static void test_add(kind kind, const rn_layer_shape *s, int32_t n, int32_t spare, double *worst)
{
    rn_cpu_kernels table;
    rn_cpu_kernels_select(kind.isa, &table);
    rn_test_map a = create_input(kind.dtype, n, s->h, s->w, s->c, SEED), b = create_input(kind.dtype, n, s->h, s->w, s->c, SEED + 1);
    rn_test_map typed_a = rn_test_map_convert(&a, kind.dtype, spare, 0), typed_b = rn_test_map_convert(&b, kind.dtype, 0, 1);
    rn_test_map expected = rn_test_map_create(n, s->h, s->w, s->c, 0, 0), got = rn_test_map_create_typed(kind.dtype, n, s->h, s->w, s->c, spare, 0);
    rn_add_args args = {.a = a.map, .b = b.map, .y = expected.map, .h = s->h, .w = s->w, .c = s->c, .row_begin = 0, .row_end = n * s->h,
                        .relu = rn_layer_shape_has(s, 'r')};
    rn_add_f32__ref(&args);
    args.a = typed_a.map, args.b = typed_b.map, args.y = got.map;
    table.add[kind.dtype].run(&args);
    relative(&expected, &got, worst);
    rn_test_map_destroy(&a), rn_test_map_destroy(&b), rn_test_map_destroy(&typed_a), rn_test_map_destroy(&typed_b);
    rn_test_map_destroy(&expected), rn_test_map_destroy(&got);
}

static void test_max_pool(kind kind, const rn_layer_shape *s, int32_t n, int32_t spare, double *worst)
{
    const int32_t p = rn_layer_shape_p(s), q = rn_layer_shape_q(s);
    if (p < 1 || q < 1) return;
    rn_cpu_kernels table;
    rn_cpu_kernels_select(kind.isa, &table);
    rn_test_map x = create_input(kind.dtype, n, s->h, s->w, s->c, SEED), expected = rn_test_map_create(n, p, q, s->c, 0, 0);
    *rn_test_map_at(&x, 0, 0, 0, 0) = NAN;
    rn_test_map typed = rn_test_map_convert(&x, kind.dtype, spare, 0), got = rn_test_map_create_typed(kind.dtype, n, p, q, s->c, spare, 1);
    rn_max_pool_args args = {.x = x.map, .y = expected.map, .h = s->h, .w = s->w, .c = s->c, .p = p, .q = q, .r = s->r, .s = s->s,
                             .stride_h = s->stride, .stride_w = s->stride, .pad_top = s->pad_top, .pad_left = s->pad_left, .row_begin = 0,
                             .row_end = n * p, .pad_zero = rn_layer_shape_has(s, 'z')};
    rn_max_pool_f32__ref(&args);
    args.x = typed.map, args.y = got.map;
    table.max_pool[kind.dtype].run(&args);
    relative(&expected, &got, worst);
    rn_test_map_destroy(&x), rn_test_map_destroy(&typed), rn_test_map_destroy(&expected), rn_test_map_destroy(&got);
}

static void test_global_average_pool(kind kind, const rn_layer_shape *s, int32_t n, int32_t spare, double *worst)
{
    rn_cpu_kernels table;
    rn_cpu_kernels_select(kind.isa, &table);
    rn_test_map x = create_input(kind.dtype, n, s->h, s->w, s->c, SEED), typed = rn_test_map_convert(&x, kind.dtype, spare, 0);
    rn_test_map expected = rn_test_map_create(n, 1, 1, s->c, 0, 0), got = rn_test_map_create(n, 1, 1, s->c, spare, 0);
    rn_global_average_pool_args args = {.x = x.map, .y = expected.map, .h = s->h, .w = s->w, .c = s->c, .image_begin = 0, .image_end = n};
    rn_global_average_pool_f32__ref(&args);
    args.x = typed.map, args.y = got.map;
    table.global_average_pool[kind.dtype].run(&args);
    relative(&expected, &got, worst);
    rn_test_map_destroy(&x), rn_test_map_destroy(&typed), rn_test_map_destroy(&expected), rn_test_map_destroy(&got);
}

static void test_class_map(kind kind, const rn_layer_shape *s, int32_t n, int32_t spare, double *worst)
{
    rn_cpu_kernels table;
    rn_cpu_kernels_select(kind.isa, &table);
    rn_test_map x = create_input(kind.dtype, n, s->h, s->w, s->c, SEED), typed = rn_test_map_convert(&x, kind.dtype, spare, 0);
    rn_test_map weights = rn_test_map_create(n, 1, 1, s->c, 0, 0);
    rn_test_map expected = rn_test_map_create(n, s->h, s->w, 1, 0, 0), got = rn_test_map_create(n, s->h, s->w, 1, 0, 0);
    rn_test_map_fill(&weights, SEED + 1);
    rn_class_map_args args = {.x = x.map, .weights = weights.map.data, .y = expected.map.data, .h = s->h, .w = s->w, .c = s->c,
                              .row_begin = 0, .row_end = n * s->h};
    rn_class_map_f32__ref(&args);
    args.x = typed.map, args.y = got.map.data;
    table.class_map[kind.dtype].run(&args);
    relative(&expected, &got, worst);
    rn_test_map_destroy(&x), rn_test_map_destroy(&typed), rn_test_map_destroy(&weights);
    rn_test_map_destroy(&expected), rn_test_map_destroy(&got);
}

/* An operation of the shapes file, which is a slot of the table, on every instruction set of this machine that has a kernel of its own for the type. */
static void run_kinds(const char *op, rn_dtype dtype, const rn_cpu_kernels *tables, size_t slot, shape_test *test, double allowance)
{
    int count = 0;
    for (int isa = RN_ISA_AVX2; isa <= (int)rn_cpu_best_isa(); isa++) {
        const rn_add_kernel *kernel = (const rn_add_kernel *)((const char *)&tables[isa] + slot) + dtype; /* all slots begin alike */
        if (!kernel->run || (int)kernel->isa != isa) continue;
        run_shapes(op, kernel->name, (kind){kernel->isa, dtype}, test, allowance);
        count++;
    }
    if (count == 0) printf("SKIP %s %s: no kernel of this processor\n", op, rn_dtype_name(dtype));
}

static rn_cpu_kernels tables[RN_ISA_COUNT];

#define DEFINE_TEST(op, slot, dtype, allowance)                                                                                            \
    static void op##_##dtype(void **state)                                                                                                 \
    {                                                                                                                                      \
        (void)state;                                                                                                                       \
        run_kinds(#op, RN_DTYPE_##dtype, tables, offsetof(rn_cpu_kernels, slot), test_##op, allowance);                                    \
    }
/* The same roundings in the same order as the reference: no error at all. */
DEFINE_TEST(scale_shift, scale_shift, F32, 0)
DEFINE_TEST(scale_shift_u8, scale_shift, U8, 0)
DEFINE_TEST(add, add, F32, 0)
DEFINE_TEST(max_pool, max_pool, F32, 0)
/* A maximum of bf16 is bf16; sums and products are rounded to it, by half a unit in the last of 8 bits. */
DEFINE_TEST(scale_shift, scale_shift, BF16, 0x1p-8)
DEFINE_TEST(add, add, BF16, 0x1p-8)

static void scale_shift_narrowing(void **state)
{
    (void)state;
    run_kinds("scale_shift", RN_DTYPE_BF16, tables, offsetof(rn_cpu_kernels, scale_shift), test_scale_shift_narrowing, 0x1p-8);
}

DEFINE_TEST(max_pool, max_pool, BF16, 0)
/* A sum of 49 terms in fp32 against one in double precision, relative to the largest mean, which is several times below the terms. */
DEFINE_TEST(global_average_pool, global_average_pool, F32, 64 * FLT_EPSILON)
DEFINE_TEST(global_average_pool, global_average_pool, BF16, 64 * FLT_EPSILON)
/* Sums of 32 products in each of 64 places, then of these, relative to the largest sum. */
DEFINE_TEST(class_map, class_map, F32, 64 * FLT_EPSILON)
DEFINE_TEST(class_map, class_map, BF16, 64 * FLT_EPSILON)

int main(void)
{
    int skipped = 0;
#define RN_CPU_KERNEL(slot, dtype, symbol, needs, rows, lanes)                                                                                    \
    if (RN_ISA_##needs > rn_cpu_best_isa()) printf("SKIP %s: this processor lacks %s\n", #symbol, rn_isa_name(RN_ISA_##needs)), skipped++;
#include "kernels/cpu/cpu_kernels.def"
#undef RN_CPU_KERNEL
    printf("seed %d\n", SEED);
    for (int isa = 0; isa <= (int)rn_cpu_best_isa(); isa++) rn_cpu_kernels_select((rn_isa)isa, &tables[isa]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_shift_F32), cmocka_unit_test(scale_shift_u8_U8), cmocka_unit_test(add_F32),
        cmocka_unit_test(max_pool_F32), cmocka_unit_test(global_average_pool_F32), cmocka_unit_test(scale_shift_BF16), cmocka_unit_test(scale_shift_narrowing),
        cmocka_unit_test(add_BF16), cmocka_unit_test(max_pool_BF16), cmocka_unit_test(global_average_pool_BF16),
        cmocka_unit_test(class_map_F32), cmocka_unit_test(class_map_BF16),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("%d SKIP\n", skipped);
    return failed;
}
