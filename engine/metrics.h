/* What a process counts about its work: counters, gauges and histograms that any thread changes without a lock and that anybody may read
 * meanwhile. How they are shown is not known here.
 *
 * Every version of a model has its own record, which lives as long as the process: counters go on when a version is loaded again.
 */
#ifndef RN_ENGINE_METRICS_H
#define RN_ENGINE_METRICS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/error.h"

typedef atomic_uint_fast64_t rn_counter;
typedef atomic_int_fast64_t rn_gauge;

static inline void rn_counter_add(rn_counter *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

static inline uint64_t rn_counter_get(const rn_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void rn_gauge_add(rn_gauge *gauge, int64_t value)
{
    atomic_fetch_add_explicit(gauge, value, memory_order_relaxed);
}

static inline int64_t rn_gauge_get(const rn_gauge *gauge)
{
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

/* buckets[i] counts values of at most bounds[i] and more than bounds[i - 1]; the last bucket takes what is larger than all bounds. */
enum { RN_HISTOGRAM_BOUNDS = 17 };

typedef struct rn_histogram {
    rn_counter buckets[RN_HISTOGRAM_BOUNDS + 1];
    rn_counter sum;
} rn_histogram;

extern const int64_t rn_histogram_us[RN_HISTOGRAM_BOUNDS];   /* for times: 100 us to 30 s */
extern const int64_t rn_histogram_rows[RN_HISTOGRAM_BOUNDS]; /* for rows: 1 to 65536 */

void rn_histogram_observe(rn_histogram *histogram, const int64_t bounds[RN_HISTOGRAM_BOUNDS], int64_t value);
void rn_histogram_add(rn_histogram *histogram, const rn_histogram *other);
uint64_t rn_histogram_count(const rn_histogram *histogram);

/* The protocols that calls come by. */
#define RN_PROTOCOL_LIST(X) \
    X(HTTP, "http")         \
    X(GRPC, "grpc")

/* What calls ask for. */
#define RN_METHOD_LIST(X)              \
    X(PREDICT, "predict")              \
    X(INFER, "infer")                  \
    X(CLASSIFY, "classify")            \
    X(REGRESS, "regress")              \
    X(EXPLAIN, "explain")              \
    X(MULTI_INFERENCE, "multi_infer")  \
    X(METADATA, "metadata")            \
    X(STATUS, "status")                \
    X(REPOSITORY, "repository")        \
    X(HEALTH, "health")                \
    X(METRICS, "metrics")              \
    X(OTHER, "other")

/* Where the time of a call goes. */
#define RN_STAGE_LIST(X)                                                                \
    X(PARSE, "parse")   /* from the body to numbers and encoded pictures */             \
    X(DECODE, "decode") /* until all pictures are pixels */                             \
    X(QUEUE, "queue")   /* waiting for the device */                                    \
    X(RUN, "run")       /* on the device, together with whatever ran in the same batch */ \
    X(WRITE, "write")   /* from numbers to the answer's body */

#define RN_METRICS_ENUM_PROTOCOL(name, text) RN_PROTOCOL_##name,
#define RN_METRICS_ENUM_METHOD(name, text) RN_METHOD_##name,
#define RN_METRICS_ENUM_STAGE(name, text) RN_STAGE_##name,
typedef enum { RN_PROTOCOL_LIST(RN_METRICS_ENUM_PROTOCOL) RN_PROTOCOL_COUNT } rn_protocol;
typedef enum { RN_METHOD_LIST(RN_METRICS_ENUM_METHOD) RN_METHOD_COUNT } rn_method;
typedef enum { RN_STAGE_LIST(RN_METRICS_ENUM_STAGE) RN_STAGE_COUNT } rn_stage;
#undef RN_METRICS_ENUM_PROTOCOL
#undef RN_METRICS_ENUM_METHOD
#undef RN_METRICS_ENUM_STAGE

/* Results of calls: what a number stands for is up to each protocol. */
enum { RN_METRICS_CODES = 24 };

typedef struct rn_model_metrics rn_model_metrics;
struct rn_model_metrics {
    rn_model_metrics *next;
    char *name; /* empty: of calls that name no model that exists */
    int64_t version;

    rn_counter calls[RN_PROTOCOL_COUNT][RN_METHOD_COUNT][RN_METRICS_CODES];
    rn_histogram duration[RN_PROTOCOL_COUNT][RN_METHOD_COUNT][2]; /* microseconds; [1]: of calls that failed */
    rn_histogram stages[RN_STAGE_COUNT];                          /* microseconds; of calls that went through the stage */
    rn_histogram batch_rows;                                      /* of runs of the device */
    rn_counter busy_us;                                           /* of the device */
    rn_counter batch_run_us[RN_HISTOGRAM_BOUNDS + 1];             /* of the device, by the buckets of batch_rows */
    rn_counter last_run_ms;                                       /* since 1970: when the latest run ended; 0: none has */
    rn_gauge waiting_requests, waiting_rows;                      /* in the batch queue */
    rn_counter load_failures;                                     /* tries to load it that came to nothing */

    /* Guarded by the registry's lock. */
    int32_t loaded;        /* how many models in memory are this version: two for a moment when it is loaded again */
    int64_t load_us;       /* how long the latest load took */
    char sha256[65];       /* of the latest one's converted file; empty: it was none */
    char description[128]; /* of the latest one's device: see describe in engine/backend.h */
    double self_test_error; /* largest difference from a recorded answer on the latest load; negative: none was recorded */
    struct rn_metrics *registry;
};

/* The registry. */
typedef struct rn_metrics {
    rn_model_metrics no_model;   /* calls that name no model that exists */
    rn_gauge in_flight[RN_PROTOCOL_COUNT];
    rn_gauge connections;        /* HTTP only */
    rn_gauge body_bytes;         /* of HTTP requests that have not been answered */
    rn_counter refused_connections; /* HTTP: there were as many as there may be */
    rn_counter slow_requests;       /* HTTP: ended because they did not arrive in time */
    rn_counter dropped_bodies;      /* HTTP: ended because bodies held as much memory as they may */
    rn_counter log_lines_dropped;

    pthread_mutex_t lock;
    rn_model_metrics *models; /* in the order of their first loading */
    struct rn_device_metrics *devices; /* see engine/device_metrics.h */
} rn_metrics;

rn_status rn_metrics_create(rn_metrics **out, rn_error *err);
void rn_metrics_destroy(rn_metrics *metrics); /* NULL allowed */

/* The record of a version, made on the first call. It belongs to the registry. Thread-safe. */
rn_status rn_metrics_model(rn_metrics *metrics, const char *name, int64_t version, rn_model_metrics **out, rn_error *err);

/* What the engine reports. NULL for the record: nobody counts. Thread-safe. */
void rn_model_metrics_loaded(rn_model_metrics *model, const char *description);
void rn_model_metrics_origin(rn_model_metrics *model, const char *sha256, int64_t load_us);
void rn_model_metrics_self_test(rn_model_metrics *model, double error); /* the largest since the start of the load counts */
void rn_model_metrics_self_test_begin(rn_model_metrics *model);
void rn_model_metrics_unloaded(rn_model_metrics *model);
void rn_model_metrics_queued(rn_model_metrics *model, int64_t requests, int64_t rows); /* negative: taken out of the queue */
void rn_model_metrics_ran(rn_model_metrics *model, int64_t rows, int64_t run_us);
void rn_model_metrics_stage(rn_model_metrics *model, rn_stage stage, int64_t us); /* negative: the call did not go through it */

#endif
