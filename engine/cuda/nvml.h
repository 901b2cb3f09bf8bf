/* How a GPU is doing, from the management library that comes with NVIDIA's driver. It is looked for when it is first asked: a machine
 * without it runs models all the same.
 */
#ifndef RN_ENGINE_CUDA_NVML_H
#define RN_ENGINE_CUDA_NVML_H

#include "engine/backend.h"

/* pci: where the GPU is, as cudaDeviceGetPCIBusId writes it. What the library does not tell of this GPU stays as absent in rn_device_state.
 * Thread-safe, takes milliseconds. UNSUPPORTED: no library, or it does not know the GPU. */
rn_status rn__nvml_read(const char *pci, rn_device_state *out, rn_error *err);

#endif
