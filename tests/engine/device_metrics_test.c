/* What is counted about devices: shares of busy time by a clock that the test sets, memory of executors that come and go, and a thread that
 * asks devices how they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/device_watch.h"

enum { SECOND = 1000000 };

/* ---- a kind of device of which the second says nothing ---- */

static void memory(const rn_executor *executor, int64_t bytes[RN_MEMORY_COUNT])
{
    (void)executor;
    for (int32_t i = 0; i < RN_MEMORY_COUNT; i++) bytes[i] = 10 * (i + 1);
}

static rn_status device_state(int32_t device, rn_device_state *out, rn_error *err)
{
    if (device == 1) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "there is no thermometer");
    *out = (rn_device_state){.celsius = 40 + device, .uuid = "GPU-1"};
    return RN_STATUS_OK;
}

static int32_t device_count(void)
{
    return 3;
}

static const rn_backend gpus = {.name = "made-up", .device_count = device_count, .device_state = device_state, .memory = memory};
static const rn_backend host = {.name = "host", .memory = memory};

static rn_metrics *metrics;

static int setup(void **state)
{
    (void)state;
    return rn_metrics_create(&metrics, NULL) != RN_STATUS_OK;
}

static int teardown(void **state)
{
    (void)state;
    rn_metrics_destroy(metrics);
    return 0;
}

static rn_device_metrics *record(const rn_backend *backend, int32_t device)
{
    rn_device_metrics *found = NULL;
    assert_int_equal(rn_metrics_device(metrics, backend, device, &found, NULL), RN_STATUS_OK);
    return found;
}

static void names(void **state)
{
    (void)state;
    rn_device_metrics *first = record(&gpus, 0), *second = record(&gpus, 2), *cpu = record(&host, 0);
    assert_string_equal(first->name, "made-up:0");
    assert_string_equal(second->name, "made-up:2");
    assert_string_equal(cpu->name, "host");
    assert_true(first->gpu && !cpu->gpu);
    assert_ptr_equal(first, record(&gpus, 0));
    assert_ptr_equal(metrics->devices, first);
    assert_ptr_equal(first->next, second);
}

static void memory_comes_and_goes(void **state)
{
    (void)state;
    rn_device_metrics *device = record(&gpus, 0);
    rn_device_metrics_memory(device, &gpus, NULL, 1);
    rn_device_metrics_memory(device, &gpus, NULL, 1);
    rn_device_metrics_memory(device, &gpus, NULL, -1);
    assert_int_equal(rn_gauge_get(&device->memory_bytes[RN_MEMORY_WEIGHTS]), 10);
    assert_int_equal(rn_gauge_get(&device->memory_bytes[RN_MEMORY_STAGING]), 10 * RN_MEMORY_COUNT);
    rn_device_metrics_memory(NULL, &gpus, NULL, 1);
}

#define EXPECT_BUSY(now, share) \
    assert_true(rn_device_metrics_busy(device, now) - (share) < 1e-9 && (share)-rn_device_metrics_busy(device, now) < 1e-9)

static void shares_of_busy_time(void **state)
{
    (void)state;
    rn_device_metrics *device = record(&gpus, 0);
    const int64_t start = 1000 * (int64_t)SECOND;
    EXPECT_BUSY(start, 0.0);
    rn_device_metrics_ran(device, start + 250000, 250000); /* a quarter of second 1000 */
    EXPECT_BUSY(start + SECOND - 1, 0.0);                  /* which is not over */
    EXPECT_BUSY(start + SECOND, 0.025);
    rn_device_metrics_ran(device, start + 3500000, 3000000); /* the rest of it but 250 ms, two whole seconds and a half */
    EXPECT_BUSY(start + 4 * SECOND, 0.325);
    EXPECT_BUSY(start + 10 * SECOND, 0.325);
    EXPECT_BUSY(start + 11 * SECOND, 0.25); /* second 1000 is out of the window */
    EXPECT_BUSY(start + 30 * SECOND, 0.0);
    rn_device_metrics_ran(device, start + RN__BUSY_SLOTS * (int64_t)SECOND + 100000, 100000); /* in the slot of second 1000 */
    EXPECT_BUSY(start + (RN__BUSY_SLOTS + 1) * (int64_t)SECOND, 0.01);
}

static void models_that_share_a_device(void **state)
{
    (void)state;
    rn_device_metrics *device = record(&gpus, 0);
    const int64_t end = 501 * (int64_t)SECOND;
    for (int i = 0; i < 40; i++) rn_device_metrics_ran(device, end, SECOND);
    EXPECT_BUSY(end, 0.1);
}

static void a_run_of_an_hour(void **state)
{
    (void)state;
    rn_device_metrics *device = record(&gpus, 0);
    const int64_t end = 9000 * (int64_t)SECOND;
    rn_device_metrics_ran(device, end, 3600 * (int64_t)SECOND);
    EXPECT_BUSY(end, 1.0);
    rn_device_metrics_ran(device, 3 * SECOND, SECOND); /* of long ago: the slots say more recent things */
    EXPECT_BUSY(end, 1.0);
}

typedef struct {
    int lines;
    char last[256];
} listener;

static void listen(void *context, const char *line)
{
    listener *l = context;
    l->lines++;
    snprintf(l->last, sizeof l->last, "%.200s", line);
}

static void devices_are_asked(void **state)
{
    (void)state;
    listener l = {0};
    rn_device_watch *watch;
    const rn_device_choice choice = {.backend = &gpus, .count = 3, .devices = {0, 1, 2}};
    assert_int_equal(rn_device_watch_create(&choice, metrics, listen, &l, &watch, NULL), RN_STATUS_OK);
    rn_device_watch_destroy(watch);
    assert_true(record(&gpus, 0)->told && record(&gpus, 2)->told && !record(&gpus, 1)->told);
    assert_int_equal(record(&gpus, 2)->state.celsius, 42);
    assert_int_equal(l.lines, 1);
    assert_string_equal(l.last, "made-up:1 does not say how it is: there is no thermometer");
    const rn_device_choice silent = {.backend = &host, .count = 1};
    assert_int_equal(rn_device_watch_create(&silent, metrics, listen, &l, &watch, NULL), RN_STATUS_OK);
    assert_null(watch);
    rn_device_watch_destroy(watch);
}

#define WITH_METRICS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_METRICS(names),
        WITH_METRICS(memory_comes_and_goes),
        WITH_METRICS(shares_of_busy_time),
        WITH_METRICS(models_that_share_a_device),
        WITH_METRICS(a_run_of_an_hour),
        WITH_METRICS(devices_are_asked),
    };
    return cmocka_run_group_tests_name("metrics of devices", tests, NULL, NULL);
}
