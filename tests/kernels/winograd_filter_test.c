/* Winograd's filter transforms of the list against the reference, to the bit, and the reference against the formula of winograd_kernels.h. That
 * the points make a convolution is shown by conv2d_test.c. */
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

#include "kernels/cpu/cpu_kernels.h"
#include "tests/support/test_map.h"

enum { SEED = 20240301, MAX_KERNELS = 8 };
static const int32_t tiles[] = {2, 4, 5};

static rn_winograd_filter_kernel kernels[MAX_KERNELS];
static int kernel_count, skipped;

static void collect(rn_isa isa, const char *symbol)
{
    rn_cpu_kernels table;
    if (isa > rn_cpu_best_isa()) {
        printf("SKIP %s: this processor lacks %s\n", symbol, rn_isa_name(isa));
        skipped++;
        return;
    }
    rn_cpu_kernels_select(isa, &table);
    assert_in_range(kernel_count, 0, MAX_KERNELS - 1);
    kernels[kernel_count++] = table.winograd_filter[RN_DTYPE_F32];
    assert_string_equal(kernels[kernel_count - 1].name, symbol);
}

static int collect_kernels(void **state)
{
    (void)state;
#define RN_CPU_KERNEL(slot, dtype, symbol, needs, rows, lanes)                                                                             \
    if (strcmp(#slot, "winograd_filter") == 0 && RN_DTYPE_##dtype == RN_DTYPE_F32) collect(RN_ISA_##needs, #symbol);
#include "kernels/cpu/cpu_kernels.def"
#undef RN_CPU_KERNEL
    assert_true(kernel_count > 0);
    printf("seed %d\n", SEED);
    return 0;
}

/* Panels whole and cut off, as one of several and alone; nothing beyond the panel is written. */
static void same_bits_as_the_reference(void **state)
{
    (void)state;
    static const struct {
        int32_t c, k, k_begin, lanes;
    } shapes[] = {{16, 16, 0, 16}, {16, 16, 0, 32}, {32, 48, 32, 32}, {48, 80, 64, 16}, {64, 64, 32, 32}, {16, 96, 0, 32}};
    for (int i = 0; i < kernel_count; i++) {
        int panels = 0;
        for (size_t at = 0; at < sizeof shapes / sizeof *shapes * 3; at++) {
            const int32_t m = tiles[at % 3], c = shapes[at / 3].c, k = shapes[at / 3].k, lanes = shapes[at / 3].lanes;
            const size_t count = (size_t)(m + 2) * (size_t)(m + 2) * (size_t)c * (size_t)lanes, bytes = count * sizeof(float);
            float *filter = malloc((size_t)(9 * c * k) * sizeof *filter), *expected = aligned_alloc(64, bytes + 64), *got = aligned_alloc(64, bytes + 64);
            assert_true(filter && expected && got);
            rn_test_fill(filter, (size_t)(9 * c * k), SEED + (uint32_t)at);
            filter[c * k + 3] = NAN;
            filter[2 * c * k + 5] = INFINITY;
            memset(expected, 0xa5, bytes + 64);
            memset(got, 0xa5, bytes + 64);
            rn_winograd_filter_args args = {.filter = filter, .m = m, .c = c, .k = k, .c_end = c, .k_begin = shapes[at / 3].k_begin, .lanes = lanes,
                                            .panel = expected};
            rn_winograd_filter_f32__ref(&args);
            args.panel = got;
            kernels[i].run(&args);
            for (size_t j = 0; j < count; j++) { /* the payload of a NaN is not part of the contract */
                if (!(isnan(expected[j]) && isnan(got[j]))) assert_memory_equal(&got[j], &expected[j], sizeof *got);
            }
            assert_memory_equal(got + count, expected + count, 64);
            free(filter);
            free(expected);
            free(got);
            panels++;
        }
        printf("%s: %d panels equal to the bit\n", kernels[i].name, panels);
    }
}

/* The filter is the polynomial g0 + g1 x + g2 x^2 in each direction: at a point (a, b) it is worth p(a, b) over the products of the distances to the
 * other points. */
static void points_of_the_formula(void **state)
{
    (void)state;
    static const double points[3][6] = {{0, 1, -1}, {0, 0.625, -0.625, 1.5, -1.5}, {0.25, -0.25, 1, -1, 1.75, -1.75}};
    float filter[9 * 16 * 16], *panel = aligned_alloc(64, sizeof(float) * 49 * 16 * 16);
    assert_non_null(panel);
    rn_test_fill(filter, 9 * 16 * 16, SEED);
    for (int t = 0; t < 3; t++) {
        const int32_t n = tiles[t] + 2;
        const double *finite = points[t];
        rn_winograd_filter_f32__ref(&(rn_winograd_filter_args){.filter = filter, .m = tiles[t], .c = 16, .k = 16, .c_end = 16, .lanes = 16, .panel = panel});
        for (int32_t at = 0; at < n * n * 256; at++) {
            const int32_t point = at / 256, weight = at % 256;
            double row[3], column[3];
            for (int axis = 0; axis < 2; axis++) {
                const int32_t i = axis ? point % n : point / n;
                double *to = axis ? column : row, distance = 1;
                for (int32_t j = 0; i < n - 1 && j < n - 1; j++) distance *= j == i ? 1 : finite[i] - finite[j];
                for (int power = 0; power < 3; power++) to[power] = i == n - 1 ? power == 2 : pow(finite[i], power) / distance;
            }
            double value = 0;
            for (int tap = 0; tap < 9; tap++) value += row[tap / 3] * column[tap % 3] * (double)filter[tap * 256 + weight];
            assert_true(fabs((double)panel[at] - value) <= 1e-7 * fmax(1, fabs(value)));
        }
    }
    free(panel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_as_the_reference), cmocka_unit_test(points_of_the_formula)};
    const int failed = cmocka_run_group_tests(tests, collect_kernels, NULL);
    printf("%d SKIP\n", skipped);
    return failed;
}
