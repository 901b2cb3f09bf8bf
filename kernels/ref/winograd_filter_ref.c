/* Winograd's filter transform, one filter at a time. */
#include <string.h>

#include "kernels/base/bf16.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/winograd_points.h"

static void store(float value, rn_dtype dtype, void *to)
{
    if (dtype == RN_DTYPE_BF16) *(rn_bf16 *)to = rn_bf16_from_f32(value);
    else *(float *)to = value;
}

/* The n x n points of one 3x3 filter, whose elements are `step` apart; to: `plane` bytes apart. */
static void transform(int32_t n, double g[RN_WINOGRAD_MAX_POINTS][3], const float *filter, int64_t step, rn_dtype dtype, char *to, int64_t plane)
{
    double half[RN_WINOGRAD_MAX_POINTS][3];
    for (int32_t i = 0; i < n; i++) {
        for (int32_t s = 0; s < 3; s++) half[i][s] = g[i][0] * filter[s * step] + g[i][1] * filter[(3 + s) * step] + g[i][2] * filter[(6 + s) * step];
    }
    for (int32_t i = 0; i < n; i++) {
        for (int32_t j = 0; j < n; j++) {
            store((float)(half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2]), dtype, to + (i * n + j) * plane);
        }
    }
}

static void filter(const rn_winograd_filter_args *a, rn_dtype dtype)
{
    const int32_t n = a->m + 2, per_step = rn_step_channels(dtype), last = a->k_begin + a->lanes < a->k ? a->k_begin + a->lanes : a->k;
    const int64_t plane = (int64_t)a->c / per_step * a->lanes * RN_STEP_BYTES;
    double g[RN_WINOGRAD_MAX_POINTS][3];
    rn_winograd_filter_matrix(a->m, g);
    if (last < a->k_begin + a->lanes) memset(a->panel, 0, (size_t)(n * n * plane));
    for (int32_t c = 0; c < a->c; c++) {
        char *row = (char *)a->panel + (int64_t)(c / per_step) * a->lanes * RN_STEP_BYTES + c % per_step * (int64_t)rn_dtype_bytes(dtype);
        for (int32_t k = a->k_begin; k < last; k++) {
            char *to = row + (int64_t)(k - a->k_begin) * RN_STEP_BYTES;
            transform(n, g, a->filter + (int64_t)c * a->k + k, (int64_t)a->c * a->k, dtype, to, plane);
        }
    }
}

void rn_winograd_filter_f32__ref(const rn_winograd_filter_args *a)
{
    filter(a, RN_DTYPE_F32);
}

void rn_winograd_filter_bf16__ref(const rn_winograd_filter_args *a)
{
    filter(a, RN_DTYPE_BF16);
}
