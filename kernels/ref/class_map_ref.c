/* Class activation map by its definition: Zhou et al., "Learning Deep Features for Discriminative Localization", 2016, section 2. */
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

void rn_class_map_f32__ref(const rn_class_map_args *a)
{
    for (int32_t row = a->row_begin; row < a->row_end; row++) {
        const int64_t i = row / a->h, h = row % a->h;
        for (int32_t w = 0; w < a->w; w++) {
            const float *x = rn_map_at(&a->x, i * a->x.image + h * a->x.row + w * a->x.pixel), *weights = a->weights + i * a->c;
            double sum = 0;
            for (int32_t c = 0; c < a->c; c++) sum += (double)x[c] * (double)weights[c];
            a->y[(int64_t)row * a->w + w] = (float)sum;
        }
    }
}
