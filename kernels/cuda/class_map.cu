/* Class activation map: how much every position of the last feature map speaks for a class.
 *
 * A warp takes one position: its lanes walk the channels of the map and of the class's weights side by side, 16 bytes a step, and five
 * shuffles add up what they found, so the order of additions is fixed. A picture's map is some 200 kB and is read once; the weights of a
 * class come from the L2.
 */
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int WARPS = 4; /* 49 positions a picture: 13 small blocks spread one picture over the device */
constexpr int MIN_BLOCKS = 4; /* 128 registers a thread: with more blocks in mind the compiler unrolls all the same, and spills */
constexpr unsigned ALL = 0xffffffffu;

template <class T, int V> __global__ void __launch_bounds__(WARPS * 32, MIN_BLOCKS) class_map(rn_cuda_class_map_args a)
{
    const int lane = static_cast<int>(threadIdx.x), position = static_cast<int>(blockIdx.x * WARPS + threadIdx.y);
    const int64_t n = blockIdx.y;
    if (position >= a.positions) return; /* the whole warp */
    const int32_t asked = a.asked ? __ldg(a.asked + n) : -1, chosen = asked >= 0 ? asked : __ldg(a.classes + n * a.class_stride);
    if (a.chosen && position == 0 && lane == 0) a.chosen[n] = chosen;
    const int64_t of_class = static_cast<int64_t>(chosen) * a.c;
    const T *x = static_cast<const T *>(a.x) + (n * a.positions + position) * a.c, *weights = static_cast<const T *>(a.weights) + of_class;
    float sum = 0;
    for (int c = lane * V; c < a.c; c += 32 * V) {
        const Vector<V> value = load<V>(x + c), weight = load<V>(weights + c);
#pragma unroll
        for (int k = 0; k < V; k++) sum = __fmaf_rn(value.at[k], weight.at[k], sum);
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(ALL, sum, step);
    if (lane == 0) a.y[n * a.positions + position] = sum;
}

template <class T> rn_status launch_class_map(const rn_cuda_class_map_args &a, cudaStream_t stream)
{
    const dim3 grid(blocks_for(a.positions, WARPS), static_cast<unsigned>(a.n));
    if (a.c % WIDE<T> == 0)
        RN_LAUNCH((class_map<T, WIDE<T>>), grid, dim3(32, WARPS), 0, stream, a);
    else
        RN_LAUNCH((class_map<T, 1>), grid, dim3(32, WARPS), 0, stream, a);
    return launch_status();
}

} // namespace

RN_LAUNCHERS(class_map, class_map)
