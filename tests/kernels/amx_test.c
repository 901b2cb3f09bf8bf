/* The AMX kernel for bf16 over stand-ins for the tile instructions, against the reference: what it computes, not how fast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cpu/conv2d_direct.h"
#include "tests/support/amx_kernels.h"
#include "tests/support/test_map.h"

enum { SEED = 20240302 };

typedef struct {
    int32_t h, w, c, k, r, stride, pad, groups, n;
    bool bias, residual, relu, first, second;
    rn_dtype y;
} shape;

/* Sums in f32, then one rounding of the output: see tests/kernels/conv2d_test.c. */
static double allowance(const shape *s, double largest)
{
    return (FLT_EPSILON * (sqrt((double)s->r * s->r * s->c / s->groups) + 4) + (s->y == RN_DTYPE_BF16 ? 0x1p-8 : 0)) * largest;
}

static void check(const shape *s, double *worst_share)
{
    const int32_t p = (s->h + 2 * s->pad - s->r) / s->stride + 1, q = (s->w + 2 * s->pad - s->r) / s->stride + 1;
    const size_t count = (size_t)(s->r * s->r * s->c / s->groups * s->k);
    float *filter = malloc(count * sizeof *filter), *vectors = malloc(3 * (size_t)s->k * sizeof *vectors);
    rn_test_fill(filter, count, SEED);
    rn_test_round(filter, count, RN_DTYPE_BF16);
    rn_test_fill(vectors, 3 * (size_t)s->k, SEED + 1);
    rn_test_map x = rn_test_map_create(s->n, s->h, s->w, s->c, 0, 0), residual = rn_test_map_create(s->n, p, q, s->k, 0, 0);
    rn_test_map_fill(&x, SEED + 2), rn_test_map_round(&x, RN_DTYPE_BF16);
    rn_test_map_fill(&residual, SEED + 3), rn_test_map_round(&residual, s->y);
    rn_test_map expected[2], got[2], typed_x = rn_test_map_convert(&x, RN_DTYPE_BF16, 3, s->pad), typed_residual = rn_test_map_convert(&residual, s->y, 1, 0);
    for (int i = 0; i < 2; i++) {
        expected[i] = rn_test_map_create(s->n, p, q, s->k, 0, 0);
        got[i] = rn_test_map_create_typed(s->y, s->n, p, q, s->k, i, 0);
    }
    rn_conv2d_args args = {.x = x.map, .residual = s->residual ? residual.map : (rn_map){0}, .y = s->first ? expected[0].map : (rn_map){0},
                           .y2 = s->second ? expected[1].map : (rn_map){0}, .filter = filter, .bias = s->bias ? vectors : NULL,
                           .scale2 = vectors + s->k, .shift2 = vectors + 2 * s->k, .n = s->n, .h = s->h, .w = s->w, .c = s->c, .p = p, .q = q,
                           .k = s->k, .r = s->r, .s = s->r, .stride_h = s->stride, .stride_w = s->stride, .pad_top = s->pad, .pad_left = s->pad,
                           .groups = s->groups, .row_begin = 0, .row_end = s->n * p, .relu = s->relu};
    rn_conv2d_f32__ref(&args);
    args.x = typed_x.map;
    if (s->residual) args.residual = typed_residual.map;
    if (s->first) args.y = got[0].map;
    if (s->second) args.y2 = got[1].map;

    const rn_conv2d_tile_kernel kernel = rn_test_amx_bf16_kernel;
    const rn_conv2d_panels panels = rn_conv2d_panels_layout(&args, kernel.lanes);
    void *packed = aligned_alloc(64, (size_t)(panels.count * panels.bytes + 63) / 64 * 64);
    rn_conv2d_panels_pack(&args, &panels, packed);
    rn_conv2d_direct d;
    rn_conv2d_direct_init(&d, &args, kernel, &panels, packed);
    rn_conv2d_direct_run(&d, 0, d.tile_count, 0, panels.count);

    double worst = 0, largest = 0;
    for (int i = 0; i < 2; i++) {
        if (i ? s->second : s->first) rn_test_map_compare(&expected[i], &got[i], 0, s->n * p, &worst, &largest);
        rn_test_map_check_outside(&got[i]);
        rn_test_map_destroy(&expected[i]), rn_test_map_destroy(&got[i]);
    }
    *worst_share = fmax(*worst_share, worst / allowance(s, largest));
    if (!(worst <= allowance(s, largest))) {
        fail_msg("%dx%dx%d -> %d, %dx%d/%d: error %g, allowed %g", s->h, s->w, s->c, s->k, s->r, s->r, s->stride, worst, allowance(s, largest));
    }
    rn_test_map_destroy(&x), rn_test_map_destroy(&residual), rn_test_map_destroy(&typed_x), rn_test_map_destroy(&typed_residual);
    free(filter), free(vectors), free(packed);
}

/* Widths around half a tile and a tile, steps that 16 divides and that it does not, channels around a panel, every epilogue. */
static void sizes_around_the_tile(void **state)
{
    (void)state;
    static const int32_t widths[] = {1, 7, 13, 14, 15, 27, 28, 29, 56}, channels[] = {2, 6, 30, 32, 34, 64, 96}, outputs[] = {1, 16, 31, 32, 33, 65};
    double share = 0;
    int count = 0;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++) {
            for (size_t k = 0; k < sizeof outputs / sizeof *outputs; k++, count++) {
                const shape s = {.h = 2 + count % 3, .w = widths[w], .c = channels[c], .k = outputs[k], .r = count % 2 ? 3 : 1, .stride = 1 + count % 5 / 4,
                                 .pad = count % 2, .groups = 1, .n = 1 + count % 2, .bias = count % 3, .residual = count % 4 == 1, .relu = count % 5 > 1,
                                 .first = count % 7 != 3, .second = count % 7 > 2, .y = count % 3 == 1 ? RN_DTYPE_F32 : RN_DTYPE_BF16};
                check(&s, &share);
            }
        }
    }
    printf("%d shapes, worst error %.0f %% of the allowance\n", count, 100 * share);
}

static void groups(void **state)
{
    (void)state;
    double share = 0;
    const shape s = {.h = 9, .w = 14, .c = 128, .k = 64, .r = 3, .stride = 1, .pad = 1, .groups = 4, .n = 2, .bias = true, .relu = true, .first = true,
                     .y = RN_DTYPE_BF16};
    check(&s, &share);
}

int main(void)
{
    if (rn_cpu_best_isa() < RN_ISA_AVX512_BF16) {
        printf("SKIP %s: this processor lacks %s\n1 SKIP\n", rn_test_amx_bf16_kernel.name, rn_isa_name(RN_ISA_AVX512_BF16));
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes_around_the_tile), cmocka_unit_test(groups)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
