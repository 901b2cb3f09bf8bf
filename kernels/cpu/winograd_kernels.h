/* Winograd's minimal filtering for 3x3 convolutions of stride 1 (Lavin and Gray, arXiv:1509.09308): the transforms of inputs and outputs. Each
 * instruction set's folder compiles them once for every type of the maps. The including file defines
 *
 *     RN_WINOGRAD_KERNEL(side)             the symbol of a kernel
 *     vector, LANES                        LANES floats
 *     load(from), splat(x)                 floats, unaligned
 *     element                              of the maps and of the input's points
 *     load_elements(from), store_elements(to, v)   LANES of them, unaligned
 *     multiply_add(a, b, c)                a * b + c, rounded once
 *     relu(v)                              max(v, 0), NaN where v is
 *
 * m x m outputs come from n x n = (m + 2) x (m + 2) inputs, each transformed at n points per direction: infinity and the first m + 1 of
 * 0, 1, -1, 1/2, -2, -1/2. With them every constant is exact in fp32, and rounding is the least of all the sets of such points that were
 * tried: relative to the rms of 256 channels' sums 4e-7, 1.7e-6 and 4e-6 for m = 2, 4 and 5 (the usual 0, 1, -1, 2, -2: 2.7e-6 for m = 4).
 * In one direction, for point a among the finite points,
 *
 *     input:   the coefficients of the product of (x - b) over all other finite points b; over all of them for infinity
 *     filter:  (g0 + g1 a + g2 a^2) / product of (a - b) over all other finite points b; g2 for infinity
 *     output j: sum of a^j over the finite points; infinity adds to the last output only
 *
 * where the filter's side is done once, when a plan is prepared (winograd_points.h).
 */
#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

#define INLINE static inline __attribute__((always_inline))

enum { MAX_M = 5, MAX_N = MAX_M + 2 };

INLINE void transform_input_2(vector *d, const int step)
{
    const vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    d[0] = d2 - d0;        /* 0:  x^2 - 1 */
    d[step] = d1 + d2;     /* 1:  x^2 + x */
    d[2 * step] = d2 - d1; /* -1: x^2 - x */
    d[3 * step] = d3 - d1; /* infinity: x^3 - x */
}

INLINE void transform_input_4(vector *d, const int step)
{
    const vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const vector half = splat(0.5f), two = splat(2.0f), three_halves = splat(1.5f), five_halves = splat(2.5f), odd = d3 - d1, even = d4 - d2;
    d[0] = multiply_add(three_halves, odd, d0 + d4) - two * d2;               /* 0:   x^4 + 1.5 x^3 - 2 x^2 - 1.5 x + 1 */
    d[step] = multiply_add(five_halves, d3, d4) + multiply_add(half, d2, splat(0) - d1); /* 1:   x^4 + 2.5 x^3 + 0.5 x^2 - x */
    d[2 * step] = multiply_add(half, d3, d4) - multiply_add(five_halves, d2, splat(0) - d1); /* -1:  x^4 + 0.5 x^3 - 2.5 x^2 + x */
    d[3 * step] = multiply_add(two, odd, even);                               /* 1/2: x^4 + 2 x^3 - x^2 - 2 x */
    d[4 * step] = even - half * odd;                                 /* -2:  x^4 - 0.5 x^3 - x^2 + 0.5 x */
    d[5 * step] = multiply_add(three_halves, even, d1 + d5) - two * d3;       /* infinity: x^5 + 1.5 x^4 - 2 x^3 - 1.5 x^2 + x */
}

/* All polynomials but that of -2 have the factor x + 2, and h is the input after it. */
INLINE void transform_input_5(vector *d, const int step)
{
    const vector two = splat(2.0f), half = splat(0.5f), quarter = splat(0.25f), minus_quarter = splat(-0.25f), minus_five_quarters = splat(-1.25f);
    const vector d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const vector h0 = multiply_add(two, d[0], d1), h1 = multiply_add(two, d1, d2), h2 = multiply_add(two, d2, d3);
    const vector h3 = multiply_add(two, d3, d4), h4 = multiply_add(two, d4, d5), h5 = multiply_add(two, d5, d[6 * step]);
    const vector even1 = multiply_add(minus_quarter, h2, h4), odd1 = multiply_add(minus_quarter, h1, h3), even2 = h4 - h2, odd2 = half * (h3 - h1);
    d[0] = multiply_add(minus_five_quarters, h2, multiply_add(quarter, h0, h4));        /* 0:    (x^4 - 1.25 x^2 + 0.25) (x + 2) */
    d[step] = even1 + odd1;                                                             /* 1:    (x^4 + x^3 - 0.25 x^2 - 0.25 x) (x + 2) */
    d[2 * step] = even1 - odd1;                                                         /* -1:   (x^4 - x^3 - 0.25 x^2 + 0.25 x) (x + 2) */
    d[3 * step] = even2 + odd2;                                                         /* 1/2:  (x^4 + 0.5 x^3 - x^2 - 0.5 x) (x + 2) */
    d[4 * step] = multiply_add(minus_five_quarters, d3, multiply_add(quarter, d1, d5)); /* -2:   x^5 - 1.25 x^3 + 0.25 x */
    d[5 * step] = even2 - odd2;                                                         /* -1/2: (x^4 - 0.5 x^3 - x^2 + 0.5 x) (x + 2) */
    d[6 * step] = multiply_add(minus_five_quarters, h3, multiply_add(quarter, h1, h5)); /* infinity: (x^5 - 1.25 x^3 + 0.25 x) (x + 2) */
}

/* n inputs, `step` vectors apart, become n points in place. */
INLINE void transform_input(const int m, vector *d, const int step)
{
    if (m == 2) transform_input_2(d, step);
    else if (m == 4) transform_input_4(d, step);
    else transform_input_5(d, step);
}

/* n points, `step` vectors apart, become m outputs in place. */
INLINE void transform_output(const int m, vector *p, const int step)
{
    const vector p0 = p[0], p1 = p[step], p2 = p[2 * step], p3 = p[3 * step], sum = p1 + p2, difference = p1 - p2;
    if (m == 2) {
        p[0] = p0 + sum;
        p[step] = difference + p3;
        return;
    }
    const vector p4 = p[4 * step], p5 = p[5 * step];
    if (m == 4) {
        p[0] = p0 + sum + (p3 + p4);
        p[step] = multiply_add(splat(-2.0f), p4, multiply_add(splat(0.5f), p3, difference));
        p[2 * step] = multiply_add(splat(4.0f), p4, multiply_add(splat(0.25f), p3, sum));
        p[3 * step] = multiply_add(splat(-8.0f), p4, multiply_add(splat(0.125f), p3, difference)) + p5;
        return;
    }
    const vector sum2 = p3 + p5, difference2 = p3 - p5; /* of 1/2 and -1/2 */
    p[0] = p0 + sum + (sum2 + p4);
    p[step] = multiply_add(splat(-2.0f), p4, multiply_add(splat(0.5f), difference2, difference));
    p[2 * step] = multiply_add(splat(4.0f), p4, multiply_add(splat(0.25f), sum2, sum));
    p[3 * step] = multiply_add(splat(-8.0f), p4, multiply_add(splat(0.125f), difference2, difference));
    p[4 * step] = multiply_add(splat(16.0f), p4, multiply_add(splat(0.0625f), sum2, sum)) + p[6 * step];
}

/* Where a tile lies: its picture, and its first output row and column. */
typedef struct {
    int32_t image, y, x;
} tile_place;

INLINE tile_place place_tile(const rn_winograd_args *a, int32_t tile)
{
    const int32_t per_image = a->tiles_h * a->tiles_w, rest = tile % per_image;
    return (tile_place){tile / per_image, rest / a->tiles_w * a->m, rest % a->tiles_w * a->m};
}

/* LANES channels of one tile. Pixels outside rows [y0, y1) or columns [x0, x1) of the tile are outside the picture: zeros, and not read. */
INLINE void input_tile(const int m, const element *x, const rn_map *map, element *to, int64_t plane, int y0, int y1, int x0, int x1)
{
    const int n = m + 2;
    vector d[MAX_N * MAX_N];
#pragma GCC unroll 7
    for (int i = 0; i < n; i++) {
#pragma GCC unroll 7
        for (int j = 0; j < n; j++) {
            const int inside = j >= y0 && j < y1 && i >= x0 && i < x1;
            d[j * n + i] = inside ? load_elements(x + j * map->row + i * map->pixel) : splat(0);
        }
        transform_input(m, d + i, n);
    }
#pragma GCC unroll 7
    for (int j = 0; j < n; j++) {
        transform_input(m, d + j * n, 1);
#pragma GCC unroll 7
        for (int i = 0; i < n; i++) store_elements(to + (j * n + i) * plane, d[j * n + i]);
    }
}

INLINE int clamp(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

INLINE void input_tiles(const int m, const rn_winograd_args *a)
{
    const rn_conv2d_args *conv = a->conv;
    const int n = m + 2;
    for (int32_t tile = a->tile_begin; tile < a->tile_end; tile++) {
        const tile_place place = place_tile(a, tile);
        const int top = place.y - conv->pad_top, left = place.x - conv->pad_left;
        const int y0 = clamp(-top, 0, n), y1 = clamp(conv->h - top, 0, n), x0 = clamp(-left, 0, n), x1 = clamp(conv->w - left, 0, n);
        const element *x = rn_map_at(&conv->x, place.image * conv->x.image + top * conv->x.row + left * conv->x.pixel);
        element *to = (element *)a->points + (tile - a->tile_begin) * a->row;
        const int whole = y0 == 0 && x0 == 0 && y1 == n && x1 == n;
        for (int32_t c = 0; c < conv->c; c += LANES) {
            if (whole) input_tile(m, x + c, &conv->x, to + c, a->plane, 0, n, 0, n);
            else input_tile(m, x + c, &conv->x, to + c, a->plane, y0, y1, x0, x1);
        }
    }
}

INLINE element *output_at(const rn_map *map, int64_t image, int64_t p, int64_t q, int32_t k)
{
    return (element *)map->data + image * map->image + p * map->row + q * map->pixel + k;
}

/* What is left to do with LANES channels of one output pixel: k is the first of them. */
INLINE void finish(const rn_conv2d_args *conv, vector y, int64_t image, int64_t p, int64_t q, int32_t k)
{
    if (conv->residual.data) y += load_elements(output_at(&conv->residual, image, p, q, k));
    if (conv->relu) y = relu(y);
    if (conv->y.data) store_elements(output_at(&conv->y, image, p, q, k), y);
    if (!conv->y2.data) return;
    store_elements(output_at(&conv->y2, image, p, q, k), relu(multiply_add(y, load(conv->scale2 + k), load(conv->shift2 + k))));
}

INLINE void output_tile(const int m, const rn_winograd_args *a, const float *from, tile_place place, int32_t k)
{
    const rn_conv2d_args *conv = a->conv;
    const int n = m + 2;
    const vector bias = conv->bias ? load(conv->bias + k) : splat(0);
    vector d[MAX_N * MAX_N];
#pragma GCC unroll 7
    for (int i = 0; i < n; i++) {
#pragma GCC unroll 7
        for (int j = 0; j < n; j++) d[j * n + i] = load(from + (j * n + i) * a->plane);
        transform_output(m, d + i, n);
    }
#pragma GCC unroll 5
    for (int j = 0; j < m; j++) {
        if (place.y + j >= conv->p) break;
        transform_output(m, d + j * n, 1);
#pragma GCC unroll 5
        for (int i = 0; i < m; i++) {
            if (place.x + i < conv->q) finish(conv, d[j * n + i] + bias, place.image, place.y + j, place.x + i, k);
        }
    }
}

INLINE void output_tiles(const int m, const rn_winograd_args *a)
{
    for (int32_t tile = a->tile_begin; tile < a->tile_end; tile++) {
        const tile_place place = place_tile(a, tile);
        const float *from = (const float *)a->points + (tile - a->tile_begin) * a->row;
        for (int32_t k = a->k_begin; k < a->k_end; k += LANES) output_tile(m, a, from + (k - a->k_begin), place, k);
    }
}

void RN_WINOGRAD_KERNEL(input)(const rn_winograd_args *a)
{
    switch (a->m) {
    case 2: input_tiles(2, a); break;
    case 4: input_tiles(4, a); break;
    case 5: input_tiles(5, a); break;
    }
}

void RN_WINOGRAD_KERNEL(output)(const rn_winograd_args *a)
{
    switch (a->m) {
    case 2: output_tiles(2, a); break;
    case 4: output_tiles(4, a); break;
    case 5: output_tiles(5, a); break;
    }
}
