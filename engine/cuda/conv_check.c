/* See conv_check.h. The end of an output is where a block is not full: there both the sums and the tails of a kernel show. */
#include "engine/cuda/conv_check.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/base/bf16.h"

enum { SAMPLE_BYTES = 1 << 20 };

static float number(rn_dtype dtype, const void *from, size_t i)
{
    return dtype == RN_DTYPE_F16 ? (float)((const _Float16 *)from)[i] : rn_bf16_to_f32(((const rn_bf16 *)from)[i]);
}

static double distance(rn_dtype dtype, const void *a, const void *b, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        const double x = number(dtype, a, i), y = number(dtype, b, i);
        difference += (x - y) * (x - y);
        size += x * x;
    }
    if (!isfinite(difference) || !isfinite(size)) return INFINITY;
    return difference == 0 ? 0 : sqrt(difference / size);
}

static size_t output_bytes(const rn__conv_shape *s)
{
    return (size_t)s->n * (size_t)s->p * (size_t)s->q * (size_t)s->k * rn_dtype_bytes(s->y_dtype);
}

/* Runs once and copies the ends of both outputs to `to`, one behind the other. What is not written is NaN. */
static rn_status sample(rn__conv_timer *timer, const rn__conv_shape *shape, rn__conv_timed_fn *run, void *context, size_t bytes, char *to,
                        rn_error *err)
{
    const rn__conv_buffers *buffers = rn__conv_timer_buffers(timer);
    const size_t skipped = output_bytes(shape) - bytes;
    const cudaStream_t stream = rn__conv_timer_stream(timer);
    RN_CUDA_TRY(cudaMemsetAsync((char *)buffers->y + skipped, 0xff, bytes, stream), "clearing a result");
    RN_CUDA_TRY(cudaMemsetAsync((char *)buffers->y2 + skipped, 0xff, bytes, stream), "clearing a result");
    RN_TRY(run(context, buffers, err));
    RN_CUDA_TRY(cudaMemcpyAsync(to, (const char *)buffers->y + skipped, bytes, cudaMemcpyDeviceToHost, stream), "copying a result");
    RN_CUDA_TRY(cudaMemcpyAsync(to + bytes, (const char *)buffers->y2 + skipped, bytes, cudaMemcpyDeviceToHost, stream),
                "copying a result");
    RN_CUDA_TRY(cudaStreamSynchronize(stream), "waiting for a convolution");
    return RN_STATUS_OK;
}

rn_status rn__conv_check(rn__conv_timer *timer, const rn__conv_shape *shape, rn__conv_timed_fn *run, void *a, void *b, double *error,
                         rn_error *err)
{
    const size_t all = output_bytes(shape), bytes = all < SAMPLE_BYTES ? all : SAMPLE_BYTES, count = bytes / rn_dtype_bytes(shape->y_dtype);
    char *of_a = malloc(2 * bytes), *of_b = malloc(2 * bytes);
    rn_status status;
    if (!of_a || !of_b) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to compare two ways of computing a convolution");
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, sample(timer, shape, run, a, bytes, of_a, err));
    RN_TRY_CLEANUP(status, sample(timer, shape, run, b, bytes, of_b, err));
    *error = fmax(distance(shape->y_dtype, of_a, of_b, count), distance(shape->y_dtype, of_a + bytes, of_b + bytes, count));
cleanup:
    free(of_a);
    free(of_b);
    return status;
}

double rn__conv_check_allowance(rn_dtype dtype)
{
    return dtype == RN_DTYPE_F16 ? 0x1p-10 : 0x1p-7;
}
