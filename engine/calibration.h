/* Which values the tensors of a plan take, counted over calibration inputs, and the ranges to quantise them by. */
#ifndef RN_ENGINE_CALIBRATION_H
#define RN_ENGINE_CALIBRATION_H

#include "engine/quantize.h"

typedef struct rn_calibration rn_calibration;

rn_status rn_calibration_create(const rn_plan *plan, rn_calibration **out, rn_error *err);
void rn_calibration_destroy(rn_calibration *calibration); /* NULL allowed */

/* Counts the values of one tensor for one input; those that are not finite are left out. A viewer of engine/cpu/tensor_probe.h. */
void rn_calibration_count(void *calibration, int32_t tensor, const float *values, int64_t count);

/* ranges: [tensor_count of the plan]. Of each tensor the range that leaves out at most 1 - share of all values below and as many above, within 2 %;
 * share 1 leaves out none. Tensors that never were counted, and those that are not F32, get 0 .. 0. */
void rn_calibration_ranges(const rn_calibration *calibration, double share, rn_value_range *ranges);

#endif
