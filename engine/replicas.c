/* Each batcher is given, in place of its device's executor, a replica that passes every run on and notes what becomes of it: how many rows
 * are running, and whether the device is lost. So the batcher knows of one device alone, and this file of all. */
#include "engine/replicas.h"

#include <stdlib.h>
#include <string.h>

/* What a batcher runs. */
struct rn_executor {
    rn_replicas *all;
    rn_executor *prepared; /* by the backend; owned */
    rn_batcher *batcher;   /* owns this struct */
    atomic_int running_rows;
    atomic_bool lost; /* set when `error` is complete */
    rn_error error;
};

typedef rn_executor replica;

struct rn_replicas {
    const rn_plan *plan;
    const rn_backend *backend;
    rn_batcher_options batching;
    rn_device_lost_fn *report;
    void *report_context;
    replica *replicas[RN_MAX_DEVICES];
    int32_t count;
    atomic_int left; /* devices that are not lost */
};

/* ---- the batcher's side ---- */

static void note_loss(replica *r, const rn_error *err)
{
    rn_replicas *all = r->all;
    r->error = *err;
    atomic_store(&r->lost, true);
    const int32_t left = atomic_fetch_sub(&all->left, 1) - 1;
    if (all->report) all->report(all->report_context, err->message, left);
}

static rn_status run(rn_executor *r, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    int32_t rows = 0;
    for (int32_t i = 0; i < part_count; i++) rows += parts[i].rows;
    atomic_store(&r->running_rows, rows);
    const rn_status status = r->all->backend->run(r->prepared, signature, parts, part_count, err);
    atomic_store(&r->running_rows, 0);
    if (status == RN_STATUS_DEVICE_LOST && !atomic_load(&r->lost)) note_loss(r, err);
    return status;
}

static void destroy(rn_executor *r)
{
    r->all->backend->destroy(r->prepared);
    free(r);
}

/* The two entries that a batcher calls. */
static const rn_backend replica_backend = {.run = run, .destroy = destroy};

/* ---- life ---- */

rn_status rn_replicas_create(const rn_plan *plan, const rn_backend *backend, const rn_batcher_options *batching, rn_device_lost_fn *lost,
                             void *lost_context, rn_replicas **out, rn_error *err)
{
    rn_replicas *all = calloc(1, sizeof *all);
    if (!all) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the devices of a model");
    all->plan = plan;
    all->backend = backend;
    all->batching = *batching;
    all->report = lost;
    all->report_context = lost_context;
    *out = all;
    return RN_STATUS_OK;
}

rn_status rn_replicas_add(rn_replicas *all, rn_executor *executor, rn_error *err)
{
    replica *r = all->count < RN_MAX_DEVICES ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        all->backend->destroy(executor);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for device %d of a model", all->count + 1);
    }
    r->all = all;
    r->prepared = executor;
    RN_TRY(rn_batcher_create(all->plan, &replica_backend, r, &all->batching, &r->batcher, err));
    all->replicas[all->count++] = r;
    atomic_fetch_add(&all->left, 1);
    return RN_STATUS_OK;
}

void rn_replicas_destroy(rn_replicas *all)
{
    if (!all) return;
    for (int32_t i = 0; i < all->count; i++) rn_batcher_destroy(all->replicas[i]->batcher);
    free(all);
}

/* ---- dispatch ---- */

static int32_t rows_before(replica *r)
{
    return rn_batcher_waiting_rows(r->batcher) + atomic_load(&r->running_rows);
}

rn_status rn_replicas_submit(rn_replicas *all, rn_batch_request *request, rn_error *err)
{
    replica *best = NULL, *lost = NULL;
    int32_t least = INT32_MAX;
    for (int32_t i = 0; i < all->count; i++) {
        replica *r = all->replicas[i];
        if (atomic_load(&r->lost)) {
            lost = r;
            continue;
        }
        const int32_t rows = all->count == 1 ? 0 : rows_before(r);
        if (best && rows >= least) continue;
        best = r;
        least = rows;
    }
    if (best) return rn_batcher_submit(best->batcher, request, err);
    if (err && lost) *err = lost->error;
    return RN_STATUS_DEVICE_LOST;
}

bool rn_replicas_have_room(rn_replicas *all, int32_t rows)
{
    bool full = false;
    for (int32_t i = 0; i < all->count; i++) {
        replica *r = all->replicas[i];
        if (atomic_load(&r->lost)) continue;
        if (rn_batcher_has_room(r->batcher, rows)) return true;
        full = true;
    }
    return !full;
}

int32_t rn_replicas_waiting_rows(rn_replicas *all)
{
    int32_t rows = 0;
    for (int32_t i = 0; i < all->count; i++) rows += rn_batcher_waiting_rows(all->replicas[i]->batcher);
    return rows;
}
