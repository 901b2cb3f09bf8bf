/* Writers and readers of tensors, counted in one walk over the plan. */
#include "engine/plan_uses.h"

#include <stdlib.h>

rn_status rn__plan_uses_init(rn__plan_uses *uses, const rn_plan *plan, rn_error *err)
{
    const size_t count = (size_t)plan->tensor_count + 1;
    *uses = (rn__plan_uses){malloc(count * sizeof(int32_t)), calloc(count, sizeof(int32_t)), calloc(count, sizeof(bool))};
    if (!uses->writer || !uses->reader_count || !uses->is_public) {
        rn__plan_uses_deinit(uses);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to rewrite a plan of %d tensors", plan->tensor_count);
    }
    for (int32_t t = 0; t < plan->tensor_count; t++) uses->writer[t] = RN_NONE;
    for (int32_t o = 0; o < plan->op_count; o++) {
        for (int i = 0; i < 2; i++) {
            if (plan->ops[o].outputs[i] != RN_NONE) uses->writer[plan->ops[o].outputs[i]] = o;
            if (plan->ops[o].inputs[i] != RN_NONE) uses->reader_count[plan->ops[o].inputs[i]]++;
        }
    }
    for (int32_t s = 0; s < plan->signature_count; s++) {
        const rn_signature *signature = &plan->signatures[s];
        uses->is_public[signature->input.tensor] = uses->is_public[signature->feed] = true;
        for (int32_t i = 0; i < signature->output_count; i++) uses->is_public[signature->outputs[i].tensor] = true;
    }
    return RN_STATUS_OK;
}

void rn__plan_uses_deinit(rn__plan_uses *uses)
{
    free(uses->writer);
    free(uses->reader_count);
    free(uses->is_public);
    *uses = (rn__plan_uses){0};
}

bool rn__plan_uses_once(const rn__plan_uses *uses, int32_t tensor)
{
    return uses->writer[tensor] != RN_NONE && uses->reader_count[tensor] == 1 && !uses->is_public[tensor];
}

void rn__plan_uses_take_output(rn__plan_uses *uses, rn_plan *plan, int32_t op, int slot, int32_t from)
{
    rn_op *taker = &plan->ops[op], *giver = &plan->ops[from];
    const int32_t tensor = giver->outputs[0];
    if (taker->outputs[slot] != RN_NONE) uses->writer[taker->outputs[slot]] = RN_NONE;
    taker->outputs[slot] = tensor;
    uses->writer[tensor] = op;
    for (int i = 0; i < 2; i++) {
        if (giver->inputs[i] != RN_NONE) uses->reader_count[giver->inputs[i]]--;
    }
    giver->outputs[0] = giver->outputs[1] = RN_NONE;
}
