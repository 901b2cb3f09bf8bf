/* One value of every thread of a block combined into one that all threads get: shuffles within the warps, one value a warp through shared
 * memory, shuffles over those. The order is fixed.
 */
#ifndef RN_KERNELS_CUDA_BLOCK_REDUCE_CUH
#define RN_KERNELS_CUDA_BLOCK_REDUCE_CUH

#include "kernels/cuda/launch.cuh"

/* per_warp: THREADS / 32 values in shared memory. Two calls with the same array need a barrier between them. All threads of the block call.
 */
template <int THREADS, class T, class Combine> __device__ __forceinline__ T block_reduce(T value, T *per_warp, Combine combine)
{
    constexpr int WARPS = THREADS / 32;
    static_assert((WARPS & (WARPS - 1)) == 0 && WARPS <= 32, "a power of two of warps");
    constexpr unsigned ALL = 0xffffffffu;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(ALL, value, step));
    if (threadIdx.x % 32 == 0) per_warp[threadIdx.x / 32] = value;
    __syncthreads();
    value = per_warp[threadIdx.x % WARPS];
#pragma unroll
    for (int step = WARPS / 2; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(ALL, value, step));
    return value;
}

#endif
