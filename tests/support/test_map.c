/* Strided maps with guards. */
#include "tests/support/test_map.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka needs the two above. */
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/bf16.h"

enum { GUARD = 64 };

/* A quiet NaN of the type, unlike any that a kernel makes. */
static void poison(rn_dtype dtype, void *to)
{
    static const uint32_t f32 = 0x7fc0deadu;
    static const rn_bf16 bf16 = 0x7fde;
    if (dtype == RN_DTYPE_BF16) memcpy(to, &bf16, sizeof bf16);
    else memcpy(to, &f32, sizeof f32);
}

rn_test_map rn_test_map_create_typed(rn_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c, int32_t spare, int32_t border)
{
    rn_test_map m = {.n = n, .h = h, .w = w, .c = c};
    const size_t size = rn_dtype_bytes(dtype);
    const int64_t pixel = c + spare, row = (w + 2 * border) * pixel, image = (h + 2 * border) * row;
    m.elements = (size_t)(n * image) + 2 * GUARD;
    m.memory = malloc(m.elements * size);
    m.inside = calloc(m.elements, 1);
    assert_non_null(m.memory);
    assert_non_null(m.inside);
    for (size_t i = 0; i < m.elements; i++) poison(dtype, m.memory + i * size);
    m.map = (rn_map){m.memory + (size_t)(GUARD + border * row + border * pixel) * size, image, row, pixel, dtype};
    for (int32_t i = 0; i < n; i++) {
        for (int32_t y = -border; y < h + border; y++) {
            for (int32_t x = -border; x < w + border; x++) {
                char *at = rn_map_at(&m.map, i * image + y * row + x * pixel);
                memset(m.inside + (size_t)(at - m.memory) / size, 1, (size_t)c);
                const int in_picture = y >= 0 && y < h && x >= 0 && x < w;
                if (!in_picture) memset(at, 0, (size_t)c * size);
            }
        }
    }
    return m;
}

rn_test_map rn_test_map_create(int32_t n, int32_t h, int32_t w, int32_t c, int32_t spare, int32_t border)
{
    return rn_test_map_create_typed(RN_DTYPE_F32, n, h, w, c, spare, border);
}

void rn_test_map_destroy(rn_test_map *m)
{
    free(m->memory);
    free(m->inside);
    *m = (rn_test_map){0};
}

static void *address(const rn_test_map *m, int32_t i, int32_t y, int32_t x, int32_t c)
{
    return rn_map_at(&m->map, i * m->map.image + y * m->map.row + x * m->map.pixel + c);
}

float *rn_test_map_at(const rn_test_map *m, int32_t i, int32_t y, int32_t x, int32_t c)
{
    assert_int_equal(m->map.dtype, RN_DTYPE_F32);
    return address(m, i, y, x, c);
}

float rn_test_map_get(const rn_test_map *m, int32_t i, int32_t y, int32_t x, int32_t c)
{
    const void *at = address(m, i, y, x, c);
    return m->map.dtype == RN_DTYPE_BF16 ? rn_bf16_to_f32(*(const rn_bf16 *)at) : *(const float *)at;
}

void rn_test_map_set(rn_test_map *m, int32_t i, int32_t y, int32_t x, int32_t c, float value)
{
    void *at = address(m, i, y, x, c);
    if (m->map.dtype == RN_DTYPE_BF16) *(rn_bf16 *)at = rn_bf16_from_f32(value);
    else *(float *)at = value;
}

void rn_test_round(float *values, size_t count, rn_dtype dtype)
{
    for (size_t i = 0; i < count && dtype == RN_DTYPE_BF16; i++) values[i] = rn_bf16_to_f32(rn_bf16_from_f32(values[i]));
}

void rn_test_map_round(rn_test_map *m, rn_dtype dtype)
{
    for (int32_t row = 0; row < m->n * m->h; row++) {
        for (int32_t x = 0; x < m->w; x++) rn_test_round(rn_test_map_at(m, row / m->h, row % m->h, x, 0), (size_t)m->c, dtype);
    }
}

rn_test_map rn_test_map_convert(const rn_test_map *from, rn_dtype dtype, int32_t spare, int32_t border)
{
    rn_test_map m = rn_test_map_create_typed(dtype, from->n, from->h, from->w, from->c, spare, border);
    for (int32_t row = 0; row < m.n * m.h; row++) {
        for (int32_t x = 0; x < m.w; x++) {
            for (int32_t c = 0; c < m.c; c++) {
                rn_test_map_set(&m, row / m.h, row % m.h, x, c, rn_test_map_get(from, row / m.h, row % m.h, x, c));
            }
        }
    }
    return m;
}

void rn_test_fill(float *values, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)seed * 0x1p-31f;
    }
}

void rn_test_map_fill(rn_test_map *m, uint32_t seed)
{
    for (int32_t row = 0; row < m->n * m->h; row++) {
        for (int32_t x = 0; x < m->w; x++) rn_test_fill(rn_test_map_at(m, row / m->h, row % m->h, x, 0), (size_t)m->c, seed += 77777u);
    }
}

void rn_test_map_check_outside(const rn_test_map *m)
{
    const size_t size = rn_dtype_bytes(m->map.dtype);
    char expected[4];
    poison(m->map.dtype, expected);
    for (size_t i = 0; i < m->elements; i++) {
        if (!m->inside[i] && memcmp(m->memory + i * size, expected, size) != 0) fail_msg("element %zu outside a map was written", i);
    }
}

void rn_test_map_compare(const rn_test_map *expected, const rn_test_map *got, int32_t row_begin, int32_t row_end, double *worst, double *largest)
{
    for (int32_t row = row_begin; row < row_end; row++) {
        for (int32_t x = 0; x < expected->w; x++) {
            for (int32_t c = 0; c < expected->c; c++) {
                const float e = rn_test_map_get(expected, row / expected->h, row % expected->h, x, c);
                const float g = rn_test_map_get(got, row / got->h, row % got->h, x, c);
                if (isnan(e) || isnan(g)) {
                    if (isnan(e) != isnan(g)) *worst = INFINITY;
                    continue;
                }
                const double difference = e == g ? 0 : fabs((double)e - g);
                if (difference > *worst) *worst = difference;
                if (fabs((double)e) > *largest) *largest = fabs((double)e);
            }
        }
    }
}

void rn_test_report(const char *kernel, const char *what, double worst, double allowance)
{
    const double share = allowance > 0 ? 100 * worst / allowance : worst > 0 ? INFINITY : 0;
    printf("%-34s %-58s worst error %.2e, %3.0f %% of the allowance\n", kernel, what, worst, share);
    if (!(worst <= allowance)) fail_msg("%s, %s: error %g, allowed %g", kernel, what, worst, allowance);
}
