/* Quantised plans: the same bits from the fast kernels and the reference, but for points in bf16; answers near those of fp32, back to floats for
 * backends without int8, and refusals of plans that say what cannot be. */
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
#include <unistd.h>

#include "engine/calibration.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/passes.h"
#include "engine/quantize.h"
#include "engine/synthetic.h"
#include "kernels/base/cpu_features.h"
#include "loader/model_file.h"

enum { ROWS = 3 };

static const rn_synthetic_options networks[] = {
    {.version = 1, .blocks = {1, 2, 2, 1}, .width = 16, .groups = 1, .side = 64, .classes = 10, .seed = 1},
    {.version = 1, .blocks = {1, 1, 1, 1}, .width = 32, .groups = 8, .side = 75, .classes = 37, .top_k = 5, .u8_input = true, .seed = 2},
    {.version = 2, .blocks = {2, 2, 3, 1}, .width = 16, .groups = 1, .side = 96, .classes = 11, .top_k = 3, .seed = 3},
    {.version = 2, .blocks = {1, 2, 1, 2}, .width = 12, .groups = 1, .side = 61, .classes = 5, .u8_input = true, .seed = 4},
    {.version = 1, .blocks = {1, 1, 1, 1}, .width = 6, .groups = 1, .side = 48, .classes = 5, .seed = 5}, /* 6 channels stay floats */
};
enum { NETWORK_COUNT = sizeof networks / sizeof *networks };

static rn_plan *make_network(const rn_synthetic_options *network, bool quantised)
{
    rn_plan *plan;
    rn_error err = {0};
    assert_int_equal(rn_synthetic_resnet(network, &plan, &err), RN_STATUS_OK);
    assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
    if (quantised && rn_synthetic_quantize(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    return plan;
}

static rn_plan *make_plan(int network, bool quantised)
{
    return make_network(&networks[network], quantised);
}

/* Noise over a slope, the same every time. */
static void *make_input(const rn_plan *plan)
{
    const rn_plan_tensor *feed = &plan->tensors[plan->signatures[0].feed];
    const int64_t count = ROWS * rn_plan_tensor_elements(feed);
    void *input = malloc((size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++) {
        const uint32_t level = (((uint32_t)i * 2654435761u >> 24) + (uint32_t)(255 * i / count)) / 2;
        if (feed->dtype == RN_DTYPE_U8) ((uint8_t *)input)[i] = (uint8_t)level;
        else ((float *)input)[i] = (float)level / 127.5f - 1;
    }
    return input;
}

/* Probabilities of all rows, the largest batch at a time; the caller frees them. */
static float *run_with(const rn_plan *plan, const rn_backend_options *options)
{
    rn_error err = {0};
    rn_executor *executor;
    const rn_signature *signature = &plan->signatures[0];
    const int32_t per_run = options->max_batch;
    if (rn_cpu_backend.prepare(plan, options, &executor, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    char *input = make_input(plan), *outputs[RN_PLAN_MAX_OUTPUTS];
    const size_t in = rn_plan_tensor_bytes(&plan->tensors[signature->feed]);
    for (int32_t i = 0; i < signature->output_count; i++) outputs[i] = malloc(ROWS * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[i].tensor]));
    for (int32_t row = 0; row < ROWS; row += per_run) {
        rn_batch_part part = {.rows = per_run, .input = input + (size_t)row * in};
        for (int32_t i = 0; i < signature->output_count; i++) {
            part.outputs[i] = outputs[i] + (size_t)row * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[i].tensor]);
        }
        if (rn_cpu_backend.run(executor, signature, &part, 1, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    }
    rn_cpu_backend.destroy(executor);
    for (int32_t i = 1; i < signature->output_count; i++) free(outputs[i]);
    free(input);
    return (float *)outputs[0];
}

static float *run(const rn_plan *plan, const char *isa, int32_t threads, int32_t per_run)
{
    return run_with(plan, &(rn_backend_options){.max_batch = per_run, .thread_count = threads, .isa = isa});
}

static size_t result_bytes(const rn_plan *plan)
{
    return ROWS * rn_plan_tensor_bytes(&plan->tensors[plan->signatures[0].outputs[0].tensor]);
}

static double relative_error(const rn_plan *plan, const float *expected, const float *got)
{
    double difference = 0, length = 0;
    for (size_t i = 0; i < result_bytes(plan) / sizeof *got; i++) {
        difference += ((double)got[i] - expected[i]) * ((double)got[i] - expected[i]);
        length += (double)expected[i] * expected[i];
    }
    return sqrt(difference / length);
}

/* Bytes rounded at 20 to 40 places of a network whose weights are noise, seen up to 0.0104; probabilities at random would be 1 apart. */
static const double INT8_TOLERANCE = 0.03;

static void all_kernels_give_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < NETWORK_COUNT; i++) {
        rn_plan *plan = make_plan(i, true), *floats = make_plan(i, false);
        float *reference = run(plan, "scalar", 1, 1), *fast = run(plan, NULL, 2, ROWS), *single = run(plan, NULL, 1, 1), *fp32 = run(floats, NULL, 1, 1);
        const double error = relative_error(plan, fp32, fast);
        printf("network %d: int8 differs from fp32 by %.4f\n", i, error);
        /* The dense layer and what the 6-channel network keeps as floats round by instruction set; bytes do not. */
        assert_true(relative_error(plan, reference, fast) < (networks[i].width % 4 ? 0.05 : 1e-5));
        assert_memory_equal(fast, single, result_bytes(plan));
        assert_true(error > 0 && error < INT8_TOLERANCE);
        free(reference), free(fast), free(single), free(fp32);
        rn_plan_destroy(plan), rn_plan_destroy(floats);
    }
}

/* 14x14x256, where Winograd's transforms of bytes pay. The points are rounded to bf16, unless every batch is to have the same bits. */
static void wide_layers_take_bf16_points(void **state)
{
    (void)state;
    static const rn_synthetic_options wide = {.version = 1, .blocks = {1, 1, 2, 1}, .width = 64, .groups = 1, .side = 224, .classes = 10, .seed = 6};
    if (rn_cpu_best_isa() < RN_ISA_AVX512_BF16) skip();
    rn_backend_options options = {.max_batch = 1, .thread_count = 2, .isa = "avx512_bf16"};
    rn_plan *plan = make_network(&wide, true), *floats = make_network(&wide, false);
    float *fp32 = run_with(floats, &options), *points = run_with(plan, &options);
    options.deterministic = true;
    float *direct = run_with(plan, &options);
    options.isa = "avx512_vnni";
    float *vnni = run_with(plan, &options);
    printf("wide network: int8 differs from fp32 by %.4f, with bf16 points by %.4f\n", relative_error(plan, fp32, direct),
           relative_error(plan, fp32, points));
    assert_memory_equal(direct, vnni, result_bytes(plan));
    assert_true(memcmp(points, direct, result_bytes(plan)) != 0);
    assert_true(relative_error(plan, fp32, points) < INT8_TOLERANCE);
    free(fp32), free(points), free(direct), free(vnni);
    rn_plan_destroy(plan), rn_plan_destroy(floats);
}

static int count_ops(const rn_plan *plan, rn_op_kind kind, bool int8)
{
    int count = 0;
    for (int32_t i = 0; i < plan->op_count; i++) {
        const rn_op *op = &plan->ops[i];
        count += op->kind == kind && (kind != RN_OP_CONV2D || (plan->weights[op->u.conv2d.filter].dtype == RN_DTYPE_I8) == int8);
    }
    return count;
}

static void only_what_must_stays_float(void **state)
{
    (void)state;
    rn_plan *v1 = make_plan(0, true), *v2 = make_plan(2, true), *narrow = make_plan(4, true);
    assert_int_equal(count_ops(v1, RN_OP_CONV2D, false), 0);
    assert_int_equal(count_ops(v1, RN_OP_QUANTIZE, false), 1); /* the picture */
    assert_int_equal(count_ops(v2, RN_OP_CONV2D, false), 0);
    assert_int_equal(count_ops(v2, RN_OP_QUANTIZE, false), 2); /* and the first pre-activation */
    assert_true(count_ops(narrow, RN_OP_CONV2D, false) > 0);
    assert_true(count_ops(narrow, RN_OP_CONV2D, true) > 0);
    rn_plan_destroy(v1), rn_plan_destroy(v2), rn_plan_destroy(narrow);
}

/* Weights alone are rounded: seen up to 0.0043. */
static void widened_plans_run_everywhere(void **state)
{
    (void)state;
    for (int i = 0; i < NETWORK_COUNT; i++) {
        rn_error err = {0};
        rn_plan *plan = make_plan(i, true), *floats = make_plan(i, false);
        if (rn_plan_widen(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
        assert_false(rn_plan_is_quantized(plan));
        assert_int_equal(count_ops(plan, RN_OP_QUANTIZE, false), 0);
        assert_int_equal(plan->op_count, floats->op_count);
        float *wide = run(plan, "scalar", 1, ROWS), *fp32 = run(floats, "scalar", 1, ROWS);
        const double error = relative_error(plan, fp32, wide);
        printf("network %d: widened differs from fp32 by %.4f\n", i, error);
        assert_true(error > 0 && error < 0.015);
        free(wide), free(fp32);
        rn_plan_destroy(plan), rn_plan_destroy(floats);
    }
}

static void files_keep_it_all(void **state)
{
    (void)state;
    char path[] = "/tmp/rn_quantize_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < NETWORK_COUNT; i++) {
        rn_error err = {0};
        rn_plan *plan = make_plan(i, true), *loaded;
        assert_int_equal(rn_model_file_write(plan, "synthetic", path, &err), RN_STATUS_OK);
        if (rn_model_file_load(path, true, &loaded, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
        float *before = run(plan, NULL, 1, ROWS), *after = run(loaded, NULL, 1, ROWS);
        assert_memory_equal(before, after, result_bytes(plan));
        free(before), free(after);
        rn_plan_destroy(plan), rn_plan_destroy(loaded);
    }
    unlink(path);
}

/* ---- calibration ---- */

static void ranges_leave_out_the_rarest(void **state)
{
    (void)state;
    rn_plan *plan = make_plan(0, false);
    rn_calibration *calibration;
    rn_value_range *ranges = calloc((size_t)plan->tensor_count, sizeof *ranges);
    assert_int_equal(rn_calibration_create(plan, &calibration, NULL), RN_STATUS_OK);
    float values[1000];
    for (int i = 0; i < 1000; i++) values[i] = (float)i / 1000; /* 0 .. 0.999 */
    values[0] = 50, values[1] = -7, values[2] = NAN, values[3] = -INFINITY;
    rn_calibration_count(calibration, 1, values, 1000);
    rn_calibration_ranges(calibration, 1, ranges);
    assert_true(ranges[1].high == 50 && ranges[1].low == -7);
    rn_calibration_ranges(calibration, 0.998, ranges); /* one value of 998 on either side */
    assert_true(ranges[1].high >= 0.999f && ranges[1].high < 1.02f && ranges[1].low == 0);
    assert_true(ranges[0].high == 0 && ranges[0].low == 0);
    rn_calibration_destroy(calibration);
    rn_plan_destroy(plan);
    free(ranges);
}

/* ---- what no plan may say ---- */

static rn_op *find_int8_conv(const rn_plan *plan, bool relu)
{
    for (int32_t i = 0; i < plan->op_count; i++) {
        rn_op *op = &plan->ops[i];
        if (op->kind == RN_OP_CONV2D && op->u.conv2d.relu == relu && op->outputs[0] != RN_NONE && plan->tensors[op->outputs[0]].step != 0) return op;
    }
    fail_msg("no such convolution");
    return NULL;
}

static void expect_refusal(rn_plan *plan, const char *what)
{
    rn_error err = {0};
    assert_int_equal(rn_plan_finish(plan, &err), RN_STATUS_INVALID_ARGUMENT);
    if (!strstr(err.message, what)) fail_msg("expected a message with \"%s\", got: %s", what, err.message);
    rn_plan_destroy(plan);
}

static void bad_plans_are_refused(void **state)
{
    (void)state;
    rn_plan *plan = make_plan(0, true);
    plan->tensors[find_int8_conv(plan, true)->outputs[0]].step = NAN;
    expect_refusal(plan, "in steps of nan with its zero at 0");
    plan = make_plan(0, true);
    plan->tensors[find_int8_conv(plan, false)->outputs[0]].zero = 256;
    expect_refusal(plan, "its zero at 256");
    plan = make_plan(0, true);
    plan->tensors[find_int8_conv(plan, true)->outputs[0]].zero = 3;
    expect_refusal(plan, "lies behind a ReLU and has its zero at byte 3");
    plan = make_plan(0, true);
    plan->tensors[find_int8_conv(plan, true)->inputs[0]].step = 0;
    plan->tensors[find_int8_conv(plan, true)->inputs[0]].zero = 0;
    expect_refusal(plan, "quantised");
    plan = make_plan(0, true);
    plan->weights[find_int8_conv(plan, true)->u.conv2d.filter].steps = RN_NONE;
    expect_refusal(plan, "I8 with steps in weights -1");
    plan = make_plan(0, true);
    plan->weights[find_int8_conv(plan, true)->u.conv2d.filter].steps = find_int8_conv(plan, true)->u.conv2d.filter;
    expect_refusal(plan, "expected steps F32");
}

/* A step so small that sums leave the range of integers is refused before it is run. */
static void sums_have_to_fit(void **state)
{
    (void)state;
    rn_error err = {0};
    rn_executor *executor;
    rn_plan *plan = make_plan(0, true);
    plan->tensors[find_int8_conv(plan, true)->outputs[0]].step = 1e-30f;
    const rn_backend_options options = {.max_batch = 1, .thread_count = 1};
    assert_int_equal(rn_cpu_backend.prepare(plan, &options, &executor, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "beyond 2^30 of its own steps"));
    rn_plan_destroy(plan);
}

int main(void)
{
    if (rn_cpu_best_isa() < RN_ISA_AVX512_VNNI) printf("SKIP int8 by VNNI: this processor lacks it, the reference kernels run alone\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kernels_give_the_same_bits), cmocka_unit_test(wide_layers_take_bf16_points), cmocka_unit_test(only_what_must_stays_float),
        cmocka_unit_test(widened_plans_run_everywhere),   cmocka_unit_test(files_keep_it_all),            cmocka_unit_test(ranges_leave_out_the_rarest),
        cmocka_unit_test(bad_plans_are_refused),          cmocka_unit_test(sums_have_to_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
