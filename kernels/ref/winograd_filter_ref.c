/* Winograd's filter transform, one filter at a time. */
#include <string.h>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/winograd_points.h"

/* The n x n points of one 3x3 filter, whose elements are `step` apart; to: `plane` apart. */
static void transform(int32_t n, double g[RN_WINOGRAD_MAX_POINTS][3], const float *filter, int64_t step, float *to, int64_t plane)
{
    double half[RN_WINOGRAD_MAX_POINTS][3];
    for (int32_t i = 0; i < n; i++) {
        for (int32_t s = 0; s < 3; s++) half[i][s] = g[i][0] * filter[s * step] + g[i][1] * filter[(3 + s) * step] + g[i][2] * filter[(6 + s) * step];
    }
    for (int32_t i = 0; i < n; i++) {
        for (int32_t j = 0; j < n; j++) to[(i * n + j) * plane] = (float)(half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2]);
    }
}

void rn_winograd_filter_f32__ref(const rn_winograd_filter_args *a)
{
    const int32_t n = a->m + 2, last = a->k_begin + a->lanes < a->k ? a->k_begin + a->lanes : a->k;
    const int64_t plane = (int64_t)(a->c_end - a->c_begin) * a->lanes;
    double g[RN_WINOGRAD_MAX_POINTS][3];
    rn_winograd_filter_matrix(a->m, g);
    if (last < a->k_begin + a->lanes) memset(a->panel, 0, (size_t)(n * n * plane) * sizeof(float));
    for (int32_t c = a->c_begin; c < a->c_end; c++) {
        for (int32_t k = a->k_begin; k < last; k++) {
            float *to = a->panel + (int64_t)(c - a->c_begin) * a->lanes + k - a->k_begin;
            transform(n, g, a->filter + (int64_t)c * a->k + k, (int64_t)a->c * a->k, to, plane);
        }
    }
}
