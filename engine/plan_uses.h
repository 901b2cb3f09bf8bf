/* Who writes and who reads each tensor of a plan: what the passes ask before they rewrite an operation. Shared inside engine only. */
#ifndef RN_ENGINE_PLAN_USES_H
#define RN_ENGINE_PLAN_USES_H

#include "engine/plan.h"

/* Arrays of plan->tensor_count entries. A pass that moves an output keeps them true itself. */
typedef struct rn__plan_uses {
    int32_t *writer;        /* operation, or RN_NONE */
    int32_t *reader_count;  /* inputs of operations that name the tensor */
    bool *is_public;        /* an input or output of a signature: it has to keep its meaning */
} rn__plan_uses;

rn_status rn__plan_uses_init(rn__plan_uses *uses, const rn_plan *plan, rn_error *err);
void rn__plan_uses_deinit(rn__plan_uses *uses); /* zeroed or initialised */

/* Whether an operation writes the tensor and nobody but one input of one operation ever sees it. */
bool rn__plan_uses_once(const rn__plan_uses *uses, int32_t tensor);

/* Lets output `slot` of operation `op` be written where output 0 of `from` was, and leaves `from` without outputs: rn_plan_finish drops it. */
void rn__plan_uses_take_output(rn__plan_uses *uses, rn_plan *plan, int32_t op, int slot, int32_t from);

#endif
