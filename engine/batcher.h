/* Collects requests into batches and runs them on one device.
 *
 * A batcher owns a prepared executor and the only thread that runs it. An idle device starts on whatever has arrived; while it is busy,
 * requests gather and the next run takes as many rows of one signature as fit, oldest first. A request of more rows than fit into a run is
 * cut into several runs; a smaller one is never cut. The queue is bounded in rows.
 */
#ifndef RN_ENGINE_BATCHER_H
#define RN_ENGINE_BATCHER_H

#include <stdatomic.h>

#include "engine/backend.h"
#include "engine/metrics.h"

typedef struct rn_batch_request rn_batch_request;
struct rn_batch_request {
    /* Filled by the caller, borrowed until `done` is called. */
    const rn_signature *signature; /* of the batcher's plan */
    rn_batch_part part;            /* at least one row */
    int64_t deadline_us;           /* rn_clock_us() after which nobody wants the answer; 0: none */
    const atomic_bool *cancelled;  /* true when nobody wants it any more; NULL: never */
    void (*done)(rn_batch_request *request, rn_status status, const rn_error *err); /* once, on the batcher's thread; must not block */

    /* Valid in `done`. */
    int64_t queue_us, run_us; /* from submit to the first run; sum of the runs */
    int32_t batch_rows;       /* rows of the largest run that it was part of */

    /* Private. */
    rn_batch_request *next;
    int64_t submitted_us;
    int32_t rows_done;
};

typedef struct rn_batcher rn_batcher;

typedef struct rn_batcher_options {
    int32_t max_batch;        /* rows of one run, as the executor was prepared for */
    int32_t max_waiting_rows; /* at least 1; a request that finds the queue empty is always let in */
    rn_model_metrics *metrics; /* where to count; NULL: nowhere */
} rn_batcher_options;

/* Takes `executor`, also on failure. Plan and backend are borrowed and must outlive the batcher. */
rn_status rn_batcher_create(const rn_plan *plan, const rn_backend *backend, rn_executor *executor, const rn_batcher_options *options,
                            rn_batcher **out, rn_error *err);

/* Runs what waits, then stops and destroys the executor. Not from the batcher's own thread. NULL allowed. */
void rn_batcher_destroy(rn_batcher *batcher);

/* OVERLOADED when the queue is full; `done` is not called then. Otherwise `done` gets OK, what the backend reported, CANCELLED or
 * DEADLINE_EXCEEDED. Thread-safe, returns at once. */
rn_status rn_batcher_submit(rn_batcher *batcher, rn_batch_request *request, rn_error *err);

int32_t rn_batcher_waiting_rows(rn_batcher *batcher); /* thread-safe */

#endif
