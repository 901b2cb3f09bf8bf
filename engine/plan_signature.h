/* Part of rn_plan_finish. Shared inside engine only. */
#ifndef RN_ENGINE_PLAN_SIGNATURE_H
#define RN_ENGINE_PLAN_SIGNATURE_H

#include "engine/plan.h"

/* Holds signature `index` against the tensors and labels of a plan whose indexes and operations have been checked, and its name against
 * those before it. */
rn_status rn__plan_check_signature(const rn_plan *plan, int32_t index, rn_error *err);

#endif
