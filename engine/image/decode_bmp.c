/* BMP, by hand and by TensorFlow's rules, which are fewer than the format's.
 *
 * Uncompressed rows of 1, 3 or 4 bytes a pixel, padded to 4 bytes, bottom row first unless the height is negative. The compression field is
 * not read, and palettes are not applied: the indexes of an 8-bit file come out as grey levels. The file must be exactly as long as its
 * header says. Offsets in the file: 10 start of the pixels, 18 width, 22 height (int32 each), 28 bits a pixel (int16), little-endian.
 */
#include "engine/image/decoders.h"

enum { HEADER_BYTES = 32 };

typedef struct bmp_header {
    int64_t pixels_at, w, h, row_bytes;
    int32_t c;
    bool top_down;
} bmp_header;

static int32_t read_i32(const uint8_t *at)
{
    return (int32_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
}

static int16_t read_i16(const uint8_t *at)
{
    return (int16_t)(at[0] | at[1] << 8);
}

static rn_status read_header(const rn_picture_source *source, bmp_header *out, rn_error *err)
{
    const uint8_t *bytes = source->bytes;
    const size_t byte_count = source->byte_count;
    if (byte_count < HEADER_BYTES) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "Incomplete bmp content, requires at least 32 bytes to find the header size, width, height, and bpp, got %zu bytes",
                       byte_count);
    }
    const int64_t h = read_i32(bytes + 22);
    *out = (bmp_header){.pixels_at = read_i32(bytes + 10),
                        .w = read_i32(bytes + 18),
                        .h = h < 0 ? -h : h,
                        .c = read_i16(bytes + 28) / 8,
                        .top_down = h < 0};
    if (out->c != 1 && out->c != 3 && out->c != 4) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Number of channels inherent in the image must be 1, 3 or 4, was %d", out->c);
    }
    if (out->w <= 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Width must be positive");
    if (out->h == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Height must be nonzero");
    if (out->pixels_at < 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "header size must be nonnegative");
    RN_TRY(rn__picture_check_size(source, out->h, out->w, err));

    out->row_bytes = (out->w * out->c + 3) / 4 * 4;
    const int64_t surplus = (int64_t)byte_count - out->pixels_at - out->row_bytes * out->h;
    if (surplus != 0) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "Input size should match (header_size + row_size * abs_height) but they differ by %lld", (long long)surplus);
    }
    return RN_STATUS_OK;
}

/* Grey to grey, RGB or RGBA; BGR and BGRA to RGB or RGBA. */
static void convert_row(const uint8_t *from, int32_t from_c, int32_t w, uint8_t *to, int32_t to_c)
{
    const int32_t red = from_c == 1 ? 0 : 2, green = from_c == 1 ? 0 : 1;
    for (int32_t x = 0; x < w; x++, from += from_c, to += to_c) {
        to[0] = from[red];
        if (to_c == 1) continue;
        to[1] = from[green];
        to[2] = from[0];
        if (to_c == 4) to[3] = from_c == 4 ? from[3] : UINT8_MAX;
    }
}

rn_status rn__decode_bmp(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    if (channels == 1) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "`channels` must be 0, 3 or 4 for BMP, but got %d", channels);
    bmp_header header = {0};
    RN_TRY(read_header(source, &header, err));
    RN_TRY(rn__picture_create(source, out, header.h, header.w, channels ? channels : header.c, err));

    const size_t out_row_bytes = (size_t)out->w * (size_t)out->c;
    for (int64_t y = 0; y < header.h; y++) {
        const int64_t row = header.top_down ? y : header.h - 1 - y;
        convert_row(source->bytes + header.pixels_at + row * header.row_bytes, header.c, out->w, out->pixels + (size_t)y * out_row_bytes,
                    out->c);
    }
    return RN_STATUS_OK;
}
