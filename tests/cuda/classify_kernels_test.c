/* Softmax and top-k against kernels/ref: odd numbers of classes, ties, NaN, infinities, every thread order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cuda/cuda_kernels.h"
#include "tests/cuda/device_map.h"
#include "tests/cuda_emulation/emulation_control.h"

enum { SEED = 6 };
static const rn_dtype types[] = {RN_DTYPE_F32, RN_DTYPE_F16, RN_DTYPE_BF16};

/* Rows of `channels` values in rows of c; what lies between them is NaN and must not be read. */
static device_map padded_rows(rn_dtype dtype, float *x, int32_t rows, int32_t channels, int32_t c)
{
    float *padded = malloc((size_t)rows * c * sizeof *padded);
    for (int32_t i = 0; i < rows * c; i++) padded[i] = NAN;
    for (int32_t i = 0; i < rows; i++) {
        for (int32_t k = 0; k < channels; k++) {
            x[i * channels + k] = rounded_to(dtype, x[i * channels + k]);
            padded[i * c + k] = x[i * channels + k];
        }
    }
    device_map map = device_map_of(dtype, padded, (size_t)rows * c);
    free(padded);
    return map;
}

static double worst_share;

static void check_softmax(rn_dtype dtype, int32_t rows, int32_t channels, int32_t c, int32_t y_c)
{
    float *x = random_values((size_t)rows * channels, -20, 20), *expected = malloc((size_t)rows * channels * sizeof *expected);
    device_map dx = padded_rows(dtype, x, rows, channels, c), dy = device_map_new(RN_DTYPE_F32, (size_t)rows * y_c);
    const rn_map rx = {.data = x, .image = channels}, ry = {.data = expected, .image = channels};
    rn_softmax_f32__ref(&(rn_softmax_args){.x = rx, .y = ry, .h = 1, .w = 1, .c = channels, .row_end = rows});
    const rn_cuda_softmax_args args = {.x = dx.data, .y = dy.data, .rows = rows, .channels = channels, .c = c, .y_c = y_c};
    assert_int_equal(rn_cuda_kernels_of(dtype)->softmax(&args, NULL), RN_STATUS_OK);
    float *result = device_map_read(&dy);
    for (int32_t i = 0; i < rows; i++) {
        for (int32_t k = 0; k < y_c; k++) {
            const float found = result[i * y_c + k];
            if (k >= channels) {
                assert_true(found == 0);
                continue;
            }
            /* Two sums of up to `channels` terms in different orders, each term within an ulp of expf. */
            const double want = expected[i * channels + k], tolerance = want * (channels + 8) * 0x1p-24 + 1e-37;
            if (!(fabs(found - want) <= tolerance)) fail_msg("softmax %s: expected %g, found %g", rn_dtype_name(dtype), want, found);
            worst_share = fmax(worst_share, fabs(found - want) / tolerance);
        }
    }
    device_map_free(&dx), device_map_free(&dy);
    free(x), free(expected), free(result);
}

static void softmax(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 4; order++) {
        rn_emulation_set_order(order);
        random_seed(SEED);
        for (int type = 0; type < 3; type++) {
            check_softmax(types[type], 3, 1, 8, 4);
            check_softmax(types[type], 2, 255, 256, 256);
            check_softmax(types[type], 2, 257, 264, 260);
            check_softmax(types[type], 1, 1001, 1008, 1004);
        }
    }
    print_message("softmax: %.0f %% of the tolerance used\n", 100 * worst_share);
}

static void check_top_k(rn_dtype dtype, int32_t rows, int32_t channels, int32_t c, int32_t k, float *x)
{
    float *values = malloc((size_t)rows * k * sizeof *values);
    int32_t *indexes = malloc((size_t)rows * k * sizeof *indexes);
    device_map dx = padded_rows(dtype, x, rows, channels, c);
    device_map dvalues = device_map_new(RN_DTYPE_F32, (size_t)rows * k), dindexes = device_map_new(RN_DTYPE_I32, (size_t)rows * k);
    const rn_map rx = {.data = x, .image = channels}, rvalues = {.data = values, .image = k};
    rn_top_k_f32__ref(
        &(rn_top_k_args){.x = rx, .values = rvalues, .indexes = indexes, .index_image = k, .c = channels, .k = k, .image_end = rows});
    const rn_cuda_top_k_args args = {
        .x = dx.data, .values = dvalues.data, .indexes = dindexes.data, .rows = rows, .channels = channels, .c = c, .k = k};
    assert_int_equal(rn_cuda_kernels_of(dtype)->top_k(&args, NULL), RN_STATUS_OK);
    float *found_values = device_map_read(&dvalues), *found_indexes = device_map_read(&dindexes);
    for (int32_t i = 0; i < rows * k; i++) {
        assert_int_equal((int32_t)found_indexes[i], indexes[i]);
        assert_true(found_values[i] == values[i] || (isnan(found_values[i]) && isnan(values[i])));
    }
    device_map_free(&dx), device_map_free(&dvalues), device_map_free(&dindexes);
    free(x), free(values), free(indexes), free(found_values), free(found_indexes);
}

static float *ties(size_t count)
{
    float *x = random_values(count, -3, 3);
    for (size_t i = 0; i < count; i++) x[i] = truncf(x[i]); /* -0 among the 0 */
    return x;
}

/* -0 and 0, which are equal. */
static float *zeros(size_t count)
{
    float *x = random_values(count, -1, 1);
    for (size_t i = 0; i < count; i++) x[i] = copysignf(0, x[i]);
    return x;
}

/* A NaN every third place; an infinity of each sign every fifth. */
static float *special(size_t count)
{
    float *x = random_values(count, -1, 1);
    for (size_t i = 0; i < count; i++) {
        if (i % 5 == 0) x[i] = i % 2 ? INFINITY : -INFINITY;
        if (i % 3 == 0) x[i] = i % 2 ? NAN : -NAN;
    }
    return x;
}

static void top_k(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 4; order++) {
        rn_emulation_set_order(order);
        random_seed(SEED);
        for (int type = 0; type < 3; type++) {
            check_top_k(types[type], 3, 1, 8, 1, random_values(3, -1, 1));
            check_top_k(types[type], 2, 10, 16, 10, random_values(20, -1, 1));
            check_top_k(types[type], 2, 257, 264, 5, ties(514));
            check_top_k(types[type], 1, 1001, 1008, 5, ties(1001));
            check_top_k(types[type], 1, 300, 304, 7, zeros(300));
            check_top_k(types[type], 1, 31, 32, 31, special(31));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(softmax), cmocka_unit_test(top_k)};
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("cuda classify kernels, emulated", tests, NULL, NULL);
}
