/* Plan -> plan rewrites, in the order in which rn_plan_optimize runs them.
 *
 * Each works in place on a finished plan that nobody else sees yet, leaves it finished, keeps every signature's meaning, and changes nothing
 * when it finds nothing. Results may differ from the unrewritten plan by rounding only.
 */
#ifndef RN_ENGINE_PASSES_H
#define RN_ENGINE_PASSES_H

#include "engine/plan.h"

/* scale_shift after scale_shift becomes one; scale_shift after conv2d or dense goes into its weights, bias and ReLU, a plain ReLU after add into that. In
 * double precision. */
rn_status rn_pass_fold_scale_shift(rn_plan *plan, rn_error *err);
/* add after conv2d becomes its residual input; a ReLU on the sum goes with it. */
rn_status rn_pass_fuse_residual(rn_plan *plan, rn_error *err);
/* scale_shift + ReLU of a conv2d output that has other readers too becomes the convolution's second output. */
rn_status rn_pass_fuse_preactivation(rn_plan *plan, rn_error *err);

/* Gives every signature that ends in global average pooling and a dense layer its explanation, the class activation map; the others have none.
 * Not part of rn_plan_optimize: models that serve have it (rn_model_create), files do not. */
rn_status rn_plan_explain(rn_plan *plan, rn_error *err);

/* The first three, in order. Loaders of foreign formats call it once; converted files already hold its result. */
rn_status rn_plan_optimize(rn_plan *plan, rn_error *err);

/* Places the tensors of all signatures in one arena: two tensors share bytes only if no signature needs both at once.
 * bytes[t]: size that the backend wants for tensor t, 0 for tensors that it keeps elsewhere. offsets[t]: result, multiples of 64.
 * replaces[t]: an input of the operation that writes t, of the same size, which t may lie upon if nothing needs it any more; or RN_NONE. At most one output
 * of an operation has one. NULL: none does.
 * *total: bytes of the whole arena. All arrays have plan->tensor_count entries. */
rn_status rn_plan_layout_arena(const rn_plan *plan, const size_t *bytes, const int32_t *replaces, size_t *offsets, size_t *total, rn_error *err);

#endif
