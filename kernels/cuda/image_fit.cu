/* Decoded pictures to the network's input: bilinear resize, truncation to 8 bits, scale, shift, storage type and channel padding in one pass. A
 * crop is where a picture begins and how large it is.
 *
 * One thread makes one output pixel. Its 4 x channels byte loads share cache lines with those of its neighbours. The arithmetic is
 * TensorFlow's, operation for operation, in _rn intrinsics: nvcc would fuse a product and a sum, and a fused result can land on the other
 * side of the truncation.
 */
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int BLOCK_X = 32, BLOCK_Y = 8;

struct Taps {
    int lower, upper;
    float weight; /* of upper */
};

__device__ __forceinline__ Taps taps(int position, float ratio, int size)
{
    const float source = __fsub_rn(__fmul_rn(__fadd_rn(static_cast<float>(position), 0.5f), ratio), 0.5f);
    const float below = floorf(source);
    return {max(static_cast<int>(below), 0), min(static_cast<int>(ceilf(source)), size - 1), __fsub_rn(source, below)};
}

__device__ __forceinline__ float mix(float a, float b, float weight)
{
    return __fadd_rn(a, __fmul_rn(__fsub_rn(b, a), weight));
}

/* One pixel a thread and nothing shared: 256 threads with up to 64 registers each keep an SM's 2048 threads resident to one half, and the
 * loads hide behind one another. */
template <class T> __global__ void __launch_bounds__(BLOCK_X *BLOCK_Y) image_fit(rn_cuda_image_fit_args a)
{
    const int x = static_cast<int>(blockIdx.x * BLOCK_X + threadIdx.x), y = static_cast<int>(blockIdx.y * BLOCK_Y + threadIdx.y);
    if (x >= a.w || y >= a.h) return;
    const rn_cuda_picture picture = a.pictures[blockIdx.z];
    const Taps tx = taps(x, picture.ratio_w, picture.w), ty = taps(y, picture.ratio_h, picture.h);
    const uint8_t *pixels = a.pixels + picture.offset;
    const uint8_t *above = pixels + static_cast<int64_t>(ty.lower) * picture.row_bytes;
    const uint8_t *below = pixels + static_cast<int64_t>(ty.upper) * picture.row_bytes;
    const int left = a.channels * tx.lower, right = a.channels * tx.upper;

    Vector<WIDE<T>> pixel = {};
#pragma unroll
    for (int c = 0; c < 4; c++) {
        if (c >= a.channels) break;
        const float top = mix(to_float(__ldg(above + left + c)), to_float(__ldg(above + right + c)), tx.weight);
        const float bottom = mix(to_float(__ldg(below + left + c)), to_float(__ldg(below + right + c)), tx.weight);
        const float byte = static_cast<float>(static_cast<uint8_t>(__float2int_rz(mix(top, bottom, ty.weight))));
        pixel.at[c] = relu_if(a.relu, __fadd_rn(__fmul_rn(byte, __ldg(a.scale + c)), __ldg(a.shift + c)));
    }
    T *out = static_cast<T *>(a.y) + ((static_cast<int64_t>(blockIdx.z) * a.h + y) * a.w + x) * a.c;
    if (a.c == WIDE<T>) {
        store<T>(out, pixel);
        return;
    }
    for (int c = 0; c < a.c; c++) out[c] = from_float<T>(0);
#pragma unroll
    for (int c = 0; c < 4; c++) {
        if (c < a.channels) out[c] = from_float<T>(pixel.at[c]);
    }
}

template <class T> rn_status launch_image_fit(const rn_cuda_image_fit_args &a, cudaStream_t stream)
{
    const dim3 grid(blocks_for(a.w, BLOCK_X), blocks_for(a.h, BLOCK_Y), static_cast<unsigned>(a.n));
    RN_LAUNCH(image_fit<T>, grid, dim3(BLOCK_X, BLOCK_Y), 0, stream, a);
    return launch_status();
}

} // namespace

RN_LAUNCHERS(image_fit, image_fit)
