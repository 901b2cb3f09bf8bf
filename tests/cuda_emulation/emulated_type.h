/* Elements of device memory as the library stand-ins see them: f32, f16 or bf16, read and written as f32. */
#ifndef RN_EMULATED_TYPE_H
#define RN_EMULATED_TYPE_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>

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

} // namespace rn_emulation

#endif
