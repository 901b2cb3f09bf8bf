/* Class activation map: Zhou et al., "Learning Deep Features for Discriminative Localization", 2016, section 2, without the bias. */
#ifndef RN_KERNELS_REF_CLASS_MAP_REF_H
#define RN_KERNELS_REF_CLASS_MAP_REF_H

#include <stdint.h>

/* y[i] = sum over c of x[i][c] * weights[c]. x: [positions][c] f32, dense, the last feature map of one picture; weights: [c], the dense
 * layer's for one class; y: [positions]. Averaged over the positions, y is the class's logit but for its bias. */
void rn_class_map_f32__ref(const float *x, const float *weights, int32_t positions, int32_t c, float *y);

#endif
