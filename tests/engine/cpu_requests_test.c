/* What the CPU backend refuses, and by which words: precisions, instruction sets, sizes, batches, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/backend.h"
#include "engine/cpu/cpu_count.h"
#include "engine/synthetic.h"

static const rn_synthetic_options small = {.version = 1, .blocks = {1, 2, 1, 1}, .width = 8, .groups = 1, .side = 64, .classes = 10, .seed = 1};

static void precisions_are_refused_by_name(void **state)
{
    (void)state;
    const rn_backend *cpu;
    rn_executor *executor;
    rn_error err = {0};
    rn_plan *plan;
    assert_int_equal(rn_backend_select("cpu", &cpu, &err), RN_STATUS_OK);
    assert_int_equal(rn_synthetic_resnet(&small, &plan, &err), RN_STATUS_OK);
    assert_int_equal(cpu->prepare(plan, &(rn_backend_options){.max_batch = 1, .precision = "tf32"}, &executor, &err), RN_STATUS_DEVICE_FAILED);
    assert_non_null(strstr(err.message, "precision tf32"));
    rn_backend_options limited = {.max_batch = 1, .thread_count = 1, .isa = "scalar", .precision = "bf16"};
    assert_int_equal(cpu->prepare(plan, &limited, &executor, &err), RN_STATUS_DEVICE_FAILED);
    assert_non_null(strstr(err.message, "limited to scalar"));
    assert_non_null(strstr(err.message, "which need avx512"));
    limited.precision = "auto";
    assert_int_equal(cpu->prepare(plan, &limited, &executor, &err), RN_STATUS_OK);
    assert_non_null(strstr(cpu->describe(executor), ", auto: this processor has no bf16"));
    cpu->destroy(executor);
    rn_plan_destroy(plan);
}

static void wrong_requests_are_refused(void **state)
{
    (void)state;
    const rn_backend *cpu;
    rn_error err = {0};
    rn_plan *plan;
    rn_executor *executor;
    assert_int_equal(rn_backend_select("cpu", &cpu, &err), RN_STATUS_OK);
    assert_int_equal(rn_synthetic_resnet(&small, &plan, &err), RN_STATUS_OK);
    assert_int_equal(cpu->prepare(plan, &(rn_backend_options){.max_batch = 2, .isa = "mmx"}, &executor, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "mmx"));
    assert_int_equal(cpu->prepare(plan, &(rn_backend_options){.max_batch = 0}, &executor, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(cpu->prepare(plan, &(rn_backend_options){.max_batch = INT32_MAX}, &executor, &err), RN_STATUS_OK); /* memory is for a pass */
    cpu->destroy(executor);
    assert_int_equal(cpu->prepare(plan, &(rn_backend_options){.max_batch = 2}, &executor, &err), RN_STATUS_OK);
    const rn_batch_part part = {.rows = 3};
    assert_int_equal(cpu->run(executor, &plan->signatures[0], &part, 1, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "3 rows"));
    cpu->destroy(executor);
    cpu->destroy(NULL);
    rn_plan_destroy(plan);

    rn_synthetic_options wide = small;
    wide.side = 1024;
    assert_int_equal(rn_synthetic_resnet(&wide, &plan, &err), RN_STATUS_OK);
    assert_int_equal(cpu->prepare(plan, &(rn_backend_options){.max_batch = 4096, .thread_count = 1024}, &executor, &err), RN_STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.message, "1024x1024 pixels times 4096 rows"));
    rn_plan_destroy(plan);
}

static void names_select_backends(void **state)
{
    (void)state;
    const rn_backend *backend = NULL;
    rn_error err = {0};
    assert_int_equal(rn_backend_select("auto", &backend, &err), RN_STATUS_OK);
    assert_string_equal(backend->name, "cpu");
    assert_int_equal(rn_backend_select("cuda", &backend, &err), RN_STATUS_DEVICE_FAILED);
    assert_non_null(strstr(err.message, "cuda"));
    assert_int_equal(rn_backend_select("tpu", &backend, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "auto, cuda, cpu"));
}

static void the_process_may_use_a_processor(void **state)
{
    (void)state;
    const int32_t count = rn__cpu_count();
    printf("%d processors\n", count);
    assert_in_range(count, 1, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precisions_are_refused_by_name),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(names_select_backends),
        cmocka_unit_test(the_process_may_use_a_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
