/* The passes keep a plan's meaning: outputs before and after by the reference interpretation; what they fuse, and what they must leave alone. */
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

#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tests/support/plan_reference.h"
#include "tests/support/test_map.h"

/* Folding rounds each weight once more: relative to the largest output, over the few layers of these plans. */
static const double TOLERANCE = 2e-6;
enum { ROWS = 2 };

static int count_ops(const rn_plan *plan, rn_op_kind kind)
{
    int count = 0;
    for (int32_t o = 0; o < plan->op_count; o++) count += plan->ops[o].kind == kind;
    return count;
}

/* Runs `pass` on the plan and compares all outputs of all signatures before and after. */
static void check_pass(const char *name, rn_plan *plan, rn_status (*pass)(rn_plan *, rn_error *))
{
    static float *before[RN_PLAN_MAX_SIGNATURES][RN_PLAN_MAX_OUTPUTS], *after[RN_PLAN_MAX_OUTPUTS];
    rn_error err = {0};
    double worst = 0;
    for (int round = 0; round < 2; round++) {
        for (int32_t s = 0; s < plan->signature_count; s++) {
            const rn_signature *signature = &plan->signatures[s];
            const size_t inputs = ROWS * (size_t)rn_plan_tensor_elements(&plan->tensors[signature->feed]);
            float *input = malloc(inputs * sizeof *input);
            rn_test_fill(input, inputs, 3); /* as bytes for a u8 feed: any bytes will do */
            void *outputs[RN_PLAN_MAX_OUTPUTS];
            for (int32_t o = 0; o < signature->output_count; o++) {
                const size_t bytes = ROWS * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[o].tensor]);
                float **to = round ? &after[o] : &before[s][o];
                outputs[o] = *to = malloc(bytes);
            }
            rn_test_plan_run(plan, signature, ROWS, input, outputs);
            for (int32_t o = 0; round && o < signature->output_count; o++) {
                const int64_t elements = ROWS * rn_plan_tensor_elements(&plan->tensors[signature->outputs[o].tensor]);
                double difference = 0, largest = 0;
                for (int64_t i = 0; i < elements; i++) {
                    difference = fmax(difference, fabs((double)before[s][o][i] - after[o][i]));
                    largest = fmax(largest, fabs((double)before[s][o][i]));
                }
                worst = fmax(worst, difference / largest);
                free(before[s][o]);
                free(after[o]);
            }
            free(input);
        }
        if (round == 0) assert_int_equal(pass(plan, &err), RN_STATUS_OK);
    }
    rn_test_report(name, plan->architecture, worst, TOLERANCE);
}

/* ---- whole networks ---- */

static rn_plan *network(int32_t version, bool u8)
{
    rn_plan *plan;
    rn_error err = {0};
    const rn_synthetic_options options = {.version = version, .blocks = {2, 2, 1, 1}, .width = 8, .groups = 2, .side = 40, .classes = 9, .u8_input = u8,
                                          .seed = 21};
    assert_int_equal(rn_synthetic_resnet(&options, &plan, &err), RN_STATUS_OK);
    return plan;
}

static void keras_v1_becomes_convolutions(void **state)
{
    (void)state;
    rn_plan *plan = network(1, false);
    const int convolutions = count_ops(plan, RN_OP_CONV2D);
    check_pass("fold_scale_shift", plan, rn_pass_fold_scale_shift);
    assert_int_equal(count_ops(plan, RN_OP_SCALE_SHIFT), 0);
    assert_int_equal(count_ops(plan, RN_OP_ADD), 6);
    check_pass("fuse_residual", plan, rn_pass_fuse_residual);
    assert_int_equal(count_ops(plan, RN_OP_ADD), 0);
    check_pass("fuse_preactivation", plan, rn_pass_fuse_preactivation);
    assert_int_equal(count_ops(plan, RN_OP_CONV2D), convolutions);
    assert_int_equal(plan->op_count, convolutions + 4); /* and pool, average, dense, softmax */
    check_pass("optimize, again", plan, rn_plan_optimize);
    assert_int_equal(plan->op_count, convolutions + 4);
    rn_plan_destroy(plan);
}

static void slim_v2_keeps_one_scale_shift(void **state)
{
    (void)state;
    rn_plan *plan = network(2, true);
    check_pass("optimize", plan, rn_plan_optimize);
    assert_int_equal(count_ops(plan, RN_OP_ADD), 0);
    assert_int_equal(count_ops(plan, RN_OP_SCALE_SHIFT), 2); /* of the uint8 input, and after the first pool, which is no convolution */
    int unread = 0, second = 0;
    for (int32_t o = 0; o < plan->op_count; o++) {
        unread += plan->ops[o].kind == RN_OP_CONV2D && plan->ops[o].outputs[0] == RN_NONE;
        second += plan->ops[o].kind == RN_OP_CONV2D && plan->ops[o].outputs[1] != RN_NONE;
    }
    assert_int_equal(second, 6); /* one a block */
    assert_int_equal(unread, 4); /* where the next block projects its shortcut or the network ends */
    rn_plan_destroy(plan);
}

/* ---- small plans ---- */

static int32_t add_tensor(rn_plan *plan, const char *name, rn_dtype dtype)
{
    int32_t t;
    assert_int_equal(rn_plan_add_tensor(plan, name, dtype, 3, 3, 4, &t, NULL), RN_STATUS_OK);
    return t;
}

static int32_t add_vector(rn_plan *plan, int32_t count, uint32_t seed)
{
    int32_t w;
    void *data;
    assert_int_equal(rn_plan_new_weights(plan, "vector", RN_DTYPE_F32, 1, &count, &data, &w, NULL), RN_STATUS_OK);
    rn_test_fill(data, (size_t)count, seed);
    return w;
}

static void add_scale_shift(rn_plan *plan, int32_t x, int32_t y, int32_t scale, int32_t shift, bool relu)
{
    const rn_op op = {.kind = RN_OP_SCALE_SHIFT, .name = "scale_shift", .inputs = {x, RN_NONE}, .outputs = {y, RN_NONE},
                      .u.scale_shift = {scale, shift, relu}};
    assert_int_equal(rn_plan_add_op(plan, &op, NULL, NULL), RN_STATUS_OK);
}

/* residual, y2: RN_NONE where there is none. */
static void add_fused_conv(rn_plan *plan, int32_t x, int32_t residual, int32_t y, int32_t y2, bool relu)
{
    int32_t filter;
    void *data;
    assert_int_equal(rn_plan_new_weights(plan, "filter", RN_DTYPE_F32, 4, (int32_t[]){3, 3, 4, 4}, &data, &filter, NULL), RN_STATUS_OK);
    rn_test_fill(data, 144, 5);
    rn_op op = {.kind = RN_OP_CONV2D, .name = "conv", .inputs = {x, residual}, .outputs = {y, y2}};
    op.u.conv2d = (rn_conv2d_op){.r = 3, .s = 3, .stride_h = 1, .stride_w = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .groups = 1,
                                 .filter = filter, .bias = RN_NONE, .relu = relu, .scale2 = RN_NONE, .shift2 = RN_NONE};
    if (y2 != RN_NONE) {
        op.u.conv2d.scale2 = add_vector(plan, 4, 6);
        op.u.conv2d.shift2 = add_vector(plan, 4, 7);
    }
    assert_int_equal(rn_plan_add_op(plan, &op, NULL, NULL), RN_STATUS_OK);
}

static void add_conv(rn_plan *plan, int32_t x, int32_t y, bool relu)
{
    add_fused_conv(plan, x, RN_NONE, y, RN_NONE, relu);
}

static void add_sum(rn_plan *plan, int32_t a, int32_t b, int32_t y, bool relu)
{
    const rn_op op = {.kind = RN_OP_ADD, .name = "add", .inputs = {a, b}, .outputs = {y, RN_NONE}, .u.add.relu = relu};
    assert_int_equal(rn_plan_add_op(plan, &op, NULL, NULL), RN_STATUS_OK);
}

static rn_tensor_spec spec(const rn_plan *plan, const char *name, int32_t tensor)
{
    rn_tensor_spec s = {.dtype = plan->tensors[tensor].dtype, .rank = 4, .dims = {-1, 3, 3, 4}, .tensor = tensor};
    strcpy(s.name, name);
    return s;
}

static void finish(rn_plan *plan, const char *name, int32_t input, int32_t output, int32_t output2)
{
    rn_signature signature = {.input = spec(plan, "x", input), .output_count = output2 == RN_NONE ? 1 : 2};
    strcpy(signature.name, name);
    strcpy(plan->architecture, name);
    signature.outputs[0] = spec(plan, "y", output);
    if (output2 != RN_NONE) signature.outputs[1] = spec(plan, "y2", output2);
    assert_int_equal(rn_plan_add_signature(plan, &signature, NULL, NULL), RN_STATUS_OK);
    rn_error err = {0};
    if (rn_plan_finish(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
}

/* uint8 -> scale [1] -> shift [4] -> scale and shift [4], ReLU: one operation. */
static void chains_of_scales_become_one(void **state)
{
    (void)state;
    rn_plan *plan = rn_plan_create();
    const int32_t x = add_tensor(plan, "x", RN_DTYPE_U8), a = add_tensor(plan, "a", RN_DTYPE_F32), b = add_tensor(plan, "b", RN_DTYPE_F32),
                  y = add_tensor(plan, "y", RN_DTYPE_F32);
    add_scale_shift(plan, x, a, add_vector(plan, 1, 1), RN_NONE, false);
    add_scale_shift(plan, a, b, RN_NONE, add_vector(plan, 4, 2), false);
    add_scale_shift(plan, b, y, add_vector(plan, 4, 3), add_vector(plan, 4, 4), true);
    finish(plan, "chain", x, y, RN_NONE);
    check_pass("fold_scale_shift", plan, rn_pass_fold_scale_shift);
    assert_int_equal(plan->op_count, 1);
    rn_plan_destroy(plan);
}

/* A tensor that a signature names, or that has a second reader, keeps its value. */
static void what_others_see_is_kept(void **state)
{
    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        rn_plan *plan = rn_plan_create();
        const int32_t x = add_tensor(plan, "x", RN_DTYPE_F32), a = add_tensor(plan, "a", RN_DTYPE_F32), y = add_tensor(plan, "y", RN_DTYPE_F32),
                      z = add_tensor(plan, "z", RN_DTYPE_F32);
        add_conv(plan, x, a, variant == 2);
        add_scale_shift(plan, a, y, add_vector(plan, 4, 1), add_vector(plan, 4, 2), false);
        add_sum(plan, y, variant == 1 ? a : x, z, true);
        finish(plan, "visible", x, z, variant == 0 ? a : RN_NONE);
        check_pass("optimize", plan, rn_plan_optimize);
        assert_int_equal(plan->op_count, 3);
        rn_plan_destroy(plan);
    }
}

/* What follows a convolution with a residual, a second output or a ReLU is not about its products alone: a scale may not go into the filter, a
 * sum may not become its residual, a pre-activation not its second output where it has one. */
static void convolutions_that_do_more_are_left_alone(void **state)
{
    (void)state;
    enum { RESIDUAL, SECOND, RELU, EXTRAS };
    enum { SCALE, SUM, PREACTIVATION, FOLLOWERS };
    for (int variant = 0; variant < EXTRAS * FOLLOWERS; variant++) {
        const int extra = variant / FOLLOWERS, follower = variant % FOLLOWERS;
        rn_plan *plan = rn_plan_create();
        const int32_t x = add_tensor(plan, "x", RN_DTYPE_F32), y = add_tensor(plan, "y", RN_DTYPE_F32),
                      y2 = extra == SECOND ? add_tensor(plan, "y2", RN_DTYPE_F32) : RN_NONE, z = add_tensor(plan, "z", RN_DTYPE_F32);
        add_fused_conv(plan, x, extra == RESIDUAL ? x : RN_NONE, y, y2, extra == RELU);
        if (follower == SUM) add_sum(plan, y, x, z, false);
        else add_scale_shift(plan, y, z, add_vector(plan, 4, 1), add_vector(plan, 4, 2), follower == PREACTIVATION);
        char name[32];
        snprintf(name, sizeof name, "extra %d, follower %d", extra, follower);
        finish(plan, name, x, z, y2);
        check_pass("optimize", plan, rn_plan_optimize);
        const bool fused = follower == PREACTIVATION && extra != SECOND; /* as the second output of whatever the first one is */
        assert_int_equal(plan->op_count, fused ? 1 : 2);
        rn_plan_destroy(plan);
    }
}

/* A second signature that enters where the first one has a scale_shift: the two may not be folded across its input. */
static void entries_of_signatures_are_kept(void **state)
{
    (void)state;
    rn_plan *plan = rn_plan_create();
    const int32_t x = add_tensor(plan, "x", RN_DTYPE_U8), a = add_tensor(plan, "a", RN_DTYPE_F32), y = add_tensor(plan, "y", RN_DTYPE_F32);
    add_scale_shift(plan, x, a, add_vector(plan, 1, 1), RN_NONE, false);
    add_scale_shift(plan, a, y, RN_NONE, add_vector(plan, 4, 2), false);
    finish(plan, "bytes", x, y, RN_NONE);
    finish(plan, "floats", a, y, RN_NONE);
    check_pass("optimize", plan, rn_plan_optimize);
    assert_int_equal(plan->op_count, 2);
    rn_plan_destroy(plan);
}

/* x + x, a sum with itself of a convolution's output, cannot become a residual; conv(a) + conv(b) can, on one side. */
static void sums_of_convolutions(void **state)
{
    (void)state;
    rn_plan *plan = rn_plan_create();
    const int32_t x = add_tensor(plan, "x", RN_DTYPE_F32), a = add_tensor(plan, "a", RN_DTYPE_F32), y = add_tensor(plan, "y", RN_DTYPE_F32);
    add_conv(plan, x, a, false);
    add_sum(plan, a, a, y, true);
    finish(plan, "twice", x, y, RN_NONE);
    check_pass("optimize", plan, rn_plan_optimize);
    assert_int_equal(plan->op_count, 2);
    rn_plan_destroy(plan);

    plan = rn_plan_create();
    const int32_t x2 = add_tensor(plan, "x", RN_DTYPE_F32), b = add_tensor(plan, "b", RN_DTYPE_F32), c = add_tensor(plan, "c", RN_DTYPE_F32),
                  z = add_tensor(plan, "z", RN_DTYPE_F32);
    add_conv(plan, x2, b, false);
    add_conv(plan, x2, c, false);
    add_sum(plan, b, c, z, true);
    finish(plan, "two branches", x2, z, RN_NONE);
    check_pass("optimize", plan, rn_plan_optimize);
    assert_int_equal(plan->op_count, 2);
    rn_plan_destroy(plan);
}

/* A ReLU after a sum becomes the sum's, with its convolution or without; one with a scale or a shift does not. */
static void relu_of_a_sum(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        const bool plain = variant < 2, conv = variant % 2;
        rn_plan *plan = rn_plan_create();
        const int32_t x = add_tensor(plan, "x", RN_DTYPE_F32), a = conv ? add_tensor(plan, "a", RN_DTYPE_F32) : x,
                      y = add_tensor(plan, "y", RN_DTYPE_F32), z = add_tensor(plan, "z", RN_DTYPE_F32);
        if (conv) add_conv(plan, x, a, false);
        add_sum(plan, a, x, y, false);
        add_scale_shift(plan, y, z, RN_NONE, plain ? RN_NONE : add_vector(plan, 4, 1), true);
        finish(plan, "relu of a sum", x, z, RN_NONE);
        check_pass("fold_scale_shift", plan, rn_pass_fold_scale_shift);
        assert_int_equal(count_ops(plan, RN_OP_SCALE_SHIFT), !plain);
        check_pass("optimize", plan, rn_plan_optimize);
        assert_int_equal(plan->op_count, plain || conv ? 1 : 2);
        assert_true(plan->ops[0].outputs[plain ? 1 : 0] == RN_NONE || !conv);
        rn_plan_destroy(plan);
    }
}

/* ---- arena ---- */

/* Whether the operation's output lies upon its second input because it may. */
static bool lies_upon(const rn_op *op, int output, const int32_t *replaces, const size_t *offsets)
{
    const int32_t t = op->outputs[output], residual = op->inputs[1];
    return replaces && t != RN_NONE && residual != RN_NONE && replaces[t] == residual && offsets[t] == offsets[residual];
}

/* Replays each signature's schedule and checks that what is still needed is never overwritten. Returns how many outputs lie upon an input. */
static int check_no_overlap(const rn_plan *plan, const size_t *bytes, const int32_t *replaces, const size_t *offsets, size_t total)
{
    int upon = 0;
    for (int32_t s = 0; s < plan->signature_count; s++) {
        const rn_signature *signature = &plan->signatures[s];
        int32_t *owner = malloc(total / 64 * sizeof *owner); /* which tensor's bytes lie in each 64-byte block */
        for (size_t i = 0; i < total / 64; i++) owner[i] = RN_NONE;
        for (int32_t step = -1; step <= signature->op_count; step++) {
            int32_t reads[RN_PLAN_MAX_OUTPUTS], writes[2] = {RN_NONE, RN_NONE}, read_count = 0;
            if (step < 0) writes[0] = signature->feed;
            else if (step < signature->op_count) {
                const rn_op *op = &plan->ops[signature->ops[step]];
                for (int i = 0; i < 2; i++) {
                    const bool replaced = i == 1 && (lies_upon(op, 0, replaces, offsets) || lies_upon(op, 1, replaces, offsets));
                    upon += replaced;
                    if (op->inputs[i] != RN_NONE && !replaced) reads[read_count++] = op->inputs[i];
                    for (size_t b = 0; replaced && b < bytes[op->inputs[i]] / 64; b++)
                        assert_int_equal(owner[offsets[op->inputs[i]] / 64 + b], op->inputs[i]);
                    writes[i] = op->outputs[i];
                }
            } else {
                for (int32_t i = 0; i < signature->output_count; i++) reads[read_count++] = signature->outputs[i].tensor;
            }
            for (int i = 0; i < 2; i++) { /* an output may not lie on another input, so write first */
                if (writes[i] == RN_NONE) continue;
                assert_true(offsets[writes[i]] % 64 == 0 && offsets[writes[i]] + bytes[writes[i]] <= total);
                for (size_t b = offsets[writes[i]] / 64; b < (offsets[writes[i]] + bytes[writes[i]] + 63) / 64; b++) owner[b] = writes[i];
            }
            for (int32_t i = 0; i < read_count; i++) {
                const size_t end = (offsets[reads[i]] + bytes[reads[i]] + 63) / 64;
                for (size_t b = offsets[reads[i]] / 64; b < end; b++) assert_int_equal(owner[b], reads[i]);
            }
        }
        free(owner);
    }
    return upon;
}

static void arenas_do_not_overlap(void **state)
{
    (void)state;
    for (int variant = 0; variant < 16; variant++) {
        rn_plan *plan = network(1 + variant % 2, variant & 2);
        rn_error err = {0};
        if (variant & 4) assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
        const size_t tensors = (size_t)plan->tensor_count;
        size_t *bytes = calloc(tensors, sizeof *bytes), *offsets = calloc(tensors, sizeof *offsets), total, sum = 0;
        for (int32_t t = 0; t < plan->tensor_count; t++) sum += bytes[t] = rn_plan_tensor_bytes(&plan->tensors[t]);
        int32_t *replaces = variant & 8 ? malloc(tensors * sizeof *replaces) : NULL;
        int sums = 0;
        for (int32_t t = 0; replaces && t < plan->tensor_count; t++) replaces[t] = RN_NONE;
        for (int32_t o = 0; replaces && o < plan->op_count; o++) {
            const rn_op *op = &plan->ops[o];
            if (op->inputs[1] == RN_NONE) continue;
            replaces[op->outputs[op->outputs[0] == RN_NONE]] = op->inputs[1];
            sums++;
        }
        assert_int_equal(rn_plan_layout_arena(plan, bytes, replaces, offsets, &total, &err), RN_STATUS_OK);
        assert_true(total < sum / 2);
        const int upon = check_no_overlap(plan, bytes, replaces, offsets, total);
        printf("%s: %zu bytes of tensors in an arena of %zu, %d of %d sums upon an addend\n", plan->architecture, sum, total, upon, sums);
        assert_true(upon > 0 || sums == 0);
        bytes[0] = SIZE_MAX - 100;
        assert_int_equal(rn_plan_layout_arena(plan, bytes, replaces, offsets, &total, &err), RN_STATUS_OUT_OF_MEMORY);
        free(bytes);
        free(offsets);
        free(replaces);
        rn_plan_destroy(plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keras_v1_becomes_convolutions), cmocka_unit_test(slim_v2_keeps_one_scale_shift),
        cmocka_unit_test(chains_of_scales_become_one),   cmocka_unit_test(what_others_see_is_kept),
        cmocka_unit_test(convolutions_that_do_more_are_left_alone), cmocka_unit_test(entries_of_signatures_are_kept), cmocka_unit_test(sums_of_convolutions),
        cmocka_unit_test(relu_of_a_sum),
        cmocka_unit_test(arenas_do_not_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
