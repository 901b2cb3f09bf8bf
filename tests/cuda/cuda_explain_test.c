/* Class activation maps of the CUDA backend, emulated, against the reference: V1 and V2, every precision. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>

#include "engine/cuda/cuda_backend.h"
#include "tests/cuda_emulation/emulation_control.h"
#include "tests/support/explain_check.h"

/* As cuda_backend_test.c allows logits; a map is a sum less, and is held by its worst position instead of their mean. */
static const struct {
    const char *name;
    double tolerance;
} precisions[] = {{"fp32", 1e-4}, {"tf32", 4e-3}, {"fp16", 1e-2}, {"bf16", 5e-2}};

static void maps_match_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        for (int32_t version = 1; version <= 2; version++) {
            const double error = rn_test_explain(&rn_cuda_backend, version, precisions[i].name, NULL);
            printf("v%d %s: %.1e of %.0e\n", version, precisions[i].name, error, precisions[i].tolerance);
            assert_true(error <= precisions[i].tolerance);
        }
    }
    assert_int_equal(rn_emulation_live_objects(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(maps_match_the_reference)};
    return cmocka_run_group_tests_name("explanations, emulated", tests, NULL, NULL);
}
