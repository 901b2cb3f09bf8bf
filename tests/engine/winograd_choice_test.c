/* Which Winograd tile each of ResNet-101's 3x3 layers takes, in each type and for few pictures and many: the choices that were measured to be the fastest
 * (engine/cpu/winograd_step.c), so that a change of what is counted cannot change them unseen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <string.h>

#include "engine/cpu/cpu_executor.h"
#include "engine/passes.h"
#include "engine/synthetic.h"

enum { STAGES = 4 };
/* m of 56x56x64, 28x28x128, 14x14x256 and 7x7x512, for few pictures and for many; 0: direct. */
typedef int32_t choice[STAGES][RN__CPU_BATCH_CLASSES];

static rn_plan *make_plan(bool quantised)
{
    static const rn_synthetic_options network = {.version = 1, .blocks = {1, 2, 2, 2}, .width = 64, .groups = 1, .side = 224, .classes = 10, .seed = 1};
    rn_plan *plan;
    assert_int_equal(rn_synthetic_resnet(&network, &plan, NULL), RN_STATUS_OK);
    assert_int_equal(rn_plan_optimize(plan, NULL), RN_STATUS_OK);
    if (quantised) assert_int_equal(rn_synthetic_quantize(plan, NULL), RN_STATUS_OK);
    return plan;
}

static void check(bool quantised, rn_isa isa, rn__cpu_types types, bool deterministic, choice expected)
{
    rn_plan *plan = make_plan(quantised);
    rn_executor *executor;
    const rn_backend_options options = {.max_batch = 8, .thread_count = 2, .isa = rn_isa_name(isa), .deterministic = deterministic};
    assert_int_equal(rn__cpu_create(plan, &options, types, &executor, NULL), RN_STATUS_OK);
    int layers = 0;
    for (const rn_op *op = plan->ops; op < plan->ops + plan->op_count; op++) {
        if (op->kind != RN_OP_CONV2D || op->u.conv2d.r != 3) continue;
        const int32_t c = plan->tensors[op->inputs[0]].c, stage = c == 64 ? 0 : c == 128 ? 1 : c == 256 ? 2 : 3;
        for (int32_t i = 0; i < RN__CPU_BATCH_CLASSES; i++) {
            const int32_t m = rn__cpu_class_tile(executor, op, i);
            if (m != expected[stage][i]) fail_msg("%s, %d channels, batch class %d: expected m = %d, got %d", op->name, c, i, expected[stage][i], m);
        }
        layers++;
    }
    assert_int_equal(layers, 7);
    rn__cpu_destroy(executor);
    rn_plan_destroy(plan);
}

static bool is_amd(void)
{
    return strncmp(rn_cpu_model(), "AMD", 3) == 0;
}

static void fp32(void **state)
{
    (void)state;
    if (rn_cpu_best_isa() < RN_ISA_AVX2) skip();
    const rn__cpu_types types = {.maps = RN_DTYPE_F32, .weights = RN_DTYPE_F32};
    if (is_amd()) check(false, RN_ISA_AVX2, types, false, (choice){{4, 4}, {4, 4}, {5, 5}, {2, 4}});
    else check(false, RN_ISA_AVX2, types, false, (choice){{4, 4}, {4, 4}, {2, 5}, {2, 4}});
    check(false, RN_ISA_AVX2, types, true, (choice){{0}});
}

/* Measured on AMD's alone: others that have bf16 multiply it more slowly than f32, or have AMX, which needs no transforms. */
static void bf16(void **state)
{
    (void)state;
    if (rn_cpu_best_isa() < RN_ISA_AVX512_BF16 || !is_amd()) skip();
    const rn__cpu_types types = {.maps = RN_DTYPE_BF16, .weights = RN_DTYPE_BF16};
    check(false, RN_ISA_AVX512_BF16, types, false, (choice){{2, 2}, {2, 2}, {4, 4}, {2, 4}});
    check(false, RN_ISA_AVX512_BF16, types, true, (choice){{0}});
}

static void int8(void **state)
{
    (void)state;
    if (rn_cpu_best_isa() < RN_ISA_AVX512_BF16 || !is_amd()) skip();
    rn__cpu_types types = {.maps = RN_DTYPE_F32, .weights = RN_DTYPE_F32, .bf16_points = true};
    check(true, RN_ISA_AVX512_BF16, types, false, (choice){{4, 4}, {4, 4}, {5, 5}, {0, 4}});
    check(true, RN_ISA_AVX512_BF16, types, true, (choice){{0}});
    check(true, RN_ISA_AVX512_VNNI, types, false, (choice){{0}});
    types.bf16_points = false;
    check(true, RN_ISA_AVX512_BF16, types, false, (choice){{0}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fp32), cmocka_unit_test(bf16), cmocka_unit_test(int8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
