/* Class activation maps: the pass that finds a network's head, the CPU backend on every instruction set, and a request from end to end,
 * also one of more rows than a run takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "kernels/base/cpu_features.h"
#include "tests/support/explain_check.h"
#include "tests/support/plan_reference.h"

static const rn_backend *cpu(void)
{
    const rn_backend *backend;
    rn_error err = {0};
    assert_int_equal(rn_backend_select("cpu", &backend, &err), RN_STATUS_OK);
    return backend;
}

static void maps_match_the_reference(void **state)
{
    (void)state;
    static const char *const isas[] = {"scalar", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        rn_isa isa;
        assert_true(rn_isa_by_name(isas[i], &isa));
        if (isa > rn_cpu_best_isa()) {
            printf("SKIP %s: not on this processor\n", isas[i]);
            continue;
        }
        for (int32_t version = 1; version <= 2; version++) {
            const double error = rn_test_explain(cpu(), version, "fp32", isas[i]);
            printf("v%d %s: %.1e of 1e-4\n", version, isas[i], error);
            assert_true(error <= 1e-4); /* what whole networks are allowed: cpu_backend_test.c */
        }
    }
    for (int32_t version = 1; version <= 2; version++) {
        if (rn_cpu_best_isa() < RN_ISA_AVX512_BF16) {
            printf("SKIP bf16: not on this processor\n");
            continue;
        }
        const double error = rn_test_explain(cpu(), version, "bf16", "avx512_bf16");
        printf("v%d bf16: %.1e of 5e-2\n", version, error);
        assert_true(error <= 5e-2);
    }
}

/* ---- the pass ---- */

static rn_plan *synthetic(int32_t version)
{
    const rn_synthetic_options options = {
        .version = version, .blocks = {1, 1, 0, 0}, .width = 8, .groups = 1, .side = 40, .classes = 7, .seed = 3};
    rn_plan *plan;
    rn_error err = {0};
    assert_int_equal(rn_synthetic_resnet(&options, &plan, &err), RN_STATUS_OK);
    assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
    return plan;
}

static void two_signatures_share_a_map(void **state)
{
    (void)state;
    rn_plan *plan = synthetic(2);
    rn_error err = {0};
    rn_signature second = plan->signatures[0];
    strcpy(second.name, "second");
    assert_int_equal(rn_plan_add_signature(plan, &second, NULL, &err), RN_STATUS_OK);
    assert_int_equal(rn_plan_finish(plan, &err), RN_STATUS_OK);
    const int32_t ops = plan->op_count;
    assert_int_equal(rn_plan_explain(plan, &err), RN_STATUS_OK);
    assert_int_equal(plan->op_count, ops + 1);
    assert_int_equal(plan->signatures[0].explanation, plan->signatures[1].explanation);
    assert_int_equal(plan->signatures[0].op_count, ops);
    assert_int_equal(plan->signatures[0].class_map_op, ops);
    assert_int_equal(rn_plan_explain(plan, &err), RN_STATUS_OK); /* once more changes nothing */
    assert_int_equal(plan->op_count, ops + 1);
    rn_plan_destroy(plan);
}

/* A signature that ends in the averages has no classes to explain. */
static void features_have_no_map(void **state)
{
    (void)state;
    rn_plan *plan = synthetic(1);
    rn_error err = {0};
    rn_signature *signature = &plan->signatures[0];
    for (int32_t o = 0; o < plan->op_count; o++) {
        if (plan->ops[o].kind != RN_OP_GLOBAL_AVERAGE_POOL) continue;
        signature->outputs[0].tensor = plan->ops[o].outputs[0];
        signature->outputs[0].dims[1] = plan->tensors[plan->ops[o].outputs[0]].c;
    }
    assert_int_equal(rn_plan_finish(plan, &err), RN_STATUS_OK);
    assert_int_equal(rn_plan_explain(plan, &err), RN_STATUS_OK);
    assert_int_equal(plan->signatures[0].explanation, RN_NONE);
    rn_plan_destroy(plan);
}

/* A map in a list of outputs, which a file may claim, would be an output that no run writes. */
static void a_map_is_no_output(void **state)
{
    (void)state;
    rn_plan *plan = synthetic(1);
    rn_error err = {0};
    assert_int_equal(rn_plan_explain(plan, &err), RN_STATUS_OK);
    rn_signature *signature = &plan->signatures[0];
    const rn_plan_tensor *map = &plan->tensors[signature->explanation];
    signature->outputs[0].tensor = signature->explanation;
    signature->outputs[0].rank = 3;
    signature->outputs[0].dims[1] = map->h;
    signature->outputs[0].dims[2] = map->w;
    signature->explanation = RN_NONE;
    assert_int_equal(rn_plan_finish(plan, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "a map is no output"));
    rn_plan_destroy(plan);
}

/* ---- requests ---- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
} waiter;

static void on_done(rn_request *request)
{
    waiter *w = request->context;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void run_request(rn_request *request)
{
    waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
    request->context = &w;
    request->done = on_done;
    rn_request_submit(request);
    pthread_mutex_lock(&w.lock);
    while (!w.done) pthread_cond_wait(&w.wake, &w.lock);
    pthread_mutex_unlock(&w.lock);
    assert_int_equal(request->status, RN_STATUS_OK);
}

static void a_request_is_explained_run_by_run(void **state)
{
    (void)state;
    enum { ROWS = 5 };
    rn_error err = {0};
    rn_workers *workers;
    rn_model *model;
    const rn_model_options options = {.backend = {.max_batch = 2, .thread_count = 1}, .max_waiting_rows = 100};
    assert_int_equal(rn_workers_create(1, 10, &workers, &err), RN_STATUS_OK);
    assert_int_equal(rn_model_create(synthetic(1), cpu(), &options, workers, &model, &err), RN_STATUS_OK);
    const rn_plan *plan = rn_model_plan(model);
    const rn_signature *signature = &plan->signatures[0];
    rn_request *request;
    assert_int_equal(rn_request_create_explained(model, signature, ROWS, 0, &request, &err), RN_STATUS_OK);
    const int64_t in = ROWS * rn_plan_tensor_elements(&plan->tensors[signature->feed]);
    const int64_t positions = rn_plan_tensor_elements(&plan->tensors[signature->explanation]);
    for (int64_t i = 0; i < in; i++) ((float *)request->input)[i] = (float)(i % 97) / 97 - (float)(i / 331 % 5) / 5;
    int32_t classes[ROWS] = {RN_NONE, 6, RN_NONE, 0, RN_NONE};
    memcpy(request->classes, classes, sizeof classes);
    float *expected = malloc((size_t)(ROWS * positions) * sizeof *expected);
    rn_test_plan_explain(plan, signature, ROWS, request->input, classes, expected);
    run_request(request);
    assert_memory_equal(request->classes, classes, sizeof classes);
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < ROWS * positions; i++) {
        worst = fmax(worst, fabs((double)request->maps[i] - expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
    }
    assert_true(worst <= 1e-4 * largest);
    free(expected);
    rn_request_destroy(request);
    rn_model_release(model);
    rn_workers_destroy(workers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_match_the_reference),
        cmocka_unit_test(two_signatures_share_a_map),
        cmocka_unit_test(features_have_no_map),
        cmocka_unit_test(a_map_is_no_output),
        cmocka_unit_test(a_request_is_explained_run_by_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
