/* Holding a device against the answers that a model brings along. */
#ifndef RN_TOOLS_CONVERT_VERIFY_H
#define RN_TOOLS_CONVERT_VERIFY_H

#include "engine/plan.h"

/* Runs every golden of `plan`, and the warm-up records with responses of the version at `path`, on `device` ("cpu", "cuda:1", ...) in
 * `precision` (NULL: the device's own) and prints what each is off by. Takes the plan. FAILED_PRECONDITION when one is off by more than
 * that precision explains; NOT_FOUND when there is nothing to run. */
rn_status rn_verify_plan(rn_plan *plan, const char *path, const char *device, const char *precision, rn_error *err);

#endif
