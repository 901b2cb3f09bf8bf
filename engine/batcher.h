/* Collects requests into batches and runs them on one device.
 *
 * A batcher owns a prepared executor and the only thread that runs it. A run takes as many rows of one signature as fit, first what has the
 * smallest priority number, then the oldest. A request of more rows than fit into a run is cut into several runs; a smaller one is never
 * cut. The queue is bounded in rows.
 *
 * When a run begins:
 *   - at once, when a full batch waits, or when the device had nothing to do as the oldest request came;
 *   - at once after a run too, when there is no target: while a device is busy requests gather by themselves;
 *   - with a target, after a run: as long as the oldest request can still be answered within the target (what it has waited, and what a
 *     run of one row more has taken lately), and the next request is expected before that is over (by the present mean gap between
 *     arrivals; one that is two gaps late is not waited for any more);
 *   - with a gather time, in any case not before the oldest request has waited that long, unless a full batch waits.
 *
 * Where the backend takes a run in two halves, a second batch is begun behind the one that is under way, so that it is copied while that
 * one is computed: at once when a full batch waits, else shortly before the first is expected to end, for until then it gathers. The rules
 * above apply to it too.
 */
#ifndef RN_ENGINE_BATCHER_H
#define RN_ENGINE_BATCHER_H

#include <stdatomic.h>

#include "engine/backend.h"
#include "engine/device_metrics.h"

typedef struct rn_batch_request rn_batch_request;
struct rn_batch_request {
    /* Filled by the caller, borrowed until `done` is called. */
    const rn_signature *signature; /* of the batcher's plan */
    rn_batch_part part;            /* at least one row */
    int32_t priority;              /* the smaller number runs first; 0 where nothing is asked for */
    int64_t begun_us;              /* rn_clock_us() when the whole call began, for the message of a deadline; 0: with submit */
    int64_t deadline_us;           /* rn_clock_us() after which nobody wants the answer; 0: none */
    const atomic_bool *cancelled;  /* true when nobody wants it any more; NULL: never */
    void (*done)(rn_batch_request *request, rn_status status, const rn_error *err); /* once, on the batcher's thread; must not block */

    /* Valid in `done`. */
    int64_t queue_us, run_us; /* from submit to the first run; sum of the runs, each from its begin or the end of the one before it */
    int32_t batch_rows;       /* rows of the largest run that it was part of */

    /* Private. */
    rn_batch_request *next;
    int64_t submitted_us;
    int32_t rows_taken, rows_done; /* that have left the queue to run; that have run */
    rn_status status;              /* of the runs so far, or why nobody wants it */
};

typedef struct rn_batcher rn_batcher;

typedef struct rn_batcher_options {
    int32_t max_batch;         /* rows of one run, as the executor was prepared for */
    int32_t max_waiting_rows;  /* at least 1; a request that finds the queue empty is always let in */
    bool one_at_a_time;        /* a run never holds rows of two requests */
    int64_t gather_us;         /* 0: none; see above */
    int64_t target_us;         /* 0: none; see above */
    rn_model_metrics *metrics; /* where to count; NULL: nowhere. The same for the device */
    rn_device_metrics *device;
} rn_batcher_options;

/* Takes `executor`, also on failure. Plan and backend are borrowed and must outlive the batcher. */
rn_status rn_batcher_create(const rn_plan *plan, const rn_backend *backend, rn_executor *executor, const rn_batcher_options *options,
                            rn_batcher **out, rn_error *err);

/* Runs what waits, then stops and destroys the executor. Not from the batcher's own thread. NULL allowed. */
void rn_batcher_destroy(rn_batcher *batcher);

/* OK, or why nobody wants the answer any more: CANCELLED, DEADLINE_EXCEEDED. */
rn_status rn_batch_request_check(const rn_batch_request *request, int64_t now_us, rn_error *err);

/* In TensorFlow Serving's words. */
#define RN_BATCHER_FULL "The batch scheduling queue to which this task was submitted is full"

/* OVERLOADED when the queue is full; `done` is not called then. Otherwise `done` gets OK, what the backend reported, CANCELLED or
 * DEADLINE_EXCEEDED. Thread-safe, returns at once. */
rn_status rn_batcher_submit(rn_batcher *batcher, rn_batch_request *request, rn_error *err);

int32_t rn_batcher_waiting_rows(rn_batcher *batcher); /* thread-safe */
/* Whether a request of that many rows would be let in now. Thread-safe. */
bool rn_batcher_has_room(rn_batcher *batcher, int32_t rows);

#endif
