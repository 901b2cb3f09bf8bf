/* Between the caller's maps and the engine's: dense u8 or f32 to the storage type with padded channels, and back to dense f32.
 *
 * A picture's 3 channels become 4 (f32) or 8 (f16, bf16), because tensor cores want 16 bytes a pixel. A scale_shift that reads the caller's
 * map is computed on the way. Packing: one thread makes one 16-byte vector of the output. Unpacking: one thread makes one f32.
 */
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK = 256; /* bound by memory: eight blocks fill an SM's 2048 threads at 32 registers */

template <class T, class X> __global__ void __launch_bounds__(BLOCK) pack(rn_cuda_pack_args a, uint32_t vectors, uint32_t groups)
{
    const uint32_t i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= vectors) return;
    const int64_t pixel = i / groups;
    const int first = static_cast<int>(i % groups) * WIDE<T>;
    const X *x = static_cast<const X *>(a.x) + pixel * a.channels;
    Vector<WIDE<T>> y = {};
#pragma unroll
    for (int k = 0; k < WIDE<T>; k++) {
        const int c = first + k;
        if (c >= a.channels) break;
        float value = to_float(__ldg(x + c));
        if (a.scale) value = __fadd_rn(__fmul_rn(value, __ldg(a.scale + c)), __ldg(a.shift + c));
        y.at[k] = relu_if(a.relu, value);
    }
    T *out = static_cast<T *>(a.y) + pixel * a.c + first;
    if (a.c % WIDE<T> == 0) {
        store<T>(out, y);
        return;
    }
#pragma unroll
    for (int k = 0; k < WIDE<T>; k++) {
        if (first + k < a.c) out[k] = from_float<T>(y.at[k]);
    }
}

template <class T, class X> rn_status launch_pack(const rn_cuda_pack_args &a, cudaStream_t stream)
{
    const int groups = (a.c + WIDE<T> - 1) / WIDE<T>;
    const int64_t vectors = a.pixels * groups;
    RN_LAUNCH((pack<T, X>), blocks_for(vectors, BLOCK), BLOCK, 0, stream, a, static_cast<uint32_t>(vectors), static_cast<uint32_t>(groups));
    return launch_status();
}

template <class T> rn_status launch_pack_u8(const rn_cuda_pack_args &a, cudaStream_t stream)
{
    return launch_pack<T, uint8_t>(a, stream);
}

template <class T> rn_status launch_pack_f32(const rn_cuda_pack_args &a, cudaStream_t stream)
{
    return launch_pack<T, float>(a, stream);
}

template <class T> __global__ void __launch_bounds__(BLOCK) unpack(rn_cuda_unpack_args a, uint32_t elements)
{
    const uint32_t i = blockIdx.x * BLOCK + threadIdx.x, channels = static_cast<uint32_t>(a.channels);
    if (i >= elements) return;
    const int64_t pixel = i / channels;
    a.y[i] = to_float(__ldg(static_cast<const T *>(a.x) + pixel * a.c + i % channels));
}

template <class T> rn_status launch_unpack(const rn_cuda_unpack_args &a, cudaStream_t stream)
{
    const int64_t elements = a.pixels * a.channels;
    RN_LAUNCH(unpack<T>, blocks_for(elements, BLOCK), BLOCK, 0, stream, a, static_cast<uint32_t>(elements));
    return launch_status();
}

} // namespace

RN_LAUNCHERS(pack_u8, pack)
RN_LAUNCHERS(pack_f32, pack)
RN_LAUNCHERS(unpack, unpack)
