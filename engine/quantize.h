/* Post-training quantisation: a plan of floats becomes one whose convolutions run on bytes, and back.
 *
 * Weights are int8 with a step for every output channel, symmetric around zero. Tensors are bytes with one step and one zero each, from the range of
 * values that a calibration saw; what never goes below zero has its zero at byte 0. Dense layers, and what has no byte form, stay F32, with a
 * quantize operation wherever a convolution reads what such an operation wrote.
 */
#ifndef RN_ENGINE_QUANTIZE_H
#define RN_ENGINE_QUANTIZE_H

#include "engine/plan.h"

/* The values of a tensor that are to be told apart: what lies outside is clamped. low <= high; 0 is added when it lies outside. */
typedef struct rn_value_range {
    float low, high;
} rn_value_range;

/* Quantises an optimised plan in place. ranges: [plan->tensor_count]. UNSUPPORTED when no convolution can be. The plan is finished again, its tensors
 * and weights are renumbered. */
rn_status rn_plan_quantize(rn_plan *plan, const rn_value_range *ranges, rn_error *err);

/* Whether any convolution runs on bytes. */
bool rn_plan_is_quantized(const rn_plan *plan);

/* Makes all tensors and filters of a plan F32 again, for a backend that has no int8 kernels: filters keep the values that their bytes stand for, and no
 * activation is rounded any more. Operations of signatures keep their order but lose the quantize steps. */
rn_status rn_plan_widen(rn_plan *plan, rn_error *err);

#endif
