/* Softmax over the channels of every row, the maximum subtracted in f32.
 *
 * One block a row, three passes over it: maximum, sum, result. A row of 1000 classes stays in L1 between them. expf is the accurate one:
 * the probabilities are what callers compare.
 */
#include "kernels/cuda/block_reduce.cuh"
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK = 256; /* 1000 classes are four steps a thread */

struct Larger {
    __device__ float operator()(float a, float b) const
    {
        return fmaxf(a, b);
    }
};

struct Sum {
    __device__ float operator()(float a, float b) const
    {
        return a + b;
    }
};

template <class T> __global__ void __launch_bounds__(BLOCK) softmax(rn_cuda_softmax_args a)
{
    __shared__ float largest[BLOCK / 32], sums[BLOCK / 32];
    const T *x = static_cast<const T *>(a.x) + static_cast<int64_t>(blockIdx.x) * a.c;
    float *y = a.y + static_cast<int64_t>(blockIdx.x) * a.y_c;
    const int first = static_cast<int>(threadIdx.x);

    float max = -INFINITY;
    for (int i = first; i < a.channels; i += BLOCK) max = fmaxf(max, to_float(__ldg(x + i)));
    max = block_reduce<BLOCK>(max, largest, Larger());
    float sum = 0;
    for (int i = first; i < a.channels; i += BLOCK) sum += expf(to_float(__ldg(x + i)) - max);
    sum = block_reduce<BLOCK>(sum, sums, Sum());
    for (int i = first; i < a.y_c; i += BLOCK) y[i] = i < a.channels ? __fdiv_rn(expf(to_float(__ldg(x + i)) - max), sum) : 0;
}

template <class T> rn_status launch_softmax(const rn_cuda_softmax_args &a, cudaStream_t stream)
{
    RN_LAUNCH(softmax<T>, static_cast<unsigned>(a.rows), BLOCK, 0, stream, a);
    return launch_status();
}

} // namespace

RN_LAUNCHERS(softmax, softmax)
