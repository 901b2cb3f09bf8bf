/* The table of launchers, made from the one list in cuda_kernels.h. */
#include "kernels/cuda/cuda_kernels.h"

#include <stddef.h>

#define SLOT_F32(slot, operation) .slot = rn_##slot##_f32__cuda,
#define SLOT_F16(slot, operation) .slot = rn_##slot##_f16__cuda,
#define SLOT_BF16(slot, operation) .slot = rn_##slot##_bf16__cuda,

static const rn_cuda_kernels f32 = {RN_CUDA_SLOT_LIST(SLOT_F32)};
static const rn_cuda_kernels f16 = {RN_CUDA_SLOT_LIST(SLOT_F16) RN_CUDA_HALF_SLOT_LIST(SLOT_F16)};
static const rn_cuda_kernels bf16 = {RN_CUDA_SLOT_LIST(SLOT_BF16) RN_CUDA_HALF_SLOT_LIST(SLOT_BF16)};

const rn_cuda_kernels *rn_cuda_kernels_of(rn_dtype dtype)
{
    switch (dtype) {
    case RN_DTYPE_F32:
        return &f32;
    case RN_DTYPE_F16:
        return &f16;
    case RN_DTYPE_BF16:
        return &bf16;
    default:
        return NULL;
    }
}
