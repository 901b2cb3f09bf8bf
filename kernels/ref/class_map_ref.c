/* See class_map_ref.h. */
#include "kernels/ref/class_map_ref.h"

void rn_class_map_f32__ref(const float *x, const float *weights, int32_t positions, int32_t c, float *y)
{
    for (int32_t i = 0; i < positions; i++, x += c) {
        double sum = 0;
        for (int32_t k = 0; k < c; k++) sum += (double)x[k] * (double)weights[k];
        y[i] = (float)sum;
    }
}
