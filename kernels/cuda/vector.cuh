/* Several neighbouring elements of a map as f32 registers: read and written with one access of 16 bytes, or one by one.
 *
 * A 16-byte access per thread is what saturates memory bandwidth. Kernels are templates over the number of elements, WIDE<T> or 1, so that
 * the case in which channels do not fill 16 bytes is the same code. Bits are moved with memcpy, which compiles to nothing: a union of uint4
 * and half2 is not C++.
 */
#ifndef RN_KERNELS_CUDA_VECTOR_CUH
#define RN_KERNELS_CUDA_VECTOR_CUH

#include <string.h>

#include "kernels/cuda/launch.cuh"

template <class T> constexpr int WIDE = RN_CUDA_VECTOR_BYTES / static_cast<int>(sizeof(T));

template <int V> struct Vector {
    float at[V];
};

static __device__ __forceinline__ float to_float(float x)
{
    return x;
}
static __device__ __forceinline__ float to_float(__half x)
{
    return __half2float(x);
}
static __device__ __forceinline__ float to_float(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}
static __device__ __forceinline__ float to_float(uint8_t x)
{
    return static_cast<float>(x);
}

/* Rounds to nearest even. */
template <class T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x)
{
    return x;
}
template <> __device__ __forceinline__ __half from_float<__half>(float x)
{
    return __float2half_rn(x);
}
template <> __device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x)
{
    return __float2bfloat16_rn(x);
}

/* CONSTANT: nobody writes this memory while the kernel runs, so the load may go through the read-only cache. */
template <int V, bool CONSTANT = true, class T> __device__ __forceinline__ Vector<V> load(const T *address)
{
    static_assert(V == 1 || V * sizeof(T) % 16 == 0, "one element or whole accesses of 16 bytes");
    Vector<V> result;
    if constexpr (V == 1) {
        result.at[0] = to_float(CONSTANT ? __ldg(address) : *address);
    } else {
        T elements[V];
#pragma unroll
        for (int i = 0; i < V; i += WIDE<T>) {
            const uint4 *from = reinterpret_cast<const uint4 *>(address + i);
            const uint4 bits = CONSTANT ? __ldg(from) : *from;
            memcpy(static_cast<void *>(elements + i), &bits, sizeof bits);
        }
#pragma unroll
        for (int i = 0; i < V; i++) result.at[i] = to_float(elements[i]);
    }
    return result;
}

template <class T, int V> __device__ __forceinline__ void store(T *address, const Vector<V> &value)
{
    static_assert(V == 1 || V * sizeof(T) % 16 == 0, "one element or whole accesses of 16 bytes");
    if constexpr (V == 1) {
        *address = from_float<T>(value.at[0]);
    } else {
        T elements[V];
#pragma unroll
        for (int i = 0; i < V; i++) elements[i] = from_float<T>(value.at[i]);
#pragma unroll
        for (int i = 0; i < V; i += WIDE<T>) {
            uint4 bits;
            memcpy(&bits, elements + i, sizeof bits);
            *reinterpret_cast<uint4 *>(address + i) = bits;
        }
    }
}

/* A NaN passes, as it does on the CPU. */
static __device__ __forceinline__ float relu_if(bool relu, float x)
{
    return relu && x < 0 ? 0 : x;
}

#endif
