/* See conv_own.h. */
#include "engine/cuda/conv_own.h"

#include "engine/cuda/conv_matmul.h"
#include "engine/cuda/cuda_device.h"
#include "kernels/cuda/cuda_kernels.h"

static int64_t pixels(const rn__conv_shape *s)
{
    return (int64_t)s->n * s->p * s->q;
}

static rn_status launched(rn_status status, const char *what, rn_error *err)
{
    return status == RN_STATUS_OK ? status : rn__cuda_fail(cudaGetLastError(), what, err);
}

bool rn__own_conv_fits(const rn__conv_shape *s)
{
    return s->second && rn__matmul_fits(s) && s->x_dtype == s->y_dtype && rn_cuda_kernels_of(s->y_dtype)->expand_dual &&
           s->c % RN_CUDA_EXPAND_DEPTH == 0 && s->k % RN_CUDA_EXPAND_CHANNELS == 0;
}

rn_status rn__own_conv_run(const rn__conv_shape *s, const rn__conv_buffers *b, cudaStream_t stream, rn_error *err)
{
    const rn_cuda_expand_dual_args args = {.x = b->x,
                                           .filter = b->filter,
                                           .bias = b->bias,
                                           .residual = s->residual ? b->residual : NULL,
                                           .y = b->y,
                                           .y2 = b->y2,
                                           .scale = b->scale,
                                           .shift = b->shift,
                                           .pixels = pixels(s),
                                           .c = s->c,
                                           .k = s->k,
                                           .relu = s->relu};
    return launched(rn_cuda_kernels_of(s->y_dtype)->expand_dual(&args, stream), "a convolution with two outputs", err);
}

rn_status rn__second_output_run(const rn__conv_shape *s, const void *y, const rn__conv_buffers *b, cudaStream_t stream, rn_error *err)
{
    const rn_cuda_scale_shift_args args = {
        .x = y, .scale = b->scale, .shift = b->shift, .y = b->y2, .pixels = pixels(s), .c = s->k, .relu = true};
    return launched(rn_cuda_kernels_of(s->y_dtype)->scale_shift(&args, stream), "a second output", err);
}
