/* Pictures without TensorFlow: formats and channels, limits, refusals by name, every truncation, known resizes. Equality with TensorFlow is
 * tests/oracle/pictures_test.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h> /* jpeglib.h needs FILE */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>
#include <zlib.h>

#include "engine/image/image.h"

typedef struct bytes {
    uint8_t *data;
    size_t count;
} bytes;

/* ---- pictures to decode ---- */

enum { H = 19, W = 23 };

static uint8_t sample(int y, int x, int k)
{
    return (uint8_t)(40 * k + 7 * y + 5 * x);
}

static uint8_t *samples(int c)
{
    uint8_t *pixels = malloc((size_t)(H * W * c));
    for (int i = 0; i < H * W; i++) {
        for (int k = 0; k < c; k++) pixels[i * c + k] = sample(i / W, i % W, k);
    }
    return pixels;
}

static bytes make_jpeg(J_COLOR_SPACE colours, int c, bool progressive)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    uint8_t *data = NULL, *pixels = samples(c);
    unsigned long count = 0;
    jpeg_mem_dest(&info, &data, &count);
    info.image_width = W, info.image_height = H, info.input_components = c, info.in_color_space = colours;
    jpeg_set_defaults(&info);
    if (progressive) jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    for (int y = 0; y < H; y++) jpeg_write_scanlines(&info, &(JSAMPROW){pixels + y * W * c}, 1);
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    free(pixels);
    return (bytes){data, count};
}

static bytes make_png(uint32_t format, int c)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = W, .height = H, .format = format};
    uint8_t *pixels = samples(c);
    png_alloc_size_t count = 0;
    assert_true(png_image_write_to_memory(&image, NULL, &count, 0, pixels, 0, NULL));
    bytes out = {malloc(count), count};
    assert_true(png_image_write_to_memory(&image, out.data, &count, 0, pixels, 0, NULL));
    free(pixels);
    return out;
}

static bytes make_webp(void)
{
    uint8_t *pixels = samples(3), *data;
    const size_t count = WebPEncodeLosslessRGB(pixels, W, H, W * 3, &data);
    bytes out = {malloc(count), count};
    memcpy(out.data, data, count);
    WebPFree(data);
    free(pixels);
    return out;
}

static void put_le(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> 8 * i);
}

static bytes make_bmp(int c)
{
    const size_t row = ((size_t)(W * c) + 3) / 4 * 4;
    bytes out = {calloc(54 + row * H, 1), 54 + row * H};
    memcpy(out.data, "BM", 2);
    put_le(out.data + 10, 54);
    put_le(out.data + 18, W);
    put_le(out.data + 22, (uint32_t)-H);
    put_le(out.data + 28, (uint32_t)(8 * c));
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            for (int k = 0; k < c; k++) out.data[54 + (size_t)y * row + (size_t)(x * c + k)] = sample(y, x, c >= 3 && k < 3 ? 2 - k : k);
        }
    }
    return out;
}

/* One frame of 2 x 2 with colours 0, 1, 2, 3 of four: 10 20 30, 11 21 31, 12 22 32, 13 23 33. */
static bytes make_gif(void)
{
    static const uint8_t file[] = {'G', 'I', 'F', '8', '9', 'a', 2, 0, 2, 0, 0x81, 0, 0, 10, 20, 30, 11,   21,   31,   12, 22,
                                   32,  13,  23,  33,  ',', 0,   0, 0, 0, 2, 0,    2, 0, 0,  2,  3,  0x44, 0x34, 0x05, 0,  ';'};
    bytes out = {malloc(sizeof file), sizeof file};
    memcpy(out.data, file, sizeof file);
    return out;
}

/* The same frame with one transparent colour (2) ahead of a second frame that is larger: what neither covers is black. */
static bytes make_gif_on_canvas(void)
{
    static const uint8_t file[] = {'G', 'I',  'F',  '8',  '9',  'a', 4, 0, 4, 0, 0x81, 0,   0, 10, 20, 30, 11, 21,   31,   12,   22, 32,
                                   13,  23,   33,   '!',  0xf9, 4,   1, 0, 0, 2, 0,    ',', 1, 0,  1,  0,  2,  0,    2,    0,    0,  2,
                                   3,   0x44, 0x34, 0x05, 0,    ',', 0, 0, 0, 0, 1,    0,   4, 0,  0,  2,  3,  0x44, 0x34, 0x05, 0,  ';'};
    bytes out = {malloc(sizeof file), sizeof file};
    memcpy(out.data, file, sizeof file);
    return out;
}

static rn_status decode(bytes file, int32_t channels, rn_picture *out, rn_error *err)
{
    return rn_picture_decode(&(rn_picture_source){.bytes = file.data, .byte_count = file.count}, channels, out, err);
}

static rn_status run(const rn_image_op *op, bytes file, void *out, rn_error *err)
{
    return rn_image_run(op, &(rn_picture_source){.bytes = file.data, .byte_count = file.count}, out, err);
}

static void assert_shape(bytes file, int32_t channels, int32_t h, int32_t w, int32_t c)
{
    rn_picture picture;
    assert_int_equal(decode(file, channels, &picture, NULL), RN_STATUS_OK);
    assert_int_equal(picture.h, h);
    assert_int_equal(picture.w, w);
    assert_int_equal(picture.c, c);
    rn_picture_deinit(&picture);
    assert_null(picture.pixels);
}

static void assert_refused(bytes file, int32_t channels, rn_status expected, const char *words)
{
    rn_picture picture;
    rn_error err = {0};
    assert_int_equal(decode(file, channels, &picture, &err), expected);
    assert_non_null(strstr(err.message, words));
    assert_null(picture.pixels);
    assert_int_equal(decode(file, channels, &picture, NULL), expected); /* the message is optional */
}

static void assert_exact(bytes file, int32_t c)
{
    rn_picture picture;
    assert_int_equal(decode(file, 0, &picture, NULL), RN_STATUS_OK);
    assert_int_equal(picture.c, c);
    uint8_t *expected = samples(c);
    assert_memory_equal(picture.pixels, expected, (size_t)(H * W * c));
    free(expected);
    rn_picture_deinit(&picture);
}

/* ---- decoding ---- */

static void test_lossless_formats_are_exact(void **state)
{
    (void)state;
    const struct {
        bytes file;
        int32_t c;
    } cases[] = {{make_png(PNG_FORMAT_GRAY, 1), 1},
                 {make_png(PNG_FORMAT_GA, 2), 2},
                 {make_png(PNG_FORMAT_RGB, 3), 3},
                 {make_png(PNG_FORMAT_RGBA, 4), 4},
                 {make_bmp(1), 1},
                 {make_bmp(3), 3},
                 {make_bmp(4), 4},
                 {make_webp(), 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_exact(cases[i].file, cases[i].c);
        free(cases[i].file.data);
    }
}

static void test_channels_argument(void **state)
{
    (void)state;
    bytes grey = make_jpeg(JCS_GRAYSCALE, 1, false), rgb = make_jpeg(JCS_RGB, 3, true), cmyk = make_jpeg(JCS_CMYK, 4, false);
    bytes png = make_png(PNG_FORMAT_GA, 2), webp = make_webp(), bmp = make_bmp(3), gif = make_gif();
    assert_shape(grey, 0, H, W, 1);
    assert_shape(grey, 3, H, W, 3);
    assert_shape(rgb, 1, H, W, 1);
    assert_shape(cmyk, 0, H, W, 3);
    assert_shape(png, 1, H, W, 1);
    assert_shape(png, 3, H, W, 3);
    assert_shape(png, 4, H, W, 4);
    assert_shape(bmp, 4, H, W, 4);
    assert_shape(gif, 3, 2, 2, 3);
    assert_refused(rgb, 4, RN_STATUS_INVALID_ARGUMENT, "JPEG does not support 4 channels");
    assert_refused(cmyk, 1, RN_STATUS_INVALID_ARGUMENT, "jpeg::Uncompress failed. Invalid JPEG data or crop window.");
    assert_refused(gif, 1, RN_STATUS_INVALID_ARGUMENT, "channels must be 0 or 3 for GIF, got 1");
    assert_refused(bmp, 1, RN_STATUS_INVALID_ARGUMENT, "`channels` must be 0, 3 or 4 for BMP, but got 1");
    assert_refused(webp, 1, RN_STATUS_INVALID_ARGUMENT, "WebP only supports 3 or 4 channels");
    assert_refused(webp, 4, RN_STATUS_INVALID_ARGUMENT, "Number of channels requested does not match input");
    assert_refused(png, 2, RN_STATUS_INVALID_ARGUMENT, "`channels` must be 0, 1, 3 or 4 but got 2");
    bytes all[] = {grey, rgb, cmyk, png, webp, bmp, gif};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i].data);
}

static void test_gif_colours(void **state)
{
    (void)state;
    static const uint8_t expected[12] = {10, 20, 30, 11, 21, 31, 12, 22, 32, 13, 23, 33};
    bytes gif = make_gif();
    rn_picture picture;
    assert_int_equal(decode(gif, 0, &picture, NULL), RN_STATUS_OK);
    assert_memory_equal(picture.pixels, expected, sizeof expected);
    rn_picture_deinit(&picture);
    free(gif.data);
}

static void test_gif_is_black_where_nothing_is_drawn(void **state)
{
    (void)state;
    static const uint8_t expected[4 * 2 * 3] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 20, 30, 0, 0, 0, 0, 0, 0};
    bytes gif = make_gif_on_canvas();
    rn_picture picture = {.pixels = malloc(1000), .room_bytes = 1000};
    memset(picture.pixels, 0xa5, 1000);
    const rn_picture_source source = {.bytes = gif.data, .byte_count = gif.count};
    assert_int_equal(rn_picture_decode_again(&source, 0, &picture, NULL), RN_STATUS_OK);
    assert_true(picture.h == 4 && picture.w == 2 && picture.c == 3);
    assert_memory_equal(picture.pixels, expected, sizeof expected);
    rn_picture_deinit(&picture);
    free(gif.data);
}

static void test_what_is_no_picture(void **state)
{
    (void)state;
    assert_refused((bytes){(uint8_t *)"", 0}, 0, RN_STATUS_INVALID_ARGUMENT, "Input is empty.");
    assert_refused((bytes){(uint8_t *)"hello", 5}, 0, RN_STATUS_INVALID_ARGUMENT,
                   "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.");
    assert_refused((bytes){(uint8_t *)"\xff\x0a??", 4}, 0, RN_STATUS_UNSUPPORTED, "JPEG XL");
    assert_refused((bytes){(uint8_t *)"RIFF....WAVE....", 16}, 0, RN_STATUS_INVALID_ARGUMENT, "Unknown image file format");
}

/* A file cut anywhere is refused or, where the format allows it, read; memory errors are the sanitizer's to find. */
static void test_every_truncation(void **state)
{
    (void)state;
    bytes files[] = {make_jpeg(JCS_RGB, 3, false),
                     make_jpeg(JCS_RGB, 3, true),
                     make_jpeg(JCS_CMYK, 4, false),
                     make_png(PNG_FORMAT_RGB, 3),
                     make_webp(),
                     make_bmp(3),
                     make_gif()};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        for (size_t count = 0; count < files[i].count; count++) {
            uint8_t *cut = malloc(count ? count : 1);
            memcpy(cut, files[i].data, count);
            rn_picture picture;
            const rn_status status = decode((bytes){cut, count}, 0, &picture, NULL);
            const bool gif_without_trailer = files[i].data[0] == 'G' && count + 1 == files[i].count;
            assert_int_equal(status, gif_without_trailer ? RN_STATUS_OK : RN_STATUS_INVALID_ARGUMENT);
            rn_picture_deinit(&picture);
            free(cut);
        }
        free(files[i].data);
    }
}

/* One buffer for files of every format, larger and smaller, full of other bytes before: nothing of those shows. */
static void test_memory_is_used_again(void **state)
{
    (void)state;
    bytes files[] = {make_webp(),
                     make_gif_on_canvas(),
                     make_jpeg(JCS_RGB, 3, false),
                     make_jpeg(JCS_RGB, 3, true),
                     make_jpeg(JCS_CMYK, 4, false),
                     make_jpeg(JCS_GRAYSCALE, 1, false),
                     make_png(PNG_FORMAT_RGBA, 4),
                     make_png(PNG_FORMAT_GRAY, 1),
                     make_bmp(3),
                     make_gif()};
    rn_picture again = {0};
    for (size_t i = 0; i < 2 * sizeof files / sizeof files[0]; i++) {
        const bytes file = files[i / 2];
        const rn_picture_source source = {.bytes = file.data, .byte_count = file.count};
        rn_picture fresh;
        assert_int_equal(rn_picture_decode(&source, 0, &fresh, NULL), RN_STATUS_OK);
        const size_t count = (size_t)fresh.h * (size_t)fresh.w * (size_t)fresh.c;
        uint8_t *kept = again.room_bytes >= count ? again.pixels : NULL;
        if (again.pixels) memset(again.pixels, i % 2 ? 0x5a : 0xa5, again.room_bytes);
        assert_int_equal(rn_picture_decode_again(&source, 0, &again, NULL), RN_STATUS_OK);
        assert_true(!kept || again.pixels == kept);
        assert_true(again.h == fresh.h && again.w == fresh.w && again.c == fresh.c && again.room_bytes >= count);
        assert_memory_equal(again.pixels, fresh.pixels, count);
        rn_picture_deinit(&fresh);

        kept = again.pixels;
        const rn_picture_source cut = {.bytes = file.data, .byte_count = file.count / 2};
        assert_int_equal(rn_picture_decode_again(&cut, 0, &again, NULL), RN_STATUS_INVALID_ARGUMENT);
        assert_true(again.pixels == kept && again.h == 0 && again.w == 0 && again.c == 0);
        if (i % 2) free(file.data);
    }
    rn_picture_deinit(&again);
}

/* ---- limits ---- */

static void test_headers_that_claim_too_much(void **state)
{
    (void)state;
    bytes jpeg = make_jpeg(JCS_RGB, 3, false), png = make_png(PNG_FORMAT_RGB, 3), bmp = make_bmp(3), gif = make_gif();
    for (size_t i = 0; i + 9 < jpeg.count; i++) {
        if (jpeg.data[i] == 0xff && jpeg.data[i + 1] == 0xc0) memset(jpeg.data + i + 5, 0x70, 4);
    }
    assert_refused(jpeg, 0, RN_STATUS_INVALID_ARGUMENT,
                   "the picture is too large: 28784 x 28784 pixels, at most 100000000 in all (max_image_pixels)");

    png.data[17] = png.data[21] = 1; /* the second byte of width and height: 65536 and more */
    const uint32_t sum = (uint32_t)crc32(0, png.data + 12, 17);
    for (int i = 0; i < 4; i++) png.data[29 + i] = (uint8_t)(sum >> (24 - 8 * i));
    assert_refused(png, 0, RN_STATUS_INVALID_ARGUMENT, "the picture is too large: 65559 x 65555 pixels");

    put_le(bmp.data + 18, 50000);
    put_le(bmp.data + 22, 50000);
    assert_refused(bmp, 0, RN_STATUS_INVALID_ARGUMENT, "the picture is too large: 50000 x 50000 pixels");

    gif.data[31] = gif.data[33] = 0xff; /* width and height of the frame */
    assert_refused(gif, 0, RN_STATUS_INVALID_ARGUMENT, "the picture is too large: 65282 x 65282 pixels");
    bytes all[] = {jpeg, png, bmp, gif};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i].data);
}

/* The limit of the caller: every format at the limit and one pixel above it. */
static void test_limit_of_the_caller(void **state)
{
    (void)state;
    bytes files[] = {make_jpeg(JCS_RGB, 3, false), make_jpeg(JCS_RGB, 3, true), make_png(PNG_FORMAT_RGB, 3), make_webp(), make_bmp(3)};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        rn_picture_source source = {.bytes = files[i].data, .byte_count = files[i].count, .max_pixels = H * W};
        rn_picture picture;
        rn_error err = {0};
        assert_int_equal(rn_picture_decode(&source, 0, &picture, &err), RN_STATUS_OK);
        rn_picture_deinit(&picture);
        source.max_pixels--;
        assert_int_equal(rn_picture_decode(&source, 0, &picture, &err), RN_STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "the picture is too large: 23 x 19 pixels, at most 436 in all (max_image_pixels)"));
        assert_null(picture.pixels);
        free(files[i].data);
    }
    bytes gif = make_gif();
    rn_picture_source source = {.bytes = gif.data, .byte_count = gif.count, .max_pixels = 1};
    rn_picture picture;
    rn_error err = {0};
    assert_int_equal(rn_picture_decode(&source, 0, &picture, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "the picture is too large: 2 x 2 pixels, at most 1 in all (max_image_pixels)"));
    source.max_pixels = 4;
    assert_int_equal(rn_picture_decode(&source, 0, &picture, &err), RN_STATUS_OK);
    rn_picture_deinit(&picture);
    free(gif.data);
}

/* A limit above the usual one lets larger pictures in: 10,001 x 10,000 pixels of one grey level. */
static void test_limit_may_be_raised(void **state)
{
    (void)state;
    enum { RAISED_H = 10000, RAISED_W = 10001 };
    const size_t row_bytes = (RAISED_W + 3) / 4 * 4, count = 54 + row_bytes * RAISED_H;
    uint8_t *data = calloc(count, 1);
    memcpy(data, "BM", 2);
    put_le(data + 10, 54);
    put_le(data + 18, RAISED_W);
    put_le(data + 22, RAISED_H);
    put_le(data + 28, 8);
    rn_picture_source source = {.bytes = data, .byte_count = count};
    rn_picture picture;
    assert_int_equal(rn_picture_decode(&source, 0, &picture, NULL), RN_STATUS_INVALID_ARGUMENT);
    source.max_pixels = (int64_t)RAISED_H * RAISED_W;
    assert_int_equal(rn_picture_decode(&source, 0, &picture, NULL), RN_STATUS_OK);
    assert_int_equal(picture.w, RAISED_W);
    rn_picture_deinit(&picture);
    free(data);
}

/* libjpeg and libpng would print their complaints. */
static void test_nothing_is_printed(void **state)
{
    (void)state;
    bytes jpeg = make_jpeg(JCS_RGB, 3, false), png = make_png(PNG_FORMAT_RGB, 3);
    memset(jpeg.data + jpeg.count / 2, 0x55, 8);
    png.data[png.count / 2] ^= 0xff;
    FILE *file = tmpfile();
    fflush(stderr);
    const int kept = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    rn_picture picture;
    decode(jpeg, 0, &picture, NULL);
    rn_picture_deinit(&picture);
    decode(png, 0, &picture, NULL);
    rn_picture_deinit(&picture);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_int_equal(lseek(fileno(file), 0, SEEK_END), 0);
    fclose(file);
    free(jpeg.data);
    free(png.data);
}

/* ---- crop and resize ---- */

static void test_resize_known_values(void **state)
{
    (void)state;
    uint8_t pixels[] = {0, 100, 200, 50}, out[16];
    const rn_picture picture = {.h = 2, .w = 2, .c = 1, .pixels = pixels};
    const rn_image_op same = {.full_h = 2, .full_w = 2, .h = 2, .w = 2, .c = 1};
    const rn_image_op larger = {.full_h = 4, .full_w = 4, .h = 4, .w = 4, .c = 1};
    const rn_image_op one = {.full_h = 1, .full_w = 1, .h = 1, .w = 1, .c = 1};
    assert_int_equal(rn_picture_fit(&same, &picture, out, NULL), RN_STATUS_OK);
    assert_memory_equal(out, pixels, 4);
    assert_int_equal(rn_picture_fit(&one, &picture, out, NULL), RN_STATUS_OK);
    assert_int_equal(out[0], 87); /* 87.5 is cut, not rounded */
    static const uint8_t expected[16] = {0, 25, 75, 100, 50, 59, 78, 87, 150, 128, 84, 62, 200, 162, 87, 50};
    assert_int_equal(rn_picture_fit(&larger, &picture, out, NULL), RN_STATUS_OK);
    assert_memory_equal(out, expected, sizeof expected);
}

/* 3 x 6, values are columns: the square starts at column (3 + 1) / 2 = 2 or 3 / 2 = 1. */
static void test_crop_rules(void **state)
{
    (void)state;
    uint8_t pixels[18], out[18];
    for (int i = 0; i < 18; i++) pixels[i] = (uint8_t)(i % 6);
    const rn_picture picture = {.h = 3, .w = 6, .c = 1, .pixels = pixels};
    rn_image_op op = {.crop = RN_CROP_CENTER_SQUARE_ROUND_UP, .full_h = 3, .full_w = 3, .h = 3, .w = 3, .c = 1};
    assert_int_equal(rn_picture_fit(&op, &picture, out, NULL), RN_STATUS_OK);
    assert_int_equal(out[0], 2);
    op.crop = RN_CROP_CENTER_SQUARE_ROUND_DOWN;
    assert_int_equal(rn_picture_fit(&op, &picture, out, NULL), RN_STATUS_OK);
    assert_int_equal(out[0], 1);
    op = (rn_image_op){.crop = RN_CROP_NONE, .full_h = 3, .full_w = 6, .h = 3, .w = 6, .c = 1};
    assert_int_equal(rn_picture_fit(&op, &picture, out, NULL), RN_STATUS_OK);
    assert_memory_equal(out, pixels, sizeof pixels);
}

static void test_channels_must_fit_the_model(void **state)
{
    (void)state;
    bytes grey = make_jpeg(JCS_GRAYSCALE, 1, false);
    uint8_t out[3 * 8 * 8];
    rn_error err;
    rn_image_op op = {.crop = RN_CROP_CENTER_SQUARE_ROUND_UP, .full_h = 8, .full_w = 8, .h = 8, .w = 8, .c = 3};
    assert_int_equal(run(&op, grey, out, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.message, "the picture has 1 channel, the model takes 3");
    op.decode_channels = 3;
    assert_int_equal(run(&op, grey, out, &err), RN_STATUS_OK);
    free(grey.data);
}

/* ---- threads: the thread sanitizer's to judge, and every answer has to be the same ---- */

enum { THREADS = 4, ROUNDS = 20 };

typedef struct shared_pictures {
    bytes files[5];
    uint8_t expected[5][8 * 8 * 3];
} shared_pictures;

static const rn_image_op small_op = {.crop = RN_CROP_CENTER_SQUARE_ROUND_UP, .full_h = 8, .full_w = 8, .h = 8, .w = 8, .c = 3, .decode_channels = 3};

static void *run_pictures(void *argument)
{
    const shared_pictures *shared = argument;
    uintptr_t wrong = 0;
    for (int i = 0; i < ROUNDS * 5; i++) {
        uint8_t out[8 * 8 * 3];
        const bytes file = shared->files[i % 5];
        const rn_status status = run(&small_op, file, out, NULL);
        wrong += status != RN_STATUS_OK || memcmp(out, shared->expected[i % 5], sizeof out) != 0;
    }
    return (void *)wrong;
}

static void test_many_threads(void **state)
{
    (void)state;
    shared_pictures shared = {.files = {make_jpeg(JCS_RGB, 3, true), make_png(PNG_FORMAT_RGBA, 4), make_webp(), make_bmp(3), make_gif()}};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(run(&small_op, shared.files[i], shared.expected[i], NULL), RN_STATUS_OK);
    }
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, run_pictures, &shared), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    for (int i = 0; i < 5; i++) free(shared.files[i].data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lossless_formats_are_exact),
        cmocka_unit_test(test_channels_argument),
        cmocka_unit_test(test_gif_colours),
        cmocka_unit_test(test_gif_is_black_where_nothing_is_drawn),
        cmocka_unit_test(test_what_is_no_picture),
        cmocka_unit_test(test_memory_is_used_again),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_headers_that_claim_too_much),
        cmocka_unit_test(test_limit_of_the_caller),
        cmocka_unit_test(test_limit_may_be_raised),
        cmocka_unit_test(test_nothing_is_printed),
        cmocka_unit_test(test_resize_known_values),
        cmocka_unit_test(test_crop_rules),
        cmocka_unit_test(test_channels_must_fit_the_model),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
