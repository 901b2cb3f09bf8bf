/* Recording what a plan answers, for the devices that will run it. */
#ifndef RN_TOOLS_CONVERT_GOLDEN_H
#define RN_TOOLS_CONVERT_GOLDEN_H

#include "engine/golden.h"

/* Adds `rows` made-up inputs to every signature of an optimised float plan, and what the reference path gives for them: OpenBLAS and
 * reference kernels on one thread, none of the kernels that servers use. Signatures that share input and outputs with an earlier one are
 * left out. */
rn_status rn_record_goldens(rn_plan *plan, int32_t rows, rn_error *err);

/* Sets what each golden of a quantised plan allows to twice what the plan itself is off by. */
rn_status rn_measure_goldens(rn_plan *plan, rn_error *err);

#endif
