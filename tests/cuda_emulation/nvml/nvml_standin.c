/* libnvidia-ml.so.1 for tests: three GPUs. The first tells everything, the second neither its power nor its load, the third is unknown to
 * the library. RN_EMULATION_NVML=broken in the environment: nothing can be initialised. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };

typedef struct nvml_device {
    const char *pci;
    int complete;
} device;

static device devices[] = {{"0000:01:00.0", 1}, {"0000:02:00.0", 0}};

#pragma GCC visibility push(default)

int nvmlInit_v2(void)
{
    const char *mode = getenv("RN_EMULATION_NVML");
    return mode && strcmp(mode, "broken") == 0 ? DRIVER_NOT_LOADED : SUCCESS;
}

const char *nvmlErrorString(int result)
{
    return result == NOT_FOUND ? "Not Found" : result == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "emulated NVML error";
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, device **out)
{
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        if (strcmp(devices[i].pci, pci) != 0) continue;
        *out = &devices[i];
        return SUCCESS;
    }
    return NOT_FOUND;
}

int nvmlDeviceGetUtilizationRates(device *d, unsigned out[2])
{
    out[0] = 37;
    out[1] = 12;
    return d->complete ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetMemoryInfo(device *d, unsigned long long out[3])
{
    (void)d;
    out[0] = 80ull << 30;
    out[1] = 70ull << 30;
    out[2] = 10ull << 30;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *out)
{
    (void)d;
    *out = sensor == 0 ? 41 : 0;
    return SUCCESS;
}

int nvmlDeviceGetUUID(device *d, char *out, unsigned length)
{
    snprintf(out, length, "GPU-emulated-%s", d->pci);
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(device *d, unsigned *out)
{
    *out = 123456;
    return d->complete ? SUCCESS : NOT_SUPPORTED;
}
