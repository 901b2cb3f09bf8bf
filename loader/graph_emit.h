/* From values of the graph to entries of the plan. */
#ifndef RN_LOADER_GRAPH_EMIT_H
#define RN_LOADER_GRAPH_EMIT_H

#include "loader/graph_ops.h"

/* Input `input` as an activation with float elements, in *out. Fails when it is something else, has another rank (0: any) or, unless
 * `padded`, carries zeros that a Pad left. */
rn_status rn__take_activation(const rn__op_call *call, int32_t input, int32_t rank, bool padded, rn__activation *out);

/* Input `input` as a constant of floats, in *out. */
rn_status rn__take_floats(const rn__op_call *call, int32_t input, const rn__constant **out);

/* Adds weights to the plan, or finds equal ones there: same shape, same bytes. They point to `data` where it is `lasting`, else to a copy.
 * The name is that of the node, a slash and `role`. */
rn_status rn__emit_weights(const rn__op_call *call, const char *role, int32_t rank, const int64_t *dims, const float *data, bool lasting,
                           int32_t *out);

/* Adds operation `op`, named after the node, with its first output a new tensor of that shape and type. *tensor may be NULL. */
rn_status rn__emit_op(const rn__op_call *call, rn_op *op, rn_dtype dtype, int32_t h, int32_t w, int32_t c, int32_t *tensor);

/* The activation that views a tensor as rank 4, [-1,h,w,c] or [-1,c,h,w]. */
rn__value rn__activation_value(const rn_plan *plan, int32_t tensor, bool channels_first);

/* Fails unless the node's data_format is the order of x's dimensions. */
rn_status rn__check_format(const rn__op_call *call, const rn__activation *x);

/* y = relu?(x * scale + shift) on channels. scale and shift: `count` floats, 1 or c, or NULL. Output 0 becomes the result, viewed as `x`
 * is. */
rn_status rn__emit_scale_shift(const rn__op_call *call, const rn__activation *x, int64_t count, const float *scale, const float *shift,
                               bool relu);

#endif
