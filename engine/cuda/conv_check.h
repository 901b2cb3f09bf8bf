/* Whether two ways of computing a convolution give the same: asked on the device itself before a kernel of our own takes a library's place. */
#ifndef RN_ENGINE_CUDA_CONV_CHECK_H
#define RN_ENGINE_CUDA_CONV_CHECK_H

#include "engine/cuda/conv_timer.h"

/* Runs `run` on the timer's operands with the one context and then with the other, and compares the ends of both outputs: *error is their
 * relative L2 distance, the larger one of the two outputs', infinite when a number is not finite. shape: of f16 or bf16, with a second
 * output. */
rn_status rn__conv_check(rn__conv_timer *timer, const rn__conv_shape *shape, rn__conv_timed_fn *run, void *a, void *b, double *error,
                         rn_error *err);

/* What rounding alone may cause: now and then two sums that differ in their last bits fall on either side of a rounding step. */
double rn__conv_check_allowance(rn_dtype dtype);

#endif
