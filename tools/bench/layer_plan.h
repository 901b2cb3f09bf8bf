/* Plans of one layer, for measuring layers by themselves. */
#ifndef RN_TOOLS_BENCH_LAYER_PLAN_H
#define RN_TOOLS_BENCH_LAYER_PLAN_H

#include "engine/plan.h"
#include "tests/support/layer_shapes.h"

/* A plan whose last operation is that layer, with made-up weights. Where the layer takes a residual, a second convolution of the same input
 * comes before it. Fails as bench_fail does. The caller destroys the plan. */
rn_plan *bench_layer_plan(const rn_layer_shape *shape);

#endif
