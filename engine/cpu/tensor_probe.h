/* Runs a plan on the host one row at a time and shows every value on the way: for calibration, and for comparing two plans. */
#ifndef RN_ENGINE_CPU_TENSOR_PROBE_H
#define RN_ENGINE_CPU_TENSOR_PROBE_H

#include "engine/plan.h"

typedef struct rn_tensor_probe rn_tensor_probe;

/* values: [h][w][c] of an F32 tensor of the plan, until the call returns. */
typedef void rn_tensor_viewer(void *context, int32_t tensor, const float *values, int64_t count);

/* Prepares `plan` for one signature in fp32, or on bytes where it is quantised. The plan is borrowed. isa: as in rn_backend_options. thread_count 0:
 * all there are. */
rn_status rn_tensor_probe_create(const rn_plan *plan, const rn_signature *signature, const char *isa, int32_t thread_count, rn_tensor_probe **out,
                                 rn_error *err);
/* row: one row of the signature's feed tensor. Shows the feed if it is F32, then what each operation writes. */
rn_status rn_tensor_probe_run(rn_tensor_probe *probe, const void *row, rn_tensor_viewer *view, void *context, rn_error *err);
void rn_tensor_probe_destroy(rn_tensor_probe *probe); /* NULL allowed */

#endif
