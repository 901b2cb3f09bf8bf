/* The queue is a list guarded by one lock; the thread takes its next batch out of it in a single pass and runs with the lock released.
 *
 * On a device that takes a run in two halves, two batches may be under way. A request that is cut can be in both: it is answered when no
 * part of it is under way any more, for until then the device may write to its memory.
 */
#include "engine/batcher.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"

typedef struct {
    rn_batch_request *head, **tail;
} request_list;

/* What one run works on: parts[i] is a share of requests[i]. */
typedef struct {
    const rn_signature *signature;
    rn_batch_part *parts; /* [max_batch], like the next */
    rn_batch_request **requests;
    int32_t count, rows;
    int64_t begin_us;
} batch;

enum {
    RUN_SIZES = 32,     /* powers of two */
    SLOTS = 2,          /* batches under way */
    LEAST_LEAD_US = 200 /* before the expected end of a run: what a thread takes to wake up, and a small batch to be copied */
};

struct rn_batcher {
    const rn_plan *plan;
    const rn_backend *backend;
    rn_executor *executor;
    rn_batcher_options options;
    pthread_t thread;

    /* The thread's own. */
    batch batches[SLOTS];
    int32_t depth, oldest, under_way; /* how many may be under way; the oldest of those that are; how many are */
    rn_error cut_error;               /* see take_batch */
    int64_t run_end_us;               /* of the latest run */
    int64_t run_us[RUN_SIZES];        /* mean time of a run, by the size of its batch; 0: none yet */
    int64_t soon_us[RUN_SIZES];       /* after which a run may well be over: falls at once, rises slowly */

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;
    request_list queue;   /* rising priority numbers, each oldest first */
    int32_t waiting_rows; /* of the queue, not counting rows that have run */
    bool stopping;
    int64_t arrival_us, gap_us; /* of the latest request; mean time between two */
};

/* ---- queue: called with the lock held ---- */

static void list_init(request_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

static void list_append(request_list *list, rn_batch_request *request)
{
    request->next = NULL;
    *list->tail = request;
    list->tail = &request->next;
}

static bool is_before(const rn_batch_request *a, const rn_batch_request *b)
{
    return a->priority < b->priority;
}

/* Behind everything that is not less urgent. */
static void list_insert(request_list *list, rn_batch_request *request)
{
    rn_batch_request **link = &list->head;
    const rn_batch_request *last = (rn_batch_request *)((char *)list->tail - offsetof(rn_batch_request, next));
    if (!list->head || !is_before(request, last)) {
        list_append(list, request);
        return;
    }
    while (!is_before(request, *link)) link = &(*link)->next;
    request->next = *link;
    *link = request;
}

/* Takes *link out of the list and returns it. */
static rn_batch_request *list_unlink(request_list *list, rn_batch_request **link)
{
    rn_batch_request *request = *link;
    *link = request->next;
    if (!*link) list->tail = link;
    return request;
}

/* In the queue. */
static int32_t rows_left(const rn_batch_request *request)
{
    return request->part.rows - request->rows_taken;
}

/* Rows of the request leave the queue: to run, or because nobody wants them. A request waits until its first rows leave. */
static void count_out(rn_batcher *batcher, const rn_batch_request *request, int32_t rows)
{
    batcher->waiting_rows -= rows;
    rn_model_metrics_queued(batcher->options.metrics, request->rows_taken == 0 ? -1 : 0, -rows);
}

static bool is_under_way(const rn_batch_request *request)
{
    return request->rows_taken > request->rows_done;
}

rn_status rn_batch_request_check(const rn_batch_request *request, int64_t now_us, rn_error *err)
{
    const double waited_s = 1e-6 * (double)(now_us - request->begun_us);
    if (request->cancelled && atomic_load_explicit(request->cancelled, memory_order_relaxed))
        return RN_FAIL(err, RN_STATUS_CANCELLED, "the client went away after %.3f s", waited_s);
    if (request->deadline_us && now_us > request->deadline_us)
        return RN_FAIL(err, RN_STATUS_DEADLINE_EXCEEDED, "no answer within %.3f s", waited_s);
    return RN_STATUS_OK;
}

/* Moves `rows` more rows of the request from the queue to the batch. */
static void add_part(rn_batcher *batcher, batch *run, rn_batch_request *request, int32_t rows)
{
    const rn_plan *plan = batcher->plan;
    const rn_signature *signature = request->signature;
    rn_batch_part *part = &run->parts[run->count];
    const size_t first = (size_t)request->rows_taken;
    count_out(batcher, request, rows);
    request->rows_taken += rows;
    part->rows = rows;
    part->input = (const char *)request->part.input + first * rn_plan_tensor_bytes(&plan->tensors[signature->feed]);
    part->pictures = request->part.pictures ? request->part.pictures + first : NULL;
    for (int32_t i = 0; i < signature->output_count; i++) {
        const rn_plan_tensor *tensor = &plan->tensors[signature->outputs[i].tensor];
        part->outputs[i] = (char *)request->part.outputs[i] + first * rn_plan_tensor_bytes(tensor);
    }
    const rn_plan_tensor *map = signature->explanation == RN_NONE ? NULL : &plan->tensors[signature->explanation];
    part->classes = map && request->part.classes ? request->part.classes + first : NULL;
    part->maps = part->classes ? request->part.maps + first * (size_t)rn_plan_tensor_elements(map) : NULL;
    run->requests[run->count++] = request;
    run->rows += rows;
}

/* Takes *link, which will not be answered with OK, out of the queue. */
static rn_batch_request *leave_queue(rn_batcher *batcher, rn_batch_request **link, rn_status status)
{
    rn_batch_request *request = list_unlink(&batcher->queue, link);
    count_out(batcher, request, rows_left(request));
    request->status = status;
    return request;
}

/* Moves what nobody wants any more to `dropped` and fills the batch: the oldest request decides the signature, later ones of the same
 * signature join while they fit. A request that is cut stays at its place in the queue.
 *
 * Where a part of what nobody wants is still under way, the answer waits for that and its reason is kept in cut_error. One is enough: only
 * the last request of a batch can have rows left in the queue, and it can be in no batch but that one and the one that is begun behind it.
 */
static void take_batch(rn_batcher *batcher, batch *run, request_list *dropped)
{
    const int32_t max_batch = batcher->options.max_batch;
    const int64_t now = rn_clock_us();
    rn_error err;
    run->count = run->rows = 0;
    run->signature = NULL;
    for (rn_batch_request **link = &batcher->queue.head; *link && run->rows < max_batch;) {
        rn_batch_request *request = *link;
        const int32_t room = max_batch - run->rows, rows = rows_left(request);
        const rn_status wanted = rn_batch_request_check(request, now, &err);
        if (wanted != RN_STATUS_OK) {
            leave_queue(batcher, link, wanted);
            if (is_under_way(request))
                batcher->cut_error = err;
            else
                list_append(dropped, request);
            continue;
        }
        if (!run->signature) run->signature = request->signature;
        const bool cut = rows > room;
        if (run->signature != request->signature || (cut && request->part.rows <= max_batch)) {
            link = &request->next;
            continue;
        }
        if (request->rows_taken == 0) request->queue_us = now - request->submitted_us;
        add_part(batcher, run, request, cut ? room : rows);
        if (!cut) list_unlink(&batcher->queue, link);
        if (batcher->options.one_at_a_time) return;
    }
}

/* ---- when a run begins: called with the lock held ---- */

static int size_of(int32_t rows)
{
    int size = 0;
    while (size < RUN_SIZES - 1 && (int64_t)1 << size < rows) size++;
    return size;
}

/* A mean that follows changes within some eight values. */
static int64_t follow(int64_t mean, int64_t value)
{
    return mean ? mean + (value - mean) / 8 : value;
}

/* What a run of that many rows takes: as the last ones of its size, or else as the next smaller size that is known. */
static int64_t estimate_run(const rn_batcher *batcher, int32_t rows)
{
    int size = size_of(rows);
    while (size > 0 && batcher->run_us[size] == 0) size--;
    return batcher->run_us[size];
}

static int64_t oldest_us(const rn_batcher *batcher)
{
    int64_t oldest = INT64_MAX;
    for (const rn_batch_request *request = batcher->queue.head; request; request = request->next)
        if (request->submitted_us < oldest) oldest = request->submitted_us;
    return oldest;
}

/* Until when the target lets a device that was busy wait for one row more; 0: it does not. */
static int64_t target_start(const rn_batcher *batcher, int64_t oldest)
{
    if (batcher->options.target_us == 0 || (batcher->under_way == 0 && oldest > batcher->run_end_us)) return 0;
    const int64_t latest = oldest + batcher->options.target_us - estimate_run(batcher, batcher->waiting_rows + 1);
    const int64_t expected = batcher->arrival_us + batcher->gap_us, late = expected + batcher->gap_us;
    if (batcher->gap_us == 0 || expected > latest) return 0;
    return late < latest ? late : latest;
}

/* When to run what waits, by the rule in batcher.h. The queue is not empty. */
static int64_t start_us(const rn_batcher *batcher)
{
    const rn_batcher_options *o = &batcher->options;
    if (o->one_at_a_time || batcher->stopping || batcher->waiting_rows >= o->max_batch) return 0;
    if (o->gather_us == 0 && o->target_us == 0) return 0;
    const int64_t oldest = oldest_us(batcher), target = target_start(batcher, oldest);
    const int64_t gathered = o->gather_us ? oldest + o->gather_us : 0;
    return gathered > target ? gathered : target;
}

/* When the batch that is under way may well be over before long: what waits then is begun behind it. Full batches do not wait for that. */
static int64_t behind_us(const rn_batcher *batcher)
{
    const batch *run = &batcher->batches[batcher->oldest];
    const int64_t begin = run->begin_us > batcher->run_end_us ? run->begin_us : batcher->run_end_us,
                  expected = batcher->soon_us[size_of(run->rows)];
    const int64_t lead = expected / 4 > LEAST_LEAD_US ? expected / 4 : LEAST_LEAD_US;
    return begin + expected - lead;
}

typedef enum { WAIT, BEGIN, FINISH } step;

/* What to do now; WAIT: until *at, 0: until something comes. */
static step next_step(const rn_batcher *batcher, int64_t *at)
{
    const rn_batcher_options *o = &batcher->options;
    const int64_t now = rn_clock_us(), start = batcher->queue.head ? start_us(batcher) : INT64_MAX;
    if (batcher->under_way == batcher->depth) return FINISH;
    if (batcher->under_way == 0) {
        *at = batcher->queue.head ? start : 0;
        return start <= now ? BEGIN : WAIT;
    }
    const int64_t behind = behind_us(batcher);
    const bool late = batcher->stopping || behind <= now, hurry = o->one_at_a_time || batcher->waiting_rows >= o->max_batch;
    *at = behind;
    if (start <= now && (late || hurry)) return BEGIN;
    return late ? FINISH : WAIT;
}

/* ---- the thread ---- */

static void drop(request_list *dropped)
{
    const int64_t now = rn_clock_us();
    for (rn_batch_request *request = dropped->head, *next; request; request = next) {
        next = request->next;
        rn_error err;
        const rn_status status = rn_batch_request_check(request, now, &err);
        if (request->rows_taken == 0) request->queue_us = now - request->submitted_us;
        request->done(request, status, &err);
    }
}

/* Takes a request that failed half-way out of the queue. */
static void abandon(rn_batcher *batcher, rn_batch_request *request, rn_status status)
{
    pthread_mutex_lock(&batcher->lock);
    rn_batch_request **link = &batcher->queue.head;
    while (*link != request) link = &(*link)->next;
    leave_queue(batcher, link, status);
    pthread_mutex_unlock(&batcher->lock);
}

static void note_run(rn_batcher *batcher, int32_t rows, int64_t run_us, int64_t end_us)
{
    int64_t *mean = &batcher->run_us[size_of(rows)], *soon = &batcher->soon_us[size_of(rows)];
    *mean = follow(*mean, run_us);
    *soon = run_us < *soon ? run_us : follow(*soon, run_us);
    batcher->run_end_us = end_us;
    rn_model_metrics_ran(batcher->options.metrics, rows, run_us);
    rn_device_metrics_ran(batcher->options.device, end_us, run_us);
}

/* A run is over, for better or worse. What it took is counted from the end of the one before it, where that came later than its begin. */
static void complete(rn_batcher *batcher, const batch *run, rn_status status, const rn_error *err)
{
    const int64_t end = rn_clock_us(), run_us = end - (run->begin_us > batcher->run_end_us ? run->begin_us : batcher->run_end_us);
    note_run(batcher, run->rows, run_us, end);
    for (int32_t i = 0; i < run->count; i++) {
        rn_batch_request *request = run->requests[i];
        const rn_status before = request->status;
        request->run_us += run_us;
        if (run->rows > request->batch_rows) request->batch_rows = run->rows;
        request->rows_done += run->parts[i].rows;
        if (before == RN_STATUS_OK) request->status = status;
        if (before == RN_STATUS_OK && status != RN_STATUS_OK && rows_left(request) > 0) abandon(batcher, request, status);
        if (is_under_way(request)) {
            if (before == RN_STATUS_OK && status != RN_STATUS_OK) batcher->cut_error = *err;
            continue;
        }
        if (request->status != RN_STATUS_OK)
            request->done(request, request->status, before == RN_STATUS_OK ? err : &batcher->cut_error);
        else if (rows_left(request) == 0)
            request->done(request, RN_STATUS_OK, NULL);
    }
}

/* Runs the batch, or begins it where two may be under way. */
static void run_batch(rn_batcher *batcher, batch *run)
{
    rn_error err = {0};
    rn_status status;
    run->begin_us = rn_clock_us();
    if (batcher->depth > 1) {
        status = batcher->backend->begin(batcher->executor, run->signature, run->parts, run->count, &err);
        if (status == RN_STATUS_OK) {
            batcher->under_way++;
            return;
        }
    } else {
        status = batcher->backend->run(batcher->executor, run->signature, run->parts, run->count, &err);
    }
    complete(batcher, run, status, &err);
}

static void finish_oldest(rn_batcher *batcher)
{
    rn_error err = {0};
    const batch *run = &batcher->batches[batcher->oldest];
    const rn_status status = batcher->backend->finish(batcher->executor, &err);
    batcher->oldest = (batcher->oldest + 1) % SLOTS;
    batcher->under_way--;
    complete(batcher, run, status, &err);
}

/* Called with the lock held, which is released meanwhile. */
static void begin_next(rn_batcher *batcher)
{
    batch *run = &batcher->batches[(batcher->oldest + batcher->under_way) % SLOTS];
    request_list dropped;
    list_init(&dropped);
    take_batch(batcher, run, &dropped);
    pthread_mutex_unlock(&batcher->lock);
    drop(&dropped);
    if (run->count > 0) run_batch(batcher, run);
    pthread_mutex_lock(&batcher->lock);
}

static void wait_until(rn_batcher *batcher, int64_t at)
{
    const struct timespec time = rn_clock_at(at);
    if (at == 0)
        pthread_cond_wait(&batcher->work, &batcher->lock);
    else
        pthread_cond_timedwait(&batcher->work, &batcher->lock, &time);
}

static void *execute(void *argument)
{
    rn_batcher *batcher = argument;
    pthread_mutex_lock(&batcher->lock);
    while (!batcher->stopping || batcher->queue.head || batcher->under_way > 0) {
        int64_t at;
        switch (next_step(batcher, &at)) {
        case WAIT:
            wait_until(batcher, at);
            break;
        case BEGIN:
            begin_next(batcher);
            break;
        case FINISH:
            pthread_mutex_unlock(&batcher->lock);
            finish_oldest(batcher);
            pthread_mutex_lock(&batcher->lock);
            break;
        }
    }
    pthread_mutex_unlock(&batcher->lock);
    return NULL;
}

/* ---- life ---- */

static void free_batcher(rn_batcher *batcher)
{
    batcher->backend->destroy(batcher->executor);
    pthread_cond_destroy(&batcher->work);
    pthread_mutex_destroy(&batcher->lock);
    for (int32_t i = 0; i < SLOTS; i++) {
        free(batcher->batches[i].parts);
        free(batcher->batches[i].requests);
    }
    free(batcher);
}

static bool allocate_batches(rn_batcher *batcher)
{
    const size_t count = (size_t)batcher->options.max_batch;
    for (int32_t i = 0; i < batcher->depth; i++) {
        batch *run = &batcher->batches[i];
        run->parts = calloc(count, sizeof *run->parts);
        run->requests = calloc(count, sizeof(rn_batch_request *));
        if (!run->parts || !run->requests) return false;
    }
    return true;
}

rn_status rn_batcher_create(const rn_plan *plan, const rn_backend *backend, rn_executor *executor, const rn_batcher_options *options,
                            rn_batcher **out, rn_error *err)
{
    rn_batcher *batcher = calloc(1, sizeof *batcher);
    if (!batcher) {
        backend->destroy(executor);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a batch queue");
    }
    batcher->plan = plan;
    batcher->backend = backend;
    batcher->executor = executor;
    batcher->options = *options;
    batcher->depth = backend->begin ? SLOTS : 1;
    list_init(&batcher->queue);
    pthread_mutex_init(&batcher->lock, NULL);
    rn_clock_cond_init(&batcher->work);
    if (!allocate_batches(batcher) || pthread_create(&batcher->thread, NULL, execute, batcher) != 0) {
        free_batcher(batcher);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a batch of %d rows and its thread", options->max_batch);
    }
    *out = batcher;
    return RN_STATUS_OK;
}

void rn_batcher_destroy(rn_batcher *batcher)
{
    if (!batcher) return;
    pthread_mutex_lock(&batcher->lock);
    batcher->stopping = true;
    pthread_cond_signal(&batcher->work);
    pthread_mutex_unlock(&batcher->lock);
    pthread_join(batcher->thread, NULL);
    free_batcher(batcher);
}

/* Called with the lock held. */
static bool has_room(const rn_batcher *batcher, int32_t rows)
{
    return batcher->waiting_rows == 0 || batcher->waiting_rows <= batcher->options.max_waiting_rows - rows;
}

rn_status rn_batcher_submit(rn_batcher *batcher, rn_batch_request *request, rn_error *err)
{
    request->submitted_us = rn_clock_us();
    if (request->begun_us == 0) request->begun_us = request->submitted_us;
    request->queue_us = request->run_us = 0;
    request->batch_rows = request->rows_taken = request->rows_done = 0;
    request->status = RN_STATUS_OK;
    pthread_mutex_lock(&batcher->lock);
    const bool full = !has_room(batcher, request->part.rows);
    if (!full) {
        list_insert(&batcher->queue, request);
        batcher->waiting_rows += request->part.rows;
        if (batcher->arrival_us) batcher->gap_us = follow(batcher->gap_us, request->submitted_us - batcher->arrival_us);
        batcher->arrival_us = request->submitted_us;
        rn_model_metrics_queued(batcher->options.metrics, 1, request->part.rows);
        pthread_cond_signal(&batcher->work);
    }
    pthread_mutex_unlock(&batcher->lock);
    if (full) return RN_FAIL(err, RN_STATUS_OVERLOADED, RN_BATCHER_FULL);
    return RN_STATUS_OK;
}

int32_t rn_batcher_waiting_rows(rn_batcher *batcher)
{
    pthread_mutex_lock(&batcher->lock);
    const int32_t rows = batcher->waiting_rows;
    pthread_mutex_unlock(&batcher->lock);
    return rows;
}

bool rn_batcher_has_room(rn_batcher *batcher, int32_t rows)
{
    pthread_mutex_lock(&batcher->lock);
    const bool room = has_room(batcher, rows);
    pthread_mutex_unlock(&batcher->lock);
    return room;
}
