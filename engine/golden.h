/* What a plan's signatures gave when they were recorded: the oracle that a plan brings along to the device that runs it. */
#ifndef RN_ENGINE_GOLDEN_H
#define RN_ENGINE_GOLDEN_H

#include "engine/plan.h"

/* Copies `golden`; input and outputs must live as long as the plan. INVALID_ARGUMENT when it has no rows or names no signature. */
rn_status rn_plan_add_golden(rn_plan *plan, const rn_golden *golden, rn_error *err);

/* Floats of one row of golden->outputs[output]: the output's own, or for the indexes of a top_k the number of values that were sorted. 0:
 * it cannot be recorded. The plan is finished. */
int64_t rn_golden_output_elements(const rn_plan *plan, const rn_signature *signature, int32_t output);

/* What answers are off by: the largest over the golden outputs. */
typedef struct rn_golden_error {
    double absolute; /* largest difference; of an index: between the value that it names and the one that belongs there */
    double relative; /* the same as a share of the output's largest magnitude */
    int32_t output;  /* of the signature: where the relative one is largest; RN_NONE: nothing to compare */
    int32_t row;
} rn_golden_error;

/* Compares rows `first` to `first + rows` with what was recorded for them. outputs[i]: [rows] of output i, as a backend writes them. What
 * is not finite is off by infinity. */
rn_golden_error rn_golden_compare(const rn_plan *plan, const rn_golden *golden, int32_t first, int32_t rows, void *const *outputs);

/* The relative error that a golden allows on a device that computes in `precision` ("fp32", "bf16", ...). */
double rn_golden_allowed(const rn_golden *golden, const char *precision);

#endif
