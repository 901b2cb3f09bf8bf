/* Several devices behind one way in: who gets a request, and what becomes of it when a device is lost. The devices are made up: each run
 * waits until the test lets it go on. */
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

#include "engine/replicas.h"

enum { MAX_BATCH = 4 };

/* ---- a device that runs when it is told to ---- */

struct rn_executor {
    int number;
    int runs, entered;
    bool held, lost;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int destroyed;

static rn_status run(rn_executor *device, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    (void)signature;
    pthread_mutex_lock(&lock);
    device->entered++;
    pthread_cond_broadcast(&changed);
    while (device->held) pthread_cond_wait(&changed, &lock);
    device->runs++;
    const bool lost = device->lost;
    pthread_mutex_unlock(&lock);
    if (lost) return RN_FAIL(err, RN_STATUS_DEVICE_LOST, "device %d fell off the bus", device->number);
    for (int32_t i = 0; i < part_count; i++) {
        for (int32_t row = 0; row < parts[i].rows; row++) ((float *)parts[i].outputs[0])[row] = ((const float *)parts[i].input)[row] + 1;
    }
    return RN_STATUS_OK;
}

static void destroy(rn_executor *device)
{
    (void)device;
    destroyed++;
}

static const rn_backend backend = {.name = "made up", .run = run, .destroy = destroy};

static void set_state(rn_executor *device, bool held, bool lost)
{
    pthread_mutex_lock(&lock);
    device->held = held;
    device->lost = lost;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_entered(rn_executor *device, int times)
{
    pthread_mutex_lock(&lock);
    while (device->entered < times) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

/* ---- requests ---- */

typedef struct {
    rn_batch_request request;
    float x[MAX_BATCH], y[MAX_BATCH];
    rn_status status; /* RN_STATUS_COUNT: not done */
    char message[RN_ERROR_MESSAGE_BYTES];
} call;

static void done(rn_batch_request *request, rn_status status, const rn_error *err)
{
    call *c = (call *)request;
    pthread_mutex_lock(&lock);
    c->status = status;
    if (err) snprintf(c->message, sizeof c->message, "%s", err->message);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static rn_status wait_done(call *c)
{
    pthread_mutex_lock(&lock);
    while (c->status == RN_STATUS_COUNT) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return c->status;
}

/* ---- a set of three ---- */

enum { DEVICES = 3 };

typedef struct {
    rn_plan *plan;
    rn_executor devices[DEVICES];
    rn_replicas *replicas;
    int losses, left;
    char reason[RN_ERROR_MESSAGE_BYTES];
} fixture;

static void on_lost(void *context, const char *reason, int32_t left)
{
    fixture *f = context;
    f->losses++;
    f->left = left;
    snprintf(f->reason, sizeof f->reason, "%s", reason);
}

/* One number in, one number out. */
static void make_plan(fixture *f)
{
    int32_t x, y;
    f->plan = rn_plan_create();
    assert_int_equal(rn_plan_add_tensor(f->plan, "x", RN_DTYPE_F32, 1, 1, 1, &x, NULL), RN_STATUS_OK);
    assert_int_equal(rn_plan_add_tensor(f->plan, "y", RN_DTYPE_F32, 1, 1, 1, &y, NULL), RN_STATUS_OK);
    const rn_op op = {.kind = RN_OP_SCALE_SHIFT,
                      .name = "copy",
                      .inputs = {x, RN_NONE},
                      .outputs = {y, RN_NONE},
                      .u.scale_shift = {RN_NONE, RN_NONE, false}};
    assert_int_equal(rn_plan_add_op(f->plan, &op, NULL, NULL), RN_STATUS_OK);
    const rn_signature signature = {.name = "s",
                                    .input = {.name = "x", .dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, 1}, .tensor = x},
                                    .output_count = 1,
                                    .outputs = {{.name = "y", .dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, 1}, .tensor = y}}};
    rn_error err = {0};
    assert_int_equal(rn_plan_add_signature(f->plan, &signature, NULL, &err), RN_STATUS_OK);
    if (rn_plan_finish(f->plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    make_plan(f);
    const rn_batcher_options options = {.max_batch = MAX_BATCH, .max_waiting_rows = 8};
    assert_int_equal(rn_replicas_create(f->plan, &backend, &options, on_lost, f, &f->replicas, NULL), RN_STATUS_OK);
    for (int i = 0; i < DEVICES; i++) {
        f->devices[i].number = i;
        assert_int_equal(rn_replicas_add(f->replicas, &f->devices[i], NULL, NULL), RN_STATUS_OK);
    }
    destroyed = 0;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < DEVICES; i++) set_state(&f->devices[i], false, f->devices[i].lost);
    rn_replicas_destroy(f->replicas);
    rn_replicas_destroy(NULL);
    assert_int_equal(destroyed, DEVICES);
    rn_plan_destroy(f->plan);
    free(f);
    return 0;
}

static rn_status submit(fixture *f, call *c, int32_t rows, rn_error *err)
{
    *c = (call){.status = RN_STATUS_COUNT};
    for (int i = 0; i < MAX_BATCH; i++) c->x[i] = (float)i;
    c->request =
        (rn_batch_request){.signature = &f->plan->signatures[0], .part = {.rows = rows, .input = c->x, .outputs = {c->y}}, .done = done};
    return rn_replicas_submit(f->replicas, &c->request, err);
}

/* ---- tests ---- */

static void each_request_goes_where_the_fewest_rows_are(void **state)
{
    fixture *f = *state;
    call calls[5];
    for (int i = 0; i < DEVICES; i++) set_state(&f->devices[i], true, false);
    static const int32_t rows[DEVICES] = {3, 1, 2};
    for (int i = 0; i < DEVICES; i++) {
        assert_int_equal(submit(f, &calls[i], rows[i], NULL), RN_STATUS_OK);
        wait_entered(&f->devices[i], 1);
    }
    assert_int_equal(submit(f, &calls[3], 2, NULL), RN_STATUS_OK); /* device 1: 1 row runs, 2 wait */
    assert_int_equal(submit(f, &calls[4], 4, NULL), RN_STATUS_OK); /* device 2: 2 rows run, 4 wait */
    assert_int_equal(rn_replicas_waiting_rows(f->replicas), 6);
    for (int i = 0; i < DEVICES; i++) set_state(&f->devices[i], false, false);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(wait_done(&calls[i]), RN_STATUS_OK);
        assert_true(calls[i].y[0] == 1);
    }
    assert_int_equal(f->devices[0].runs, 1);
    assert_int_equal(f->devices[1].runs, 2);
    assert_int_equal(f->devices[2].runs, 2);
}

static void a_full_set_refuses(void **state)
{
    fixture *f = *state;
    call calls[3 * DEVICES], late;
    rn_error err;
    for (int i = 0; i < DEVICES; i++) set_state(&f->devices[i], true, false);
    for (int i = 0; i < 3 * DEVICES; i++) {
        assert_int_equal(submit(f, &calls[i], MAX_BATCH, &err), RN_STATUS_OK);
        if (i < DEVICES) wait_entered(&f->devices[i], 1);
    }
    assert_int_equal(submit(f, &late, MAX_BATCH, &err), RN_STATUS_OVERLOADED);
    for (int i = 0; i < DEVICES; i++) set_state(&f->devices[i], false, false);
    for (int i = 0; i < 3 * DEVICES; i++) assert_int_equal(wait_done(&calls[i]), RN_STATUS_OK);
}

/* What runs and what waits on the lost device comes back; nothing goes there any more. */
static void a_lost_device_gets_no_more(void **state)
{
    fixture *f = *state;
    call running[DEVICES], waiting, later[6];
    rn_error err = {0};
    for (int i = 0; i < DEVICES; i++) set_state(&f->devices[i], true, false);
    static const int32_t rows[DEVICES] = {1, 4, 4};
    for (int i = 0; i < DEVICES; i++) {
        assert_int_equal(submit(f, &running[i], rows[i], NULL), RN_STATUS_OK);
        wait_entered(&f->devices[i], 1);
    }
    assert_int_equal(submit(f, &waiting, 2, NULL), RN_STATUS_OK); /* behind the single row of device 0 */
    set_state(&f->devices[0], false, true);
    assert_int_equal(wait_done(&running[0]), RN_STATUS_DEVICE_LOST);
    assert_int_equal(wait_done(&waiting), RN_STATUS_DEVICE_LOST);
    assert_string_equal(running[0].message, "device 0 fell off the bus");
    assert_int_equal(f->losses, 1);
    assert_int_equal(f->left, 2);
    for (int i = 1; i < DEVICES; i++) set_state(&f->devices[i], false, false);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(submit(f, &later[i], 1, &err), RN_STATUS_OK);
        assert_int_equal(wait_done(&later[i]), RN_STATUS_OK);
    }
    assert_int_equal(f->devices[0].runs, 2);
    for (int i = 1; i < DEVICES; i++) set_state(&f->devices[i], false, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(submit(f, &later[i], 1, &err), RN_STATUS_OK);
        assert_int_equal(wait_done(&later[i]), RN_STATUS_DEVICE_LOST);
    }
    assert_int_equal(f->losses, 3);
    assert_int_equal(f->left, 0);
    assert_int_equal(submit(f, &waiting, 1, &err), RN_STATUS_DEVICE_LOST);
    assert_non_null(strstr(err.message, "fell off the bus"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_request_goes_where_the_fewest_rows_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_set_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_device_gets_no_more, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("replicas", tests, NULL, NULL);
}
