/* The filter's side of Winograd's transforms: which points there are, and what a filter is worth at them (winograd_kernels.h has the formula). */
#ifndef RN_KERNELS_CPU_WINOGRAD_POINTS_H
#define RN_KERNELS_CPU_WINOGRAD_POINTS_H

#include <stdint.h>

enum { RN_WINOGRAD_MAX_POINTS = 7 };

/* One direction of the transform: m + 2 rows of three factors. */
static inline void rn_winograd_filter_matrix(int32_t m, double g[RN_WINOGRAD_MAX_POINTS][3])
{
    static const double finite_2[] = {0, 1, -1}, finite_4[] = {0, 0.625, -0.625, 1.5, -1.5}, finite_5[] = {0.25, -0.25, 1, -1, 1.75, -1.75};
    const double *finite = m == 2 ? finite_2 : m == 4 ? finite_4 : finite_5;
    const int32_t count = m + 1;
    for (int32_t i = 0; i < count; i++) {
        double product = 1;
        for (int32_t j = 0; j < count; j++) product *= j == i ? 1 : finite[i] - finite[j];
        g[i][0] = 1 / product;
        g[i][1] = finite[i] / product;
        g[i][2] = finite[i] * finite[i] / product;
    }
    g[count][0] = g[count][1] = 0;
    g[count][2] = 1;
}

#endif
