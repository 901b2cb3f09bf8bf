/* The batch queue over a device that takes a run in two halves: a second batch is begun behind the first, and every request gets its own
 * answer, once, when the device has let go of its memory. The device computes when a batch is finished, as late as it may. */
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
#include "engine/replicas.h"

enum { MAX_BATCH = 4, WAITING = 4096, TAUGHT_US = 800 * 1000 };

/* ---- a device that computes y = x / 2 + 2 on rows of two floats, and finishes as many batches as it is allowed ---- */

typedef struct {
    const rn_batch_part *parts;
    int32_t part_count, rows;
} flight;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static flight flights[2];
static int begun, finished, allowed, most_under_way, ran, destroyed;
static int rows_of[8192];                     /* of each batch that was begun */
static rn_status begin_status, finish_status; /* of the next ones */
static int refused;                           /* the batch that cannot be begun, counted from 0; -1: none */

static rn_status fake_begin(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count,
                            rn_error *err)
{
    (void)executor;
    assert_non_null(signature);
    pthread_mutex_lock(&lock);
    const rn_status status = begun == refused ? RN_STATUS_DEVICE_FAILED : begin_status;
    flight *f = &flights[begun % 2];
    *f = (flight){.parts = parts, .part_count = part_count};
    for (int32_t i = 0; i < part_count; i++) f->rows += parts[i].rows;
    assert_in_range(f->rows, 1, MAX_BATCH);
    if (status == RN_STATUS_OK) rows_of[begun++] = f->rows;
    if (begun - finished > most_under_way) most_under_way = begun - finished;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
    assert_true(most_under_way <= 2);
    return status == RN_STATUS_OK ? status : RN_FAIL(err, status, "the device takes no more");
}

static rn_status fake_finish(rn_executor *executor, rn_error *err)
{
    (void)executor;
    pthread_mutex_lock(&lock);
    assert_true(finished < begun);
    while (allowed == finished) pthread_cond_wait(&moved, &lock);
    const flight f = flights[finished % 2];
    const rn_status status = finish_status;
    for (int32_t i = 0; i < f.part_count; i++)
        for (int32_t j = 0; j < 2 * f.parts[i].rows; j++)
            ((float *)f.parts[i].outputs[0])[j] = ((const float *)f.parts[i].input)[j] / 2 + 2;
    finished++;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
    return status == RN_STATUS_OK ? status : RN_FAIL(err, status, "the device caught fire");
}

static rn_status fake_run(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count,
                          rn_error *err)
{
    (void)executor, (void)signature, (void)parts, (void)part_count;
    ran++;
    return RN_FAIL(err, RN_STATUS_INTERNAL, "nobody runs a device that can be begun");
}

static void fake_destroy(rn_executor *executor)
{
    (void)executor;
    destroyed++;
}

static const rn_backend fake = {.name = "fake", .run = fake_run, .begin = fake_begin, .finish = fake_finish, .destroy = fake_destroy};

static void allow(int more)
{
    pthread_mutex_lock(&lock);
    allowed = more == INT32_MAX ? INT32_MAX : allowed + more;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void set_status(rn_status of_begin, rn_status of_finish)
{
    pthread_mutex_lock(&lock);
    begin_status = of_begin;
    finish_status = of_finish;
    pthread_mutex_unlock(&lock);
}

static void wait_for(const int *counter, int value)
{
    pthread_mutex_lock(&lock);
    while (*counter < value) pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
}

static void sleep_us(int64_t us)
{
    const struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

/* ---- a plan and requests ---- */

static rn_plan *plan;
static rn_batcher *batcher;
static rn_model_metrics metrics;

static void add_signature(const char *name)
{
    rn_signature s = {.input = {.name = "x", .dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, 2}, .tensor = 0},
                      .output_count = 1,
                      .outputs = {{.name = "y", .dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, 2}, .tensor = 1}}};
    strcpy(s.name, name);
    assert_int_equal(rn_plan_add_signature(plan, &s, NULL, NULL), RN_STATUS_OK);
}

static void make_plan(void)
{
    int32_t x, y;
    plan = rn_plan_create();
    assert_int_equal(rn_plan_add_tensor(plan, "x", RN_DTYPE_F32, 1, 1, 2, &x, NULL), RN_STATUS_OK);
    assert_int_equal(rn_plan_add_tensor(plan, "y", RN_DTYPE_F32, 1, 1, 2, &y, NULL), RN_STATUS_OK);
    const rn_op half = {.kind = RN_OP_SCALE_SHIFT,
                        .name = "half",
                        .inputs = {x, RN_NONE},
                        .outputs = {y, RN_NONE},
                        .u.scale_shift = {.scale = RN_NONE, .shift = RN_NONE}};
    assert_int_equal(rn_plan_add_op(plan, &half, NULL, NULL), RN_STATUS_OK);
    add_signature("a");
    add_signature("b");
    rn_error err;
    if (rn_plan_finish(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
}

static int setup(void **state)
{
    (void)state;
    begun = finished = allowed = most_under_way = ran = destroyed = 0;
    refused = -1;
    set_status(RN_STATUS_OK, RN_STATUS_OK);
    memset(&metrics, 0, sizeof metrics);
    make_plan();
    const rn_batcher_options options = {.max_batch = MAX_BATCH, .max_waiting_rows = WAITING, .metrics = &metrics};
    assert_int_equal(rn_batcher_create(plan, &fake, NULL, &options, &batcher, NULL), RN_STATUS_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    allow(INT32_MAX);
    rn_batcher_destroy(batcher);
    rn_plan_destroy(plan);
    assert_int_equal(destroyed, 1);
    assert_int_equal(ran, 0);
    assert_int_equal(rn_gauge_get(&metrics.waiting_rows), 0);
    assert_int_equal(rn_gauge_get(&metrics.waiting_requests), 0);
    return 0;
}

typedef struct {
    rn_batch_request batch; /* first */
    float x[32], y[32];
    int is_done;
    rn_status status;
    char message[128];
    atomic_bool cancelled;
} request;

static void done(rn_batch_request *batch, rn_status status, const rn_error *err)
{
    request *r = (request *)batch;
    pthread_mutex_lock(&lock);
    assert_false(r->is_done);
    r->is_done = 1;
    r->status = status;
    if (err) snprintf(r->message, sizeof r->message, "%.100s", err->message);
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void fill(request *r, const char *signature, int32_t rows)
{
    static int fresh;
    memset(r, 0, sizeof *r);
    for (int i = 0; i < 2 * rows; i++) r->x[i] = (float)fresh++;
    r->batch = (rn_batch_request){.signature = rn_plan_signature(plan, signature),
                                  .part = {.rows = rows, .input = r->x, .outputs = {r->y}},
                                  .cancelled = &r->cancelled,
                                  .done = done};
}

static void submit(request *r, const char *signature, int32_t rows)
{
    fill(r, signature, rows);
    assert_int_equal(rn_batcher_submit(batcher, &r->batch, NULL), RN_STATUS_OK);
}

static void expect(request *r, rn_status status)
{
    wait_for(&r->is_done, 1);
    assert_int_equal(r->status, status);
    for (int i = 0; status == RN_STATUS_OK && i < 2 * r->batch.part.rows; i++) assert_true(r->y[i] == r->x[i] / 2 + 2);
}

/* Not answered, and not about to be. */
static void expect_nothing(const request *r)
{
    sleep_us(20000);
    pthread_mutex_lock(&lock);
    assert_false(r->is_done);
    pthread_mutex_unlock(&lock);
}

/* Runs of one row take TAUGHT_US, the queue learns. */
static void teach(void)
{
    request r;
    submit(&r, "a", 1);
    wait_for(&begun, 1);
    sleep_us(TAUGHT_US);
    allow(1);
    expect(&r, RN_STATUS_OK);
}

/* ---- when the second batch is begun ---- */

static void a_full_batch_does_not_wait(void **state)
{
    (void)state;
    request first, full;
    submit(&first, "a", 1);
    wait_for(&begun, 1); /* nothing is known of how long it takes: the queue waits for its end */
    allow(1);
    expect(&first, RN_STATUS_OK);
    teach();
    submit(&first, "a", 1);
    wait_for(&begun, 3);
    submit(&full, "b", 4);
    wait_for(&begun, 4); /* no end was allowed */
    assert_int_equal(most_under_way, 2);
    allow(2);
    expect(&first, RN_STATUS_OK);
    expect(&full, RN_STATUS_OK);
}

static void others_gather_until_shortly_before_the_end(void **state)
{
    (void)state;
    request first, more[2];
    teach();
    submit(&first, "a", 1);
    wait_for(&begun, 2);
    submit(&more[0], "a", 1);
    sleep_us(TAUGHT_US / 8);
    pthread_mutex_lock(&lock);
    assert_int_equal(begun, 2);
    pthread_mutex_unlock(&lock);
    submit(&more[1], "a", 1);
    wait_for(&begun, 3); /* still no end was allowed */
    assert_int_equal(rows_of[2], 2);
    assert_true(more[0].batch.queue_us >= TAUGHT_US / 8);
    allow(2);
    expect(&first, RN_STATUS_OK);
    for (int i = 0; i < 2; i++) expect(&more[i], RN_STATUS_OK);
}

/* Two runs in half the time that they took one by one would be a share of 200 %. */
static void busy_time_is_not_counted_twice(void **state)
{
    (void)state;
    request r;
    const int64_t start = rn_clock_us();
    submit(&r, "a", 8);
    wait_for(&begun, 2);
    sleep_us(50000);
    allow(2);
    expect(&r, RN_STATUS_OK);
    const int64_t wall = rn_clock_us() - start, busy = (int64_t)rn_counter_get(&metrics.busy_us);
    assert_in_range(busy, 50000, wall);
    assert_in_range(r.batch.run_us, 50000, wall);
}

/* ---- answers ---- */

static void everybody_gets_his_own(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    request *r = calloc(COUNT, sizeof *r);
    allow(INT32_MAX);
    for (int i = 0; i < COUNT; i++) submit(&r[i], i % 5 ? "a" : "b", 1 + i % 11);
    for (int i = 0; i < COUNT; i++) expect(&r[i], RN_STATUS_OK);
    assert_int_equal(most_under_way, 2);
    free(r);
}

/* Part of the request is in the batch that fails, part in the one behind it, part in the queue. */
static void a_failure_is_told_when_no_part_is_under_way(void **state)
{
    (void)state;
    request large, next;
    submit(&large, "a", 11);
    wait_for(&begun, 2);
    set_status(RN_STATUS_OK, RN_STATUS_DEVICE_FAILED);
    allow(1);
    wait_for(&finished, 1);
    expect_nothing(&large);
    set_status(RN_STATUS_OK, RN_STATUS_OK);
    submit(&next, "b", 1);
    allow(2);
    expect(&large, RN_STATUS_DEVICE_FAILED);
    assert_string_equal(large.message, "the device caught fire");
    expect(&next, RN_STATUS_OK);
    assert_int_equal(begun, 3); /* nothing more of what has failed */
}

static void a_failure_to_begin_is_told_too(void **state)
{
    (void)state;
    request first, large;
    teach();
    submit(&first, "a", 1);
    wait_for(&begun, 2);
    set_status(RN_STATUS_DEVICE_FAILED, RN_STATUS_OK);
    submit(&large, "a", 9);
    expect(&large, RN_STATUS_DEVICE_FAILED); /* while the first one is under way */
    assert_string_equal(large.message, "the device takes no more");
    assert_false(first.is_done);
    set_status(RN_STATUS_OK, RN_STATUS_OK);
    allow(1);
    expect(&first, RN_STATUS_OK);
}

static void a_part_that_cannot_begin_waits_for_the_one_before(void **state)
{
    (void)state;
    request large, next;
    refused = 1;
    submit(&large, "a", 11);
    wait_for(&begun, 1);
    expect_nothing(&large);
    refused = -1;
    allow(1);
    expect(&large, RN_STATUS_DEVICE_FAILED);
    assert_string_equal(large.message, "the device takes no more");
    allow(1);
    submit(&next, "b", 1);
    expect(&next, RN_STATUS_OK);
    assert_int_equal(begun, 2);
}

static void what_nobody_wants_is_told_when_no_part_is_under_way(void **state)
{
    (void)state;
    request large, late;
    submit(&large, "a", 10);
    wait_for(&begun, 2);
    fill(&late, "a", 1);
    late.batch.deadline_us = rn_clock_us() - 1;
    late.batch.begun_us = rn_clock_us() - 2000000;
    assert_int_equal(rn_batcher_submit(batcher, &late.batch, NULL), RN_STATUS_OK);
    atomic_store(&large.cancelled, true);
    allow(1); /* room for a batch: both are looked at */
    expect(&late, RN_STATUS_DEADLINE_EXCEEDED);
    assert_memory_equal(late.message, "no answer within 2.", 19);
    expect_nothing(&large);
    allow(1);
    expect(&large, RN_STATUS_CANCELLED);
    assert_int_equal(begun, 2);
}

static void the_device_is_lost_for_both(void **state)
{
    (void)state;
    request r[3];
    teach();
    submit(&r[0], "a", 1);
    wait_for(&begun, 2);
    submit(&r[1], "a", 4);
    wait_for(&begun, 3);
    set_status(RN_STATUS_DEVICE_LOST, RN_STATUS_DEVICE_LOST);
    submit(&r[2], "a", 1);
    allow(2);
    for (int i = 0; i < 3; i++) expect(&r[i], RN_STATUS_DEVICE_LOST);
    assert_string_equal(r[1].message, "the device caught fire");
    assert_string_equal(r[2].message, "the device takes no more");
}

static void draining_runs_what_waits(void **state)
{
    (void)state;
    request r[4];
    for (int i = 0; i < 4; i++) submit(&r[i], i % 2 ? "a" : "b", 3);
    wait_for(&begun, 1);
    allow(INT32_MAX);
    rn_batcher_destroy(batcher);
    for (int i = 0; i < 4; i++) expect(&r[i], RN_STATUS_OK);
    destroyed = 0;
    assert_int_equal(rn_batcher_create(plan, &fake, NULL, &(rn_batcher_options){.max_batch = 1, .max_waiting_rows = 1}, &batcher, NULL),
                     RN_STATUS_OK);
}

/* ---- through a set of replicas ---- */

static int losses;

static void count_loss(void *context, const char *reason, int32_t left)
{
    (void)context;
    assert_string_equal(reason, "the device caught fire");
    assert_int_equal(left, 0);
    losses++;
}

static void replicas_keep_two_under_way(void **state)
{
    (void)state;
    rn_replicas *replicas;
    request r[2], last;
    rn_error err = {0};
    losses = 0;
    const rn_batcher_options options = {.max_batch = MAX_BATCH, .max_waiting_rows = WAITING};
    assert_int_equal(rn_replicas_create(plan, &fake, &options, count_loss, NULL, &replicas, NULL), RN_STATUS_OK);
    assert_int_equal(rn_replicas_add(replicas, NULL, NULL, NULL), RN_STATUS_OK);
    for (int i = 0; i < 2; i++) {
        fill(&r[i], "a", 8);
        assert_int_equal(rn_replicas_submit(replicas, &r[i].batch, NULL), RN_STATUS_OK);
    }
    wait_for(&begun, 2);
    allow(2);
    expect(&r[0], RN_STATUS_OK);
    set_status(RN_STATUS_OK, RN_STATUS_DEVICE_LOST);
    allow(2);
    expect(&r[1], RN_STATUS_DEVICE_LOST);
    fill(&last, "a", 1);
    assert_int_equal(rn_replicas_submit(replicas, &last.batch, &err), RN_STATUS_DEVICE_LOST);
    assert_string_equal(err.message, "the device caught fire");
    rn_replicas_destroy(replicas);
    assert_int_equal(losses, 1);
    assert_int_equal(destroyed, 1);
    destroyed = 0;
    set_status(RN_STATUS_OK, RN_STATUS_OK);
}

#define WITH_BATCHER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BATCHER(a_full_batch_does_not_wait),
        WITH_BATCHER(others_gather_until_shortly_before_the_end),
        WITH_BATCHER(busy_time_is_not_counted_twice),
        WITH_BATCHER(everybody_gets_his_own),
        WITH_BATCHER(a_failure_is_told_when_no_part_is_under_way),
        WITH_BATCHER(a_failure_to_begin_is_told_too),
        WITH_BATCHER(a_part_that_cannot_begin_waits_for_the_one_before),
        WITH_BATCHER(what_nobody_wants_is_told_when_no_part_is_under_way),
        WITH_BATCHER(the_device_is_lost_for_both),
        WITH_BATCHER(draining_runs_what_waits),
        WITH_BATCHER(replicas_keep_two_under_way),
    };
    return cmocka_run_group_tests_name("two batches under way", tests, NULL, NULL);
}
