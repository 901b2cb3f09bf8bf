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

enum { GUARD = 64 };
static const uint32_t POISON = 0x7fc0deadu; /* a quiet NaN */

rn_test_map rn_test_map_create(int32_t n, int32_t h, int32_t w, int32_t c, int32_t spare, int32_t border)
{
    rn_test_map m = {.n = n, .h = h, .w = w, .c = c};
    const int64_t pixel = c + spare, row = (w + 2 * border) * pixel, image = (h + 2 * border) * row;
    m.elements = (size_t)(n * image) + 2 * GUARD;
    m.memory = malloc(m.elements * sizeof *m.memory);
    m.inside = calloc(m.elements, 1);
    assert_non_null(m.memory);
    assert_non_null(m.inside);
    for (size_t i = 0; i < m.elements; i++) memcpy(&m.memory[i], &POISON, sizeof POISON);
    m.map = (rn_map){m.memory + GUARD + border * row + border * pixel, image, row, pixel, RN_DTYPE_F32};
    for (int32_t i = 0; i < n; i++) {
        for (int32_t y = -border; y < h + border; y++) {
            for (int32_t x = -border; x < w + border; x++) {
                float *at = rn_map_at(&m.map, i * image + y * row + x * pixel);
                memset(m.inside + (at - m.memory), 1, (size_t)c);
                const int in_picture = y >= 0 && y < h && x >= 0 && x < w;
                if (!in_picture) memset(at, 0, (size_t)c * sizeof *at);
            }
        }
    }
    return m;
}

void rn_test_map_destroy(rn_test_map *m)
{
    free(m->memory);
    free(m->inside);
    *m = (rn_test_map){0};
}

float *rn_test_map_at(const rn_test_map *m, int32_t i, int32_t y, int32_t x, int32_t c)
{
    return rn_map_at(&m->map, i * m->map.image + y * m->map.row + x * m->map.pixel + c);
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
    for (size_t i = 0; i < m->elements; i++) {
        if (!m->inside[i] && memcmp(&m->memory[i], &POISON, sizeof POISON) != 0) fail_msg("element %zu outside a map was written", i);
    }
}

void rn_test_map_compare(const rn_test_map *expected, const rn_test_map *got, int32_t row_begin, int32_t row_end, double *worst, double *largest)
{
    for (int32_t row = row_begin; row < row_end; row++) {
        for (int32_t x = 0; x < expected->w; x++) {
            const float *e = rn_test_map_at(expected, row / expected->h, row % expected->h, x, 0);
            const float *g = rn_test_map_at(got, row / got->h, row % got->h, x, 0);
            for (int32_t c = 0; c < expected->c; c++) {
                if (isnan(e[c]) || isnan(g[c])) {
                    if (isnan(e[c]) != isnan(g[c])) *worst = INFINITY;
                    continue;
                }
                const double difference = e[c] == g[c] ? 0 : fabs((double)e[c] - g[c]);
                if (difference > *worst) *worst = difference;
                if (fabs((double)e[c]) > *largest) *largest = fabs((double)e[c]);
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
