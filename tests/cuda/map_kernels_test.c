/* Every CUDA kernel that makes maps of maps, against kernels/ref, at sizes around its tile, in several thread orders.
 *
 * These kernels round once, at the store, and otherwise do what the reference does: results are equal to the bit. The average alone has
 * another order of summation and states its tolerance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cuda/cuda_kernels.h"
#include "tests/cuda/device_map.h"
#include "tests/cuda_emulation/emulation_control.h"

enum { SEED = 5 };
static const rn_dtype types[] = {RN_DTYPE_F32, RN_DTYPE_F16, RN_DTYPE_BF16};
static const unsigned orders[] = {RN_ORDER_FORWARD, RN_ORDER_REVERSE, RN_ORDER_WARPS, RN_ORDER_SHUFFLED};

/* Runs `body` for each storage type and thread order. */
#define FOR_EACH_TYPE_AND_ORDER(body)                                             \
    for (size_t type = 0; type < sizeof types / sizeof *types; type++) {          \
        for (size_t order = 0; order < sizeof orders / sizeof *orders; order++) { \
            rn_emulation_set_order(orders[order]);                                \
            random_seed(SEED);                                                    \
            body;                                                                 \
        }                                                                         \
    }                                                                             \
    rn_emulation_set_order(RN_ORDER_FORWARD)

static rn_map dense(float *data, int32_t h, int32_t w, int32_t c)
{
    return (rn_map){.data = data, .image = (int64_t)h * w * c, .row = (int64_t)w * c, .pixel = c};
}

/* Values as the device sees them. */
static float *rounded_values(rn_dtype dtype, size_t count, float low, float high)
{
    float *values = random_values(count, low, high);
    for (size_t i = 0; i < count; i++) values[i] = rounded_to(dtype, values[i]);
    return values;
}

static void assert_equal_maps(const char *what, rn_dtype dtype, const device_map *y, const float *expected)
{
    float *result = device_map_read(y);
    for (size_t i = 0; i < y->elements; i++) {
        const float want = rounded_to(dtype, expected[i]);
        if (result[i] == want || (isnan(result[i]) && isnan(want))) continue;
        fail_msg("%s %s, element %zu of %zu: expected %a, found %a", what, rn_dtype_name(dtype), i, y->elements, want, result[i]);
    }
    free(result);
}

static void check_scale_shift(rn_dtype dtype, int32_t pixels, int32_t c, bool relu)
{
    float *x = rounded_values(dtype, (size_t)pixels * c, -4, 4), *scale = random_values(c, -2, 2), *shift = random_values(c, -2, 2);
    float *expected = malloc((size_t)pixels * c * sizeof *expected);
    x[0] = NAN;
    rn_scale_shift_f32__ref(&(rn_scale_shift_args){.x = dense(x, 1, pixels, c),
                                                   .y = dense(expected, 1, pixels, c),
                                                   .scale = scale,
                                                   .shift = shift,
                                                   .scale_per_channel = true,
                                                   .shift_per_channel = true,
                                                   .h = 1,
                                                   .w = pixels,
                                                   .c = c,
                                                   .row_end = 1,
                                                   .relu = relu});
    device_map dx = device_map_of(dtype, x, (size_t)pixels * c), dy = device_map_new(dtype, (size_t)pixels * c);
    device_map dscale = device_map_of(RN_DTYPE_F32, scale, c), dshift = device_map_of(RN_DTYPE_F32, shift, c);
    const rn_cuda_scale_shift_args args = {
        .x = dx.data, .scale = dscale.data, .shift = dshift.data, .y = dy.data, .pixels = pixels, .c = c, .relu = relu};
    assert_int_equal(rn_cuda_kernels_of(dtype)->scale_shift(&args, NULL), RN_STATUS_OK);
    assert_equal_maps("scale_shift", dtype, &dy, expected);
    rn_cuda_scale_shift_args in_place = args;
    in_place.y = dx.data;
    assert_int_equal(rn_cuda_kernels_of(dtype)->scale_shift(&in_place, NULL), RN_STATUS_OK);
    assert_equal_maps("scale_shift in place", dtype, &dx, expected);
    device_map_free(&dx), device_map_free(&dy), device_map_free(&dscale), device_map_free(&dshift);
    free(x), free(scale), free(shift), free(expected);
}

static void scale_shift(void **state)
{
    (void)state;
    FOR_EACH_TYPE_AND_ORDER({
        check_scale_shift(types[type], 1, 1, false);
        check_scale_shift(types[type], 7, 3, true);
        check_scale_shift(types[type], 129, 16, true);
        check_scale_shift(types[type], 49, 72, false);
    });
}

static void check_add(rn_dtype dtype, int32_t elements, bool relu)
{
    float *a = rounded_values(dtype, elements, -4, 4), *b = rounded_values(dtype, elements, -4, 4);
    float *expected = malloc(elements * sizeof *expected);
    a[0] = NAN; /* the first one, because what was never written is NaN too */
    rn_add_f32__ref(&(rn_add_args){.a = dense(a, 1, elements, 1),
                                   .b = dense(b, 1, elements, 1),
                                   .y = dense(expected, 1, elements, 1),
                                   .h = 1,
                                   .w = elements,
                                   .c = 1,
                                   .row_end = 1,
                                   .relu = relu});
    device_map da = device_map_of(dtype, a, elements), db = device_map_of(dtype, b, elements), dy = device_map_new(dtype, elements);
    const rn_cuda_add_args args = {.a = da.data, .b = db.data, .y = dy.data, .elements = elements, .relu = relu};
    assert_int_equal(rn_cuda_kernels_of(dtype)->add(&args, NULL), RN_STATUS_OK);
    assert_equal_maps("add", dtype, &dy, expected);
    device_map_free(&da), device_map_free(&db), device_map_free(&dy);
    free(a), free(b), free(expected);
}

static void add(void **state)
{
    (void)state;
    FOR_EACH_TYPE_AND_ORDER({
        for (int32_t elements = 1; elements <= 17; elements++) check_add(types[type], elements, elements % 2);
        check_add(types[type], 256 * 8 - 1, true);
        check_add(types[type], 256 * 8, false);
        check_add(types[type], 256 * 8 + 9, true);
    });
}

static void check_max_pool(rn_dtype dtype, rn_cuda_max_pool_args a, int32_t pad_bottom, int32_t pad_right)
{
    a.p = (a.h + a.pad_top + pad_bottom - a.r) / a.stride_h + 1;
    a.q = (a.w + a.pad_left + pad_right - a.s) / a.stride_w + 1;
    const size_t x_count = (size_t)a.n * a.h * a.w * a.c, y_count = (size_t)a.n * a.p * a.q * a.c;
    float *x = rounded_values(dtype, x_count, -4, a.pad_zero ? -1 : 4), *expected = malloc(y_count * sizeof *expected);
    x[x_count / 2] = NAN;
    rn_max_pool_f32__ref(&(rn_max_pool_args){.x = dense(x, a.h, a.w, a.c),
                                             .y = dense(expected, a.p, a.q, a.c),
                                             .h = a.h,
                                             .w = a.w,
                                             .c = a.c,
                                             .p = a.p,
                                             .q = a.q,
                                             .r = a.r,
                                             .s = a.s,
                                             .stride_h = a.stride_h,
                                             .stride_w = a.stride_w,
                                             .pad_top = a.pad_top,
                                             .pad_left = a.pad_left,
                                             .row_end = a.n * a.p,
                                             .pad_zero = a.pad_zero});
    device_map dx = device_map_of(dtype, x, x_count), dy = device_map_new(dtype, y_count);
    a.x = dx.data;
    a.y = dy.data;
    assert_int_equal(rn_cuda_kernels_of(dtype)->max_pool(&a, NULL), RN_STATUS_OK);
    assert_equal_maps("max_pool", dtype, &dy, expected);
    device_map_free(&dx), device_map_free(&dy);
    free(x), free(expected);
}

#define POOL(...)           \
    (rn_cuda_max_pool_args) \
    {                       \
        __VA_ARGS__         \
    }

static void max_pool(void **state)
{
    (void)state;
    FOR_EACH_TYPE_AND_ORDER({
        check_max_pool(types[type],
                       POOL(.n = 1, .h = 7, .w = 9, .c = 8, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1,
                            .pad_zero = true),
                       1, 1);
        check_max_pool(types[type], POOL(.n = 2, .h = 14, .w = 14, .c = 24, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2), 1, 1);
        check_max_pool(types[type],
                       POOL(.n = 3, .h = 1, .w = 1, .c = 16, .r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1), 1,
                       1);
        check_max_pool(types[type],
                       POOL(.n = 2, .h = 5, .w = 6, .c = 3, .r = 2, .s = 4, .stride_h = 1, .stride_w = 3, .pad_left = 2, .pad_zero = true),
                       1, 0);
        check_max_pool(types[type], POOL(.n = 1, .h = 9, .w = 8, .c = 40, .r = 1, .s = 1, .stride_h = 2, .stride_w = 2), 0, 0);
    });
}

static double worst_share; /* of the tolerance, over all averages */

static void check_average(rn_dtype dtype, int32_t n, int32_t positions, int32_t c)
{
    const size_t count = (size_t)n * positions * c;
    float *x = rounded_values(dtype, count, -4, 4), *expected = malloc((size_t)n * c * sizeof *expected);
    rn_global_average_pool_f32__ref(&(rn_global_average_pool_args){
        .x = dense(x, 1, positions, c), .y = dense(expected, 1, 1, c), .h = 1, .w = positions, .c = c, .image_end = n});
    device_map dx = device_map_of(dtype, x, count), dy = device_map_new(dtype, (size_t)n * c);
    const rn_cuda_global_average_pool_args args = {.x = dx.data, .y = dy.data, .n = n, .positions = positions, .c = c};
    assert_int_equal(rn_cuda_kernels_of(dtype)->global_average_pool(&args, NULL), RN_STATUS_OK);
    float *result = device_map_read(&dy);
    /* A lane adds positions / 8 + 3 times, each with half an ulp of a partial sum of at most 4 x positions; dividing takes the positions
     * out again. The store rounds once. */
    for (int32_t i = 0; i < n * c; i++) {
        const double tolerance = 4.0 * (positions / 8 + 4) * 0x1p-24 + fabs(expected[i]) * dtype_epsilon(dtype);
        const double error = fabs((double)result[i] - expected[i]);
        if (!(error <= tolerance)) fail_msg("average %s: expected %g, found %g", rn_dtype_name(dtype), expected[i], result[i]);
        worst_share = fmax(worst_share, error / tolerance);
    }
    device_map_free(&dx), device_map_free(&dy);
    free(x), free(expected), free(result);
}

static void global_average_pool(void **state)
{
    (void)state;
    FOR_EACH_TYPE_AND_ORDER({
        check_average(types[type], 1, 1, 8);
        check_average(types[type], 2, 49, 136);
        check_average(types[type], 3, 50, 40);
        check_average(types[type], 2, 9, 5);
        check_average(types[type], 1, 4, 2048);
    });
    print_message("average: %.0f %% of the tolerance used\n", 100 * worst_share);
}

static void check_pack(rn_dtype dtype, rn_dtype from, int32_t pixels, int32_t channels, int32_t c, bool scaled, bool relu)
{
    float *x = random_values((size_t)pixels * channels, from == RN_DTYPE_U8 ? 0 : -4, from == RN_DTYPE_U8 ? 255.9f : 4);
    float *scale = random_values(channels, -2, 2), *shift = random_values(channels, -2, 2);
    float *expected = calloc((size_t)pixels * c, sizeof *expected);
    for (int32_t i = 0; i < pixels * channels; i++) x[i] = rounded_to(from, x[i]);
    rn_scale_shift_f32__ref(&(rn_scale_shift_args){.x = dense(x, 1, pixels, channels),
                                                   .y = {.data = expected, .row = (int64_t)pixels * c, .pixel = c},
                                                   .scale = scaled ? scale : NULL,
                                                   .shift = scaled ? shift : NULL,
                                                   .scale_per_channel = true,
                                                   .shift_per_channel = true,
                                                   .h = 1,
                                                   .w = pixels,
                                                   .c = channels,
                                                   .row_end = 1,
                                                   .relu = relu});
    device_map dx = device_map_of(from, x, (size_t)pixels * channels), dy = device_map_new(dtype, (size_t)pixels * c);
    device_map dscale = device_map_of(RN_DTYPE_F32, scale, channels), dshift = device_map_of(RN_DTYPE_F32, shift, channels);
    const rn_cuda_kernels *kernels = rn_cuda_kernels_of(dtype);
    const rn_cuda_pack_args args = {.x = dx.data,
                                    .scale = scaled ? dscale.data : NULL,
                                    .shift = scaled ? dshift.data : NULL,
                                    .y = dy.data,
                                    .pixels = pixels,
                                    .channels = channels,
                                    .c = c,
                                    .relu = relu};
    assert_int_equal((from == RN_DTYPE_U8 ? kernels->pack_u8 : kernels->pack_f32)(&args, NULL), RN_STATUS_OK);
    assert_equal_maps("pack", dtype, &dy, expected);

    /* And back: the padding goes, what was rounded stays rounded. */
    device_map dense_y = device_map_new(RN_DTYPE_F32, (size_t)pixels * channels);
    const rn_cuda_unpack_args back = {.x = dy.data, .y = dense_y.data, .pixels = pixels, .channels = channels, .c = c};
    assert_int_equal(kernels->unpack(&back, NULL), RN_STATUS_OK);
    for (int32_t i = 0; i < pixels; i++) {
        for (int32_t k = 0; k < channels; k++) x[i * channels + k] = rounded_to(dtype, expected[i * c + k]);
    }
    assert_equal_maps("unpack", RN_DTYPE_F32, &dense_y, x);
    device_map_free(&dx), device_map_free(&dy), device_map_free(&dscale), device_map_free(&dshift), device_map_free(&dense_y);
    free(x), free(scale), free(shift), free(expected);
}

static void pack_and_unpack(void **state)
{
    (void)state;
    FOR_EACH_TYPE_AND_ORDER({
        for (int from = 0; from < 2; from++) {
            const rn_dtype x = from ? RN_DTYPE_U8 : RN_DTYPE_F32;
            check_pack(types[type], x, 1, 1, 1, true, false);
            check_pack(types[type], x, 257, 3, 8, true, false);
            check_pack(types[type], x, 65, 3, 4, false, false);
            check_pack(types[type], x, 31, 10, 16, true, true);
            check_pack(types[type], x, 5, 1000, 1000, false, true);
        }
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_shift),     cmocka_unit_test(add), cmocka_unit_test(max_pool), cmocka_unit_test(global_average_pool),
        cmocka_unit_test(pack_and_unpack),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("cuda map kernels, emulated", tests, NULL, NULL);
}
