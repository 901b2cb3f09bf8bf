/* Devices on the page of metrics: what this process does to them, and what the driver's management library says of GPUs. The latter also
 * stands under the names of Triton's docs/user_guide/metrics.md. What a device does not tell is not shown. */
#include "engine/clock.h"
#include "engine/device_metrics.h"
#include "http/prometheus.h"

#define EACH_DEVICE(device, metrics)                      \
    const rn_device_metrics *device = (metrics)->devices; \
    device;                                               \
    device = device->next

static const char *const memory_names[] = {
#define NAME(name, text) text,
    RN_MEMORY_LIST(NAME)
#undef NAME
};

static void write_memory(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_device_memory_bytes", "gauge",
                    "Memory that the models in memory took on the device, by what it is for.");
    for (EACH_DEVICE(device, metrics)) {
        for (int32_t i = 0; i < RN_MEMORY_COUNT; i++) {
            rn__page_begin(page, "");
            rn__page_label(page, "device", device->name);
            rn__page_label(page, "kind", memory_names[i]);
            rn__page_end_int(page, rn_gauge_get(&device->memory_bytes[i]));
        }
    }
}

static bool has_gpu(const rn_metrics *metrics)
{
    for (EACH_DEVICE(device, metrics))
        if (device->gpu) return true;
    return false;
}

static void write_duty_cycle(rn__page *page, const rn_metrics *metrics)
{
    const int64_t now = rn_clock_us();
    rn__page_family(page, "resnetd_gpu_duty_cycle_percent", "gauge",
                    "Share of the last ten seconds in which batches of this process ran on the GPU.");
    for (EACH_DEVICE(device, metrics)) {
        if (!device->gpu) continue;
        rn__page_begin(page, "");
        rn__page_label(page, "device", device->name);
        rn__page_end_real(page, 100 * rn_device_metrics_busy(device, now));
    }
}

/* ---- what GPUs say of themselves ---- */

static double utilization(const rn_device_state *state)
{
    return state->utilization;
}

static double memory_used(const rn_device_state *state)
{
    return (double)state->memory_used_bytes;
}

static double memory_total(const rn_device_state *state)
{
    return (double)state->memory_total_bytes;
}

static double temperature(const rn_device_state *state)
{
    return state->celsius;
}

static double power(const rn_device_state *state)
{
    return state->watts;
}

static const struct {
    const char *name, *help, *triton; /* triton: NULL where it has none */
    double (*value)(const rn_device_state *state);
} readings[] = {
    {"resnetd_gpu_utilization_ratio", "Share of the last sample period in which any process used the GPU (NVML).", "nv_gpu_utilization",
     utilization},
    {"resnetd_gpu_memory_used_bytes", "GPU memory in use by all processes (NVML).", "nv_gpu_memory_used_bytes", memory_used},
    {"resnetd_gpu_memory_total_bytes", "GPU memory (NVML).", "nv_gpu_memory_total_bytes", memory_total},
    {"resnetd_gpu_temperature_celsius", "Temperature of the GPU (NVML).", NULL, temperature},
    {"resnetd_gpu_power_watts", "Power that the GPU takes (NVML).", "nv_gpu_power_usage", power},
};

static void write_reading(rn__page *page, const rn_metrics *metrics, size_t reading, bool triton)
{
    rn__page_family(page, triton ? readings[reading].triton : readings[reading].name, "gauge", readings[reading].help);
    for (EACH_DEVICE(device, metrics)) {
        const double value = device->told ? readings[reading].value(&device->state) : -1;
        if (value < 0 || (triton && !*device->state.uuid)) continue;
        rn__page_begin(page, "");
        if (triton)
            rn__page_label(page, "gpu_uuid", device->state.uuid);
        else
            rn__page_label(page, "device", device->name);
        rn__page_end_real(page, value);
    }
}

void rn__page_devices(rn__page *page, const rn_metrics *metrics)
{
    write_memory(page, metrics);
    if (!has_gpu(metrics)) return;
    write_duty_cycle(page, metrics);
    for (size_t i = 0; i < sizeof readings / sizeof readings[0]; i++) {
        write_reading(page, metrics, i, false);
        if (readings[i].triton) write_reading(page, metrics, i, true);
    }
}
