/* What every kernel file includes in place of a CUDA header.
 *
 * The same .cu file is compiled by nvcc for GPUs and, in tests, by a plain C++ compiler for the host (tests/cuda_emulation). Three things
 * of CUDA C++ are not C++: the <<<>>> launch, `extern __shared__` arrays and the built-in variables. The first two are hidden behind the
 * macros below, the third comes from the header that the host compiler finds.
 *
 * Rules that keep a kernel true on both: block sizes are multiples of 32; no thread returns before the last barrier or shuffle of its block
 * or warp; barriers and shuffles stand in control flow that is uniform for the block or warp, with full masks; no inline PTX but that of
 * tensor_core.cuh; no float atomics, so that results do not depend on an order; the _rn intrinsics where a result must be equal to the bit.
 *
 * RN_LAUNCH(kernel, grid, block, shared_bytes, stream, args...)
 *     A statement. A templated kernel goes in parentheses: RN_LAUNCH((k<float, 4>), ...).
 * RN_DYNAMIC_SHARED(type, name)
 *     Declares `type *name`, the launch's dynamic shared memory, 16-byte aligned.
 */
#ifndef RN_KERNELS_CUDA_LAUNCH_CUH
#define RN_KERNELS_CUDA_LAUNCH_CUH

#include "kernels/cuda/cuda_kernels.h"

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define RN_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)

#define RN_DYNAMIC_SHARED(type, name)                                  \
    extern __shared__ __align__(16) unsigned char rn_dynamic_shared[]; \
    type *const name = reinterpret_cast<type *>(rn_dynamic_shared)

#else

#include <cuda_emulation.h>

#define RN_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    rn_emulation::launch(#kernel, (kernel), (grid), (block), (shared_bytes), (stream), __VA_ARGS__)

#define RN_DYNAMIC_SHARED(type, name) type *const name = static_cast<type *>(rn_emulation::dynamic_shared())

#endif

/* The last statement of a launcher. The error is left where cudaGetLastError finds its words. */
static inline rn_status launch_status(void)
{
    return cudaPeekAtLastError() == cudaSuccess ? RN_STATUS_OK : RN_STATUS_DEVICE_FAILED;
}

static inline unsigned blocks_for(int64_t work, int per_block)
{
    return static_cast<unsigned>((work + per_block - 1) / per_block);
}

/* Defines the launchers of one operation for the three storage types; launch_<slot><T> is the file's own template. */
#define RN_LAUNCHERS(slot, operation)                                                             \
    rn_status rn_##slot##_f32__cuda(const rn_cuda_##operation##_args *args, cudaStream_t stream)  \
    {                                                                                             \
        return launch_##slot<float>(*args, stream);                                               \
    }                                                                                             \
    rn_status rn_##slot##_f16__cuda(const rn_cuda_##operation##_args *args, cudaStream_t stream)  \
    {                                                                                             \
        return launch_##slot<__half>(*args, stream);                                              \
    }                                                                                             \
    rn_status rn_##slot##_bf16__cuda(const rn_cuda_##operation##_args *args, cudaStream_t stream) \
    {                                                                                             \
        return launch_##slot<__nv_bfloat16>(*args, stream);                                       \
    }

#endif
