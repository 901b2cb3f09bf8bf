/* See conv_set.h.
 *
 * Describing a convolution and making its plans costs tens of milliseconds of one processor, a second when cuDNN compiles, and there are
 * some 200 (22 shapes x 9 batches): this part is split over threads. What the cache knows needs one plan, what it does not know needs all.
 * Then the ways are run one after the other on the device, and the plans of the losers are dropped.
 */
#include "engine/cuda/conv_set.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/cuda/conv_check.h"
#include "engine/cuda/conv_cudnn.h"
#include "engine/cuda/conv_matmul.h"
#include "engine/cuda/conv_own.h"
#include "engine/cuda/conv_timer.h"

enum { MAX_WAYS = 16, MAX_THREADS = 64 };

typedef struct {
    rn__conv_choice choice;
    size_t workspace_bytes;
} way;

typedef struct {
    rn__conv_shape shape;
    const char *name;
    rn__cudnn_conv *cudnn; /* NULL when the choice is known to be cuBLASLt's */
    rn__matmul *matmul;    /* NULL when it is no matrix product */
    way ways[MAX_WAYS];    /* planned; the chosen one comes first in the end */
    int32_t way_count;
    bool known;       /* the cache said which way, and the library still offers it */
    rn_status status; /* of planning */
    rn_error error;
} conv;

struct rn__conv_set {
    rn__conv_context context;
    conv *convs;
    int32_t count, capacity, measured;
};

rn_status rn__conv_set_create(const rn__conv_context *context, rn__conv_set **out, rn_error *err)
{
    rn__conv_set *set = calloc(1, sizeof *set);
    if (!set) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a set of convolutions");
    set->context = *context;
    *out = set;
    return RN_STATUS_OK;
}

static void drop_plans(conv *c)
{
    rn__cudnn_conv_destroy(c->cudnn);
    rn__matmul_destroy(c->matmul);
    c->cudnn = NULL;
    c->matmul = NULL;
    c->way_count = 0;
}

void rn__conv_set_destroy(rn__conv_set *set)
{
    if (!set) return;
    for (int32_t i = 0; i < set->count; i++) drop_plans(&set->convs[i]);
    free(set->convs);
    free(set);
}

rn_status rn__conv_set_add(rn__conv_set *set, const rn__conv_shape *shape, const char *name, int32_t *out, rn_error *err)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (!rn__conv_equal(&set->convs[i].shape, shape)) continue;
        *out = i;
        return RN_STATUS_OK;
    }
    if (set->count == set->capacity) {
        const int32_t capacity = set->capacity ? 2 * set->capacity : 32;
        conv *grown = realloc(set->convs, (size_t)capacity * sizeof *grown);
        if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d convolutions", capacity);
        set->convs = grown;
        set->capacity = capacity;
    }
    set->convs[set->count] = (conv){.shape = *shape, .name = name};
    *out = set->count++;
    return RN_STATUS_OK;
}

/* ---- planning ---- */

static void add_way(conv *c, rn__library library, int32_t number, size_t workspace_bytes)
{
    if (c->way_count < MAX_WAYS) c->ways[c->way_count++] = (way){{library, number, 0}, workspace_bytes};
}

/* The one way that was the fastest before. No way at all when the library does not offer it any more. */
static rn_status plan_known(const rn__conv_set *set, conv *c, const rn__conv_choice *known, rn_error *err)
{
    size_t bytes = 0;
    if (known->library == RN__LIBRARY_OWN) {
        if (rn__own_conv_fits(&c->shape)) add_way(c, known->library, 0, 0);
        return RN_STATUS_OK;
    }
    if (known->library == RN__LIBRARY_CUBLASLT) {
        if (!rn__matmul_fits(&c->shape)) return RN_STATUS_OK;
        RN_TRY(rn__matmul_create(&c->shape, set->context.cublas, &c->matmul, err));
        if (known->way < rn__matmul_count(c->matmul))
            add_way(c, known->library, known->way, rn__matmul_workspace_bytes(c->matmul, known->way));
        return RN_STATUS_OK;
    }
    RN_TRY(rn__cudnn_conv_create(&c->shape, set->context.description, &c->cudnn, err));
    if (known->way >= rn__cudnn_conv_count(c->cudnn)) return RN_STATUS_OK;
    const rn_status status = rn__cudnn_conv_build(c->cudnn, known->way, &bytes, err);
    if (status == RN_STATUS_OK) add_way(c, known->library, known->way, bytes);
    return status == RN_STATUS_UNSUPPORTED ? RN_STATUS_OK : status;
}

static rn_status plan_all(const rn__conv_set *set, conv *c, rn_error *err)
{
    RN_TRY(rn__cudnn_conv_create(&c->shape, set->context.description, &c->cudnn, err));
    for (int32_t i = 0; i < rn__cudnn_conv_count(c->cudnn); i++) {
        size_t bytes = 0;
        const rn_status status = rn__cudnn_conv_build(c->cudnn, i, &bytes, err);
        if (status == RN_STATUS_OK)
            add_way(c, RN__LIBRARY_CUDNN, i, bytes);
        else if (status != RN_STATUS_UNSUPPORTED)
            return status;
    }
    if (rn__own_conv_fits(&c->shape)) add_way(c, RN__LIBRARY_OWN, 0, 0);
    if (!rn__matmul_fits(&c->shape)) return RN_STATUS_OK;
    RN_TRY(rn__matmul_create(&c->shape, set->context.cublas, &c->matmul, err));
    for (int32_t i = 0; i < rn__matmul_count(c->matmul); i++) add_way(c, RN__LIBRARY_CUBLASLT, i, rn__matmul_workspace_bytes(c->matmul, i));
    return RN_STATUS_OK;
}

static rn_status plan(const rn__conv_set *set, const rn__tuning_cache *cache, conv *c, rn_error *err)
{
    rn__conv_choice known;
    if (rn__tuning_cache_find(cache, &c->shape, &known)) {
        RN_TRY(plan_known(set, c, &known, err));
        c->known = c->way_count > 0;
        if (c->known) return RN_STATUS_OK;
        drop_plans(c);
    }
    RN_TRY(plan_all(set, c, err));
    if (c->way_count > 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "neither cuDNN nor cuBLASLt has a way to compute it");
}

typedef struct {
    rn__conv_set *set;
    const rn__tuning_cache *cache;
    atomic_int next;
} planning;

/* Takes convolutions until none is left. Each thread fills the entries that it takes and nothing else. */
static void plan_some(planning *p)
{
    for (int32_t i; (i = atomic_fetch_add(&p->next, 1)) < p->set->count;) {
        conv *c = &p->set->convs[i];
        c->status = plan(p->set, p->cache, c, &c->error);
    }
}

static void *plan_on_thread(void *context)
{
    planning *p = context;
    if (cudaSetDevice(p->set->context.device->index) == cudaSuccess) plan_some(p); /* else the others take its share */
    return NULL;
}

static rn_status plan_in_parallel(rn__conv_set *set, const rn__tuning_cache *cache, int32_t thread_count, rn_error *err)
{
    planning p = {.set = set, .cache = cache};
    pthread_t threads[MAX_THREADS];
    int32_t started = 0;
    while (started + 1 < thread_count && started + 1 < set->count && started < MAX_THREADS) {
        if (pthread_create(&threads[started], NULL, plan_on_thread, &p) != 0) break;
        started++;
    }
    plan_some(&p);
    for (int32_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
    for (int32_t i = 0; i < set->count; i++) {
        const conv *c = &set->convs[i];
        if (c->status != RN_STATUS_OK) return RN_FAIL(err, c->status, "%s, batch %d: %s", c->name, c->shape.n, c->error.message);
    }
    return RN_STATUS_OK;
}

/* ---- measuring ---- */

static rn_status run_library(const rn__conv_set *set, const conv *c, const way *w, const rn__conv_buffers *buffers, rn_error *err)
{
    const rn__conv_context *x = &set->context;
    if (w->choice.library == RN__LIBRARY_CUDNN) return rn__cudnn_conv_run(c->cudnn, w->choice.way, x->cudnn, buffers, err);
    return rn__matmul_run(c->matmul, w->choice.way, x->cublas, buffers, x->stream, err);
}

/* No library writes a second output: it is made from the first while that is still in the L2. When nobody reads the first, it is made where
 * the second goes and overwritten there. */
static rn_status run_way(const rn__conv_set *set, const conv *c, const way *w, const rn__conv_buffers *buffers, rn_error *err)
{
    if (w->choice.library == RN__LIBRARY_OWN) return rn__own_conv_run(&c->shape, buffers, set->context.stream, err);
    rn__conv_buffers first = *buffers;
    if (!first.y) first.y = buffers->y2;
    RN_TRY(run_library(set, c, w, &first, err));
    return c->shape.second ? rn__second_output_run(&c->shape, first.y, buffers, set->context.stream, err) : RN_STATUS_OK;
}

typedef struct {
    const rn__conv_set *set;
    const conv *conv;
    const way *way;
} timed_way;

static rn_status run_timed(void *context, const rn__conv_buffers *buffers, rn_error *err)
{
    const timed_way *t = context;
    return run_way(t->set, t->conv, t->way, buffers, err);
}

static void report_failure(const rn__conv_set *set, const conv *c, const way *w, const rn_error *err)
{
    static const char *const libraries[RN__LIBRARY_COUNT] = {"cuDNN", "cuBLASLt", "our own"};
    char line[RN_ERROR_MESSAGE_BYTES + 256];
    snprintf(line, sizeof line, "%s, batch %d: way %d of %s failed and is left out: %s", c->name, c->shape.n, w->choice.way,
             libraries[w->choice.library], err->message);
    if (set->context.log) set->context.log(set->context.log_context, line);
}

static const way *faster(const way *a, const way *b)
{
    return !a || b->choice.microseconds < a->choice.microseconds ? b : a;
}

/* Times every way. *library, *own: the fastest that works, or NULL; *failure: of the last one that does not. */
static rn_status time_ways(rn__conv_set *set, conv *c, rn__conv_timer *timer, const way **library, const way **own, rn_error *failure,
                           rn_error *err)
{
    for (int32_t i = 0; i < c->way_count; i++) {
        way *w = &c->ways[i];
        timed_way t = {set, c, w};
        const way **fastest = w->choice.library == RN__LIBRARY_OWN ? own : library;
        if (rn__conv_timer_measure(timer, run_timed, &t, &w->choice.microseconds, failure) == RN_STATUS_OK) {
            *fastest = faster(*fastest, w);
            continue;
        }
        report_failure(set, c, w, failure);
        RN_TRY(rn__conv_timer_recover(timer, err));
    }
    return RN_STATUS_OK;
}

/* A kernel of our own takes a library's place when it computes the same on this device. */
static bool agrees(rn__conv_set *set, const conv *c, rn__conv_timer *timer, const way *library, const way *own)
{
    timed_way a = {set, c, library}, b = {set, c, own};
    const double allowed = rn__conv_check_allowance(c->shape.y_dtype);
    double error = 0;
    rn_error err = {0};
    const rn_status status = rn__conv_check(timer, &c->shape, run_timed, &a, &b, &error, &err);
    if (status == RN_STATUS_OK && error <= allowed) return true;
    if (status == RN_STATUS_OK)
        (void)RN_FAIL(&err, RN_STATUS_INTERNAL, "it is %.1e from the library's result, allowed are %.1e", error, allowed);
    report_failure(set, c, own, &err);
    return false;
}

/* Leaves the fastest way as the only one. */
static rn_status measure(rn__conv_set *set, conv *c, rn__conv_timer *timer, rn_error *err)
{
    const way *library = NULL, *own = NULL;
    rn_error failure = {0};
    RN_TRY(time_ways(set, c, timer, &library, &own, &failure, err));
    if (library && own && (faster(library, own) == library || !agrees(set, c, timer, library, own))) own = NULL;
    const way *best = own ? own : library;
    if (!best)
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "%s, batch %d: no way to compute it works: %s", c->name, c->shape.n, failure.message);
    c->ways[0] = *best;
    c->way_count = 1;
    return rn__conv_timer_recover(timer, err); /* what a comparison may have left */
}

/* Keeps the plan of the one way that is left. */
static void keep_chosen(conv *c)
{
    const rn__conv_choice *choice = &c->ways[0].choice;
    if (choice->library == RN__LIBRARY_CUDNN) {
        rn__matmul_destroy(c->matmul);
        c->matmul = NULL;
        rn__cudnn_conv_keep(c->cudnn, choice->way);
        return;
    }
    rn__cudnn_conv_destroy(c->cudnn);
    c->cudnn = NULL;
    if (choice->library == RN__LIBRARY_CUBLASLT) return;
    rn__matmul_destroy(c->matmul);
    c->matmul = NULL;
}

static rn_status measure_all(rn__conv_set *set, rn__tuning_cache *cache, rn_error *err)
{
    rn__conv_timer *timer = NULL;
    const rn__conv_shape **unknown = calloc((size_t)set->count + 1, sizeof *unknown);
    if (!unknown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to measure %d convolutions", set->count);
    int32_t count = 0;
    for (int32_t i = 0; i < set->count; i++) {
        if (!set->convs[i].known) unknown[count++] = &set->convs[i].shape;
    }
    set->measured = count;
    rn_status status = RN_STATUS_OK;
    if (count > 0) {
        const size_t workspace_bytes = rn__conv_set_workspace_bytes(set);
        RN_TRY_CLEANUP(status, rn__conv_timer_create(unknown, count, workspace_bytes, &set->context, &timer, err));
    }
    for (int32_t i = 0; i < set->count; i++) {
        conv *c = &set->convs[i];
        if (c->known) continue;
        RN_TRY_CLEANUP(status, measure(set, c, timer, err));
        RN_TRY_CLEANUP(status, rn__tuning_cache_put(cache, &c->shape, &c->ways[0].choice, err));
    }
cleanup:
    rn__conv_timer_destroy(timer);
    free(unknown);
    return status;
}

rn_status rn__conv_set_prepare(rn__conv_set *set, rn__tuning_cache *cache, int32_t thread_count, rn_error *err)
{
    RN_TRY(plan_in_parallel(set, cache, thread_count, err));
    RN_TRY(measure_all(set, cache, err));
    for (int32_t i = 0; i < set->count; i++) keep_chosen(&set->convs[i]);
    rn__tuning_cache_save(cache);
    return RN_STATUS_OK;
}

/* ---- running ---- */

int32_t rn__conv_set_count(const rn__conv_set *set)
{
    return set->count;
}

int32_t rn__conv_set_measured(const rn__conv_set *set)
{
    return set->measured;
}

int32_t rn__conv_set_own(const rn__conv_set *set)
{
    int32_t count = 0;
    for (int32_t i = 0; i < set->count; i++) count += set->convs[i].ways[0].choice.library == RN__LIBRARY_OWN;
    return count;
}

size_t rn__conv_set_workspace_bytes(const rn__conv_set *set)
{
    size_t largest = 0;
    for (int32_t i = 0; i < set->count; i++) {
        for (int32_t w = 0; w < set->convs[i].way_count; w++) {
            if (set->convs[i].ways[w].workspace_bytes > largest) largest = set->convs[i].ways[w].workspace_bytes;
        }
    }
    return largest;
}

rn_status rn__conv_set_run(const rn__conv_set *set, int32_t index, const rn__conv_buffers *buffers, rn_error *err)
{
    const conv *c = &set->convs[index];
    return run_way(set, c, &c->ways[0], buffers, err);
}
