/* See cuda_device.h. */
#include "engine/cuda/cuda_device.h"

#include <stdio.h>

#include "engine/cuda/nvml.h"
#include "kernels/cuda/cuda_kernels.h"

rn_status rn__cuda_fail(cudaError_t error, const char *what, rn_error *err)
{
    (void)cudaGetLastError();
    const rn_status status = error == cudaErrorMemoryAllocation ? RN_STATUS_OUT_OF_MEMORY : RN_STATUS_DEVICE_FAILED;
    return RN_FAIL(err, status, "CUDA: %s: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

/* The runtime reports a missing driver and an old one alike. */
static rn_status count_devices(int *count, rn_error *err)
{
    const cudaError_t error = cudaGetDeviceCount(count);
    if (error == cudaSuccess && *count > 0) return RN_STATUS_OK;
    (void)cudaGetLastError();
    if (error == cudaSuccess || error == cudaErrorNoDevice) {
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "no NVIDIA GPU is visible to this process");
    }
    if (error != cudaErrorInsufficientDriver) return rn__cuda_fail(error, "looking for GPUs", err);
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (driver == 0) return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "no NVIDIA driver is installed: libcuda.so.1 was not found");
    return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "the NVIDIA driver supports CUDA %d.%d, this build needs %d.%d", driver / 1000,
                   driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
}

int32_t rn__cuda_device_count(void)
{
    int count = 0;
    return count_devices(&count, NULL) == RN_STATUS_OK ? count : 0;
}

rn_status rn__cuda_device_state(int32_t index, rn_device_state *out, rn_error *err)
{
    char pci[32];
    RN_CUDA_TRY(cudaDeviceGetPCIBusId(pci, sizeof pci, index), "where a GPU is");
    return rn__nvml_read(pci, out, err);
}

rn_status rn__cuda_probe(rn_error *err)
{
    rn__cuda_device device;
    return rn__cuda_device_open(0, &device, err);
}

rn_status rn__cuda_device_open(int32_t index, rn__cuda_device *out, rn_error *err)
{
    int count;
    RN_TRY(count_devices(&count, err));
    if (index < 0 || index >= count) {
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "GPU %d was asked for, this process sees %d: 0 to %d", index, count, count - 1);
    }
    RN_CUDA_TRY(cudaSetDevice(index), "choosing a GPU");
    struct cudaDeviceProp properties;
    RN_CUDA_TRY(cudaGetDeviceProperties(&properties, index), "the properties of a GPU");
    *out = (rn__cuda_device){
        .index = index,
        .sm = properties.major * 10 + properties.minor,
        .memory_bytes = properties.totalGlobalMem,
        .l2_bytes = (size_t)properties.l2CacheSize,
    };
    snprintf(out->name, sizeof out->name, "%s", properties.name);
    const cudaError_t code = rn_cuda_kernels_check();
    if (code == cudaErrorNoKernelImageForDevice || code == cudaErrorInvalidDeviceFunction) {
        (void)cudaGetLastError();
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "GPU %d (%s) has compute capability %d.%d, this build has code for %s", index,
                       out->name, properties.major, properties.minor, rn_cuda_architectures);
    }
    RN_CUDA_TRY(code, "loading the kernels");
    RN_CUDA_TRY(cudaDriverGetVersion(&out->driver), "the driver's version");
    RN_CUDA_TRY(cudaRuntimeGetVersion(&out->runtime), "the runtime's version");
    return rn__cuda_libraries_check(err);
}
