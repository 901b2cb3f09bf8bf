/* See nvml.h. The prototypes are written from NVIDIA's NVML reference manual: the toolkit of a build machine has no header of it, and the
 * library is a driver's, which has kept these entries for ten years. */
#include "engine/cuda/nvml.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { NVML_SUCCESS = 0, NVML_TEMPERATURE_GPU = 0 };

typedef struct nvml_device *nvml_handle;
typedef struct {
    unsigned gpu, memory; /* percent of the last sample period in which it was busy */
} nvml_utilization;
typedef struct {
    unsigned long long total, free, used;
} nvml_memory;

/* X(result, field, symbol, parameters) */
#define ENTRIES(X)                                                                                   \
    X(int, init, "nvmlInit_v2", (void))                                                              \
    X(const char *, error_text, "nvmlErrorString", (int result))                                     \
    X(int, handle_of, "nvmlDeviceGetHandleByPciBusId_v2", (const char *pci, nvml_handle *device))    \
    X(int, utilization, "nvmlDeviceGetUtilizationRates", (nvml_handle device, nvml_utilization *to)) \
    X(int, memory, "nvmlDeviceGetMemoryInfo", (nvml_handle device, nvml_memory *to))                 \
    X(int, temperature, "nvmlDeviceGetTemperature", (nvml_handle device, int sensor, unsigned *to))  \
    X(int, power, "nvmlDeviceGetPowerUsage", (nvml_handle device, unsigned *milliwatts))             \
    X(int, uuid, "nvmlDeviceGetUUID", (nvml_handle device, char *to, unsigned length))

static struct {
    pthread_once_t once;
    char failure[RN_ERROR_MESSAGE_BYTES]; /* empty: the entries can be called */
#define FIELD(result, field, symbol, parameters) result(*field) parameters;
    ENTRIES(FIELD)
#undef FIELD
} nvml = {.once = PTHREAD_ONCE_INIT};

static void open_library(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (!library) {
        snprintf(nvml.failure, sizeof nvml.failure, "%s", dlerror());
        return;
    }
    void *symbol;
#define FIND(result, field, name, parameters)                                                                \
    symbol = dlsym(library, name);                                                                           \
    memcpy(&nvml.field, &symbol, sizeof symbol);                                                             \
    if (!symbol) snprintf(nvml.failure, sizeof nvml.failure, "libnvidia-ml.so.1 has no %s", name);
    ENTRIES(FIND)
#undef FIND
    if (nvml.failure[0]) return;
    const int result = nvml.init();
    if (result != NVML_SUCCESS) snprintf(nvml.failure, sizeof nvml.failure, "nvmlInit_v2: %s", nvml.error_text(result));
}

rn_status rn__nvml_read(const char *pci, rn_device_state *out, rn_error *err)
{
    nvml_handle device;
    nvml_utilization utilization;
    nvml_memory memory;
    unsigned celsius, milliwatts;
    pthread_once(&nvml.once, open_library);
    if (nvml.failure[0]) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "NVML: %s", nvml.failure);
    const int found = nvml.handle_of(pci, &device);
    if (found != NVML_SUCCESS) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "NVML: GPU %s: %s", pci, nvml.error_text(found));
    *out = (rn_device_state){.utilization = -1, .memory_used_bytes = -1, .memory_total_bytes = -1, .celsius = -1, .watts = -1};
    if (nvml.utilization(device, &utilization) == NVML_SUCCESS) out->utilization = utilization.gpu / 100.0;
    if (nvml.memory(device, &memory) == NVML_SUCCESS) {
        out->memory_used_bytes = (int64_t)memory.used;
        out->memory_total_bytes = (int64_t)memory.total;
    }
    if (nvml.temperature(device, NVML_TEMPERATURE_GPU, &celsius) == NVML_SUCCESS) out->celsius = (int32_t)celsius;
    if (nvml.power(device, &milliwatts) == NVML_SUCCESS) out->watts = milliwatts / 1000.0;
    if (nvml.uuid(device, out->uuid, sizeof out->uuid) != NVML_SUCCESS) out->uuid[0] = 0;
    return RN_STATUS_OK;
}
