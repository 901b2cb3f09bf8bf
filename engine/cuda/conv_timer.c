/* See conv_timer.h.
 *
 * Between two layers of a network a weight has left the L2 and an activation may have too, so before each timed run a block twice the size
 * of the L2 is written. Operands are random: tensor cores fed with zeros draw less power and run faster than they will in service.
 */
#include "engine/cuda/conv_timer.h"

#include <stdlib.h>
#include <string.h>

enum { WARM_UPS = 1, RUNS = 5, PATTERN_BYTES = 1 << 20, ALIGNMENT = 256 };

typedef enum { X, FILTER, BIAS, RESIDUAL, Y, Y2, SCALE, SHIFT, OPERANDS } operand;

struct rn__conv_timer {
    cudaStream_t stream;
    cudaEvent_t start, stop;
    char *memory; /* operands, workspace, then what is written to empty the L2 */
    rn__conv_buffers buffers;
    void *flush;
    size_t flush_bytes;
};

static size_t operand_bytes(const rn__conv_shape *s, operand which)
{
    const size_t x = rn_dtype_bytes(s->x_dtype), y = rn_dtype_bytes(s->y_dtype),
                 y_elements = (size_t)s->n * (size_t)s->p * (size_t)s->q * (size_t)s->k;
    switch (which) {
    case X:
        return (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c * x;
    case FILTER:
        return (size_t)s->k * (size_t)s->r * (size_t)s->s * (size_t)(s->c / s->groups) * x;
    case BIAS:
        return (size_t)s->k * y;
    case RESIDUAL:
        return s->residual ? y_elements * y : 0;
    case Y2:
        return s->second ? y_elements * y : 0;
    case SCALE:
    case SHIFT:
        return s->second ? (size_t)s->k * sizeof(float) : 0;
    default:
        return y_elements * y;
    }
}

/* The upper 16 bits of f32 are bf16, and as f16 the pattern 0x2c00..0x3bff lies between 1/16 and 1: one pattern is fine numbers in every
 * type. */
static void fill_pattern(uint32_t *pattern)
{
    uint64_t state = 1;
    for (size_t i = 0; i < PATTERN_BYTES / sizeof *pattern; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const uint32_t high = (uint32_t)(state >> 32), low = (uint32_t)(state >> 44);
        pattern[i] = (0x2c00u + high % 0x1000u) << 16 | (0x2c00u + low % 0x1000u) | (high & 0x80000000u);
    }
}

static rn_status fill(rn__conv_timer *t, size_t bytes, rn_error *err)
{
    uint32_t *pattern = malloc(PATTERN_BYTES);
    if (!pattern) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for random numbers");
    fill_pattern(pattern);
    cudaError_t error = cudaSuccess;
    for (size_t at = 0; at < bytes && error == cudaSuccess; at += PATTERN_BYTES) {
        const size_t left = bytes - at;
        error = cudaMemcpy(t->memory + at, pattern, left < PATTERN_BYTES ? left : PATTERN_BYTES, cudaMemcpyHostToDevice);
    }
    if (error == cudaSuccess) error = cudaDeviceSynchronize(); /* a copy from pageable memory may return before it has arrived */
    free(pattern);
    return error == cudaSuccess ? RN_STATUS_OK : rn__cuda_fail(error, "filling operands", err);
}

static rn_status allocate(rn__conv_timer *t, const rn__conv_shape *const *shapes, int32_t count, size_t workspace_bytes,
                          const rn__conv_context *context, rn_error *err)
{
    size_t offsets[OPERANDS], total = 0;
    for (int o = 0; o < OPERANDS; o++) {
        size_t largest = 0;
        for (int32_t i = 0; i < count; i++) {
            const size_t bytes = operand_bytes(shapes[i], (operand)o);
            if (bytes > largest) largest = bytes;
        }
        offsets[o] = total;
        total += (largest + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    t->flush_bytes = 2 * context->device->l2_bytes + ALIGNMENT;
    const size_t bytes = total + workspace_bytes + t->flush_bytes, limit = context->memory_limit_bytes;
    if (limit != 0 && bytes > limit) {
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "measuring convolutions takes %.1f MB of device memory, the limit is %.1f MB",
                       (double)bytes * 1e-6, (double)limit * 1e-6);
    }
    RN_CUDA_TRY(cudaMalloc((void **)&t->memory, bytes), "memory to measure convolutions in");
    t->buffers = (rn__conv_buffers){.x = t->memory + offsets[X],
                                    .filter = t->memory + offsets[FILTER],
                                    .bias = t->memory + offsets[BIAS],
                                    .residual = t->memory + offsets[RESIDUAL],
                                    .y = t->memory + offsets[Y],
                                    .y2 = t->memory + offsets[Y2],
                                    .scale = (const float *)(t->memory + offsets[SCALE]),
                                    .shift = (const float *)(t->memory + offsets[SHIFT]),
                                    .workspace = t->memory + total};
    t->flush = t->memory + total + workspace_bytes;
    return fill(t, total, err);
}

rn_status rn__conv_timer_create(const rn__conv_shape *const *shapes, int32_t count, size_t workspace_bytes, const rn__conv_context *context,
                                rn__conv_timer **out, rn_error *err)
{
    rn__conv_timer *t = calloc(1, sizeof *t);
    if (!t) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to measure convolutions");
    t->stream = context->stream;
    rn_status status = allocate(t, shapes, count, (workspace_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, context, err);
    cudaError_t error = cudaSuccess;
    if (status == RN_STATUS_OK) error = cudaEventCreate(&t->start);
    if (status == RN_STATUS_OK && error == cudaSuccess) error = cudaEventCreate(&t->stop);
    if (error != cudaSuccess) status = rn__cuda_fail(error, "an event", err);
    if (status == RN_STATUS_OK)
        *out = t;
    else
        rn__conv_timer_destroy(t);
    return status;
}

void rn__conv_timer_destroy(rn__conv_timer *t)
{
    if (!t) return;
    if (t->stop) cudaEventDestroy(t->stop);
    if (t->start) cudaEventDestroy(t->start);
    cudaFree(t->memory);
    free(t);
}

const rn__conv_buffers *rn__conv_timer_buffers(const rn__conv_timer *t)
{
    return &t->buffers;
}

cudaStream_t rn__conv_timer_stream(const rn__conv_timer *t)
{
    return t->stream;
}

static rn_status time_once(rn__conv_timer *t, rn__conv_timed_fn *run, void *context, float *microseconds, rn_error *err)
{
    float milliseconds = 0;
    RN_CUDA_TRY(cudaMemsetAsync(t->flush, 0, t->flush_bytes, t->stream), "emptying the L2");
    RN_CUDA_TRY(cudaEventRecord(t->start, t->stream), "an event");
    RN_TRY(run(context, &t->buffers, err));
    RN_CUDA_TRY(cudaEventRecord(t->stop, t->stream), "an event");
    RN_CUDA_TRY(cudaEventSynchronize(t->stop), "waiting for a convolution");
    RN_CUDA_TRY(cudaEventElapsedTime(&milliseconds, t->start, t->stop), "the time of a convolution");
    *microseconds = 1000 * milliseconds;
    return RN_STATUS_OK;
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

rn_status rn__conv_timer_measure(rn__conv_timer *t, rn__conv_timed_fn *run, void *context, float *microseconds, rn_error *err)
{
    float times[WARM_UPS + RUNS];
    for (int i = 0; i < WARM_UPS + RUNS; i++) RN_TRY(time_once(t, run, context, &times[i], err));
    qsort(times + WARM_UPS, RUNS, sizeof *times, by_size);
    *microseconds = times[WARM_UPS + RUNS / 2];
    return RN_STATUS_OK;
}

rn_status rn__conv_timer_recover(rn__conv_timer *t, rn_error *err)
{
    (void)cudaGetLastError();
    RN_CUDA_TRY(cudaStreamSynchronize(t->stream), "waiting for the device after a failed convolution");
    return RN_STATUS_OK;
}
