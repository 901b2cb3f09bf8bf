/* The tensor cores by hand: what a warp does together, one function an instruction.
 *
 * This is the one place with inline PTX. Each function has a sibling for the host (tests/cuda_emulation/cuda_emulation_tensor.h) that moves
 * the same numbers between the same lanes, so that a kernel built on them is the same source on both: fragments, swizzles and tails are
 * tested without a GPU, and only the six instructions below are taken on trust. PTX ISA, "Matrix multiply-accumulate operation using mma
 * instruction" has the layout of the fragments; all of them exist from sm_80 on.
 */
#ifndef RN_KERNELS_CUDA_TENSOR_CORE_CUH
#define RN_KERNELS_CUDA_TENSOR_CORE_CUH

#include "kernels/cuda/launch.cuh"

#ifndef __CUDACC__

#include <cuda_emulation_tensor.h>

#else

/* Four 8x8 blocks of 16-bit elements from shared memory. Lane 8 * i + j gives the address of row j of block i: 16 bytes, aligned. Lane l
 * gets of each block the elements 2 * (l % 4) and the next one of row l / 4. */
static __device__ __forceinline__ void load_blocks(uint32_t (&blocks)[4], const void *row)
{
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(blocks[0]), "=r"(blocks[1]), "=r"(blocks[2]), "=r"(blocks[3])
                 : "r"(address)
                 : "memory");
}

/* sum[16][8] += a[16][16] b[8][16]^T in f32. Of a, a lane holds pairs of row l / 4 in a[0] and a[2] and of row l / 4 + 8 in a[1] and a[3];
 * of b, pairs of row l / 4; of the sum, elements 2 * (l % 4) and the next one of the rows l / 4 and l / 4 + 8. */
template <class T> __device__ __forceinline__ void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
#define RN_MULTIPLY_ADD(type, name)                                                                                                  \
    template <> __device__ __forceinline__ void multiply_add<type>(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) \
    {                                                                                                                                \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "             \
            "{%0, %1, %2, %3};"                                                                                                      \
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                                                                 \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                                                         \
    }
RN_MULTIPLY_ADD(__half, "f16")
RN_MULTIPLY_ADD(__nv_bfloat16, "bf16")
#undef RN_MULTIPLY_ADD

/* 16 bytes from global to shared memory on their own way, zeros unless `exists`; the address must be one that may be read all the same. */
static __device__ __forceinline__ void copy_ahead(void *to, const void *from, bool exists)
{
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(exists ? 16 : 0) : "memory");
}

/* Ends a group of copies; wait_for_copies waits for all groups but the latest N of this thread. */
static __device__ __forceinline__ void end_copies()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N> __device__ __forceinline__ void wait_for_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif

#endif
