/* Recorded answers: what counts as equal, and the numbers that they are stored in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/golden.h"
#include "engine/image/image.h"
#include "kernels/base/f16.h"
#include "tests/support/sample_plan.h"

static const rn_signature *find(const rn_plan *plan, const char *name, int32_t *index)
{
    const rn_signature *signature = rn_plan_signature(plan, name);
    assert_non_null(signature);
    *index = (int32_t)(signature - plan->signatures);
    return signature;
}

/* Two places that hold nearly the same value may change; others may not. */
static void indexes_are_compared_by_what_they_name(void **state)
{
    (void)state;
    rn_plan *plan = sample_plan();
    for (int32_t s = 0; s < plan->signature_count; s++) {
        const rn_signature *signature = &plan->signatures[s];
        for (int32_t o = 0; o < signature->output_count; o++) {
            const rn_plan_tensor *tensor = &plan->tensors[signature->outputs[o].tensor];
            const int64_t classes = rn_golden_output_elements(plan, signature, o);
            if (tensor->dtype != RN_DTYPE_I32) continue;
            assert_true(classes >= 3 && tensor->c >= 2 && classes <= 64 && tensor->c <= 16);
            float values[64] = {0};
            for (int64_t i = 0; i < classes; i++) values[i] = (float)-i;
            values[0] = 8, values[1] = 7.9999f, values[2] = 4;
            float input[1] = {0};
            rn_golden golden = {.signature = s, .rows = 1, .input = input};
            golden.outputs[o] = values;
            int32_t got[16];
            for (int32_t k = 0; k < tensor->c; k++) got[k] = k;
            void *outputs[RN_PLAN_MAX_OUTPUTS] = {0};
            outputs[o] = got;
            assert_true(rn_golden_compare(plan, &golden, 0, 1, outputs).relative == 0);
            got[0] = 1, got[1] = 0;
            assert_true(rn_golden_compare(plan, &golden, 0, 1, outputs).relative < 1e-4);
            got[0] = 2;
            const rn_golden_error wrong = rn_golden_compare(plan, &golden, 0, 1, outputs);
            assert_true(fabs(wrong.absolute - 4) < 1e-6 && fabs(wrong.relative - 0.5) < 1e-6 && wrong.output == o);
            got[0] = (int32_t)classes;
            assert_true(isinf(rn_golden_compare(plan, &golden, 0, 1, outputs).absolute));
        }
    }
    rn_plan_destroy(plan);
}

static void what_is_not_finite_is_wrong(void **state)
{
    (void)state;
    rn_plan *plan = sample_plan();
    int32_t index;
    const rn_signature *signature = find(plan, "serving_default", &index);
    assert_int_equal(plan->tensors[signature->outputs[0].tensor].dtype, RN_DTYPE_F32);
    const int64_t count = rn_golden_output_elements(plan, signature, 0);
    float wanted[64], got[64], input[1] = {0};
    assert_true(count <= 64);
    for (int64_t i = 0; i < count; i++) wanted[i] = got[i] = (float)i;
    rn_golden golden = {.signature = index, .rows = 1, .input = input};
    golden.outputs[0] = wanted;
    void *outputs[RN_PLAN_MAX_OUTPUTS] = {got};
    assert_true(rn_golden_compare(plan, &golden, 0, 1, outputs).absolute == 0);
    got[1] = NAN;
    assert_true(isinf(rn_golden_compare(plan, &golden, 0, 1, outputs).relative));
    rn_golden bad = golden;
    bad.signature = plan->signature_count;
    assert_int_equal(rn_plan_add_golden(plan, &bad, NULL), RN_STATUS_INVALID_ARGUMENT);
    bad = golden;
    bad.rows = 0;
    assert_int_equal(rn_plan_add_golden(plan, &bad, NULL), RN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(rn_plan_add_golden(plan, &golden, NULL), RN_STATUS_OK);
    assert_true(rn_golden_allowed(&golden, "fp32") < rn_golden_allowed(&golden, "fp16"));
    golden.allowed = 0.5;
    assert_true(rn_golden_allowed(&golden, "fp32") == 0.5);
    rn_plan_destroy(plan);
}

/* Every half there is, there and back; and floats between two of them. */
static void halves(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
        const float value = rn_f16_to_f32((uint16_t)bits);
        const uint16_t again = rn_f16_from_f32(value);
        if (isnan(value))
            assert_true((again & 0x7c00u) == 0x7c00u && (again & 0x3ffu));
        else
            assert_int_equal(again, bits);
    }
    assert_int_equal(rn_f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(rn_f16_from_f32(65520), 0x7c00);
    assert_int_equal(rn_f16_from_f32(1 + 0x1p-11f), 0x3c00); /* ties to even */
    assert_int_equal(rn_f16_from_f32(1 + 0x3p-11f), 0x3c02);
    assert_int_equal(rn_f16_from_f32(0x1p-25f), 0); /* half of the smallest: to even */
    assert_int_equal(rn_f16_from_f32(0x1.8p-25f), 1);
    assert_int_equal(rn_f16_from_f32(-0x1p-14f), 0x8400);
    assert_int_equal(rn_f16_from_f32(0x1.ff8p-15f), 0x03ff);
    assert_int_equal(rn_f16_from_f32(0x1.ffep-15f), 0x0400); /* rounds up to the smallest normal one */
}

/* What TensorFlow 2.21 gives for tf.image.resize([[[0],[10]],[[20],[30]]], [4, 4])[1:3, 1:3] and, with channels first, for a copy. */
static void numbers_are_fitted(void **state)
{
    (void)state;
    static const float in[] = {0, 10, 20, 30};
    const rn_plan_tensor x = {.dtype = RN_DTYPE_F32, .h = 2, .w = 2, .c = 1};
    rn_fit_op op = {.crop_h = 2, .crop_w = 2, .resize_h = 4, .resize_w = 4, .after_top = 1, .after_left = 1, .h = 2, .w = 2};
    float out[8];
    assert_int_equal(rn_fit_run(&op, &x, in, out, NULL), RN_STATUS_OK);
    static const float middle[] = {7.5f, 12.5f, 17.5f, 22.5f};
    assert_memory_equal(out, middle, sizeof middle);
    static const uint8_t planes[] = {1, 2, 3, 4, 5, 6, 7, 8};
    const rn_plan_tensor bytes = {.dtype = RN_DTYPE_U8, .h = 2, .w = 2, .c = 2}; /* two channels of 2x2 */
    op = (rn_fit_op){.channels_first = true, .crop_h = 2, .crop_w = 2, .h = 2, .w = 2};
    assert_int_equal(rn_fit_run(&op, &bytes, planes, out, NULL), RN_STATUS_OK);
    static const float mixed[] = {1, 5, 2, 6, 3, 7, 4, 8};
    assert_memory_equal(out, mixed, sizeof mixed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indexes_are_compared_by_what_they_name),
        cmocka_unit_test(what_is_not_finite_is_wrong),
        cmocka_unit_test(halves),
        cmocka_unit_test(numbers_are_fitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
