/* A network of a hundred layers meets its threads a hundred times in some ten milliseconds, so that handing out work has to cost less than a
 * microsecond; and between two requests the threads must not burn a processor. A worker therefore watches for work for SPIN_US and then sleeps.
 *
 * Work is handed out through one word, the ticket: the number of the run in its upper half, parts still to be taken in its lower half. Taking
 * a part is one compare-and-swap, which fails when the run has changed meanwhile, so that a worker that wakes up late can neither take a
 * stale part nor hold anybody up. The plain fields of the job are written before the ticket is stored and do not change until every part
 * of the run is done, and only who holds a part reads them.
 */
#include "engine/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/clock.h"

/* Longer than any step of a network that runs on one thread alone, and short against a request. */
enum { SPIN_US = 200, CACHE_LINE = 64 };

typedef struct {
    rn__thread_pool *pool;
    pthread_t handle;
    int32_t number;
} worker;

struct rn__thread_pool {
    _Alignas(CACHE_LINE) _Atomic uint64_t ticket;
    _Alignas(CACHE_LINE) _Atomic int32_t unfinished; /* parts of the current run */

    /* The current run's job. */
    _Alignas(CACHE_LINE) rn__range_fn *fn;
    const void *context;
    int32_t count, parts;

    /* Sleeping workers wait for the ticket to change; `lock` protects nothing but this wait. */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Atomic int32_t sleeping;
    _Atomic bool stop;

    int32_t thread_count, started;
    worker *workers;
};

static void relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes and does parts of run `run` until none is left. */
static void work(rn__thread_pool *pool, uint64_t run, int32_t thread)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    while (ticket >> 32 == run && (uint32_t)ticket != 0) {
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket - 1, memory_order_acq_rel, memory_order_acquire)) continue;
        const int64_t part = pool->parts - (int64_t)(uint32_t)ticket;
        pool->fn(pool->context, (int32_t)(pool->count * part / pool->parts), (int32_t)(pool->count * (part + 1) / pool->parts), thread);
        atomic_fetch_sub_explicit(&pool->unfinished, 1, memory_order_release);
        ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    }
}

/* Sleeps until the ticket's run is not `run`. The sleeper announces itself before it looks at the ticket, and the caller of run stores the
 * ticket before it looks for sleepers: one of the two sees the other. */
static void sleep_until_changed(rn__thread_pool *pool, uint64_t run)
{
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleeping, 1);
    while (atomic_load(&pool->ticket) >> 32 == run && !atomic_load(&pool->stop)) pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void wait_for_run(rn__thread_pool *pool, uint64_t run)
{
    const int64_t deadline = rn_clock_us() + SPIN_US;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&pool->ticket, memory_order_acquire) >> 32 != run) return;
            relax();
        }
    } while (rn_clock_us() < deadline);
    sleep_until_changed(pool, run);
}

static void *worker_main(void *argument)
{
    const worker *self = argument;
    rn__thread_pool *pool = self->pool;
    uint64_t run = 0;
    for (;;) {
        wait_for_run(pool, run);
        if (atomic_load(&pool->stop)) return NULL;
        run = atomic_load_explicit(&pool->ticket, memory_order_acquire) >> 32;
        work(pool, run, self->number);
    }
}

static void wake_sleepers(rn__thread_pool *pool)
{
    if (atomic_load(&pool->sleeping) == 0) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

rn_status rn__thread_pool_create(int32_t thread_count, rn__thread_pool **out, rn_error *err)
{
    rn__thread_pool *pool = aligned_alloc(CACHE_LINE, sizeof *pool);
    worker *workers = calloc((size_t)thread_count, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d threads", thread_count);
    }
    *pool = (rn__thread_pool){.thread_count = thread_count, .started = 1, .workers = workers};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (; pool->started < thread_count; pool->started++) {
        worker *w = &workers[pool->started];
        *w = (worker){.pool = pool, .number = pool->started};
        if (pthread_create(&w->handle, NULL, worker_main, w) == 0) continue;
        const int32_t number = pool->started + 1;
        rn__thread_pool_destroy(pool);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "cannot start thread %d of %d", number, thread_count);
    }
    *out = pool;
    return RN_STATUS_OK;
}

void rn__thread_pool_destroy(rn__thread_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->ticket, (uint64_t)1 << 32); /* for those that still spin */
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int32_t i = 1; i < pool->started; i++) pthread_join(pool->workers[i].handle, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

int32_t rn__thread_pool_thread_count(const rn__thread_pool *pool)
{
    return pool->thread_count;
}

void rn__thread_pool_run(rn__thread_pool *pool, int32_t count, int32_t parts, rn__range_fn *fn, const void *context)
{
    if (count <= 0) return;
    if (parts > count) parts = count;
    if (parts <= 1 || pool->thread_count == 1) {
        fn(context, 0, count, 0);
        return;
    }
    pool->fn = fn;
    pool->context = context;
    pool->count = count;
    pool->parts = parts;
    atomic_store_explicit(&pool->unfinished, parts, memory_order_relaxed);
    const uint64_t run = (uint32_t)((atomic_load_explicit(&pool->ticket, memory_order_relaxed) >> 32) + 1);
    atomic_store(&pool->ticket, run << 32 | (uint32_t)parts);
    wake_sleepers(pool);
    work(pool, run, 0);
    /* A worker that lost its processor may hold the last part for milliseconds: after a while let others have this one. */
    for (int32_t spins = 0; atomic_load_explicit(&pool->unfinished, memory_order_acquire) != 0; spins++) {
        if (spins < 4096) relax();
        else sched_yield();
    }
}
