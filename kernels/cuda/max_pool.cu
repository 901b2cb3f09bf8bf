/* Maximum over a window, with either kind of border.
 *
 * One thread makes one vector of one output pixel; neighbouring threads take neighbouring channels, then neighbouring pixels of the same
 * row. What windows share comes from L1. Rows and pictures are the grid's y and z, so that only 32-bit divisions are needed. The 3x3 window
 * of every ResNet is unrolled; other windows run the same code with loops.
 */
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK = 128; /* a row of 56 pixels x 8 vectors, the usual case, is 3.5 blocks; nine 16-byte loads a thread keep memory busy */

/* WINDOW: side of the window when it is known, else 0. */
template <class T, int V, int WINDOW> __global__ void __launch_bounds__(BLOCK) max_pool(rn_cuda_max_pool_args a, int groups)
{
    const int i = static_cast<int>(blockIdx.x * BLOCK + threadIdx.x);
    if (i >= a.q * groups) return;
    const int q = i / groups, c = (i - q * groups) * V, p = static_cast<int>(blockIdx.y), n = static_cast<int>(blockIdx.z);
    const int h0 = p * a.stride_h - a.pad_top, w0 = q * a.stride_w - a.pad_left;
    const int r = WINDOW ? WINDOW : a.r, s = WINDOW ? WINDOW : a.s;
    const T *x = static_cast<const T *>(a.x) + static_cast<int64_t>(n) * a.h * a.w * a.c + c;

    const bool inside = h0 >= 0 && w0 >= 0 && h0 + r <= a.h && w0 + s <= a.w;
    Vector<V> best;
#pragma unroll
    for (int k = 0; k < V; k++) best.at[k] = a.pad_zero && !inside ? 0 : -INFINITY;
#pragma unroll
    for (int dh = 0; dh < r; dh++) {
#pragma unroll
        for (int dw = 0; dw < s; dw++) {
            const int h = h0 + dh, w = w0 + dw;
            if (h < 0 || h >= a.h || w < 0 || w >= a.w) continue;
            const Vector<V> value = load<V>(x + (static_cast<int64_t>(h) * a.w + w) * a.c);
#pragma unroll
            for (int k = 0; k < V; k++) best.at[k] = fmaxf(best.at[k], value.at[k]);
        }
    }
    store<T>(static_cast<T *>(a.y) + ((static_cast<int64_t>(n) * a.p + p) * a.q + q) * a.c + c, best);
}

template <class T, int V> void launch(const rn_cuda_max_pool_args &a, cudaStream_t stream)
{
    const int groups = a.c / V;
    const dim3 grid(blocks_for(static_cast<int64_t>(a.q) * groups, BLOCK), static_cast<unsigned>(a.p), static_cast<unsigned>(a.n));
    if (a.r == 3 && a.s == 3)
        RN_LAUNCH((max_pool<T, V, 3>), grid, BLOCK, 0, stream, a, groups);
    else
        RN_LAUNCH((max_pool<T, V, 0>), grid, BLOCK, 0, stream, a, groups);
}

template <class T> rn_status launch_max_pool(const rn_cuda_max_pool_args &a, cudaStream_t stream)
{
    if (a.c % WIDE<T> == 0)
        launch<T, WIDE<T>>(a, stream);
    else
        launch<T, 1>(a, stream);
    return launch_status();
}

} // namespace

RN_LAUNCHERS(max_pool, max_pool)
