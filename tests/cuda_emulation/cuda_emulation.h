/* The device side of CUDA C++ for a plain host compiler (tests only).
 *
 * Why: build machines have the CUDA toolkit but no GPU. With this header a .cu
 * file compiles with g++ or clang++ and its kernels run on the CPU, so that
 * they can be checked against scalar references and under sanitizers.
 *
 * How: each thread of a block is a fiber (fiber_runner.cpp); a fiber runs until
 * it reaches a barrier or a warp collective and is resumed when every expected
 * thread has arrived. Blocks run one after another. The toolkit's own headers
 * supply vector types and half/bfloat16 arithmetic (they compile for the host
 * as they are); this file supplies what they leave to nvcc.
 *
 * Every collective takes its call site as trailing default arguments, so that a
 * divergence report can name file and line.
 */
#ifndef RN_CUDA_EMULATION_H
#define RN_CUDA_EMULATION_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include "cuda_emulation_intrinsics.h"

#define __launch_bounds__(...)

/* A shared variable is one static object: blocks are sequential, so one copy is
 * enough. The section lets the runner fill all shared memory with a junk
 * pattern before each block (shared memory starts undefined on a GPU); "used"
 * keeps the compiler from assuming that nobody else writes it. GCC puts
 * AddressSanitizer red zones into it with -fsanitize-sections=rn_shared. */
#undef __shared__
#define __shared__ static __attribute__((section("rn_shared"), used))

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
constexpr int warpSize = 32;

namespace rn_emulation
{

enum class Collective {
    block_barrier, /* and the _and/_or/_count forms: value is the predicate */
    warp_barrier,
    shuffle_index,
    shuffle_up,
    shuffle_down,
    shuffle_xor,
    ballot
};

struct Site {
    const char *file;
    int line;
};

/* Number of threads of the block whose predicate was nonzero. */
int block_collective(int predicate, Site site);

/* The value this lane receives; argument is source lane, delta or lane mask. */
uint64_t warp_collective(Collective kind, unsigned mask, uint64_t value, unsigned argument, int width, Site site);

void *dynamic_shared();

using Kernel = std::function<void()>;

void launch_kernel(const char *name, Kernel kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream);

/* Arguments are converted to the parameter types and copied at launch time, as
 * a real launch does. */
template <class... Parameters, class... Arguments>
void launch(const char *name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Arguments &&...arguments)
{
    std::tuple<Parameters...> copies(static_cast<Parameters>(std::forward<Arguments>(arguments))...);
    launch_kernel(
        name, [kernel, copies] { std::apply(kernel, copies); }, grid, block, shared_bytes, stream);
}

template <class T> T shuffle(Collective kind, unsigned mask, T value, unsigned argument, int width, Site site)
{
    static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = warp_collective(kind, mask, bits, argument, width, site);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace rn_emulation

#define RN_EMULATION_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(RN_EMULATION_SITE)
{
    rn_emulation::block_collective(0, {file, line});
}

inline int __syncthreads_count(int predicate, RN_EMULATION_SITE)
{
    return rn_emulation::block_collective(predicate, {file, line});
}

inline int __syncthreads_or(int predicate, RN_EMULATION_SITE)
{
    return rn_emulation::block_collective(predicate, {file, line}) != 0;
}

inline int __syncthreads_and(int predicate, RN_EMULATION_SITE)
{
    return rn_emulation::block_collective(predicate == 0, {file, line}) == 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, RN_EMULATION_SITE)
{
    rn_emulation::warp_collective(rn_emulation::Collective::warp_barrier, mask, 0, 0, warpSize, {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, RN_EMULATION_SITE)
{
    return static_cast<unsigned>(
        rn_emulation::warp_collective(rn_emulation::Collective::ballot, mask, predicate != 0, 0, warpSize, {file, line}));
}

inline int __any_sync(unsigned mask, int predicate, RN_EMULATION_SITE)
{
    return __ballot_sync(mask, predicate, file, line) != 0;
}

inline int __all_sync(unsigned mask, int predicate, RN_EMULATION_SITE)
{
    return __ballot_sync(mask, predicate, file, line) == mask;
}

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, RN_EMULATION_SITE)
{
    return rn_emulation::shuffle(rn_emulation::Collective::shuffle_index, mask, value, static_cast<unsigned>(source), width, {file, line});
}

template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, RN_EMULATION_SITE)
{
    return rn_emulation::shuffle(rn_emulation::Collective::shuffle_up, mask, value, delta, width, {file, line});
}

template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, RN_EMULATION_SITE)
{
    return rn_emulation::shuffle(rn_emulation::Collective::shuffle_down, mask, value, delta, width, {file, line});
}

template <class T> T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, RN_EMULATION_SITE)
{
    return rn_emulation::shuffle(rn_emulation::Collective::shuffle_xor, mask, value, static_cast<unsigned>(lane_mask), width, {file, line});
}

#undef RN_EMULATION_SITE

#endif
