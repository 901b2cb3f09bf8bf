/* Busy time is kept by the second of the clock, so that a share of it can be read at any time by anybody: a rate would need to know when it
 * was last asked for. A slot is one number, changed by compare and swap: the second that it is about, and microseconds. */
#include "engine/device_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECOND_US = 1000000, US_BITS = 24 }; /* models that share a device add up: 16 of them can fill a second each */

rn_status rn_metrics_device(rn_metrics *metrics, const rn_backend *backend, int32_t device, rn_device_metrics **out, rn_error *err)
{
    char name[sizeof(*out)->name];
    if (backend->device_count)
        snprintf(name, sizeof name, "%.16s:%d", backend->name, device);
    else
        snprintf(name, sizeof name, "%.16s", backend->name);
    pthread_mutex_lock(&metrics->lock);
    rn_device_metrics **link = &metrics->devices;
    while (*link && strcmp((*link)->name, name) != 0) link = &(*link)->next;
    if (!*link) {
        *link = calloc(1, sizeof **link);
        if (*link) {
            memcpy((*link)->name, name, sizeof name);
            (*link)->gpu = backend->device_count != NULL;
        }
    }
    *out = *link;
    pthread_mutex_unlock(&metrics->lock);
    return *out ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for metrics of device %s", name);
}

static void add_busy(rn_counter *slot, uint64_t second, uint64_t us)
{
    uint64_t before = atomic_load_explicit(slot, memory_order_relaxed), after;
    do {
        if (before >> US_BITS > second) return; /* of longer ago than is remembered */
        const bool same = before >> US_BITS == second;
        const uint64_t sum = us + (same ? before & ((1u << US_BITS) - 1) : 0);
        after = second << US_BITS | (sum < (1u << US_BITS) ? sum : (1u << US_BITS) - 1);
    } while (!atomic_compare_exchange_weak_explicit(slot, &before, after, memory_order_relaxed, memory_order_relaxed));
}

void rn_device_metrics_ran(rn_device_metrics *device, int64_t end_us, int64_t run_us)
{
    if (!device) return;
    const int64_t most = (int64_t)(RN__BUSY_SLOTS - RN_BUSY_WINDOW_S - 1) * SECOND_US;
    int64_t at = end_us - (run_us < most ? run_us : most);
    while (at < end_us) {
        const int64_t second = at / SECOND_US, next = (second + 1) * SECOND_US, to = next < end_us ? next : end_us;
        add_busy(&device->busy[second % RN__BUSY_SLOTS], (uint64_t)second, (uint64_t)(to - at));
        at = to;
    }
}

double rn_device_metrics_busy(const rn_device_metrics *device, int64_t now_us)
{
    const int64_t now = now_us / SECOND_US;
    uint64_t us = 0;
    for (int64_t second = now - RN_BUSY_WINDOW_S; second < now; second++) {
        if (second < 0) continue;
        const uint64_t slot = rn_counter_get(&device->busy[second % RN__BUSY_SLOTS]);
        const uint64_t busy = slot >> US_BITS == (uint64_t)second ? slot & ((1u << US_BITS) - 1) : 0;
        us += busy < SECOND_US ? busy : SECOND_US; /* models that run at the same time are one busy device */
    }
    return (double)us / ((double)RN_BUSY_WINDOW_S * SECOND_US);
}

void rn_device_metrics_memory(rn_device_metrics *device, const rn_backend *backend, const rn_executor *executor, int32_t sign)
{
    int64_t bytes[RN_MEMORY_COUNT];
    if (!device || !backend->memory) return;
    backend->memory(executor, bytes);
    for (int32_t i = 0; i < RN_MEMORY_COUNT; i++) rn_gauge_add(&device->memory_bytes[i], sign * bytes[i]);
}
