/* Each batcher is given, in place of its device's executor, a replica that passes every run on and notes what becomes of it: how many rows
 * are running, and whether the device is lost. So the batcher knows of one device alone, and this file of all. */
#include "engine/replicas.h"

#include <stdlib.h>
#include <string.h>

/* What a batcher runs. */
struct rn_executor {
    rn_replicas *all;
    rn_executor *prepared; /* by the backend; owned */
    rn_device_metrics *device;
    rn_batcher *batcher;   /* owns this struct */
    atomic_int running_rows;
    int32_t rows_begun[2], next; /* of the batches under way, and where the next one's are noted: the batcher's thread's own */
    atomic_bool lost;            /* set when `error` is complete */
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

static void note_status(replica *r, rn_status status, const rn_error *err)
{
    if (status == RN_STATUS_DEVICE_LOST && !atomic_load(&r->lost)) note_loss(r, err);
}

static int32_t count_rows(const rn_batch_part *parts, int32_t part_count)
{
    int32_t rows = 0;
    for (int32_t i = 0; i < part_count; i++) rows += parts[i].rows;
    return rows;
}

static rn_status run(rn_executor *r, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    atomic_store(&r->running_rows, count_rows(parts, part_count));
    const rn_status status = r->all->backend->run(r->prepared, signature, parts, part_count, err);
    atomic_store(&r->running_rows, 0);
    note_status(r, status, err);
    return status;
}

static rn_status begin(rn_executor *r, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    const int32_t rows = count_rows(parts, part_count);
    const rn_status status = r->all->backend->begin(r->prepared, signature, parts, part_count, err);
    note_status(r, status, err);
    if (status != RN_STATUS_OK) return status;
    r->rows_begun[r->next] = rows;
    r->next = 1 - r->next;
    atomic_fetch_add(&r->running_rows, rows);
    return RN_STATUS_OK;
}

static rn_status finish(rn_executor *r, rn_error *err)
{
    const rn_status status = r->all->backend->finish(r->prepared, err);
    const int32_t oldest = r->rows_begun[r->next] ? r->next : 1 - r->next;
    atomic_fetch_sub(&r->running_rows, r->rows_begun[oldest]);
    r->rows_begun[oldest] = 0;
    note_status(r, status, err);
    return status;
}

static void destroy(rn_executor *r)
{
    rn_device_metrics_memory(r->device, r->all->backend, r->prepared, -1);
    r->all->backend->destroy(r->prepared);
    free(r);
}

/* The entries that a batcher calls. */
static const rn_backend in_turn = {.run = run, .destroy = destroy};
static const rn_backend two_under_way = {.run = run, .destroy = destroy, .begin = begin, .finish = finish};

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

rn_status rn_replicas_add(rn_replicas *all, rn_executor *executor, rn_device_metrics *device, rn_error *err)
{
    replica *r = all->count < RN_MAX_DEVICES ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        all->backend->destroy(executor);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for device %d of a model", all->count + 1);
    }
    r->all = all;
    r->prepared = executor;
    r->device = device;
    rn_device_metrics_memory(device, all->backend, executor, 1);
    rn_batcher_options batching = all->batching;
    batching.device = device;
    RN_TRY(rn_batcher_create(all->plan, all->backend->begin ? &two_under_way : &in_turn, r, &batching, &r->batcher, err));
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

size_t rn_replicas_picture_bytes(const rn_replicas *all, const rn_signature *signature)
{
    size_t least = 0;
    for (int32_t i = 0; i < all->count && all->backend->picture_bytes; i++) {
        const size_t bytes = all->backend->picture_bytes(all->replicas[i]->prepared, signature);
        if (i == 0 || bytes < least) least = bytes;
    }
    return least;
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
