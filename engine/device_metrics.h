/* What a process counts about each device that it uses, whatever models run there: how busy they keep it, what memory they took, and what
 * the device's own management library says.
 *
 * A record lives as long as the registry. Counters may be changed and read by any thread.
 */
#ifndef RN_ENGINE_DEVICE_METRICS_H
#define RN_ENGINE_DEVICE_METRICS_H

#include "engine/backend.h"
#include "engine/metrics.h"

enum {
    RN_BUSY_WINDOW_S = 10, /* whole seconds that a share of busy time is taken of */
    RN__BUSY_SLOTS = 64    /* seconds that are remembered: the window, and what the longest runs reach back */
};

typedef struct rn_device_metrics rn_device_metrics;
struct rn_device_metrics {
    rn_device_metrics *next;
    char name[32]; /* as --device spells it: "cuda:1", "cpu" */
    bool gpu;
    rn_gauge memory_bytes[RN_MEMORY_COUNT]; /* of all models in memory */
    rn_counter busy[RN__BUSY_SLOTS];        /* see device_metrics.c */

    /* Guarded by the registry's lock. */
    bool told; /* `state` is of the last seconds */
    rn_device_state state;
};

/* The record of one of a backend's devices, made on the first call. It belongs to the registry. Thread-safe. */
rn_status rn_metrics_device(rn_metrics *metrics, const rn_backend *backend, int32_t device, rn_device_metrics **out, rn_error *err);

/* What the engine reports. NULL for the record: nobody counts. Thread-safe. */
void rn_device_metrics_ran(rn_device_metrics *device, int64_t end_us, int64_t run_us); /* rn_clock_us() of the end */
/* An executor has come (sign 1) or goes (-1). */
void rn_device_metrics_memory(rn_device_metrics *device, const rn_backend *backend, const rn_executor *executor, int32_t sign);

/* Share of the last RN_BUSY_WINDOW_S whole seconds in which batches ran, 0 to 1. */
double rn_device_metrics_busy(const rn_device_metrics *device, int64_t now_us);

#endif
