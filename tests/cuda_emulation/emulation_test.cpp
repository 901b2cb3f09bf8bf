/* What the emulation must catch, each case as a small wrong kernel. A case that
 * should end the process runs in a child, whose message is looked at. Cases
 * marked "sanitized" need the AddressSanitizer build.
 */
#include "kernels/cuda/launch.cuh"
#include "tests/cuda_emulation/emulation_control.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace
{

#ifdef RN_EMULATION_ASAN
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

__global__ void half_at_barrier(int)
{
    if (threadIdx.x < 32) __syncthreads();
}

__global__ void different_barriers(int)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}

__global__ void partial_warp_shuffle(float *out)
{
    if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}

__global__ void shuffle_outside_mask(float *out)
{
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 20);
}

__global__ void neighbours(float *out, bool with_barrier)
{
    __shared__ float values[64];
    values[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (with_barrier) __syncthreads();
    out[threadIdx.x] = values[(threadIdx.x + 63) % 64];
}

__global__ void beyond_dynamic(float *out)
{
    RN_DYNAMIC_SHARED(float, values);
    values[threadIdx.x] = 1;
    out[threadIdx.x] = values[threadIdx.x + 1];
}

[[maybe_unused]] __global__ void beyond_static(float *out)
{
    __shared__ float values[64];
    float *volatile pointer = values; /* else UBSan sees it first */
    pointer[threadIdx.x] = 1;
    out[threadIdx.x] = pointer[threadIdx.x + 1];
}

__global__ void beyond_global(float *out)
{
    out[threadIdx.x + 1] = 1;
}

__global__ void misaligned_load(float *out)
{
    out[0] = __ldg(reinterpret_cast<const float4 *>(out + 1)).x;
}

[[maybe_unused]] __global__ void misaligned_store(float *out)
{
    *reinterpret_cast<float4 *>(out + 1) = make_float4(1, 2, 3, 4);
}

__global__ void uninitialized_shared(float *out)
{
    __shared__ float values[64];
    out[threadIdx.x] = values[threadIdx.x];
}

template <class T, int step> __global__ void templated(T *out)
{
    T sum = static_cast<T>(threadIdx.x);
    for (int i = 16; i > 0; i /= 2) sum += __shfl_down_sync(0xffffffffu, sum, i);
    int votes = __popc(__ballot_sync(0xffffffffu, threadIdx.x % step == 0));
    if (threadIdx.x == 0) atomicAdd(out, sum + static_cast<T>(votes));
}

void require(bool condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "FAILED: %s\n", what);
    exit(1);
}

float *device_floats(size_t count)
{
    void *memory;
    require(cudaMalloc(&memory, count * sizeof(float)) == 0, "cudaMalloc");
    return static_cast<float *>(memory);
}

std::vector<float> read(const float *from, size_t count)
{
    std::vector<float> values(count);
    cudaMemcpyAsync(values.data(), from, count * sizeof(float), cudaMemcpyDeviceToHost, nullptr);
    cudaStreamSynchronize(nullptr);
    return values;
}

/* Runs the case in a child; it must die and say so. */
template <class Case> void dies(const char *name, const char *message, Case run)
{
    int ends[2];
    require(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        run();
        cudaDeviceSynchronize();
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(got));
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    bool died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    printf("%-24s %s\n", name, died ? "caught" : "NOT CAUGHT");
    if (getenv("RN_SHOW")) fputs(text.c_str(), stdout);
    require(died && text.find(message) != std::string::npos, name);
}

void check_threads()
{
    float *out = device_floats(64);
    dies("misaligned load", "not aligned to 16", [=] { RN_LAUNCH(misaligned_load, 1, 1, 0, nullptr, out); });
    dies("half at a barrier", "divergent barrier", [] { RN_LAUNCH(half_at_barrier, 1, 64, 0, nullptr, 0); });
    dies("different barriers", "different __syncthreads", [] { RN_LAUNCH(different_barriers, 1, 64, 0, nullptr, 0); });
    dies("partial warp shuffle", "nothing can run", [=] { RN_LAUNCH(partial_warp_shuffle, 1, 64, 0, nullptr, out); });
    dies("shuffle outside mask", "not in its mask", [=] { RN_LAUNCH(shuffle_outside_mask, 1, 32, 0, nullptr, out); });
    cudaFree(out);
}

void check_sanitizers()
{
    float *out = device_floats(64);
    dies("beyond dynamic shared", "heap-buffer-overflow", [=] { RN_LAUNCH(beyond_dynamic, 1, 64, 64 * sizeof(float), nullptr, out); });
#ifndef __clang__ /* no red zones in named sections, no check of struct stores */
    dies("misaligned store", "misaligned address", [=] { RN_LAUNCH(misaligned_store, 1, 1, 0, nullptr, out); });
    dies("beyond static shared", "global-buffer-overflow", [=] { RN_LAUNCH(beyond_static, 1, 64, 0, nullptr, out); });
#endif
    dies("beyond global", "heap-buffer-overflow", [=] { RN_LAUNCH(beyond_global, 1, 64, 0, nullptr, out); });
    dies("host reads device", "use-after-poison", [=] { printf("%f", out[0]); });
    cudaFree(out);
}

/* A missing barrier is not seen directly, but some order gives wrong values. */
void check_missing_barrier()
{
    float *out = device_floats(64);
    for (bool with_barrier : {true, false}) {
        int wrong_orders = 0;
        for (unsigned order = 0; order < 4; order++) {
            rn_emulation_set_order(order);
            RN_LAUNCH(neighbours, 1, 64, 0, nullptr, out, with_barrier);
            std::vector<float> values = read(out, 64);
            bool right = true;
            for (int i = 0; i < 64; i++) right = right && values[i] == float((i + 63) % 64);
            wrong_orders += !right;
        }
        printf("%-24s wrong in %d of 4 orders\n", with_barrier ? "with barrier" : "missing barrier", wrong_orders);
        require(with_barrier ? wrong_orders == 0 : wrong_orders > 0, "missing barrier");
    }
    rn_emulation_set_order(RN_ORDER_FORWARD);
    RN_LAUNCH(uninitialized_shared, 1, 64, 0, nullptr, out);
    require(std::isnan(read(out, 64)[7]), "shared memory starts as junk");
    cudaFree(out);
}

void check_runtime()
{
    float *out = device_floats(64);
    RN_LAUNCH(beyond_global, 1, 2048, 0, nullptr, out);
    require(cudaGetLastError() == cudaErrorInvalidConfiguration, "block of 2048 threads");

    cudaStream_t stream;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    float value = 3, seen = -1;
    cudaMemcpyAsync(out, &value, sizeof value, cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(&seen, out, sizeof seen, cudaMemcpyDeviceToHost, stream);
    require(seen == -1, "a copy is not done before synchronising");
    cudaStreamSynchronize(stream);
    require(seen == 3, "and is done after it");
    require(cudaMemcpyAsync(&seen, &value, 4, cudaMemcpyDeviceToHost, stream) != cudaSuccess,
            "a copy from a pointer that is no device memory");

    cudaGraph_t graph;
    void *memory;
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    require(cudaMalloc(&memory, 16) == cudaErrorStreamCaptureUnsupported, "malloc in capture");
    require(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated, "which ends the capture");

    cudaMemsetAsync(out, 0, sizeof(float), stream);
    RN_LAUNCH((templated<float, 4>), 3, 32, 0, stream, out);
    cudaStreamSynchronize(stream);
    require(read(out, 1)[0] == 3 * (496 + 8), "templated kernel with shuffles, votes, atomics");
    cudaStreamDestroy(stream);
    cudaFree(out);
}

} // namespace

int main()
{
    check_threads();
    check_missing_barrier();
    check_runtime();
    if (sanitized) check_sanitizers();
    require(rn_emulation_live_objects() == 0, "nothing is left");
    printf("emulation: ok\n");
    return 0;
}
