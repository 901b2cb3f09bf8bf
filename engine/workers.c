/* One queue, one lock, two ways in. Steps of work that has begun go first: finishing a request frees memory, starting one takes it. */
#include "engine/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    rn_job *head, **tail;
} job_list;

typedef struct {
    rn_workers *pool;
    pthread_t thread;
    rn_worker_memory memory; /* the thread's alone */
} worker;

struct rn_workers {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;
    job_list begun, fresh;
    int32_t fresh_count, max_waiting;
    bool stopping;
    int32_t thread_count;
    worker threads[];
};

static void list_init(job_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

static void list_append(job_list *list, rn_job *job)
{
    job->next = NULL;
    *list->tail = job;
    list->tail = &job->next;
}

static rn_job *list_take(job_list *list)
{
    rn_job *job = list->head;
    if (!job) return NULL;
    list->head = job->next;
    if (!list->head) list->tail = &list->head;
    return job;
}

static void free_memory(worker *self)
{
    free(self->memory.at);
    self->memory = (rn_worker_memory){0};
}

/* Waits until there may be work. Called with the lock held. */
static void rest(worker *self)
{
    rn_workers *workers = self->pool;
    if (!self->memory.at) {
        pthread_cond_wait(&workers->work, &workers->lock);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RN_WORKER_IDLE_MS / 1000;
    if (pthread_cond_timedwait(&workers->work, &workers->lock, &until) == ETIMEDOUT) free_memory(self);
}

/* The next job, or NULL when the pool stops and nothing waits. Called with the lock held. */
static rn_job *wait_for_job(worker *self)
{
    rn_workers *workers = self->pool;
    for (;;) {
        rn_job *job = list_take(&workers->begun);
        if (job) return job;
        job = list_take(&workers->fresh);
        if (job) {
            workers->fresh_count--;
            return job;
        }
        if (workers->stopping) return NULL;
        rest(self);
    }
}

static void *work(void *argument)
{
    worker *self = argument;
    rn_workers *workers = self->pool;
    pthread_mutex_lock(&workers->lock);
    for (rn_job *job = wait_for_job(self); job; job = wait_for_job(self)) {
        pthread_mutex_unlock(&workers->lock);
        job->run(job);
        pthread_mutex_lock(&workers->lock);
    }
    pthread_mutex_unlock(&workers->lock);
    free_memory(self);
    return NULL;
}

static void stop_and_join(rn_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->work);
    pthread_mutex_unlock(&workers->lock);
    for (int32_t i = 0; i < workers->thread_count; i++) pthread_join(workers->threads[i].thread, NULL);
}

rn_status rn_workers_create(int32_t thread_count, int32_t max_waiting, rn_workers **out, rn_error *err)
{
    rn_workers *workers = calloc(1, sizeof *workers + (size_t)thread_count * sizeof workers->threads[0]);
    if (!workers) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a pool of %d threads", thread_count);
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->work, NULL);
    list_init(&workers->begun);
    list_init(&workers->fresh);
    workers->max_waiting = max_waiting;
    for (; workers->thread_count < thread_count; workers->thread_count++) {
        worker *next = &workers->threads[workers->thread_count];
        next->pool = workers;
        if (pthread_create(&next->thread, NULL, work, next) == 0) continue;
        const int32_t started = workers->thread_count;
        rn_workers_destroy(workers);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "worker pool: the system allows %d of %d threads", started, thread_count);
    }
    *out = workers;
    return RN_STATUS_OK;
}

void rn_workers_destroy(rn_workers *workers)
{
    if (!workers) return;
    stop_and_join(workers);
    pthread_cond_destroy(&workers->work);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}

rn_worker_memory *rn_workers_memory(rn_workers *workers)
{
    for (int32_t i = 0; i < workers->thread_count; i++) {
        if (pthread_equal(workers->threads[i].thread, pthread_self())) return &workers->threads[i].memory;
    }
    return NULL;
}

rn_status rn_workers_submit(rn_workers *workers, rn_job *job, rn_error *err)
{
    pthread_mutex_lock(&workers->lock);
    const bool full = workers->fresh_count >= workers->max_waiting;
    if (!full) {
        list_append(&workers->fresh, job);
        workers->fresh_count++;
        pthread_cond_signal(&workers->work);
    }
    pthread_mutex_unlock(&workers->lock);
    if (full) return RN_FAIL(err, RN_STATUS_OVERLOADED, "%d requests wait to be read already: try again later", workers->max_waiting);
    return RN_STATUS_OK;
}

void rn_workers_continue(rn_workers *workers, rn_job *job)
{
    pthread_mutex_lock(&workers->lock);
    list_append(&workers->begun, job);
    pthread_cond_signal(&workers->work);
    pthread_mutex_unlock(&workers->lock);
}
