/* What this build of the kernels runs on.
 *
 * Asking the runtime for the attributes of a kernel is the exact test of whether there is code for a device: native, of its family, or PTX
 * that the driver can compile.
 */
#include "kernels/cuda/launch.cuh"

#ifndef RN_CUDA_ARCHITECTURES
#define RN_CUDA_ARCHITECTURES "the host"
#endif

namespace
{

__global__ void nothing(int)
{
}

} // namespace

const char *const rn_cuda_architectures = RN_CUDA_ARCHITECTURES;

cudaError_t rn_cuda_kernels_check(void)
{
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void *>(nothing));
}
