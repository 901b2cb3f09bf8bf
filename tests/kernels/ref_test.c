/* The reference kernels themselves, on cases small enough to know the answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/bf16.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/weight_rounding.h"

static rn_map dense(float *data, int32_t h, int32_t w, int32_t c)
{
    return (rn_map){data, (int64_t)h * w * c, (int64_t)w * c, c, RN_DTYPE_F32};
}

static void assert_floats(const float *got, const float *expected, int count)
{
    for (int i = 0; i < count; i++) {
        const bool equal = isnan(expected[i]) ? isnan(got[i]) : got[i] == expected[i];
        if (!equal) fail_msg("element %d is %g, expected %g", i, (double)got[i], (double)expected[i]);
    }
}

/* 3x3 of ones over 1 2 3 / 4 5 6, padding 1: sums of neighbourhoods; then bias, residual, ReLU and the second output. */
static void conv2d_sums_windows(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6], y2[6], residual[6] = {0, 0, -100, 0, 0, 0};
    const float ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, bias = 10, scale2 = -1, shift2 = 25;
    rn_conv2d_args args = {.x = dense(x, 2, 3, 1), .y = dense(y, 2, 3, 1), .filter = ones, .n = 1, .h = 2, .w = 3, .c = 1, .p = 2, .q = 3, .k = 1,
                           .r = 3, .s = 3, .stride_h = 1, .stride_w = 1, .pad_top = 1, .pad_left = 1, .groups = 1, .row_begin = 0, .row_end = 2};
    rn_conv2d_f32__ref(&args);
    assert_floats(y, (float[]){12, 21, 16, 12, 21, 16}, 6);
    args.bias = &bias, args.residual = dense(residual, 2, 3, 1), args.relu = true;
    args.y2 = dense(y2, 2, 3, 1), args.scale2 = &scale2, args.shift2 = &shift2;
    rn_conv2d_f32__ref(&args);
    assert_floats(y, (float[]){22, 31, 0, 22, 31, 26}, 6);
    assert_floats(y2, (float[]){3, 0, 25, 3, 0, 0}, 6);
}

/* TensorFlow's SAME with stride 2 on a width of 4: nothing before, one pixel after. */
static void conv2d_pads_on_one_side(void **state)
{
    (void)state;
    float x[4] = {1, 10, 100, 1000}, y[2];
    const float filter[3] = {1, 2, 3};
    rn_conv2d_f32__ref(&(rn_conv2d_args){.x = dense(x, 1, 4, 1), .y = dense(y, 1, 2, 1), .filter = filter, .n = 1, .h = 1, .w = 4, .c = 1, .p = 1,
                                         .q = 2, .k = 1, .r = 1, .s = 3, .stride_h = 1, .stride_w = 2, .groups = 1, .row_begin = 0, .row_end = 1});
    assert_floats(y, (float[]){321, 2100}, 2);
}

/* Two groups: output channels 0, 1 see input 0, 1; outputs 2, 3 see input 2, 3. */
static void conv2d_groups(void **state)
{
    (void)state;
    float x[4] = {1, 2, 3, 4}, y[4];
    const float filter[2 * 4] = {1, 2, 3, 4, 10, 20, 30, 40}; /* [c / groups][k] */
    rn_conv2d_f32__ref(&(rn_conv2d_args){.x = dense(x, 1, 1, 4), .y = dense(y, 1, 1, 4), .filter = filter, .n = 1, .h = 1, .w = 1, .c = 4, .p = 1,
                                         .q = 1, .k = 4, .r = 1, .s = 1, .stride_h = 1, .stride_w = 1, .groups = 2, .row_begin = 0, .row_end = 1});
    assert_floats(y, (float[]){21, 42, 129, 172}, 4);
}

static void max_pool_borders(void **state)
{
    (void)state;
    float x[4] = {-1, -2, -3, NAN}, y[4];
    rn_max_pool_args args = {.x = dense(x, 2, 2, 1), .y = dense(y, 2, 2, 1), .h = 2, .w = 2, .c = 1, .p = 2, .q = 2, .r = 2, .s = 2, .stride_h = 1,
                             .stride_w = 1, .row_begin = 0, .row_end = 2};
    rn_max_pool_f32__ref(&args); /* the border does not count: TensorFlow SAME; a NaN loses */
    assert_floats(y, (float[]){-1, -2, -3, -INFINITY}, 4);
    args.pad_zero = true;        /* it counts as zeros: Keras */
    rn_max_pool_f32__ref(&args);
    assert_floats(y, (float[]){-1, 0, 0, 0}, 4);
}

static void averages_and_products(void **state)
{
    (void)state;
    float x[8] = {1, 10, 2, 20, 3, 30, 6, 40}, mean[2], y[3];
    rn_global_average_pool_f32__ref(&(rn_global_average_pool_args){.x = dense(x, 2, 2, 2), .y = dense(mean, 1, 1, 2), .h = 2, .w = 2, .c = 2,
                                                                   .image_begin = 0, .image_end = 1});
    assert_floats(mean, (float[]){3, 25}, 2);
    const float weights[6] = {1, 2, -1, 0, 1, -1}, bias[3] = {100, 200, 3};
    rn_dense_f32__ref(&(rn_dense_args){.x = dense(mean, 1, 1, 2), .y = dense(y, 1, 1, 3), .weights = weights, .bias = bias, .c = 2, .k = 3,
                                       .image_begin = 0, .image_end = 1, .relu = true});
    assert_floats(y, (float[]){103, 231, 0}, 3);
}

static void scale_shift_and_add(void **state)
{
    (void)state;
    float x[4] = {1, -2, NAN, 4}, y[4], from_bytes[4];
    const float scale[2] = {2, 3}, shift = 1;
    rn_scale_shift_args args = {.x = dense(x, 1, 2, 2), .y = dense(y, 1, 2, 2), .scale = scale, .shift = &shift, .scale_per_channel = true, .h = 1,
                                .w = 2, .c = 2, .row_begin = 0, .row_end = 1, .relu = true};
    rn_scale_shift_f32__ref(&args);
    assert_floats(y, (float[]){3, 0, NAN, 13}, 4);
    uint8_t bytes[4] = {0, 255, 1, 2};
    args.scale = NULL, args.shift = NULL, args.y = dense(from_bytes, 1, 2, 2);
    args.x = (rn_map){bytes, 4, 4, 2, RN_DTYPE_U8};
    rn_scale_shift_u8__ref(&args); /* a cast */
    assert_floats(from_bytes, (float[]){0, 255, 1, 2}, 4);
    rn_add_f32__ref(&(rn_add_args){.a = dense(x, 1, 2, 2), .b = dense(x, 1, 2, 2), .y = dense(y, 1, 2, 2), .h = 1, .w = 2, .c = 2, .row_begin = 0,
                                   .row_end = 1, .relu = true});
    assert_floats(y, (float[]){2, 0, NAN, 8}, 4);
}

/* Each value of a chain is the nearest of all floats whose lower half is the bf16 before it; zero becomes 2^-64, and what is not finite NaN. */
static void chained_bf16_rounds_to_nearest(void **state)
{
    (void)state;
    uint32_t random = 5;
    for (int i = 0; i < 1000000; i++) {
        random = random * 1664525u + 1013904223u;
        const rn_bf16 before = (rn_bf16)(random >> 16);
        random = random * 1664525u + 1013904223u;
        const float value = ldexpf((float)(int32_t)random * 0x1p-31f, i % 180 - 60);
        const float got = rn_bf16_chained_to_f32(rn_bf16_chained_from_f32(value, before), before);
        if (fabsf(value) >= 0x1p-63f) {
            const float ulp = ldexpf(1, ilogbf(fmaxf(fabsf(value), fabsf(got))) - 7);
            assert_true(fabsf(got - value) <= ulp / 2 * (1 + 0x1p-15f));
        } else {
            assert_true(fabsf(got) >= 0x1p-64f && fabsf(got) <= 0x1p-62f && signbit(got) == signbit(value));
        }
    }
    for (uint32_t before = 0; before < 0x10000; before += 0x333) {
        assert_true(rn_bf16_chained_to_f32(rn_bf16_chained_from_f32(0, (rn_bf16)before), (rn_bf16)before) < 0x1p-63f);
        assert_true(isfinite(rn_bf16_chained_to_f32(rn_bf16_chained_from_f32(FLT_MAX, (rn_bf16)before), (rn_bf16)before)));
        assert_true(isnan(rn_bf16_chained_to_f32(rn_bf16_chained_from_f32(INFINITY, (rn_bf16)before), (rn_bf16)before)));
        assert_true(isnan(rn_bf16_chained_to_f32(rn_bf16_chained_from_f32(NAN, (rn_bf16)before), (rn_bf16)before)));
    }
}

/* A thousand equal weights that no bf16 is near: rounded one by one they lose a thousand times the same, in sequence next to nothing. A zero between them
 * stays zero, and a NaN spoils no weight after it. */
static void roundings_of_weights_make_up_for_each_other(void **state)
{
    (void)state;
    const float weight = 0.0100342f;
    for (int chained = 0; chained < 2; chained++) {
        float lost = 0;
        double sum = 0;
        rn_bf16 last = 0;
        for (int i = 0; i < 1000; i++) {
            const rn_bf16 rounded = rn_round_weight(weight, chained, last, &lost);
            sum += (double)(chained ? rn_bf16_chained_to_f32(rounded, last) : rn_bf16_to_f32(rounded));
            assert_true(fabs(rn_bf16_to_f32(rounded) - weight) <= weight * 0x1p-7f);
            last = rounded;
        }
        assert_true(fabs(sum - 1000 * (double)weight) <= 8 * (double)weight * 0x1p-7);
        assert_true(chained || fabs(1000 * (double)rn_bf16_to_f32(rn_bf16_from_f32(weight)) - 1000 * (double)weight) > 0.01);
        const float before = lost;
        assert_int_equal(rn_round_weight(0, chained, last, &lost), chained ? rn_bf16_chained_from_f32(0, last) : 0);
        assert_true(lost == before);
        assert_true(isnan(rn_bf16_to_f32(rn_round_weight(NAN, chained, last, &lost))) && lost == 0);
    }
}

static rn_bf16 round_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return rn_bf16_from_f32(value);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(round_bits(0x3f808000), 0x3f80); /* half way, even below */
    assert_int_equal(round_bits(0x3f818000), 0x3f82); /* half way, even above */
    assert_int_equal(round_bits(0x3f808001), 0x3f81);
    assert_int_equal(round_bits(0xbf807fff), 0xbf80);
    assert_int_equal(round_bits(0x7f7fffff), 0x7f80); /* the largest float is nearest to infinity */
    assert_int_equal(round_bits(0x00008001), 0x0001);
    assert_int_equal(round_bits(0x80000000), 0x8000);
    assert_int_equal(round_bits(0xff800000), 0xff80);
    assert_int_equal(round_bits(0x7f800001), 0x7fc0); /* a NaN whose upper half alone is infinity */
    assert_int_equal(round_bits(0xffffffff), 0xffff);
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        const bool signalling = (bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0 && !(bits & 0x40);
        const float value = rn_bf16_to_f32((rn_bf16)bits);
        assert_int_equal(rn_bf16_from_f32(value), signalling ? bits | 0x40 : bits);
    }
}

static void softmax_is_stable(void **state)
{
    (void)state;
    float x[6] = {1000, 1000, -1000, 0, 0, 0}, y[6];
    rn_softmax_f32__ref(&(rn_softmax_args){.x = dense(x, 1, 2, 3), .y = dense(y, 1, 2, 3), .h = 1, .w = 2, .c = 3, .row_begin = 0, .row_end = 1});
    assert_floats(y, (float[]){0.5f, 0.5f, 0, 1.0f / 3, 1.0f / 3, 1.0f / 3}, 6);
}

static int32_t top_indexes[1000];
static float top_values[1000];

static void top_k(float *x, int32_t c, int32_t k)
{
    rn_top_k_f32__ref(&(rn_top_k_args){.x = dense(x, 1, 1, c), .values = dense(top_values, 1, 1, k), .indexes = top_indexes, .index_image = k, .c = c,
                                       .k = k, .image_begin = 0, .image_end = 1});
}

static void top_k_orders_ties_and_nan(void **state)
{
    (void)state;
    float x[8] = {1, 7, NAN, 7, -0.0f, 0.0f, NAN, 7};
    top_k(x, 8, 8);
    assert_memory_equal(top_indexes, ((int32_t[]){1, 3, 7, 0, 4, 5, 2, 6}), sizeof(int32_t[8]));
    assert_floats(top_values, (float[]){7, 7, 7, 1, 0, 0, NAN, NAN}, 8);
    top_k(x, 8, 2);
    assert_memory_equal(top_indexes, ((int32_t[]){1, 3}), sizeof(int32_t[2]));
    top_k(x, 1, 1);
    assert_int_equal(top_indexes[0], 0);
}

/* Few distinct values, so that ties are everywhere; every k. */
static void top_k_equals_a_stable_sort(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    float x[COUNT];
    int32_t order[COUNT], sorted = 0;
    uint32_t random = 5;
    for (int i = 0; i < COUNT; i++) x[i] = (float)((random = random * 1664525u + 1013904223u) >> 28);
    for (int value = 15; value >= 0; value--) {
        for (int32_t i = 0; i < COUNT; i++) {
            if (x[i] == (float)value) order[sorted++] = i;
        }
    }
    for (int32_t k = 1; k <= COUNT; k++) {
        top_k(x, COUNT, k);
        assert_memory_equal(top_indexes, order, (size_t)k * sizeof *order);
        for (int32_t i = 0; i < k; i++) assert_true(top_values[i] == x[order[i]]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv2d_sums_windows),   cmocka_unit_test(conv2d_pads_on_one_side),    cmocka_unit_test(conv2d_groups),
        cmocka_unit_test(max_pool_borders),      cmocka_unit_test(averages_and_products),      cmocka_unit_test(scale_shift_and_add),
        cmocka_unit_test(softmax_is_stable),     cmocka_unit_test(top_k_orders_ties_and_nan),  cmocka_unit_test(top_k_equals_a_stable_sort),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(chained_bf16_rounds_to_nearest),
        cmocka_unit_test(roundings_of_weights_make_up_for_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
