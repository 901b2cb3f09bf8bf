/* y = relu?(a + b): a shortcut that no convolution could take into its epilogue.
 *
 * One thread takes one vector of each; the thread after the last whole vector takes what is left, element by element.
 */
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK = 256; /* bound by memory: eight blocks fill an SM's 2048 threads at 32 registers */

template <class T> __global__ void __launch_bounds__(BLOCK) add(rn_cuda_add_args args)
{
    const T *a = static_cast<const T *>(args.a), *b = static_cast<const T *>(args.b);
    T *y = static_cast<T *>(args.y);
    const int64_t at = (static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x) * WIDE<T>;
    if (at + WIDE<T> <= args.elements) {
        Vector<WIDE<T>> sum = load<WIDE<T>>(a + at);
        const Vector<WIDE<T>> other = load<WIDE<T>>(b + at);
#pragma unroll
        for (int k = 0; k < WIDE<T>; k++) sum.at[k] = relu_if(args.relu, sum.at[k] + other.at[k]);
        store<T>(y + at, sum);
        return;
    }
    for (int64_t i = at; i < args.elements; i++) y[i] = from_float<T>(relu_if(args.relu, to_float(a[i]) + to_float(b[i])));
}

template <class T> rn_status launch_add(const rn_cuda_add_args &a, cudaStream_t stream)
{
    RN_LAUNCH(add<T>, blocks_for(a.elements, BLOCK * WIDE<T>), BLOCK, 0, stream, a);
    return launch_status();
}

} // namespace

RN_LAUNCHERS(add, add)
