/* y = relu?(x * scale + shift) per channel: the pre-activation of a version 2 network where no library fuses it.
 *
 * One thread takes one vector: 16 bytes read, 16 written, and the channels' factors from L1. The index is split into pixel and channel
 * group by a 32-bit division, which is a tenth of the time that the memory takes (H100 model: 20 instructions for 32 bytes of traffic).
 */
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK = 256; /* bound by memory: eight blocks fill an SM's 2048 threads at 32 registers */

template <class T, int V>
__global__ void __launch_bounds__(BLOCK) scale_shift(rn_cuda_scale_shift_args a, uint32_t vectors, uint32_t groups)
{
    const uint32_t i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= vectors) return;
    const int64_t at = static_cast<int64_t>(i) * V;
    const uint32_t c = i % groups * V;
    Vector<V> x = load<V, false>(static_cast<const T *>(a.x) + at);
    const Vector<V> scale = load<V>(a.scale + c), shift = load<V>(a.shift + c);
#pragma unroll
    for (int k = 0; k < V; k++) x.at[k] = relu_if(a.relu, __fadd_rn(__fmul_rn(x.at[k], scale.at[k]), shift.at[k]));
    store<T>(static_cast<T *>(a.y) + at, x);
}

template <class T, int V> void launch(const rn_cuda_scale_shift_args &a, cudaStream_t stream)
{
    const int64_t vectors = a.pixels * (a.c / V);
    RN_LAUNCH((scale_shift<T, V>), blocks_for(vectors, BLOCK), BLOCK, 0, stream, a, static_cast<uint32_t>(vectors),
              static_cast<uint32_t>(a.c / V));
}

template <class T> rn_status launch_scale_shift(const rn_cuda_scale_shift_args &a, cudaStream_t stream)
{
    if (a.c % WIDE<T> == 0)
        launch<T, WIDE<T>>(a, stream);
    else
        launch<T, 1>(a, stream);
    return launch_status();
}

} // namespace

RN_LAUNCHERS(scale_shift, scale_shift)
