/* What kernels of our own do about a convolution: the second output, alone or fused with the convolution that makes the first. */
#ifndef RN_ENGINE_CUDA_CONV_OWN_H
#define RN_ENGINE_CUDA_CONV_OWN_H

#include <cuda_runtime_api.h>

#include "engine/cuda/conv.h"
#include "kernels/base/error.h"

/* Whether the fused kernel computes this shape: a 1x1 convolution of f16 or bf16 with a second output, of as many channels as its blocks
 * take. */
bool rn__own_conv_fits(const rn__conv_shape *shape);
rn_status rn__own_conv_run(const rn__conv_shape *shape, const rn__conv_buffers *buffers, cudaStream_t stream, rn_error *err);

/* y2 from the y that a library has written at `y`, which may be where y2 goes. */
rn_status rn__second_output_run(const rn__conv_shape *shape, const void *y, const rn__conv_buffers *buffers, cudaStream_t stream,
                                rn_error *err);

#endif
