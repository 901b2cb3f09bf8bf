/* What a loop body may do to one picture, at one size that is being probed. */
#ifndef RN_LOADER_GRAPH_PICTURE_H
#define RN_LOADER_GRAPH_PICTURE_H

#include "loader/graph_ops.h"

/* Operations that exist for other values too, with a PICTURE as input 0. */
rn_status rn__picture_shape(const rn__op_call *call);
rn_status rn__picture_squeeze(const rn__op_call *call, size_t axes, const int64_t *axis);
rn_status rn__picture_expand_dims(const rn__op_call *call);
rn_status rn__picture_strided_slice(const rn__op_call *call);
rn_status rn__picture_slice(const rn__op_call *call);
rn_status rn__picture_cast(const rn__op_call *call, int32_t dtype);

/* ADD, SUB, MUL, DIV, MINIMUM, MAXIMUM of a PICTURE and a constant of floats, which may come first. */
rn_status rn__picture_scale(const rn__op_call *call, const rn__constant *constant, bool constant_first);

/* The sizes at which a loop body is run, and how many. Their crops tell the known rules apart. */
int32_t rn__picture_probe_count(void);
rn__picture rn__picture_probe(int32_t index);

/* What a body did to all probed pictures (rn__picture_probe_count of them). Fails where no rule explains it. */
rn_status rn__picture_explain(const rn__op_call *call, const rn__picture *results, rn__pictures *out);

#endif
