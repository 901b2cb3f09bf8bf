/* Plans of one layer, for measuring layers by themselves. */
#ifndef RN_TOOLS_BENCH_LAYER_PLAN_H
#define RN_TOOLS_BENCH_LAYER_PLAN_H

#include "engine/plan.h"
#include "tests/support/layer_shapes.h"

/* A plan around that layer, with made-up weights. Where the layer takes a residual, a second convolution of the same input comes before it. With a
 * group above 0 small convolutions in groups of so many channels stand before it, with ReLU, beside it and behind it, wherever that divides the
 * channels, as in the middle of a network, so that the engine keeps the layer's maps in the type that it has for them there; quantised, that is bytes.
 * Fails as bench_fail does. The caller destroys the plan. */
rn_plan *bench_layer_plan(const rn_layer_shape *shape, int32_t group, bool quantised);
/* The layer in it. */
const rn_op *bench_layer_op(const rn_plan *plan);

#endif
