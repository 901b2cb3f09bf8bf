/* The k largest values of every row with their indexes.
 *
 * Value and index become one 64-bit key that sorts as the operation demands, so no two keys are equal and the largest key below the last
 * one is the next result. One block a row, one pass over the row per result: k is 5 and a row of 1000 classes stays in L1. Sorting would
 * win from about k = 100.
 */
#include "kernels/cuda/block_reduce.cuh"
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK = 256; /* 1000 classes are four steps a thread */

using Key = unsigned long long;

/* Rises with the value, then with a falling index; NaN below all numbers; -0 equals 0. */
__device__ __forceinline__ Key key_of(float value, int index)
{
    const unsigned bits = __float_as_uint(value + 0.0f);
    unsigned order = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    if (value != value) order = 0;
    return static_cast<Key>(order) << 32 | ~static_cast<unsigned>(index);
}

struct Larger {
    __device__ Key operator()(Key a, Key b) const
    {
        return b > a ? b : a;
    }
};

template <class T> __global__ void __launch_bounds__(BLOCK) top_k(rn_cuda_top_k_args a)
{
    __shared__ Key keys[2][BLOCK / 32]; /* taken in turn, so that one barrier a result is enough */
    const T *x = static_cast<const T *>(a.x) + static_cast<int64_t>(blockIdx.x) * a.c;
    Key last = ~0ull;
    for (int place = 0; place < a.k; place++) {
        Key best = 0;
        for (int i = static_cast<int>(threadIdx.x); i < a.channels; i += BLOCK) {
            const Key key = key_of(to_float(__ldg(x + i)), i);
            if (key < last && key > best) best = key;
        }
        last = block_reduce<BLOCK>(best, keys[place % 2], Larger());
        if (threadIdx.x == 0) {
            const int index = static_cast<int>(~static_cast<unsigned>(last));
            const int64_t at = static_cast<int64_t>(blockIdx.x) * a.k + place;
            a.values[at] = to_float(__ldg(x + index));
            a.indexes[at] = index;
        }
    }
}

template <class T> rn_status launch_top_k(const rn_cuda_top_k_args &a, cudaStream_t stream)
{
    RN_LAUNCH(top_k<T>, static_cast<unsigned>(a.rows), BLOCK, 0, stream, a);
    return launch_status();
}

} // namespace

RN_LAUNCHERS(top_k, top_k)
