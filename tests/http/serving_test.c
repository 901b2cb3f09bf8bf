/* The table of models and its keeper, with a device that can be told to fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/clock.h"
#include "http/serving.h"
#include "loader/model_file.h"
#include "tests/support/sample_plan.h"

/* ---- a device that answers with zeros, or cannot be had ---- */

struct rn_executor {
    const rn_plan *plan;
};

static atomic_int failures_left, prepared, executors;

static rn_status fake_prepare(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    (void)options;
    atomic_fetch_add(&prepared, 1);
    if (atomic_load(&failures_left) > 0) {
        atomic_fetch_sub(&failures_left, 1);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "the device is full");
    }
    *out = malloc(sizeof **out);
    (*out)->plan = plan;
    atomic_fetch_add(&executors, 1);
    return RN_STATUS_OK;
}

static rn_status fake_run(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count,
                          rn_error *err)
{
    (void)err;
    for (int32_t p = 0; p < part_count; p++)
        for (int32_t i = 0; i < signature->output_count; i++)
            memset(parts[p].outputs[i], 0,
                   (size_t)parts[p].rows * rn_plan_tensor_bytes(&executor->plan->tensors[signature->outputs[i].tensor]));
    return RN_STATUS_OK;
}

static const char *fake_describe(const rn_executor *executor)
{
    (void)executor;
    return "fake";
}

static void fake_destroy(rn_executor *executor)
{
    if (executor) atomic_fetch_sub(&executors, 1);
    free(executor);
}

static const rn_backend fake = {
    .name = "fake", .prepare = fake_prepare, .run = fake_run, .describe = fake_describe, .destroy = fake_destroy};

/* ---- models on disk ---- */

static char base[64];
static rn_metrics *metrics;
static rn_workers *workers;
static rn_serving *serving;

static void put_version(const char *number)
{
    char path[128];
    rn_plan *plan = sample_plan();
    snprintf(path, sizeof path, "%s/%s", base, number);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/model.safetensors", base, number);
    assert_int_equal(rn_model_file_write(plan, "", path, NULL), RN_STATUS_OK);
    rn_plan_destroy(plan);
}

static void start_serving(int32_t max_retries, int64_t retry_us)
{
    const rn_serving_options options = {.backend = &fake,
                                        .workers = workers,
                                        .metrics = metrics,
                                        .model = {.backend = {.max_batch = 2}, .max_waiting_rows = 8},
                                        .max_retries = max_retries,
                                        .retry_us = retry_us};
    assert_int_equal(rn_serving_create(&options, &serving, NULL), RN_STATUS_OK);
}

static int setup(void **state)
{
    (void)state;
    strcpy(base, "/tmp/rn_serving_XXXXXX");
    assert_non_null(mkdtemp(base));
    put_version("1");
    atomic_store(&failures_left, 0);
    atomic_store(&prepared, 0);
    assert_int_equal(rn_metrics_create(&metrics, NULL), RN_STATUS_OK);
    assert_int_equal(rn_workers_create(1, 8, &workers, NULL), RN_STATUS_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    rn_serving_destroy(serving);
    serving = NULL;
    rn_workers_destroy(workers);
    rn_metrics_destroy(metrics);
    assert_int_equal(atomic_load(&executors), 0);
    snprintf(command, sizeof command, "rm -r %s", base);
    return system(command);
}

/* ---- changes that are waited for ---- */

typedef struct {
    rn_change change; /* first */
    rn_model_configs configs;
    rn_status status;
    char message[512];
    sem_t done;
} awaited;

static void on_done(rn_change *change, const rn_error *err)
{
    awaited *a = (awaited *)change;
    a->status = err ? err->status : RN_STATUS_OK;
    snprintf(a->message, sizeof a->message, "%.500s", err ? err->message : "");
    sem_post(&a->done);
}

static void submit(awaited *a, rn_change_kind kind, const char *name)
{
    *a = (awaited){.change = {.kind = kind, .name = rn_text_of(name), .configs = &a->configs, .done = on_done}};
    sem_init(&a->done, 0, 0);
    if (kind == RN_CHANGE_CONFIGURE && *name) assert_int_equal(rn_model_configs_init_single(&a->configs, name, base, NULL), RN_STATUS_OK);
    rn_serving_submit(serving, &a->change);
}

static rn_status finish(awaited *a)
{
    while (sem_wait(&a->done) != 0) continue;
    sem_destroy(&a->done);
    rn_model_configs_deinit(&a->configs);
    return a->status;
}

static rn_status change(rn_change_kind kind, const char *name)
{
    awaited a;
    submit(&a, kind, name);
    return finish(&a);
}

/* "name/version STATE, ..." */
static void assert_list(bool idle, const char *expected)
{
    char text[512] = "";
    rn_version_info *list;
    int32_t count;
    assert_int_equal(rn_serving_list(serving, (rn_text){0}, idle, &list, &count, NULL), RN_STATUS_OK);
    for (int32_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s/%lld %s%s%s", i ? ", " : "", list[i].model,
                 (long long)list[i].version, rn_version_state_name(list[i].state), list[i].status ? ": " : "",
                 list[i].status ? rn_status_text(list[i].status) : "");
    free(list);
    assert_string_equal(text, expected);
}

static rn_status acquire(const char *name, int64_t version, int64_t *found)
{
    rn_model *model;
    const rn_status status = rn_serving_acquire(serving, rn_text_of(name), version, (rn_text){0}, &model, found, NULL);
    if (status == RN_STATUS_OK) rn_model_release(model);
    return status;
}

/* ---- tests ---- */

static void test_load_and_unload(void **state)
{
    (void)state;
    int64_t found;
    start_serving(0, 0);
    rn_serving_set_ready(serving, true);
    assert_false(rn_serving_is_ready(serving));
    assert_int_equal(change(RN_CHANGE_LOAD, "m"), RN_STATUS_NOT_FOUND);
    assert_int_equal(change(RN_CHANGE_CONFIGURE, "m"), RN_STATUS_OK);
    assert_true(rn_serving_is_ready(serving) && rn_serving_knows(serving, rn_text_of("m")));
    assert_int_equal(acquire("m", RN_LATEST_VERSION, &found), RN_STATUS_OK);
    assert_int_equal(found, 1);
    assert_int_equal(acquire("m", 2, &found), RN_STATUS_NOT_FOUND);
    put_version("2");
    assert_list(true, "m/1 AVAILABLE"); /* nobody has looked */
    assert_int_equal(change(RN_CHANGE_LOAD, "m"), RN_STATUS_OK);
    assert_int_equal(acquire("m", RN_LATEST_VERSION, &found), RN_STATUS_OK);
    assert_int_equal(found, 2);
    assert_int_equal(change(RN_CHANGE_UNLOAD, "m"), RN_STATUS_OK);
    assert_list(false, "m/2 END, m/1 END");
    assert_int_equal(atomic_load(&executors), 0);
    assert_false(rn_serving_is_ready(serving));
    assert_int_equal(acquire("m", RN_LATEST_VERSION, &found), RN_STATUS_NOT_FOUND);
    assert_int_equal(change(RN_CHANGE_LOAD, "m"), RN_STATUS_OK);
    assert_list(false, "m/2 AVAILABLE, m/1 END");
    assert_int_equal(change(RN_CHANGE_CONFIGURE, ""), RN_STATUS_OK);
    assert_false(rn_serving_knows(serving, rn_text_of("m")));
    assert_int_equal(change(RN_CHANGE_UNLOAD, "m"), RN_STATUS_NOT_FOUND);
}

static void test_versions_nobody_asked_for(void **state)
{
    (void)state;
    put_version("3");
    put_version("2");
    start_serving(0, 0);
    assert_int_equal(change(RN_CHANGE_CONFIGURE, "m"), RN_STATUS_OK);
    assert_list(false, "m/3 AVAILABLE");
    assert_list(true, "m/3 AVAILABLE, m/2 UNKNOWN, m/1 UNKNOWN");
}

/* The same number with other files: only when it is asked for. */
static void test_files_that_were_replaced(void **state)
{
    (void)state;
    start_serving(0, 0);
    assert_int_equal(change(RN_CHANGE_CONFIGURE, "m"), RN_STATUS_OK);
    assert_int_equal(change(RN_CHANGE_LOAD, "m"), RN_STATUS_OK);
    assert_int_equal(atomic_load(&prepared), 1);
    put_version("1");
    assert_int_equal(change(RN_CHANGE_CONFIGURE, "m"), RN_STATUS_OK);
    assert_int_equal(atomic_load(&prepared), 1);
    assert_int_equal(change(RN_CHANGE_LOAD, "m"), RN_STATUS_OK);
    assert_int_equal(atomic_load(&prepared), 2);
    assert_list(false, "m/1 AVAILABLE");
}

static void test_retries(void **state)
{
    (void)state;
    start_serving(3, 20000);
    atomic_store(&failures_left, 3);
    const int64_t begin = rn_clock_us();
    assert_int_equal(change(RN_CHANGE_CONFIGURE, "m"), RN_STATUS_OK);
    assert_int_equal(atomic_load(&prepared), 4);
    assert_true(rn_clock_us() - begin >= 60000);
}

static void test_retries_that_are_used_up(void **state)
{
    (void)state;
    awaited a;
    start_serving(2, 1000);
    atomic_store(&failures_left, 3);
    submit(&a, RN_CHANGE_CONFIGURE, "m");
    assert_int_equal(finish(&a), RN_STATUS_OUT_OF_MEMORY);
    assert_non_null(strstr(a.message, "1 model(s) did not become available: {{{name: m version: 1} due to error: "));
    assert_non_null(strstr(a.message, "the device is full"));
    assert_int_equal(atomic_load(&prepared), 3);
    assert_list(false, "m/1 END: out of memory");
    assert_int_equal(change(RN_CHANGE_LOAD, "m"), RN_STATUS_OK); /* asked for, it is tried anew */
    assert_list(false, "m/1 AVAILABLE");
}

static void test_later_configuration(void **state)
{
    (void)state;
    awaited first;
    start_serving(1, 1000 * 1000 * 1000);
    atomic_store(&failures_left, 1);
    submit(&first, RN_CHANGE_CONFIGURE, "m"); /* fails, and would be tried again after a long time */
    while (atomic_load(&prepared) == 0) usleep(1000);
    assert_int_equal(change(RN_CHANGE_CONFIGURE, "n"), RN_STATUS_OK);
    assert_int_equal(finish(&first), RN_STATUS_CANCELLED);
    assert_list(false, "m/1 END: out of memory, n/1 AVAILABLE");
}

static void test_end_of_a_change_that_waits(void **state)
{
    (void)state;
    awaited a;
    start_serving(1, 1000 * 1000 * 1000);
    atomic_store(&failures_left, 1);
    submit(&a, RN_CHANGE_CONFIGURE, "m");
    while (atomic_load(&prepared) == 0) usleep(1000);
    rn_serving_destroy(serving);
    serving = NULL;
    assert_int_equal(finish(&a), RN_STATUS_CANCELLED);
}

/* What a request holds is freed when it lets go, and listed as UNLOADING until then. */
static void test_model_in_use(void **state)
{
    (void)state;
    rn_model *model;
    int64_t found;
    awaited a;
    start_serving(0, 0);
    assert_int_equal(change(RN_CHANGE_CONFIGURE, "m"), RN_STATUS_OK);
    assert_int_equal(rn_serving_acquire(serving, rn_text_of("m"), 1, (rn_text){0}, &model, &found, NULL), RN_STATUS_OK);
    submit(&a, RN_CHANGE_UNLOAD, "m");
    while (acquire("m", 1, &found) == RN_STATUS_OK) usleep(1000);
    usleep(20000);
    assert_list(false, "m/1 UNLOADING");
    assert_int_equal(atomic_load(&executors), 1);
    rn_model_release(model);
    assert_int_equal(finish(&a), RN_STATUS_OK);
    assert_list(false, "m/1 END");
    assert_int_equal(atomic_load(&executors), 0);
}

#define WITH_MODELS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MODELS(test_load_and_unload),
        WITH_MODELS(test_versions_nobody_asked_for),
        WITH_MODELS(test_files_that_were_replaced),
        WITH_MODELS(test_retries),
        WITH_MODELS(test_retries_that_are_used_up),
        WITH_MODELS(test_later_configuration),
        WITH_MODELS(test_end_of_a_change_that_waits),
        WITH_MODELS(test_model_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
