/* What a prepared plan has to show on its device before it serves. */
#ifndef RN_ENGINE_SELF_TEST_H
#define RN_ENGINE_SELF_TEST_H

#include "engine/backend.h"
#include "engine/golden.h"
#include "engine/metrics.h"

/* The precision out of a backend's description: see describe in engine/backend.h. */
void rn_device_precision(const char *description, char out[16]);

/* Runs one of the plan's goldens, at most max_batch rows at a time. *worst: what it was off by, when it ran. FAILED_PRECONDITION when that
 * is more than *allowed: names output, row and error. */
rn_status rn_golden_test(const rn_plan *plan, int32_t index, const rn_backend *backend, rn_executor *executor, int32_t max_batch,
                         rn_golden_error *worst, double *allowed, rn_error *err);

/* Every signature with a made-up input in batches of 1, 2, 4, ... `largest` rows, or of those up to there at which the backend does something new, then every
 * golden. A golden of one row stands for the made-up one. INTERNAL when a result is not finite,
 * FAILED_PRECONDITION as rn_golden_test. metrics: where errors of goldens are noted, or NULL. */
rn_status rn__self_test(const rn_plan *plan, const rn_backend *backend, rn_executor *executor, int32_t largest, int32_t max_batch,
                        rn_model_metrics *metrics, rn_error *err);

#endif
