/* Device memory of an executor, within the limit that it was given. */
#include "engine/cuda/cuda_executor.h"

rn_status rn__cuda_take(rn_executor *e, size_t bytes, const char *what, void *address, rn_error *err)
{
    void *memory = NULL;
    if (e->memory_limit_bytes != 0 && e->device_bytes + bytes > e->memory_limit_bytes) {
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: %.1f MB would bring this model to %.1f MB of device memory, the limit is %.1f MB",
                       what, (double)bytes * 1e-6, (double)(e->device_bytes + bytes) * 1e-6, (double)e->memory_limit_bytes * 1e-6);
    }
    RN_CUDA_TRY(cudaMalloc(&memory, bytes + RN__CUDA_ALIGNMENT), what);
    e->device_bytes += bytes;
    *(void **)address = memory;
    return RN_STATUS_OK;
}
