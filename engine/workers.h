/* A pool of threads for the work around inference: parsing bodies, decoding pictures, writing answers.
 *
 * Jobs are links in what they work on, so that queueing allocates nothing. New work may be refused; the next step of work that was let in
 * may not, because nobody could answer for it any more.
 */
#ifndef RN_ENGINE_WORKERS_H
#define RN_ENGINE_WORKERS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

typedef struct rn_job rn_job;
struct rn_job {
    void (*run)(rn_job *job); /* the job may be freed or queued again by its own run */
    rn_job *next;             /* private to the pool while the job waits */
};

typedef struct rn_workers rn_workers;

/* thread_count: at least 1. max_waiting: jobs of rn_workers_submit that may wait, at least 1. */
rn_status rn_workers_create(int32_t thread_count, int32_t max_waiting, rn_workers **out, rn_error *err);

/* Runs what waits, also what those jobs queue, and joins the threads. No submit may be under way. NULL allowed. */
void rn_workers_destroy(rn_workers *workers);

/* Memory that a thread of the pool keeps from job to job: the job that runs on it may use and replace it (malloc). The pool frees what lies
 * idle for RN_WORKER_IDLE_MS, and the rest in the end. */
typedef struct rn_worker_memory {
    void *at;
    size_t bytes;
} rn_worker_memory;

enum { RN_WORKER_IDLE_MS = 1000 };

/* That of the calling thread; NULL where it is none of the pool's. Valid until the job returns. */
rn_worker_memory *rn_workers_memory(rn_workers *workers);

/* Queues new work. OVERLOADED when max_waiting jobs wait already. Thread-safe; the job is borrowed until it has run. */
rn_status rn_workers_submit(rn_workers *workers, rn_job *job, rn_error *err);

/* Queues the next step of work that was let in before. Never refuses. Thread-safe. */
void rn_workers_continue(rn_workers *workers, rn_job *job);

#endif
