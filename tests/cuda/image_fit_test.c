/* The picture kernel against engine/image's rule, equal to the bit: crops, odd sizes, one to four channels, unaligned rows. */
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

/* picture: w x h of rows of row_bytes; the crop is the part that starts at (crop_x, crop_y). */
static void check(rn_dtype dtype, rn_cuda_image_fit_args a, int32_t picture_h)
{
    const size_t picture_bytes = (size_t)a.row_bytes * picture_h, count = (size_t)a.h * a.w * a.c;
    float *pixels = random_values(picture_bytes, 0, 255.99f), *expected = calloc(count, sizeof *expected);
    for (size_t i = 0; i < picture_bytes; i++) pixels[i] = truncf(pixels[i]);
    for (int i = 0; i < 4; i++) a.scale[i] = 0.017f + 0.001f * (float)i, a.shift[i] = -2.1f + 0.1f * (float)i;
    for (int32_t y = 0; y < a.h; y++) {
        const taps ty = taps_of(y, a.crop_h, a.h);
        for (int32_t x = 0; x < a.w; x++) {
            const taps tx = taps_of(x, a.crop_w, a.w);
            for (int32_t c = 0; c < a.channels; c++) {
#define PIXEL(py, px) pixels[(a.crop_y + (py)) * a.row_bytes + a.channels * (a.crop_x + (px)) + c]
                const float tl = PIXEL(ty.lower, tx.lower), tr = PIXEL(ty.lower, tx.upper);
                const float bl = PIXEL(ty.upper, tx.lower), br = PIXEL(ty.upper, tx.upper);
#undef PIXEL
                const float top = tl + (tr - tl) * tx.weight, bottom = bl + (br - bl) * tx.weight;
                const float byte = (float)(uint8_t)(top + (bottom - top) * ty.weight);
                expected[((size_t)y * a.w + x) * a.c + c] = byte * a.scale[c] + a.shift[c];
            }
        }
    }
    device_map dx = device_map_of(RN_DTYPE_U8, pixels, picture_bytes), dy = device_map_new(dtype, count);
    a.pixels = dx.data;
    a.y = dy.data;
    assert_int_equal(rn_cuda_kernels_of(dtype)->image_fit(&a, NULL), RN_STATUS_OK);
    float *result = device_map_read(&dy);
    for (size_t i = 0; i < count; i++) {
        if (result[i] != rounded_to(dtype, expected[i]))
            fail_msg("%s element %zu: expected %a, found %a", rn_dtype_name(dtype), i, expected[i], result[i]);
    }
    device_map_free(&dx), device_map_free(&dy);
    free(pixels), free(expected), free(result);
}

#define FIT(...)             \
    (rn_cuda_image_fit_args) \
    {                        \
        __VA_ARGS__          \
    }

static void image_fit(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 3; order++) {
        rn_emulation_set_order(order);
        random_seed(SEED);
        for (int type = 0; type < 3; type++) {
            const rn_dtype t = types[type];
            const int32_t c = t == RN_DTYPE_F32 ? 4 : 8;
            check(t, FIT(.row_bytes = 37 * 3 + 5, .crop_w = 37, .crop_h = 23, .channels = 3, .w = 19, .h = 31, .c = c), 23);
            check(t,
                  FIT(.row_bytes = 101 * 3, .crop_x = 14, .crop_y = 3, .crop_w = 87, .crop_h = 87, .channels = 3, .w = 64, .h = 33, .c = c),
                  91);
            check(t, FIT(.row_bytes = 5 * 3, .crop_x = 4, .crop_y = 3, .crop_w = 1, .crop_h = 1, .channels = 3, .w = 7, .h = 3, .c = 3), 4);
            check(t, FIT(.row_bytes = 40, .crop_w = 40, .crop_h = 40, .channels = 1, .w = 40, .h = 40, .c = c), 40);
            check(t, FIT(.row_bytes = 9 * 4, .crop_w = 9, .crop_h = 8, .channels = 4, .w = 33, .h = 9, .c = 4), 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(image_fit)};
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests_name("cuda image_fit, emulated", tests, NULL, NULL);
}
