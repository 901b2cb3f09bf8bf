/* --deterministic: the bits of a row's results do not depend on what else is in its batch, on where it stands in it, or on the number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "engine/backend.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tests/support/network_problem.h"

enum { DETERMINISTIC_ROWS = 9 };

static const char *const isas[] = {"scalar", "avx2", "avx512"}; /* the sets that change anything in fp32 */
static int skipped;

/* Runs rows [first, first + rows) of the problem's input, the last one followed by the first, and returns all bytes of all their outputs. */
static unsigned char *run_rotated(const rn_test_problem *p, rn_executor *executor, const rn_backend *cpu, int32_t first, int32_t rows)
{
    rn_batch_part parts[DETERMINISTIC_ROWS] = {0};
    size_t total = 0;
    for (int32_t o = 0; o < p->signature->output_count; o++) total += rn_test_row_bytes(p, o);
    unsigned char *bytes = malloc(total * (size_t)rows), *at = bytes;
    for (int32_t i = 0; i < rows; i++) {
        parts[i] = (rn_batch_part){.rows = 1, .input = p->input + (size_t)((first + i) % DETERMINISTIC_ROWS) * p->input_bytes};
        for (int32_t o = 0; o < p->signature->output_count; at += rn_test_row_bytes(p, o++)) parts[i].outputs[o] = at;
    }
    rn_error err = {0};
    assert_int_equal(cpu->run(executor, p->signature, parts, rows, &err), RN_STATUS_OK);
    return bytes;
}

/* Every row alone, and in batches of 2 to 9 at every place that comes up, with one thread and with two: always the same bits. */
static void check_same_bits(const rn_test_network *net, const rn_test_problem *p, const rn_plan *plan, const char *isa)
{
    const rn_backend *cpu;
    rn_error err = {0};
    unsigned char *alone[DETERMINISTIC_ROWS] = {0};
    size_t total = 0;
    for (int32_t o = 0; o < p->signature->output_count; o++) total += rn_test_row_bytes(p, o);
    assert_int_equal(rn_backend_select("cpu", &cpu, &err), RN_STATUS_OK);
    for (int32_t threads = 1; threads <= 2; threads++) {
        rn_executor *executor;
        const rn_backend_options options = {.max_batch = DETERMINISTIC_ROWS, .thread_count = threads, .isa = isa, .deterministic = true};
        const rn_status status = cpu->prepare(plan, &options, &executor, &err);
        if (status == RN_STATUS_DEVICE_FAILED) {
            printf("SKIP the same bits of %s on %s: %s\n", net->name, isa, err.message);
            skipped++;
            return;
        }
        assert_int_equal(status, RN_STATUS_OK);
        for (int32_t i = 0; i < DETERMINISTIC_ROWS && threads == 1; i++) alone[i] = run_rotated(p, executor, cpu, i, 1);
        for (int32_t rows = 1; rows <= DETERMINISTIC_ROWS; rows++) {
            for (int32_t first = 0; first < DETERMINISTIC_ROWS; first += rows == DETERMINISTIC_ROWS ? 1 : 4) {
                unsigned char *got = run_rotated(p, executor, cpu, first, rows);
                for (int32_t i = 0; i < rows; i++) {
                    assert_memory_equal(got + total * (size_t)i, alone[(first + i) % DETERMINISTIC_ROWS], total);
                }
                free(got);
            }
        }
        cpu->destroy(executor);
    }
    for (int32_t i = 0; i < DETERMINISTIC_ROWS; i++) free(alone[i]);
    printf("%-18s %-7s the same bits in any batch\n", net->name, isa);
}

static void deterministic_results_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    for (size_t n = 0; n < RN_TEST_NETWORK_COUNT; n++) {
        rn_plan *plan;
        rn_error err = {0};
        assert_int_equal(rn_synthetic_resnet(&rn_test_networks[n].options, &plan, &err), RN_STATUS_OK);
        assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
        rn_test_problem p = rn_test_problem_inputs(plan, DETERMINISTIC_ROWS);
        for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) check_same_bits(&rn_test_networks[n], &p, plan, isas[i]);
        rn_test_problem_destroy(&p);
        rn_plan_destroy(plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(deterministic_results_do_not_depend_on_the_batch)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("%d SKIP\n", skipped);
    return failed;
}
