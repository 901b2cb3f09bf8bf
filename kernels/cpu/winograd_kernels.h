/* Winograd's minimal filtering for 3x3 convolutions of stride 1 (Lavin and Gray, arXiv:1509.09308): the transforms of inputs and outputs. Each
 * instruction set's folder compiles them once for every type of the maps. The including file defines
 *
 *     RN_WINOGRAD_KERNEL(side)             the symbol of a kernel
 *     vector, LANES                        LANES floats
 *     load(from), splat(x)                 floats, unaligned
 *     element, point                       of the maps, and of the input's points
 *     load_elements(from), store_elements(to, v), store_points(to, v)   LANES of them, unaligned
 *     multiply_add(a, b, c)                a * b + c, rounded once
 *     relu(v)                              max(v, 0), NaN where v is
 *
 * m x m outputs come from n x n = (m + 2) x (m + 2) inputs, each transformed at n points per direction: infinity and
 *
 *     m = 2:   0, 1, -1        m = 4:   0, 5/8, -5/8, 3/2, -3/2        m = 5:   1/4, -1/4, 1, -1, 7/4, -7/4
 *
 * A point and its negative share their even and odd halves, and every constant is exact in fp32. An error made at a point reaches the outputs by the
 * length of the point's row in the input's transform, times that in the filter's, times that of its column in the output's. The sum of the squares
 * over all points is the least of all sets of multiples of 1/8 that were tried, for m = 5 of those with 1, which saves four multiplications; relative
 * to the rms of 256 channels' sums fp32 is off by 5e-7, 1.4e-6 and 3.1e-6 for m = 2, 4 and 5 (the usual 0, 1, -1, 2, -2: 3.0e-6 for m = 4). In one
 * direction, for point a among the finite points,
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

/* The positive points of m = 4 and m = 5 (winograd_points.h); the transforms of m = 5 know that B5 is 1. */
static const float A4 = 0.625f, B4 = 1.5f, A5 = 0.25f, B5 = 1, C5 = 1.75f;

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
    const vector d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
    const vector a = splat(A4), minus_a = splat(-A4), b = splat(B4), minus_b = splat(-B4);
    const vector minus_a2 = splat(-A4 * A4), minus_b2 = splat(-B4 * B4), minus_sum = splat(-(A4 * A4 + B4 * B4)), product = splat(A4 * A4 * B4 * B4);
    const vector even_a = multiply_add(minus_b2, d2, d4), odd_a = multiply_add(minus_b2, d1, d3);
    const vector even_b = multiply_add(minus_a2, d2, d4), odd_b = multiply_add(minus_a2, d1, d3);
    d[0] = multiply_add(product, d[0], multiply_add(minus_sum, d2, d4));               /* 0:        (x^2 - a^2) (x^2 - b^2) */
    d[step] = multiply_add(a, odd_a, even_a);                                          /* a, -a:    x (x + a) (x^2 - b^2), x (x - a) (x^2 - b^2) */
    d[2 * step] = multiply_add(minus_a, odd_a, even_a);
    d[3 * step] = multiply_add(b, odd_b, even_b);                                      /* b, -b:    x (x + b) (x^2 - a^2), x (x - b) (x^2 - a^2) */
    d[4 * step] = multiply_add(minus_b, odd_b, even_b);
    d[5 * step] = multiply_add(product, d1, multiply_add(minus_sum, d3, d[5 * step])); /* infinity: x (x^2 - a^2) (x^2 - b^2) */
}

/* The points p and -p of (x + p) (x^2 - q^2) (x^2 - r^2) and (x - p) (x^2 - q^2) (x^2 - r^2). */
INLINE void transform_input_pair(vector *d, const int step, const vector inputs[7], const float p, const float q, const float r)
{
    const vector minus_sum = splat(-(q * q + r * r)), product = splat(q * q * r * r);
    const vector odd = multiply_add(product, inputs[1], multiply_add(minus_sum, inputs[3], inputs[5]));
    const vector even = multiply_add(product, inputs[0], multiply_add(minus_sum, inputs[2], inputs[4]));
    d[0] = multiply_add(splat(p), even, odd);
    d[step] = multiply_add(splat(-p), even, odd);
}

INLINE void transform_input_5(vector *d, const int step)
{
    const float a2 = A5 * A5, c2 = C5 * C5;
    const vector minus_sum = splat(-(a2 + 1 + c2)), pairs = splat(a2 + c2 + a2 * c2), minus_product = splat(-a2 * c2);
    const vector x[7] = {d[0], d[step], d[2 * step], d[3 * step], d[4 * step], d[5 * step], d[6 * step]};
    transform_input_pair(d, step, x, A5, B5, C5);
    transform_input_pair(d + 2 * step, step, x, B5, A5, C5);
    transform_input_pair(d + 4 * step, step, x, C5, A5, B5);
    /* infinity: (x^2 - a^2) (x^2 - 1) (x^2 - c^2) */
    d[6 * step] = multiply_add(minus_product, x[0], multiply_add(pairs, x[2], multiply_add(minus_sum, x[4], x[6])));
}

/* n inputs, `step` vectors apart, become n points in place. */
INLINE void transform_input(const int m, vector *d, const int step)
{
    if (m == 2) transform_input_2(d, step);
    else if (m == 4) transform_input_4(d, step);
    else transform_input_5(d, step);
}

INLINE void transform_output_2(vector *p, const int step)
{
    const vector p1 = p[step], p2 = p[2 * step];
    p[0] = p[0] + p1 + p2;
    p[step] = p1 - p2 + p[3 * step];
}

INLINE void transform_output_4(vector *p, const int step)
{
    const vector a_sum = p[step] + p[2 * step], a_difference = p[step] - p[2 * step];
    const vector b_sum = p[3 * step] + p[4 * step], b_difference = p[3 * step] - p[4 * step];
    p[0] = p[0] + a_sum + b_sum;
    p[step] = multiply_add(splat(B4), b_difference, splat(A4) * a_difference);
    p[2 * step] = multiply_add(splat(B4 * B4), b_sum, splat(A4 * A4) * a_sum);
    p[3 * step] = multiply_add(splat(B4 * B4 * B4), b_difference, multiply_add(splat(A4 * A4 * A4), a_difference, p[5 * step]));
}

INLINE void transform_output_5(vector *p, const int step)
{
    const float a2 = A5 * A5, c2 = C5 * C5;
    const vector a_sum = p[0] + p[step], b_sum = p[2 * step] + p[3 * step], c_sum = p[4 * step] + p[5 * step];
    const vector a_difference = p[0] - p[step], b_difference = p[2 * step] - p[3 * step], c_difference = p[4 * step] - p[5 * step];
    p[0] = a_sum + b_sum + c_sum;
    p[step] = multiply_add(splat(C5), c_difference, multiply_add(splat(A5), a_difference, b_difference));
    p[2 * step] = multiply_add(splat(c2), c_sum, multiply_add(splat(a2), a_sum, b_sum));
    p[3 * step] = multiply_add(splat(c2 * C5), c_difference, multiply_add(splat(a2 * A5), a_difference, b_difference));
    p[4 * step] = multiply_add(splat(c2 * c2), c_sum, multiply_add(splat(a2 * a2), a_sum, b_sum)) + p[6 * step];
}

/* n points, `step` vectors apart, become m outputs in place. */
INLINE void transform_output(const int m, vector *p, const int step)
{
    if (m == 2) transform_output_2(p, step);
    else if (m == 4) transform_output_4(p, step);
    else transform_output_5(p, step);
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
INLINE void input_tile(const int m, const element *x, const rn_map *map, point *to, int64_t plane, int y0, int y1, int x0, int x1)
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
        for (int i = 0; i < n; i++) store_points(to + (j * n + i) * plane, d[j * n + i]);
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
        point *to = (point *)a->points + (tile - a->tile_begin) * a->row;
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
    const vector bias = conv->bias ? load(conv->bias + k) : splat(0), scale = conv->multiplier ? load(conv->multiplier + k) : splat(1);
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
            if (place.x + i < conv->q) finish(conv, multiply_add(d[j * n + i], scale, bias), place.image, place.y + j, place.x + i, k);
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
