/* Which decoder reads a file, and the memory that it decodes into.
 *
 * The first bytes decide, as in TensorFlow's decode_image: names and content types are not consulted. The formats stand in one list; a
 * format is one file and one line there.
 */
#include "engine/image/image.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/decoders.h"

static rn_status refuse_jpeg_xl(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    (void)source, (void)channels, (void)out;
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "JPEG XL pictures are not supported: send JPEG, PNG, GIF, BMP or WebP");
}

typedef struct picture_format {
    const char *signature; /* the first bytes; '?' stands for any */
    size_t signature_bytes;
    rn__decoder *decode;
} picture_format;

#define SIGNATURE(text) text, sizeof(text) - 1

static const picture_format formats[] = {
    {SIGNATURE("\xff\xd8\xff"), rn__decode_jpeg},
    {SIGNATURE("\x89PNG\r\n\x1a\n"), rn__decode_png},
    {SIGNATURE("GIF8"), rn__decode_gif},
    {SIGNATURE("BM"), rn__decode_bmp},
    {SIGNATURE("RIFF????WEBP?"), rn__decode_webp},
    {SIGNATURE("\xff\x0a"), refuse_jpeg_xl},                 /* a bare codestream */
    {SIGNATURE("\0\0\0\x0cJXL \r\n\x87\n"), refuse_jpeg_xl}, /* a container */
};

static bool matches(const picture_format *format, const uint8_t *bytes, size_t byte_count)
{
    if (byte_count < format->signature_bytes) return false;
    for (size_t i = 0; i < format->signature_bytes; i++) {
        if (format->signature[i] != '?' && (uint8_t)format->signature[i] != bytes[i]) return false;
    }
    return true;
}

static const picture_format *find_format(const uint8_t *bytes, size_t byte_count)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (matches(&formats[i], bytes, byte_count)) return &formats[i];
    }
    return NULL;
}

static rn_status decode(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    const size_t byte_count = source->byte_count;
    if (byte_count == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Input is empty.");
    if (byte_count > INT_MAX) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Input contents are too large for int: %zu", byte_count);
    if (channels != 0 && channels != 1 && channels != 3 && channels != 4) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "`channels` must be 0, 1, 3 or 4 but got %d", channels);
    }

    const picture_format *format = find_format(source->bytes, byte_count);
    if (!format) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.");
    }
    return format->decode(source, channels, out, err);
}

rn_status rn_picture_decode_again(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    const rn_status status = decode(source, channels, out, err);
    if (status != RN_STATUS_OK) *out = (rn_picture){.pixels = out->pixels, .room_bytes = out->room_bytes};
    return status;
}

rn_status rn_picture_decode(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    *out = (rn_picture){0};
    const rn_status status = decode(source, channels, out, err);
    if (status != RN_STATUS_OK) rn_picture_deinit(out);
    return status;
}

void rn_picture_deinit(rn_picture *picture)
{
    free(picture->pixels);
    *picture = (rn_picture){0};
}

static int64_t max_pixels_of(const rn_picture_source *source)
{
    return source->max_pixels > 0 ? source->max_pixels : RN_IMAGE_MAX_PIXELS;
}

rn_status rn__picture_check_size(const rn_picture_source *source, int64_t h, int64_t w, rn_error *err)
{
    const int64_t most = max_pixels_of(source);
    if (h <= 0 || w <= 0) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "the picture has no pixels: %lld x %lld", (long long)w, (long long)h);
    }
    if (h > most / w) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "the picture is too large: %lld x %lld pixels, at most %lld in all (max_image_pixels)", (long long)w, (long long)h,
                       (long long)most);
    }
    return RN_STATUS_OK;
}

int64_t rn__picture_work_limit(const rn_picture_source *source, int32_t pictures)
{
    const int64_t most = max_pixels_of(source);
    return pictures * (most > RN_IMAGE_MAX_PIXELS ? most : RN_IMAGE_MAX_PIXELS);
}

rn_status rn__picture_create(const rn_picture_source *source, rn_picture *out, int64_t h, int64_t w, int32_t c, rn_error *err)
{
    RN_TRY(rn__picture_check_size(source, h, w, err));
    const size_t byte_count = (size_t)h * (size_t)w * (size_t)c;
    if (byte_count > out->room_bytes) {
        free(out->pixels);
        *out = (rn_picture){.pixels = malloc(byte_count), .room_bytes = byte_count};
    }
    out->h = (int32_t)h, out->w = (int32_t)w, out->c = c;
    if (out->pixels) return RN_STATUS_OK;
    *out = (rn_picture){0};
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a picture of %zu bytes", byte_count);
}

rn_status rn_image_run_again(const rn_image_op *op, const rn_picture_source *source, rn_picture *between, void *out, rn_error *err)
{
    RN_TRY(rn_picture_decode_again(source, op->decode_channels, between, err));
    return rn_picture_fit(op, between, out, err);
}

rn_status rn_image_run(const rn_image_op *op, const rn_picture_source *source, void *out, rn_error *err)
{
    rn_picture picture = {0};
    const rn_status status = rn_image_run_again(op, source, &picture, out, err);
    rn_picture_deinit(&picture);
    return status;
}
