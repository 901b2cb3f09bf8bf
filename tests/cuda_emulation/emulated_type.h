/* Elements of device memory as the library stand-ins see them: f32, f16 or bf16, read and written as f32. */
#ifndef RN_EMULATED_TYPE_H
#define RN_EMULATED_TYPE_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

namespace rn_emulation
{

enum class Type { none, f32, f16, bf16 };

inline size_t bytes_of(Type type) { return type == Type::f32 ? 4 : 2; }

inline float read_element(Type type, const void *from, size_t i)
{
    switch (type) {
    case Type::f16: return __half2float(static_cast<const __half *>(from)[i]);
    case Type::bf16: return __bfloat162float(static_cast<const __nv_bfloat16 *>(from)[i]);
    default: return static_cast<const float *>(from)[i];
    }
}

inline void write_element(Type type, void *to, size_t i, float value)
{
    switch (type) {
    case Type::f16: static_cast<__half *>(to)[i] = __float2half_rn(value); break;
    case Type::bf16: static_cast<__nv_bfloat16 *>(to)[i] = __float2bfloat16_rn(value); break;
    default: static_cast<float *>(to)[i] = value;
    }
}

/* Most of the tests' time passes in the two loops below: they are compiled for speed, and without sanitizers, in every build. Callers have
 * checked the ranges. */
#define RN_EMULATION_HOT __attribute__((no_sanitize("address", "undefined"), optimize("O3")))

/* Sum of products, in eight lanes so that the compiler makes vectors of them. */
RN_EMULATION_HOT inline float dot(const float *a, const float *b, int64_t count)
{
    float lanes[8] = {}, sum = 0;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int lane = 0; lane < 8; lane++) lanes[lane] += a[i + lane] * b[i + lane];
    for (; i < count; i++) sum += a[i] * b[i];
    for (float lane : lanes) sum += lane;
    return sum;
}

/* sums[j] += x[i] * rows[i * stride + j] for i < depth and j < count. */
RN_EMULATION_HOT inline void add_products(float *__restrict sums, int64_t count, const float *x, int64_t depth, const float *rows, int64_t stride)
{
    for (int64_t i = 0; i < depth; i++)
        for (int64_t j = 0; j < count; j++) sums[j] += x[i] * rows[i * stride + j];
}

} // namespace rn_emulation

#endif
