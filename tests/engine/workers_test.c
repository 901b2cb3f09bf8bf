/* The pool: everything that was let in runs once, the bound holds for new work only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/workers.h"

typedef struct {
    rn_job job;
    rn_workers *workers;
    int steps;
} task;

static atomic_int finished;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void run(rn_job *job)
{
    task *t = (task *)job;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    if (--t->steps > 0)
        rn_workers_continue(t->workers, job);
    else
        atomic_fetch_add(&finished, 1);
}

static void test_bound(void **state)
{
    (void)state;
    enum { WAITING = 4 };
    rn_workers *workers;
    rn_error err;
    assert_int_equal(rn_workers_create(1, WAITING, &workers, NULL), RN_STATUS_OK);
    atomic_store(&finished, 0);
    task tasks[WAITING + 2];
    pthread_mutex_lock(&gate);
    int accepted = 0;
    for (int i = 0; i < WAITING + 2; i++) {
        tasks[i] = (task){.job.run = run, .workers = workers, .steps = 3};
        accepted += rn_workers_submit(workers, &tasks[i].job, &err) == RN_STATUS_OK;
    }
    assert_in_range(accepted, WAITING, WAITING + 1); /* one may run already */
    assert_int_equal(err.status, RN_STATUS_OVERLOADED);
    pthread_mutex_unlock(&gate);
    rn_workers_destroy(workers);
    assert_int_equal(atomic_load(&finished), accepted);
}

static void test_many(void **state)
{
    (void)state;
    enum { TASKS = 5000 };
    static task tasks[TASKS];
    rn_workers *workers;
    assert_int_equal(rn_workers_create(4, TASKS, &workers, NULL), RN_STATUS_OK);
    atomic_store(&finished, 0);
    for (int i = 0; i < TASKS; i++) {
        tasks[i] = (task){.job.run = run, .workers = workers, .steps = 1 + i % 3};
        assert_int_equal(rn_workers_submit(workers, &tasks[i].job, NULL), RN_STATUS_OK);
    }
    rn_workers_destroy(workers);
    assert_int_equal(atomic_load(&finished), TASKS);
}

typedef struct {
    rn_job job;
    rn_workers *workers;
    rn_worker_memory found;
    atomic_bool done;
} keeper;

/* What the job before left, and 100 bytes for the next one. */
static void keep(rn_job *job)
{
    keeper *k = (keeper *)job;
    rn_worker_memory *memory = rn_workers_memory(k->workers);
    k->found = *memory;
    if (!memory->at) *memory = (rn_worker_memory){calloc(100, 1), 100};
    atomic_store(&k->done, true);
}

static rn_worker_memory kept_by(rn_workers *workers)
{
    keeper k = {.job.run = keep, .workers = workers};
    atomic_init(&k.done, false);
    rn_workers_continue(workers, &k.job);
    while (!atomic_load(&k.done)) usleep(100);
    return k.found;
}

/* A thread finds what its last job left, until it has lain idle; nobody else has any. */
static void test_memory_is_kept_while_there_is_work(void **state)
{
    (void)state;
    rn_workers *workers;
    assert_int_equal(rn_workers_create(1, 1, &workers, NULL), RN_STATUS_OK);
    assert_null(rn_workers_memory(workers));
    assert_null(kept_by(workers).at);
    const rn_worker_memory kept = kept_by(workers);
    assert_non_null(kept.at);
    assert_int_equal(kept.bytes, 100);
    usleep(2 * RN_WORKER_IDLE_MS * 1000);
    assert_null(kept_by(workers).at);
    rn_workers_destroy(workers); /* frees what the last job left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bound), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_memory_is_kept_while_there_is_work)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
