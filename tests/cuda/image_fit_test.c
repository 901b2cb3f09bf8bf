/* The picture kernel against engine/image's rule, equal to the bit: odd sizes, one to four channels, unaligned rows, several in one launch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "kernels/cuda/cuda_kernels.h"
#include "tests/cuda/device_map.h"
#include "tests/cuda_emulation/emulation_control.h"

enum { SEED = 7 };
static const rn_dtype types[] = {RN_DTYPE_F32, RN_DTYPE_F16, RN_DTYPE_BF16};

typedef struct {
    int32_t lower, upper;
    float weight;
} taps;

/* TensorFlow's half-pixel centres (ResizeBilinear). */
static taps taps_of(int32_t i, int32_t in, int32_t out)
{
    const float source = ((float)i + 0.5f) * ((float)in / (float)out) - 0.5f, below = floorf(source);
    const int32_t lower = (int32_t)below, upper = (int32_t)ceilf(source);
    return (taps){lower > 0 ? lower : 0, upper < in ? upper : in - 1, source - below};
}

enum { PICTURES = 3 };

/* Three pictures in one launch, in rows of row_bytes, at odd offsets. */
typedef struct {
    rn_cuda_picture pictures[PICTURES];
    int32_t channels, h, w, c;
    bool relu;
} problem;

static float expected_value(const problem *p, const rn_cuda_picture *from, const float *pixels, int32_t y, int32_t x, int32_t c,
                            float scale, float shift)
{
    const taps ty = taps_of(y, from->h, p->h), tx = taps_of(x, from->w, p->w);
#define PIXEL(py, px) pixels[from->offset + (int64_t)(py)*from->row_bytes + p->channels * (px) + c]
    const float tl = PIXEL(ty.lower, tx.lower), tr = PIXEL(ty.lower, tx.upper);
    const float bl = PIXEL(ty.upper, tx.lower), br = PIXEL(ty.upper, tx.upper);
#undef PIXEL
    const float top = tl + (tr - tl) * tx.weight, bottom = bl + (br - bl) * tx.weight;
    const float value = (float)(uint8_t)(top + (bottom - top) * ty.weight) * scale + shift;
    return p->relu && value < 0 ? 0 : value;
}

static void check(rn_dtype dtype, const problem *p)
{
    size_t pixel_bytes = 0;
    for (int i = 0; i < PICTURES; i++) {
        const rn_cuda_picture *from = &p->pictures[i];
        const size_t end = (size_t)from->offset + (size_t)(from->h - 1) * (size_t)from->row_bytes + (size_t)(from->w * p->channels);
        if (end > pixel_bytes) pixel_bytes = end;
    }
    const size_t count = (size_t)PICTURES * p->h * p->w * p->c;
    float *pixels = random_values(pixel_bytes, 0, 255.99f), *expected = calloc(count, sizeof *expected), scale[4], shift[4];
    for (size_t i = 0; i < pixel_bytes; i++) pixels[i] = truncf(pixels[i]);
    for (int i = 0; i < 4; i++) scale[i] = 0.017f + 0.001f * (float)i, shift[i] = -2.1f + 0.1f * (float)i;
    float *at = expected;
    for (int i = 0; i < PICTURES; i++)
        for (int32_t y = 0; y < p->h; y++)
            for (int32_t x = 0; x < p->w; x++, at += p->c)
                for (int32_t c = 0; c < p->channels; c++) at[c] = expected_value(p, &p->pictures[i], pixels, y, x, c, scale[c], shift[c]);

    device_map dx = device_map_of(RN_DTYPE_U8, pixels, pixel_bytes), dy = device_map_new(dtype, count),
               dscale = device_map_of(RN_DTYPE_F32, scale, 4), dshift = device_map_of(RN_DTYPE_F32, shift, 4);
    rn_cuda_picture *table;
    assert_int_equal(cudaMalloc((void **)&table, sizeof p->pictures), cudaSuccess);
    rn_cuda_picture entries[PICTURES];
    for (int i = 0; i < PICTURES; i++) {
        entries[i] = p->pictures[i];
        entries[i].ratio_h = (float)entries[i].h / (float)p->h;
        entries[i].ratio_w = (float)entries[i].w / (float)p->w;
    }
    assert_int_equal(cudaMemcpy(table, entries, sizeof entries, cudaMemcpyHostToDevice), cudaSuccess);
    const rn_cuda_image_fit_args args = {.pictures = table,
                                         .pixels = dx.data,
                                         .scale = dscale.data,
                                         .shift = dshift.data,
                                         .y = dy.data,
                                         .n = PICTURES,
                                         .h = p->h,
                                         .w = p->w,
                                         .c = p->c,
                                         .channels = p->channels,
                                         .relu = p->relu};
    assert_int_equal(rn_cuda_kernels_of(dtype)->image_fit(&args, NULL), RN_STATUS_OK);
    float *result = device_map_read(&dy);
    for (size_t i = 0; i < count; i++) {
        if (result[i] != rounded_to(dtype, expected[i]))
            fail_msg("%s element %zu: expected %a, found %a", rn_dtype_name(dtype), i, expected[i], result[i]);
    }
    cudaFree(table);
    device_map_free(&dx), device_map_free(&dy), device_map_free(&dscale), device_map_free(&dshift);
    free(pixels), free(expected), free(result);
}

/* offset, bytes of a row, height, width */
#define FROM(at, bytes, rows, columns)                                    \
    {                                                                     \
        .offset = (at), .row_bytes = (bytes), .h = (rows), .w = (columns) \
    }

static void image_fit(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 3; order++) {
        rn_emulation_set_order(order);
        random_seed(SEED);
        for (int type = 0; type < 3; type++) {
            const int32_t wide = types[type] == RN_DTYPE_F32 ? 4 : 8;
            const problem problems[] = {
                /* smaller, larger and one pixel; rows with a gap behind them */
                {{FROM(0, 37 * 3 + 5, 23, 37), FROM(2701, 101 * 3, 31, 87), FROM(5, 7, 1, 1)}, 3, 31, 19, wide, false},
                /* a size around the block, the picture's own, one wide and low, and channels that do not fill 16 bytes */
                {{FROM(1, 33 * 3, 9, 33), FROM(0, 300, 2, 100), FROM(17, 6, 40, 2)}, 3, 9, 33, 3, true},
                {{FROM(0, 40, 40, 40), FROM(3, 40, 39, 38), FROM(700, 16, 16, 16)}, 1, 16, 16, wide, false},
                {{FROM(0, 9 * 4, 8, 9), FROM(2, 20 * 4, 3, 20), FROM(4, 9 * 4, 9, 9)}, 4, 9, 33, 4, true},
            };
            for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) check(types[type], &problems[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(image_fit)};
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("cuda image_fit, emulated", tests, NULL, NULL);
}
