/* Times convolutions on the device: on random numbers, with a cold L2, as the median of a few runs. */
#ifndef RN_ENGINE_CUDA_CONV_TIMER_H
#define RN_ENGINE_CUDA_CONV_TIMER_H

#include "engine/cuda/conv_set.h"

typedef struct rn__conv_timer rn__conv_timer;

/* Takes device memory for operands of any of the shapes and for the workspace, within the context's limit. The context's stream is borrowed. */
rn_status rn__conv_timer_create(const rn__conv_shape *const *shapes, int32_t count, size_t workspace_bytes, const rn__conv_context *context,
                                rn__conv_timer **out, rn_error *err);
void rn__conv_timer_destroy(rn__conv_timer *timer); /* NULL allowed */

/* Puts the work to be timed on the timer's stream. */
typedef rn_status rn__conv_timed_fn(void *context, const rn__conv_buffers *buffers, rn_error *err);

rn_status rn__conv_timer_measure(rn__conv_timer *timer, rn__conv_timed_fn *run, void *context, float *microseconds, rn_error *err);

const rn__conv_buffers *rn__conv_timer_buffers(const rn__conv_timer *timer); /* with random numbers, whatever ran last wrote the outputs */
cudaStream_t rn__conv_timer_stream(const rn__conv_timer *timer);

/* After a failed measurement: waits for what it left on the stream. Fails when the device does not answer any more. */
rn_status rn__conv_timer_recover(rn__conv_timer *timer, rn_error *err);

#endif
