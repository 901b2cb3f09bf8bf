/* One network for all signatures. */
#ifndef RN_LOADER_PLAN_SHARE_H
#define RN_LOADER_PLAN_SHARE_H

#include "engine/plan.h"

/* On a plan whose signatures were imported one by one, not yet finished: operations that compute the same become one, and a signature's
 * input tensor becomes the tensor that another signature computes or is given at the same place of the same network. */
rn_status rn__plan_share(rn_plan *plan, rn_error *err);

/* Writes plan->architecture from the structure of the operations: "ResNet-101 v2, 64x64x3, 10 classes". The plan is finished, no pass has
 * run. */
void rn__plan_describe(rn_plan *plan);

#endif
