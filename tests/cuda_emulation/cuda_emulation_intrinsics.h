/* Device intrinsics that need no knowledge of threads: cached loads, atomics,
 * bit casts, explicit rounding and the fast-maths functions.
 *
 * Why separate: these are one-liners that grow with the kernels' needs, while
 * the thread model in cuda_emulation.h does not change.
 *
 * Rounding: the _rn arithmetic is what nvcc never fuses into an FMA. Compile
 * the host side with -ffp-contract=off so that it does not fuse either. The
 * fast-maths functions are the accurate host ones: a GPU's differ by a few ulp,
 * so tests of kernels which use them need a tolerance.
 *
 * glibc declares (but does not export) __expf, __logf and relatives, so those
 * names must be macros here.
 */
#ifndef RN_CUDA_EMULATION_INTRINSICS_H
#define RN_CUDA_EMULATION_INTRINSICS_H

#include <cmath>
#include <cstdint>
#include <cstring>

#define __expf(x) ::expf(x)
#define __exp10f(x) ::powf(10.0f, (x))
#define __logf(x) ::logf(x)
#define __log2f(x) ::log2f(x)
#define __powf(x, y) ::powf((x), (y))
#define __sinf(x) ::sinf(x)
#define __cosf(x) ::cosf(x)
#define __fdividef(x, y) ((x) / (y))

inline float rsqrtf(float x)
{
    return 1.0f / ::sqrtf(x);
}
inline float __saturatef(float x)
{
    return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f;
}
inline float __fadd_rn(float x, float y)
{
    return x + y;
}
inline float __fsub_rn(float x, float y)
{
    return x - y;
}
inline float __fmul_rn(float x, float y)
{
    return x * y;
}
inline float __fdiv_rn(float x, float y)
{
    return x / y;
}
inline float __frcp_rn(float x)
{
    return 1.0f / x;
}
inline float __fsqrt_rn(float x)
{
    return ::sqrtf(x);
}
inline float __fmaf_rn(float x, float y, float z)
{
    return ::fmaf(x, y, z);
}
inline float __int2float_rn(int x)
{
    return static_cast<float>(x);
}
inline float __uint2float_rn(unsigned x)
{
    return static_cast<float>(x);
}

/* A GPU clamps out-of-range conversions and maps NaN to 0; C++ leaves both
 * undefined, so the range is handled explicitly. */
inline int __float2int_rz(float x)
{
    if (!(x == x)) return 0;
    if (x >= 2147483648.0f) return 2147483647;
    if (x <= -2147483648.0f) return -2147483647 - 1;
    return static_cast<int>(x);
}
inline int __float2int_rn(float x)
{
    return __float2int_rz(::rintf(x));
}
inline int __float2int_rd(float x)
{
    return __float2int_rz(::floorf(x));
}
inline int __float2int_ru(float x)
{
    return __float2int_rz(::ceilf(x));
}
inline unsigned __float2uint_rz(float x)
{
    if (!(x > 0)) return 0;
    return x >= 4294967296.0f ? 4294967295u : static_cast<unsigned>(x);
}

namespace rn_emulation
{
template <class To, class From> To bit_cast(From from)
{
    static_assert(sizeof(To) == sizeof(From), "bit casts keep the size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
} // namespace rn_emulation

inline float __uint_as_float(unsigned x)
{
    return rn_emulation::bit_cast<float>(x);
}
inline float __int_as_float(int x)
{
    return rn_emulation::bit_cast<float>(x);
}
inline unsigned __float_as_uint(float x)
{
    return rn_emulation::bit_cast<unsigned>(x);
}
inline int __float_as_int(float x)
{
    return rn_emulation::bit_cast<int>(x);
}

inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
inline int __clz(int x)
{
    return x ? __builtin_clz(static_cast<unsigned>(x)) : 32;
}
inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
inline unsigned __umulhi(unsigned x, unsigned y)
{
    return static_cast<unsigned>(static_cast<uint64_t>(x) * y >> 32);
}

template <class T> T min(T x, T y)
{
    return y < x ? y : x;
}
template <class T> T max(T x, T y)
{
    return x < y ? y : x;
}
inline float min(float x, float y)
{
    return ::fminf(x, y);
}
inline float max(float x, float y)
{
    return ::fmaxf(x, y);
}

namespace rn_emulation
{
[[noreturn]] void misaligned(const void *address, size_t alignment);

/* A vector access that is not aligned to its size faults on a GPU. Plain
 * dereferences are left to -fsanitize=alignment. */
template <class T> T *aligned(T *address)
{
    if (reinterpret_cast<uintptr_t>(address) % alignof(T)) misaligned(address, alignof(T));
    return address;
}
} // namespace rn_emulation

template <class T> T __ldg(const T *address)
{
    return *rn_emulation::aligned(address);
}
template <class T> T __ldcs(const T *address)
{
    return *rn_emulation::aligned(address);
}
template <class T> T __ldcg(const T *address)
{
    return *rn_emulation::aligned(address);
}
template <class T> void __stcs(T *address, T value)
{
    *rn_emulation::aligned(address) = value;
}
template <class T> void __stcg(T *address, T value)
{
    *rn_emulation::aligned(address) = value;
}

inline void __threadfence()
{
}
inline void __threadfence_block()
{
}

/* Fibers switch only at collectives, so plain read-modify-write is atomic. */
template <class T, class V> T atomicAdd(T *address, V value)
{
    T old = *address;
    *address = static_cast<T>(old + static_cast<T>(value));
    return old;
}
template <class T, class V> T atomicMax(T *address, V value)
{
    T old = *address;
    if (old < static_cast<T>(value)) *address = static_cast<T>(value);
    return old;
}
template <class T, class V> T atomicMin(T *address, V value)
{
    T old = *address;
    if (static_cast<T>(value) < old) *address = static_cast<T>(value);
    return old;
}
template <class T, class V> T atomicExch(T *address, V value)
{
    T old = *address;
    *address = static_cast<T>(value);
    return old;
}
template <class T, class C, class V> T atomicCAS(T *address, C expected, V value)
{
    T old = *address;
    if (old == static_cast<T>(expected)) *address = static_cast<T>(value);
    return old;
}

#endif
