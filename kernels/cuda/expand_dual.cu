/* A 1x1 convolution that writes its result and the pre-activation of the next block in one go: no library fuses the two, and the second is
 * otherwise a kernel that reads back what the first has just written.
 *
 * A matrix product on the tensor cores: pixels x channels, 128 x 128 a block, 64 x 32 a warp, 32 deep a step. Three steps of both operands
 * lie in shared memory, two of them on their way while one is multiplied. Rows there are 64 bytes; the four 16-byte pieces of a row change
 * places with every second row, so that the eight rows that one load takes lie in different banks. The sums then go through the same shared
 * memory, half a block at a time, because fragments hold pairs of channels and memory wants 16 bytes.
 *
 * What it saves: one read of the result and one launch. What it costs: mma.sync reaches some 60 % of the rate of the libraries' wgmma on an
 * H100, which does not matter while a layer is bound by memory, as the expanding ones of large batches are. The tuner decides.
 */
#include "kernels/cuda/tensor_core.cuh"
#include "kernels/cuda/vector.cuh"

namespace
{

constexpr int PIXELS = RN_CUDA_EXPAND_PIXELS, CHANNELS = RN_CUDA_EXPAND_CHANNELS, DEPTH = RN_CUDA_EXPAND_DEPTH; /* of a block's step */
constexpr int STEPS = 3;                    /* in shared memory: 48 KiB, which every device grants unasked; two blocks fit an SM */
constexpr int THREADS = 256;                /* 2 x 4 warps */
constexpr int WARP_PIXELS = 64, WARP_CHANNELS = 32, WARPS_ACROSS = CHANNELS / WARP_CHANNELS;
constexpr int PIECES = DEPTH / 8;           /* of 16 bytes, in a row of an operand */
constexpr int STEP_ELEMENTS = (PIXELS + CHANNELS) * DEPTH;
constexpr int SHARED_BYTES = STEPS * STEP_ELEMENTS * 2;
constexpr int SUM_STRIDE = CHANNELS + 4;    /* of the f32 sums in shared memory: rows start four banks apart */
static_assert(WARP_PIXELS * SUM_STRIDE * 4 <= SHARED_BYTES, "half a block of sums fits");
static_assert(PIXELS == 2 * WARP_PIXELS && THREADS == 64 * WARPS_ACROSS && PIECES == 4, "what the index arithmetic below says");

/* Where piece `piece` of row `row` lies in an operand's step, in elements. */
__device__ __forceinline__ int place(int row, int piece)
{
    return row * DEPTH + (piece ^ (row >> 1 & 3)) * 8;
}

/* A step's operands on their way: x from `first_pixel` and the filter from `first_channel`, at depth `k`. Pixels that do not exist are
 * zeros. */
template <class T> __device__ __forceinline__ void fetch(const rn_cuda_expand_dual_args &a, T *step, int64_t first_pixel, int first_channel, int k)
{
    const int piece = static_cast<int>(threadIdx.x) % PIECES, first_row = static_cast<int>(threadIdx.x) / PIECES;
    const T *x = static_cast<const T *>(a.x) + k + piece * 8, *filter = static_cast<const T *>(a.filter) + k + piece * 8;
#pragma unroll
    for (int row = first_row; row < PIXELS; row += THREADS / PIECES) {
        const int64_t pixel = first_pixel + row;
        const bool exists = pixel < a.pixels;
        copy_ahead(step + place(row, piece), x + (exists ? pixel : 0) * a.c, exists);
    }
#pragma unroll
    for (int row = first_row; row < CHANNELS; row += THREADS / PIECES)
        copy_ahead(step + PIXELS * DEPTH + place(row, piece), filter + static_cast<int64_t>(first_channel + row) * a.c, true);
}

/* sums += the warp's share of a step. */
template <class T> __device__ __forceinline__ void multiply(const T *step, int warp_pixel, int warp_channel, float (&sums)[4][4][4])
{
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const T *filter = step + PIXELS * DEPTH;
#pragma unroll
    for (int depth = 0; depth < PIECES; depth += 2) {
        uint32_t x_blocks[4][4], filter_blocks[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++) load_blocks(x_blocks[i], step + place(warp_pixel + 16 * i + lane % 16, depth + lane / 16));
#pragma unroll
        for (int j = 0; j < 2; j++)
            load_blocks(filter_blocks[j], filter + place(warp_channel + 16 * j + lane / 16 * 8 + lane % 8, depth + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++)
                multiply_add<T>(sums[i][j], x_blocks[i], filter_blocks[j / 2][j % 2 * 2], filter_blocks[j / 2][j % 2 * 2 + 1]);
        }
    }
}

/* The warp's sums to shared memory: [WARP_PIXELS][SUM_STRIDE]. */
__device__ __forceinline__ void put_sums(float *shared, int warp_channel, const float (&sums)[4][4][4])
{
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float *at = shared + (16 * i + lane / 4) * SUM_STRIDE + warp_channel + 8 * j + lane % 4 * 2;
            *reinterpret_cast<float2 *>(at) = make_float2(sums[i][j][0], sums[i][j][1]);
            *reinterpret_cast<float2 *>(at + 8 * SUM_STRIDE) = make_float2(sums[i][j][2], sums[i][j][3]);
        }
    }
}

/* Eight channels of a pixel, from their sums to both outputs. The second one sees the first as it was rounded: what a kernel of its own
 * would read. */
template <class T> __device__ __forceinline__ void finish(const rn_cuda_expand_dual_args &a, const float *sums, int64_t pixel, int channel)
{
    const int64_t at = pixel * a.k + channel;
    Vector<8> y, y2, residual = {};
    const float4 low = *reinterpret_cast<const float4 *>(sums), high = *reinterpret_cast<const float4 *>(sums + 4);
    const float found[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    if (a.residual) residual = load<8, false>(static_cast<const T *>(a.residual) + at);
    const Vector<8> bias = load<8>(static_cast<const T *>(a.bias) + channel), scale = load<8>(a.scale + channel),
                    shift = load<8>(a.shift + channel);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float value = relu_if(a.relu, __fadd_rn(__fadd_rn(found[i], residual.at[i]), bias.at[i]));
        y.at[i] = to_float(from_float<T>(value));
        y2.at[i] = relu_if(true, __fadd_rn(__fmul_rn(y.at[i], scale.at[i]), shift.at[i]));
    }
    if (a.y) store<T>(static_cast<T *>(a.y) + at, y);
    store<T>(static_cast<T *>(a.y2) + at, y2);
}

/* Two blocks an SM: up to 128 registers a thread, half of them sums. */
template <class T> __global__ void __launch_bounds__(THREADS, 2) expand_dual(rn_cuda_expand_dual_args a, int blocks_across)
{
    RN_DYNAMIC_SHARED(T, shared);
    const int warp = static_cast<int>(threadIdx.x) / 32, warp_row = warp / WARPS_ACROSS;
    const int warp_pixel = warp_row * WARP_PIXELS, warp_channel = warp % WARPS_ACROSS * WARP_CHANNELS;
    const int64_t first_pixel = static_cast<int64_t>(blockIdx.x / blocks_across) * PIXELS;
    const int first_channel = static_cast<int>(blockIdx.x % blocks_across) * CHANNELS, steps = a.c / DEPTH;
    float sums[4][4][4] = {};

#pragma unroll
    for (int step = 0; step < STEPS - 1; step++) {
        if (step < steps) fetch(a, shared + step * STEP_ELEMENTS, first_pixel, first_channel, step * DEPTH);
        end_copies();
    }
    for (int step = 0; step < steps; step++) {
        wait_for_copies<STEPS - 2>();
        __syncthreads(); /* everybody's copies have arrived, and nobody reads the step that is overwritten next */
        const int next = step + STEPS - 1;
        if (next < steps) fetch(a, shared + next % STEPS * STEP_ELEMENTS, first_pixel, first_channel, next * DEPTH);
        end_copies();
        multiply(shared + step % STEPS * STEP_ELEMENTS, warp_pixel, warp_channel, sums);
    }
    wait_for_copies<0>();

    float *shared_sums = reinterpret_cast<float *>(shared);
    for (int half = 0; half < 2; half++) {
        __syncthreads();
        if (warp_row == half) put_sums(shared_sums, warp_channel, sums);
        __syncthreads();
        const int channel = static_cast<int>(threadIdx.x) % (CHANNELS / 8) * 8;
        for (int row = static_cast<int>(threadIdx.x) / (CHANNELS / 8); row < WARP_PIXELS; row += THREADS / (CHANNELS / 8)) {
            const int64_t pixel = first_pixel + half * WARP_PIXELS + row;
            if (pixel < a.pixels) finish<T>(a, shared_sums + row * SUM_STRIDE + channel, pixel, first_channel + channel);
        }
    }
}

template <class T> rn_status launch_expand_dual(const rn_cuda_expand_dual_args &a, cudaStream_t stream)
{
    const int blocks_across = a.k / CHANNELS;
    const int64_t blocks = (a.pixels + PIXELS - 1) / PIXELS * blocks_across;
    RN_LAUNCH(expand_dual<T>, static_cast<unsigned>(blocks), THREADS, SHARED_BYTES, stream, a, blocks_across);
    return launch_status();
}

} // namespace

rn_status rn_expand_dual_f16__cuda(const rn_cuda_expand_dual_args *args, cudaStream_t stream)
{
    return launch_expand_dual<__half>(*args, stream);
}

rn_status rn_expand_dual_bf16__cuda(const rn_cuda_expand_dual_args *args, cudaStream_t stream)
{
    return launch_expand_dual<__nv_bfloat16>(*args, stream);
}
