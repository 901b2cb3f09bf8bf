/* A block's closing addition moves into the convolution before it, which then reads the shortcut as its residual. */
#include "engine/passes.h"
#include "engine/plan_uses.h"

static bool takes_residual(const rn_plan *plan, const rn__plan_uses *uses, int32_t tensor)
{
    if (!rn__plan_uses_once(uses, tensor)) return false;
    const rn_op *op = &plan->ops[uses->writer[tensor]];
    return op->kind == RN_OP_CONV2D && !op->u.conv2d.relu && op->inputs[1] == RN_NONE && op->outputs[1] == RN_NONE;
}

/* Which addend's convolution takes the sum: the one that runs later, for then the other addend need not be kept while a whole branch runs.
 * -1: neither can. */
static int choose_addend(const rn_plan *plan, const rn__plan_uses *uses, const rn_op *add)
{
    const bool first = takes_residual(plan, uses, add->inputs[0]), second = takes_residual(plan, uses, add->inputs[1]);
    if (first && second) return uses->writer[add->inputs[0]] > uses->writer[add->inputs[1]] ? 0 : 1;
    return first ? 0 : second ? 1 : -1;
}

rn_status rn_pass_fuse_residual(rn_plan *plan, rn_error *err)
{
    rn__plan_uses uses = {0};
    RN_TRY(rn__plan_uses_init(&uses, plan, err));
    for (int32_t o = 0; o < plan->op_count; o++) {
        const rn_op *add = &plan->ops[o];
        const int chosen = add->kind == RN_OP_ADD ? choose_addend(plan, &uses, add) : -1;
        if (chosen < 0) continue;
        const int32_t conv = uses.writer[add->inputs[chosen]], residual = add->inputs[1 - chosen];
        plan->ops[conv].inputs[1] = residual;
        plan->ops[conv].u.conv2d.relu = add->u.add.relu;
        rn__plan_uses_take_output(&uses, plan, conv, 0, o);
        uses.reader_count[residual]++;
    }
    rn__plan_uses_deinit(&uses);
    return rn_plan_finish(plan, err);
}
