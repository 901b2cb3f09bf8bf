/* Winograd's filter transform to f32, for DOUBLES output channels at once. Each instruction set's folder compiles it. The
 * including file defines
 *
 *     RN_WINOGRAD_FILTER_KERNEL    the symbol of the kernel
 *     doubles, DOUBLES             DOUBLES of them, with +, - and *
 *     load_doubles(from)           DOUBLES floats, unaligned
 *     splat_double(x)
 *     store_floats(to, v)          rounded to DOUBLES floats, aligned
 *
 * Products and sums are those of kernels/ref/winograd_filter_ref.c one by one. That costs nothing: the time goes into writing the points, up to
 * five times as many bytes as the filter has.
 */
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/winograd_points.h"

#define INLINE static inline __attribute__((always_inline))

/* DOUBLES output channels of one input channel; step: floats between the filter's elements, plane: floats between points. */
INLINE void transform(const int n, double g[RN_WINOGRAD_MAX_POINTS][3], const float *filter, int64_t step, float *to, int64_t plane)
{
    doubles f[9], half[3];
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++) f[i] = load_doubles(filter + i * step);
    for (int i = 0; i < n; i++) {
#pragma GCC unroll 3
        for (int s = 0; s < 3; s++) half[s] = splat_double(g[i][0]) * f[s] + splat_double(g[i][1]) * f[3 + s] + splat_double(g[i][2]) * f[6 + s];
#pragma GCC unroll 7
        for (int j = 0; j < n; j++, to += plane)
            store_floats(to, half[0] * splat_double(g[j][0]) + half[1] * splat_double(g[j][1]) + half[2] * splat_double(g[j][2]));
    }
}

INLINE void filter(const int m, const rn_winograd_filter_args *a)
{
    const int n = m + 2;
    const int32_t lanes = a->lanes < a->k - a->k_begin ? a->lanes : a->k - a->k_begin;
    const int64_t plane = (int64_t)(a->c_end - a->c_begin) * a->lanes;
    double g[RN_WINOGRAD_MAX_POINTS][3];
    rn_winograd_filter_matrix(m, g);
    for (int32_t c = a->c_begin; c < a->c_end; c++) {
        const float *from = a->filter + (int64_t)c * a->k + a->k_begin;
        float *to = a->panel + (int64_t)(c - a->c_begin) * a->lanes;
        for (int32_t k = 0; k < lanes; k += DOUBLES) transform(n, g, from + k, (int64_t)a->c * a->k, to + k, plane);
        for (int32_t k = lanes; k < a->lanes; k += DOUBLES) {
            for (int i = 0; i < n * n; i++) store_floats(to + k + i * plane, splat_double(0));
        }
    }
}

void RN_WINOGRAD_FILTER_KERNEL(const rn_winograd_filter_args *a)
{
    switch (a->m) {
    case 2: filter(2, a); break;
    case 4: filter(4, a); break;
    case 5: filter(5, a); break;
    }
}
