/* Huffman decoding is what a JPEG costs most, so that the made-up picture needs as many bits as a photograph of its size does: waves of
 * several lengths with some noise on them. */
#include "tools/bench/sample_picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include "tools/bench/failure.h"

enum { QUALITY = 90, NOISE = 14, MAX_FILE_BYTES = 64 << 20 };

static uint8_t *draw(void)
{
    uint8_t *pixels = bench_allocate((size_t)BENCH_PICTURE_H * BENCH_PICTURE_W * 3);
    uint32_t random = 1;
    for (int i = 0; i < BENCH_PICTURE_H * BENCH_PICTURE_W * 3; i++) {
        const double x = i / 3 % BENCH_PICTURE_W, y = i / 3 / BENCH_PICTURE_W, colour = i % 3;
        random = random * 1664525u + 1013904223u;
        const double slow = 45 * sin(0.011 * x + colour) + 35 * cos(0.017 * y - colour);
        const double fast = 20 * sin(0.09 * x + 0.05 * y) + 12 * cos(0.21 * y);
        pixels[i] = (uint8_t)(128 + slow + fast + (int)(random >> 24) % NOISE - NOISE / 2.0);
    }
    return pixels;
}

static void encode(const uint8_t *pixels, bench_picture *out)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned long bytes = 0;
    info.err = jpeg_std_error(&errors); /* ends the program with a message, which is what is wanted here */
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &out->bytes, &bytes);
    info.image_width = BENCH_PICTURE_W;
    info.image_height = BENCH_PICTURE_H;
    info.input_components = 3;
    info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info); /* 4:2:0 */
    jpeg_set_quality(&info, QUALITY, TRUE);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        JSAMPROW row = (JSAMPROW)(pixels + (size_t)info.next_scanline * BENCH_PICTURE_W * 3);
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    out->byte_count = bytes;
}

static void read_file(const char *path, bench_picture *out)
{
    FILE *file = fopen(path, "rb");
    if (!file) bench_fail("cannot read %s", path);
    out->bytes = bench_allocate(MAX_FILE_BYTES);
    out->byte_count = fread(out->bytes, 1, MAX_FILE_BYTES, file);
    if (ferror(file) || out->byte_count == 0 || out->byte_count == MAX_FILE_BYTES)
        bench_fail("%s: expected a picture of 1 to %d bytes", path, MAX_FILE_BYTES - 1);
    fclose(file);
}

void bench_picture_init(bench_picture *picture, const char *path)
{
    *picture = (bench_picture){0};
    if (path) {
        read_file(path, picture);
    } else {
        picture->pixels = draw();
        encode(picture->pixels, picture);
    }
}

void bench_picture_deinit(bench_picture *picture)
{
    free(picture->bytes);
    free(picture->pixels);
}
