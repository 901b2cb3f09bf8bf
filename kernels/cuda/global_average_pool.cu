/* Mean over all positions of a map.
 *
 * A warp takes 4 vectors of channels: 4 lanes side by side read 64 neighbouring bytes, the 8 rows of such lanes take every 8th position.
 * The 8 partial sums meet in three shuffles, so there is no shared memory and the order of additions is fixed.
 */
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int WARPS =
    4; /* 16 vectors a block: 2048 channels of f16 are 16 blocks a picture, enough to spread one picture over the device */
constexpr int LANES = 4, ROWS = 8;
constexpr unsigned ALL = 0xffffffffu;

template <class T, int V> __global__ void __launch_bounds__(WARPS * 32) global_average_pool(rn_cuda_global_average_pool_args a, int groups)
{
    const int group = static_cast<int>(blockIdx.x * WARPS + threadIdx.y) * LANES + static_cast<int>(threadIdx.x % LANES);
    const int row = static_cast<int>(threadIdx.x / LANES);
    const bool active = group < groups;
    const T *x = static_cast<const T *>(a.x) + static_cast<int64_t>(blockIdx.y) * a.positions * a.c + group * V;
    Vector<V> sum = {};
    for (int position = row; active && position < a.positions; position += ROWS) {
        const Vector<V> value = load<V>(x + static_cast<int64_t>(position) * a.c);
#pragma unroll
        for (int k = 0; k < V; k++) sum.at[k] += value.at[k];
    }
#pragma unroll
    for (int step = 16; step >= LANES; step /= 2) {
#pragma unroll
        for (int k = 0; k < V; k++) sum.at[k] += __shfl_xor_sync(ALL, sum.at[k], step);
    }
    if (!active || row != 0) return;
#pragma unroll
    for (int k = 0; k < V; k++) sum.at[k] = __fdiv_rn(sum.at[k], static_cast<float>(a.positions));
    store<T>(static_cast<T *>(a.y) + static_cast<int64_t>(blockIdx.y) * a.c + group * V, sum);
}

template <class T, int V> void launch(const rn_cuda_global_average_pool_args &a, cudaStream_t stream)
{
    const int groups = a.c / V;
    const dim3 grid(blocks_for(groups, WARPS * LANES), static_cast<unsigned>(a.n));
    RN_LAUNCH((global_average_pool<T, V>), grid, dim3(32, WARPS), 0, stream, a, groups);
}

template <class T> rn_status launch_global_average_pool(const rn_cuda_global_average_pool_args &a, cudaStream_t stream)
{
    if (a.c % WIDE<T> == 0)
        launch<T, WIDE<T>>(a, stream);
    else
        launch<T, 1>(a, stream);
    return launch_status();
}

} // namespace

RN_LAUNCHERS(global_average_pool, global_average_pool)
