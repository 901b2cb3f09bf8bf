/* See explain_check.h. */
#include "tests/support/explain_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tests/support/plan_reference.h"

enum { FIRST = 7, SILENT = 3, ROWS = 19, CLASSES = 11 }; /* rows of the first part, of the one that wants no explanation, of all: several passes */

static void *fresh(size_t bytes)
{
    void *memory = calloc(1, bytes);
    assert_non_null(memory);
    return memory;
}

double rn_test_explain(const rn_backend *backend, int32_t version, const char *precision, const char *isa)
{
    const rn_synthetic_options network = {
        .version = version, .blocks = {1, 1, 1, 1}, .width = 12, .groups = 1, .side = 64, .classes = CLASSES, .seed = 5};
    const rn_backend_options options = {.max_batch = ROWS, .thread_count = 2, .precision = precision, .isa = isa};
    rn_plan *plan;
    rn_executor *executor;
    rn_error err = {0};
    assert_int_equal(rn_synthetic_resnet(&network, &plan, &err), RN_STATUS_OK);
    assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
    assert_int_equal(rn_plan_explain(plan, &err), RN_STATUS_OK);
    const rn_signature *signature = &plan->signatures[0];
    assert_int_not_equal(signature->explanation, RN_NONE);
    const size_t positions = (size_t)rn_plan_tensor_elements(&plan->tensors[signature->explanation]);
    const size_t in = (size_t)rn_plan_tensor_elements(&plan->tensors[signature->feed]);
    const size_t out = (size_t)rn_plan_tensor_elements(&plan->tensors[signature->outputs[0].tensor]);
    assert_true(positions > 1);
    if (backend->prepare(plan, &options, &executor, &err) != RN_STATUS_OK) fail_msg("%s", err.message);

    float *input = fresh(ROWS * in * sizeof *input), *outputs = fresh(ROWS * out * sizeof *outputs);
    float *maps = fresh(ROWS * positions * sizeof *maps), *expected = fresh(ROWS * positions * sizeof *expected);
    srand(11);
    for (size_t i = 0; i < ROWS * in; i++) input[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
    int32_t classes[ROWS], right[ROWS];
    for (int32_t i = 0; i < ROWS; i++) classes[i] = right[i] = i < FIRST + SILENT ? RN_NONE : i % CLASSES;
    rn_test_plan_explain(plan, signature, ROWS, input, right, expected);
    const int32_t last = FIRST + SILENT;
    const rn_batch_part parts[3] = {
        {.rows = FIRST, .input = input, .outputs = {outputs}, .classes = classes, .maps = maps},
        {.rows = SILENT, .input = input + FIRST * in, .outputs = {outputs + FIRST * out}},
        {.rows = ROWS - last, .input = input + last * in, .outputs = {outputs + last * out}, .classes = classes + last, .maps = maps + last * positions},
    };
    if (backend->run(executor, signature, parts, 3, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    double worst = 0, largest = 0;
    for (size_t i = 0; i < ROWS * positions; i++) {
        if (i / positions >= FIRST && i / positions < FIRST + SILENT) {
            assert_true(maps[i] == 0);
            continue;
        }
        if (!(fabs((double)maps[i] - expected[i]) <= worst)) worst = fabs((double)maps[i] - expected[i]);
        if (fabs((double)expected[i]) > largest) largest = fabs((double)expected[i]);
    }
    for (int i = 0; i < ROWS; i++) assert_int_equal(classes[i], i >= FIRST && i < last ? RN_NONE : right[i]);
    backend->destroy(executor);
    rn_plan_destroy(plan);
    free(input), free(outputs), free(maps), free(expected);
    return worst / largest;
}
