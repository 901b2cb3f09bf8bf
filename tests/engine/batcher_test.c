/* The batch queue against a device that can be held: what is gathered, cut, dropped and refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/batcher.h"
#include "engine/clock.h"

/* ---- a device that computes y = x / 2 + 2 on rows of two floats when its gate is open ---- */

enum { MAX_BATCH = 4, WAITING = 12, MAX_RUNS = 64 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool held;
static int entered, destroyed;
static int runs[MAX_RUNS]; /* rows of each run */
static int done_count;
static rn_status next_status;

static rn_status fake_run(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count,
                          rn_error *err)
{
    (void)executor;
    assert_non_null(signature);
    pthread_mutex_lock(&gate);
    int rows = 0;
    for (int32_t i = 0; i < part_count; i++) rows += parts[i].rows;
    assert_in_range(rows, 1, MAX_BATCH);
    runs[entered++ % MAX_RUNS] = rows;
    pthread_cond_broadcast(&moved);
    while (held) pthread_cond_wait(&moved, &gate);
    const rn_status status = next_status;
    pthread_mutex_unlock(&gate);
    if (status != RN_STATUS_OK) return RN_FAIL(err, status, "the device caught fire");
    for (int32_t i = 0; i < part_count; i++)
        for (int32_t j = 0; j < 2 * parts[i].rows; j++) ((float *)parts[i].outputs[0])[j] = ((const float *)parts[i].input)[j] / 2 + 2;
    return RN_STATUS_OK;
}

static void fake_destroy(rn_executor *executor)
{
    (void)executor;
    destroyed++;
}

static const rn_backend fake = {.name = "fake", .run = fake_run, .destroy = fake_destroy};

static void hold(bool on)
{
    pthread_mutex_lock(&gate);
    held = on;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&gate);
}

static void wait_entered(int count)
{
    pthread_mutex_lock(&gate);
    while (entered < count) pthread_cond_wait(&moved, &gate);
    pthread_mutex_unlock(&gate);
}

/* ---- a plan with two signatures, and requests ---- */

static rn_plan *plan;
static rn_batcher *batcher;
/* What the next requests are submitted with. */
static int32_t priority;
static int64_t begun_us;

static void add_signature(const char *name, int32_t x, int32_t y)
{
    rn_signature s = {.input = {.name = "x", .dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, 2}, .tensor = x},
                      .output_count = 1,
                      .outputs = {{.name = "y", .dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, 2}, .tensor = y}}};
    strcpy(s.name, name);
    int32_t index;
    assert_int_equal(rn_plan_add_signature(plan, &s, &index, NULL), RN_STATUS_OK);
}

static void start_batcher(rn_batcher_options options)
{
    options.max_batch = MAX_BATCH;
    options.max_waiting_rows = WAITING;
    assert_int_equal(rn_batcher_create(plan, &fake, NULL, &options, &batcher, NULL), RN_STATUS_OK);
}

/* Another batcher, with these options, takes the place of the present one. */
static void restart_batcher(rn_batcher_options options)
{
    rn_batcher_destroy(batcher);
    destroyed = 0;
    start_batcher(options);
}

static int setup(void **state)
{
    (void)state;
    entered = destroyed = done_count = 0;
    priority = 0;
    begun_us = 0;
    held = false;
    next_status = RN_STATUS_OK;
    plan = rn_plan_create();
    int32_t x, y, op;
    rn_op half = {.kind = RN_OP_SCALE_SHIFT, .name = "half", .u.scale_shift = {.scale = RN_NONE, .shift = RN_NONE}};
    assert_int_equal(rn_plan_add_tensor(plan, "x", RN_DTYPE_F32, 1, 1, 2, &x, NULL), RN_STATUS_OK);
    assert_int_equal(rn_plan_add_tensor(plan, "y", RN_DTYPE_F32, 1, 1, 2, &y, NULL), RN_STATUS_OK);
    half.inputs[0] = x;
    half.outputs[0] = y;
    half.inputs[1] = half.outputs[1] = RN_NONE;
    assert_int_equal(rn_plan_add_op(plan, &half, &op, NULL), RN_STATUS_OK);
    add_signature("a", x, y);
    add_signature("b", x, y);
    rn_error err;
    if (rn_plan_finish(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    start_batcher((rn_batcher_options){0});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hold(false);
    rn_batcher_destroy(batcher);
    rn_plan_destroy(plan);
    assert_int_equal(destroyed, 1);
    return 0;
}

typedef struct {
    rn_batch_request batch; /* first */
    float x[64], y[64];
    bool is_done;
    int place; /* among all that were done, from 0 */
    rn_status status;
    char message[128];
    atomic_bool cancelled;
} request;

static void done(rn_batch_request *batch, rn_status status, const rn_error *err)
{
    request *r = (request *)batch;
    pthread_mutex_lock(&gate);
    assert_false(r->is_done);
    r->is_done = true;
    r->place = done_count++;
    r->status = status;
    if (err) snprintf(r->message, sizeof r->message, "%.100s", err->message);
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&gate);
}

static rn_status submit(request *r, const char *signature, int32_t rows, int64_t deadline_us)
{
    memset(r, 0, sizeof *r);
    for (int i = 0; i < 2 * rows; i++) r->x[i] = (float)i;
    r->batch = (rn_batch_request){.signature = rn_plan_signature(plan, signature),
                                  .part = {.rows = rows, .input = r->x, .outputs = {r->y}},
                                  .priority = priority,
                                  .begun_us = begun_us,
                                  .deadline_us = deadline_us,
                                  .cancelled = &r->cancelled,
                                  .done = done};
    return rn_batcher_submit(batcher, &r->batch, NULL);
}

static void expect(request *r, rn_status status)
{
    pthread_mutex_lock(&gate);
    while (!r->is_done) pthread_cond_wait(&moved, &gate);
    pthread_mutex_unlock(&gate);
    assert_int_equal(r->status, status);
    for (int i = 0; status == RN_STATUS_OK && i < 2 * r->batch.part.rows; i++) assert_true(r->y[i] == r->x[i] / 2 + 2);
}

/* ---- tests ---- */

static void test_idle_runs_at_once(void **state)
{
    (void)state;
    request r;
    assert_int_equal(submit(&r, "a", 1, 0), RN_STATUS_OK);
    expect(&r, RN_STATUS_OK);
    assert_int_equal(r.batch.batch_rows, 1);
}

static void test_busy_gathers_one_signature(void **state)
{
    (void)state;
    request r[6];
    hold(true);
    submit(&r[0], "a", 1, 0);
    wait_entered(1);
    submit(&r[1], "a", 1, 0);
    submit(&r[2], "b", 1, 0);
    submit(&r[3], "a", 2, 0);
    submit(&r[4], "a", 2, 0); /* does not fit behind three rows, and is not cut */
    submit(&r[5], "a", 1, 0); /* fits */
    assert_int_equal(rn_batcher_waiting_rows(batcher), 7);
    hold(false);
    for (int i = 0; i < 6; i++) expect(&r[i], RN_STATUS_OK);
    assert_int_equal(entered, 4);
    assert_int_equal(runs[1], 4);
    assert_int_equal(r[5].batch.batch_rows, 4);
    assert_int_equal(r[2].batch.batch_rows, 1);
    assert_int_equal(r[4].batch.batch_rows, 2);
    assert_int_equal(rn_batcher_waiting_rows(batcher), 0);
}

static void test_large_requests_are_cut(void **state)
{
    (void)state;
    request first, large, small;
    hold(true);
    submit(&first, "a", 1, 0);
    wait_entered(1);
    submit(&large, "a", 10, 0);
    submit(&small, "a", 2, 0);
    hold(false);
    expect(&large, RN_STATUS_OK);
    expect(&small, RN_STATUS_OK);
    expect(&first, RN_STATUS_OK);
    assert_int_equal(entered, 4); /* 1, 4, 4, 2 + 2 */
    assert_int_equal(runs[3], 4);
}

static void test_full(void **state)
{
    (void)state;
    request r[4];
    hold(true);
    submit(&r[0], "a", 1, 0);
    wait_entered(1);
    assert_true(rn_batcher_has_room(batcher, 30));
    assert_int_equal(submit(&r[1], "a", 30, 0), RN_STATUS_OK); /* nothing waits: let in whatever its size */
    assert_false(rn_batcher_has_room(batcher, 1));
    assert_int_equal(submit(&r[2], "a", 1, 0), RN_STATUS_OVERLOADED);
    hold(false);
    expect(&r[1], RN_STATUS_OK);
    assert_int_equal(submit(&r[3], "a", 1, 0), RN_STATUS_OK);
    expect(&r[3], RN_STATUS_OK);
}

static void test_unwanted_requests_are_dropped(void **state)
{
    (void)state;
    request r[4];
    hold(true);
    submit(&r[0], "a", 1, 0);
    wait_entered(1);
    submit(&r[1], "a", 1, 0);
    submit(&r[2], "a", 1, rn_clock_us() - 1);
    submit(&r[3], "a", 10, 0);
    atomic_store(&r[1].cancelled, true);
    hold(false);
    expect(&r[1], RN_STATUS_CANCELLED);
    expect(&r[2], RN_STATUS_DEADLINE_EXCEEDED);
    expect(&r[3], RN_STATUS_OK);
    assert_int_equal(runs[1], 4);
}

static void test_cancelled_between_cuts(void **state)
{
    (void)state;
    request r;
    hold(true);
    submit(&r, "a", 10, 0);
    wait_entered(1);
    atomic_store(&r.cancelled, true);
    hold(false);
    expect(&r, RN_STATUS_CANCELLED);
    assert_int_equal(entered, 1);
    assert_int_equal(rn_batcher_waiting_rows(batcher), 0);
}

static void test_device_failure_reaches_everybody(void **state)
{
    (void)state;
    request first, large, next;
    hold(true);
    submit(&first, "a", 1, 0);
    wait_entered(1);
    submit(&large, "a", 9, 0);
    next_status = RN_STATUS_DEVICE_FAILED;
    hold(false);
    expect(&large, RN_STATUS_DEVICE_FAILED);
    assert_string_equal(large.message, "the device caught fire");
    assert_int_equal(entered, 2); /* no second run for what failed half-way */
    next_status = RN_STATUS_OK;
    submit(&next, "b", 1, 0);
    expect(&next, RN_STATUS_OK);
}

static void test_priorities(void **state)
{
    (void)state;
    static const int32_t priorities[] = {0, 2, 0, -1, 2, -1};
    static const int places[] = {3, 5, 4, 1, 6, 2};
    request first, r[6];
    hold(true);
    submit(&first, "a", 1, 0);
    wait_entered(1);
    for (int i = 0; i < 6; i++) {
        priority = priorities[i];
        assert_int_equal(submit(&r[i], "a", 2, 0), RN_STATUS_OK);
    }
    hold(false);
    for (int i = 0; i < 6; i++) expect(&r[i], RN_STATUS_OK);
    for (int i = 0; i < 6; i++) assert_int_equal(r[i].place, places[i]);
    assert_int_equal(entered, 4);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    request r[4];
    restart_batcher((rn_batcher_options){.one_at_a_time = true});
    hold(true);
    submit(&r[0], "a", 1, 0);
    wait_entered(1);
    submit(&r[1], "a", 1, 0);
    submit(&r[2], "a", 6, 0);
    submit(&r[3], "a", 1, 0);
    hold(false);
    for (int i = 0; i < 4; i++) expect(&r[i], RN_STATUS_OK);
    static const int rows[] = {1, 1, 4, 2, 1};
    assert_int_equal(entered, 5);
    for (int i = 0; i < 5; i++) assert_int_equal(runs[i], rows[i]);
}

enum { LONG_US = 100 * 1000 * 1000, SHORT_US = 200 * 1000 };

static void test_gathering_ends_with_a_full_batch(void **state)
{
    (void)state;
    request r[4];
    restart_batcher((rn_batcher_options){.gather_us = LONG_US});
    for (int i = 0; i < 4; i++) submit(&r[i], "a", 1, 0);
    for (int i = 0; i < 4; i++) expect(&r[i], RN_STATUS_OK);
    assert_int_equal(entered, 1);
    assert_int_equal(runs[0], 4);
}

static void test_gathering_ends_with_time(void **state)
{
    (void)state;
    request r;
    restart_batcher((rn_batcher_options){.gather_us = SHORT_US});
    submit(&r, "a", 1, 0);
    expect(&r, RN_STATUS_OK);
    assert_true(r.batch.queue_us >= SHORT_US);
}

static void test_gathering_ends_with_the_batcher(void **state)
{
    (void)state;
    request r;
    restart_batcher((rn_batcher_options){.gather_us = LONG_US});
    submit(&r, "a", 1, 0);
    restart_batcher((rn_batcher_options){0});
    expect(&r, RN_STATUS_OK);
}

static void sleep_us(int64_t us)
{
    const struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

/* Two requests with a pause between them while the device is busy, and a third as soon as it is free. */
static void run_with_pauses(request r[4])
{
    hold(true);
    submit(&r[0], "a", 1, 0);
    wait_entered(1);
    sleep_us(SHORT_US);
    submit(&r[1], "a", 1, 0);
    sleep_us(SHORT_US);
    submit(&r[2], "a", 1, 0);
    hold(false);
    expect(&r[0], RN_STATUS_OK);
    submit(&r[3], "a", 1, 0);
    for (int i = 1; i < 4; i++) expect(&r[i], RN_STATUS_OK);
}

static void test_target_waits_for_the_next(void **state)
{
    (void)state;
    request r[4];
    restart_batcher((rn_batcher_options){.target_us = LONG_US});
    run_with_pauses(r);
    assert_int_equal(entered, 2);
    assert_int_equal(runs[1], 3);
    assert_true(r[1].batch.queue_us < LONG_US / 2); /* a request that is late is not waited for */
}

/* The next one is expected after the target. */
static void test_target_that_is_too_short(void **state)
{
    (void)state;
    request r[4];
    restart_batcher((rn_batcher_options){.target_us = SHORT_US / 100});
    run_with_pauses(r);
    assert_int_equal(r[1].batch.batch_rows, r[2].batch.batch_rows);
    assert_true(r[2].batch.queue_us < SHORT_US); /* it would be a pause and more */
}

static void test_target_leaves_an_idle_device_alone(void **state)
{
    (void)state;
    request r[3];
    restart_batcher((rn_batcher_options){.target_us = LONG_US});
    for (int i = 0; i < 3; i++) {
        submit(&r[i], "a", 1, 0);
        expect(&r[i], RN_STATUS_OK);
        sleep_us(SHORT_US / 4);
    }
    assert_int_equal(entered, 3);
}

static void test_deadline_tells_the_whole_time(void **state)
{
    (void)state;
    request first, late;
    hold(true);
    submit(&first, "a", 1, 0);
    wait_entered(1);
    begun_us = rn_clock_us() - 5 * 1000 * 1000;
    submit(&late, "a", 1, rn_clock_us() - 1);
    hold(false);
    expect(&late, RN_STATUS_DEADLINE_EXCEEDED);
    assert_memory_equal(late.message, "no answer within 5.", 19);
    expect(&first, RN_STATUS_OK);
}

static void test_many_threads_worth(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    request *r = calloc(COUNT, sizeof *r);
    for (int i = 0; i < COUNT; i++)
        while (submit(&r[i], i % 3 ? "a" : "b", 1 + i % 7, 0) == RN_STATUS_OVERLOADED) {
            pthread_mutex_lock(&gate);
            entered = 0; /* the record of runs is not looked at here */
            pthread_mutex_unlock(&gate);
        }
    for (int i = 0; i < COUNT; i++) expect(&r[i], RN_STATUS_OK);
    free(r);
}

#define WITH_BATCHER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BATCHER(test_idle_runs_at_once),
        WITH_BATCHER(test_busy_gathers_one_signature),
        WITH_BATCHER(test_large_requests_are_cut),
        WITH_BATCHER(test_full),
        WITH_BATCHER(test_unwanted_requests_are_dropped),
        WITH_BATCHER(test_cancelled_between_cuts),
        WITH_BATCHER(test_device_failure_reaches_everybody),
        WITH_BATCHER(test_many_threads_worth),
        WITH_BATCHER(test_priorities),
        WITH_BATCHER(test_one_at_a_time),
        WITH_BATCHER(test_gathering_ends_with_a_full_batch),
        WITH_BATCHER(test_gathering_ends_with_time),
        WITH_BATCHER(test_gathering_ends_with_the_batcher),
        WITH_BATCHER(test_target_waits_for_the_next),
        WITH_BATCHER(test_target_that_is_too_short),
        WITH_BATCHER(test_target_leaves_an_idle_device_alone),
        WITH_BATCHER(test_deadline_tells_the_whole_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
