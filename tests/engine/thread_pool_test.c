/* The thread pool: every part runs exactly once, whatever the number of threads and parts, also after the workers have gone to sleep; idle
 * workers use no processor time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/cpu/thread_pool.h"

enum { MAX_COUNT = 1000, MAX_THREADS = 7 };

typedef struct {
    atomic_int visits[MAX_COUNT];
    atomic_int calls, wrong_thread;
    int32_t thread_count;
} tally;

static void visit(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    tally *t = *(tally *const *)context;
    if (thread < 0 || thread >= t->thread_count) atomic_fetch_add(&t->wrong_thread, 1);
    for (int32_t i = begin; i < end; i++) atomic_fetch_add(&t->visits[i], 1);
    atomic_fetch_add(&t->calls, 1);
}

static void run_and_check(rn__thread_pool *pool, int32_t count, int32_t parts)
{
    static tally t;
    t = (tally){.thread_count = rn__thread_pool_thread_count(pool)};
    tally *const pointer = &t;
    rn__thread_pool_run(pool, count, parts, visit, &pointer);
    for (int32_t i = 0; i < MAX_COUNT; i++) assert_int_equal(t.visits[i], i < count ? 1 : 0);
    assert_int_equal(t.wrong_thread, 0);
    const int32_t expected = parts < count ? parts : count;
    if (t.thread_count > 1) assert_int_equal(t.calls, expected < 1 && count > 0 ? 1 : expected);
}

static rn__thread_pool *create(int32_t threads)
{
    rn__thread_pool *pool;
    rn_error err;
    assert_int_equal(rn__thread_pool_create(threads, &pool, &err), RN_STATUS_OK);
    assert_int_equal(rn__thread_pool_thread_count(pool), threads);
    return pool;
}

static void every_part_runs_once(void **state)
{
    (void)state;
    const int32_t counts[] = {0, 1, 2, 3, 7, 64, MAX_COUNT}, parts[] = {1, 2, 3, 5, 16, MAX_COUNT};
    for (int32_t threads = 1; threads <= MAX_THREADS; threads++) {
        rn__thread_pool *pool = create(threads);
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
                for (int again = 0; again < 20; again++) run_and_check(pool, counts[c], parts[p]);
            }
        }
        rn__thread_pool_destroy(pool);
    }
}

/* Many short runs with pauses around the time after which workers sleep: a lost wake-up would hang here. */
static void sleepers_wake_up(void **state)
{
    (void)state;
    rn__thread_pool *pool = create(4);
    for (int i = 0; i < 300; i++) {
        run_and_check(pool, 16, 16);
        nanosleep(&(struct timespec){.tv_nsec = 1000L * (i % 30) * 20}, NULL);
    }
    rn__thread_pool_destroy(pool);
}

static double process_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void idle_workers_sleep(void **state)
{
    (void)state;
    rn__thread_pool *pool = create(4);
    run_and_check(pool, 16, 16);
    const double before = process_seconds();
    usleep(300 * 1000);
    const double used = process_seconds() - before;
    printf("four threads used %.1f ms of processor time in 300 ms of idleness\n", used * 1e3);
    assert_true(used < 0.03);
    rn__thread_pool_destroy(pool);
}

static void pools_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        rn__thread_pool *pool = create(1 + i % MAX_THREADS);
        if (i % 2) run_and_check(pool, 5, 5);
        rn__thread_pool_destroy(pool);
    }
    rn__thread_pool_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_runs_once),
        cmocka_unit_test(sleepers_wake_up),
        cmocka_unit_test(idle_workers_sleep),
        cmocka_unit_test(pools_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
