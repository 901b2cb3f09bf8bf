/* Operations that bring values in or pass them on: constants, variables, identities, switches. */
#include "loader/graph_ops.h"

rn_status rn__fold_const(const rn__op_call *call)
{
    const Sm__Tensor *proto = rn__attr_tensor(call->node, "value");
    if (!proto) return RN_FAIL(call->err, RN_STATUS_DATA_LOSS, "no value");
    call->out[0].kind = RN__CONSTANT;
    return rn__constant_from_proto(call->import->lasting, proto, call->node->name, &call->out[0].u.constant, call->err);
}

static rn_status read_variable(const rn__op_call *call, int32_t variable)
{
    const rn__constant *value;
    RN_TRY(rn__variables_read(call->import->variables, variable, &value, call->err));
    call->out[0].kind = RN__CONSTANT;
    call->out[0].u.constant = *value;
    return RN_STATUS_OK;
}

/* variant 0: a handle, to be read by another operation. variant 1: TensorFlow 1's kind, whose output is the value. */
rn_status rn__op_variable(const rn__op_call *call)
{
    if (call->ref.frame != 0) return RN__REFUSE(call, "a variable that is created inside a function");
    if (call->variant == 1) return read_variable(call, call->ref.node);
    call->out[0].kind = RN__VARIABLE;
    call->out[0].u.variable = call->ref.node;
    return RN_STATUS_OK;
}

rn_status rn__op_read_variable(const rn__op_call *call)
{
    if (call->in[0]->kind != RN__VARIABLE) return RN__REFUSE(call, "it reads %s, expected a variable", rn__value_text(call->in[0]));
    return read_variable(call, call->in[0]->u.variable);
}

/* Rows of a variable: labels by class, where they are kept as a variable of strings. */
rn_status rn__op_resource_gather(const rn__op_call *call)
{
    if (call->in[0]->kind != RN__VARIABLE) return RN__REFUSE(call, "it reads %s, expected a variable", rn__value_text(call->in[0]));
    RN_TRY(read_variable(call, call->in[0]->u.variable));
    const rn__value table = call->out[0];
    const rn__value *in[] = {&table, call->in[1]};
    rn__op_call gather = *call;
    gather.in = in;
    return rn__op_gather(&gather);
}

rn_status rn__op_pass(const rn__op_call *call)
{
    for (int32_t i = 0; i < call->out_count; i++) call->out[i] = *call->in[i];
    return RN_STATUS_OK;
}

/* Output 0 is the false side, output 1 the true side; the other stays DEAD. */
rn_status rn__op_switch(const rn__op_call *call)
{
    const rn__value *predicate = call->in[1];
    if (predicate->kind != RN__CONSTANT || !rn__constant_is_scalar(&predicate->u.constant, RN__INTS) || predicate->u.constant.batch_mask) {
        return RN__REFUSE(call, "the condition is not known before the model runs");
    }
    call->out[predicate->u.constant.data.ints[0] != 0] = *call->in[0];
    return RN_STATUS_OK;
}

rn_status rn__op_merge(const rn__op_call *call)
{
    int32_t alive = 0;
    for (int32_t i = 0; i < call->in_count; i++) {
        if (call->in[i]->kind == RN__DEAD) continue;
        call->out[0] = *call->in[i];
        alive++;
    }
    return alive <= 1 ? RN_STATUS_OK : RN__REFUSE(call, "%d of its inputs arrive", alive);
}
