/* The fused 1x1 convolution with two outputs, emulated, against the reference convolution: sums of f32 products in another order, then the
 * same roundings. And the class activation map against its reference.
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

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cpu/cpu_kernels.h"
#include "tests/cuda/device_map.h"
#include "tests/cuda_emulation/emulation_control.h"

enum { SEED = 17, BLOCK = RN_CUDA_EXPAND_PIXELS };

static float *rounded_values(rn_dtype dtype, size_t count, float low, float high)
{
    float *values = random_values(count, low, high);
    for (size_t i = 0; i < count; i++) values[i] = rounded_to(dtype, values[i]);
    return values;
}

typedef struct {
    int32_t pixels, c, k;
    bool residual, relu, only_second;
} problem;

typedef struct {
    float *x, *filter, *bias, *residual, *scale, *shift;
} operands;

static operands make_operands(rn_dtype dtype, const problem *p)
{
    return (operands){.x = rounded_values(dtype, (size_t)p->pixels * p->c, -1, 1),
                      .filter = rounded_values(dtype, (size_t)p->k * p->c, -1, 1),
                      .bias = rounded_values(dtype, p->k, -2, 2),
                      .residual = rounded_values(dtype, (size_t)p->pixels * p->k, -2, 2),
                      .scale = random_values(p->k, -2, 2),
                      .shift = random_values(p->k, -2, 2)};
}

static void free_operands(operands *o)
{
    free(o->x), free(o->filter), free(o->bias), free(o->residual), free(o->scale), free(o->shift);
}

/* One element of y before it is rounded, in double. */
static double element(const problem *p, const operands *o, int32_t pixel, int32_t k)
{
    double sum = o->bias[k];
    for (int32_t c = 0; c < p->c; c++) sum += (double)o->x[(size_t)pixel * p->c + c] * o->filter[(size_t)k * p->c + c];
    if (p->residual) sum += o->residual[(size_t)pixel * p->k + k];
    return p->relu && sum < 0 ? 0 : sum;
}

/* The sum may be c roundings of f32 off, then comes one of the type; y2 is exact in the y that was found. Where y is not written it may be
 * one rounding of the type more. */
static void check_element(rn_dtype dtype, const problem *p, const operands *o, int32_t pixel, int32_t k, const float *y, float y2)
{
    const double expected = element(p, o, pixel, k), size = fabs(expected) + p->c / 2.0 + 4;
    const double allowed = fabs(expected) * dtype_epsilon(dtype) + size * p->c * 0x1p-24;
    if (y && !(fabs(*y - expected) <= allowed)) fail_msg("y at pixel %d, channel %d: %g, expected %g", pixel, k, *y, expected);
    const float from = y ? *y : rounded_to(dtype, (float)expected), affine = from * o->scale[k] + o->shift[k];
    const float second = rounded_to(dtype, affine < 0 ? 0 : affine);
    const double allowed2 = y ? 0 : 2 * allowed * fabsf(o->scale[k]) + fabs(affine) * dtype_epsilon(dtype);
    if (!(fabs((double)y2 - second) <= allowed2)) fail_msg("y2 at pixel %d, channel %d: %g, expected %g", pixel, k, y2, second);
}

static void check_expand(rn_dtype dtype, const problem *p)
{
    operands o = make_operands(dtype, p);
    const size_t count = (size_t)p->pixels * p->k;
    device_map x = device_map_of(dtype, o.x, (size_t)p->pixels * p->c), filter = device_map_of(dtype, o.filter, (size_t)p->k * p->c),
               bias = device_map_of(dtype, o.bias, p->k), residual = device_map_of(dtype, o.residual, count),
               scale = device_map_of(RN_DTYPE_F32, o.scale, p->k), shift = device_map_of(RN_DTYPE_F32, o.shift, p->k),
               y = device_map_new(dtype, count), y2 = device_map_new(dtype, count);
    const rn_cuda_expand_dual_args args = {.x = x.data,
                                           .filter = filter.data,
                                           .bias = bias.data,
                                           .residual = p->residual ? residual.data : NULL,
                                           .y = p->only_second ? NULL : y.data,
                                           .y2 = y2.data,
                                           .scale = scale.data,
                                           .shift = shift.data,
                                           .pixels = p->pixels,
                                           .c = p->c,
                                           .k = p->k,
                                           .relu = p->relu};
    assert_int_equal(rn_cuda_kernels_of(dtype)->expand_dual(&args, NULL), RN_STATUS_OK);
    float *found = device_map_read(&y), *found2 = device_map_read(&y2);
    for (int32_t pixel = 0; pixel < p->pixels; pixel++) {
        for (int32_t k = 0; k < p->k; k++) {
            const size_t i = (size_t)pixel * p->k + k;
            check_element(dtype, p, &o, pixel, k, p->only_second ? NULL : &found[i], found2[i]);
            if (p->only_second) assert_true(isnan(found[i]));
        }
    }
    device_map *const maps[] = {&x, &filter, &bias, &residual, &scale, &shift, &y, &y2};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) device_map_free(maps[i]);
    free(found), free(found2), free_operands(&o);
}

/* Depths of fewer steps than are kept in flight, as many, and more; pixels around a block; every combination of what is optional. */
static void expand_dual(void **state)
{
    (void)state;
    static const problem problems[] = {
        {1, 32, 128, false, false, false},        {BLOCK - 1, 64, 128, true, true, false}, {BLOCK, 96, 128, true, false, true},
        {BLOCK + 1, 128, 256, true, true, false}, {65, 160, 128, false, true, true},       {2 * BLOCK + 63, 32, 128, true, false, false},
    };
    static const rn_dtype types[] = {RN_DTYPE_F16, RN_DTYPE_BF16};
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        rn_emulation_set_order((unsigned)i % 4);
        random_seed(SEED);
        for (size_t t = 0; t < 2; t++) check_expand(types[t], &problems[i]);
    }
    rn_emulation_set_order(RN_ORDER_FORWARD);
}

static void check_class_map(rn_dtype dtype, int32_t n, int32_t positions, int32_t c)
{
    enum { CLASSES = 5, STRIDE = 2 };
    const float best[] = {3, -1, 2, -1, 4, -1}, asked[] = {-1, 0, 4};
    const int32_t chosen[] = {3, 0, 4};
    float *x = rounded_values(dtype, (size_t)n * positions * c, -1, 2), *weights = rounded_values(dtype, (size_t)CLASSES * c, -1, 1);
    float *expected = malloc((size_t)positions * sizeof *expected);
    device_map dx = device_map_of(dtype, x, (size_t)n * positions * c), dweights = device_map_of(dtype, weights, (size_t)CLASSES * c),
               dclasses = device_map_of(RN_DTYPE_I32, best, (size_t)n * STRIDE), dy = device_map_new(RN_DTYPE_F32, (size_t)n * positions),
               dasked = device_map_of(RN_DTYPE_I32, asked, (size_t)n), dchosen = device_map_new(RN_DTYPE_I32, (size_t)n);
    const rn_cuda_class_map_args args = {.x = dx.data,
                                         .weights = dweights.data,
                                         .classes = dclasses.data,
                                         .class_stride = STRIDE,
                                         .asked = dasked.data,
                                         .chosen = dchosen.data,
                                         .y = dy.data,
                                         .n = n,
                                         .positions = positions,
                                         .c = c};
    assert_int_equal(rn_cuda_kernels_of(dtype)->class_map(&args, NULL), RN_STATUS_OK);
    float *found = device_map_read(&dy), *taken = device_map_read(&dchosen);
    for (int32_t i = 0; i < n; i++) {
        assert_int_equal((int)taken[i], chosen[i]);
        rn_class_map_f32__ref(&(rn_class_map_args){.x = {x + (size_t)i * positions * c, positions * c, positions * c, c, RN_DTYPE_F32},
                                                   .weights = weights + (size_t)chosen[i] * c,
                                                   .y = expected,
                                                   .h = 1,
                                                   .w = positions,
                                                   .c = c,
                                                   .row_begin = 0,
                                                   .row_end = 1});
        for (int32_t at = 0; at < positions; at++) {
            const double allowed = 2.0 * c * (c / 32 + 8) * 0x1p-24; /* terms below 2, c / 32 sums a lane, then five */
            if (!(fabs((double)found[i * positions + at] - expected[at]) <= allowed))
                fail_msg("picture %d, position %d: %g, expected %g", i, at, found[i * positions + at], expected[at]);
        }
    }
    device_map_free(&dx), device_map_free(&dweights), device_map_free(&dclasses), device_map_free(&dy);
    device_map_free(&dasked), device_map_free(&dchosen);
    free(x), free(weights), free(expected), free(found), free(taken);
}

static void class_map(void **state)
{
    (void)state;
    static const rn_dtype types[] = {RN_DTYPE_F32, RN_DTYPE_F16, RN_DTYPE_BF16};
    for (unsigned order = 0; order < 4; order++) {
        rn_emulation_set_order(order);
        random_seed(SEED);
        for (size_t t = 0; t < 3; t++) {
            check_class_map(types[t], 1, 1, 8);
            check_class_map(types[t], 3, 9, 264);
            check_class_map(types[t], 2, 49, 7);
        }
    }
    rn_emulation_set_order(RN_ORDER_FORWARD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(expand_dual), cmocka_unit_test(class_map)};
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("cuda fused kernels, emulated", tests, NULL, NULL);
}
