/* One GPU: whether it can be used, what it is, and how its failures become statuses. */
#ifndef RN_ENGINE_CUDA_CUDA_DEVICE_H
#define RN_ENGINE_CUDA_CUDA_DEVICE_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#include "engine/backend.h"

typedef struct rn__cuda_device {
    int32_t index;
    char name[256];
    int32_t sm;                 /* compute capability as one number: 90 */
    int32_t driver, runtime;    /* versions as CUDA counts them: 13000 */
    size_t memory_bytes, l2_bytes;
} rn__cuda_device;

/* Whether any GPU of this machine can be used: DEVICE_FAILED with one sentence that names what is missing. */
rn_status rn__cuda_probe(rn_error *err);

/* GPUs that the process sees; 0 when the runtime does not say. */
int32_t rn__cuda_device_count(void);

/* What the driver's management library says of the GPU, see nvml.h. */
rn_status rn__cuda_device_state(int32_t index, rn_device_state *out, rn_error *err);

/* Makes the GPU the calling thread's device and describes it. DEVICE_FAILED when it is not there or this build has no code for it. */
rn_status rn__cuda_device_open(int32_t index, rn__cuda_device *out, rn_error *err);

/* The libraries that cuDNN loads by itself when they are needed: DEVICE_FAILED naming the first one that is not there. */
rn_status rn__cuda_libraries_check(rn_error *err);

/* The status of a CUDA call that failed, with the runtime's words. Clears the thread's last error. */
rn_status rn__cuda_fail(cudaError_t error, const char *what, rn_error *err);

/* Fails the calling function, which has `rn_error *err`, unless the call succeeds. */
#define RN_CUDA_TRY(expression, what)                                                                                                      \
    do {                                                                                                                                   \
        const cudaError_t rn_cuda_error = (expression);                                                                                    \
        if (rn_cuda_error != cudaSuccess) return rn__cuda_fail(rn_cuda_error, what, err);                                                  \
    } while (0)

#endif
