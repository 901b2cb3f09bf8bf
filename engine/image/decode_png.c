/* PNG, through libpng, with the transformations that TensorFlow's DecodeImage asks for.
 *
 * libpng's errors jump: as in decode_jpeg.c, what has to survive lives in the caller's frame. Rows are decoded straight into the picture,
 * which interlaced files fill in several passes.
 */
#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "engine/image/decoders.h"

typedef struct png_reader {
    png_structp png;
    png_infop info;
    const uint8_t *next;
    size_t left;
    jmp_buf fatal;
    char reason[160];
} png_reader;

/* ---- callbacks of libpng ---- */

static void on_error(png_structp png, png_const_charp message)
{
    png_reader *reader = png_get_error_ptr(png);
    strncpy(reader->reason, message, sizeof reader->reason - 1);
    longjmp(reader->fatal, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static void on_read(png_structp png, png_bytep to, size_t byte_count)
{
    png_reader *reader = png_get_io_ptr(png);
    if (byte_count > reader->left) png_error(png, "the data ends too soon");
    memcpy(to, reader->next, byte_count);
    reader->next += byte_count;
    reader->left -= byte_count;
}

/* ---- decoding ---- */

/* Asks libpng for 8-bit samples in `channels` channels (0: as in the file) and returns how many there will be.
 *
 * Alpha is dropped, never blended. A transparent colour (tRNS) counts as alpha only for palettes, or where the caller wants alpha. The
 * value of alpha that is added is the largest of the file's own depth, so that a 1-bit picture gets alpha 1: TensorFlow does so. */
static int32_t choose_transformations(png_structp png, png_infop info, int32_t channels)
{
    const int colour = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    const bool palette = colour == PNG_COLOR_TYPE_PALETTE, grey = !(colour & PNG_COLOR_MASK_COLOR);
    const bool alpha = colour & PNG_COLOR_MASK_ALPHA, transparent = png_get_valid(png, info, PNG_INFO_tRNS);
    if (channels == 0) channels = palette ? (transparent ? 4 : 3) : png_get_channels(png, info);

    const bool wants_alpha = channels % 2 == 0;
    if (wants_alpha && !alpha && transparent) png_set_tRNS_to_alpha(png);
    if (wants_alpha && !alpha && !transparent) png_set_add_alpha(png, (1u << depth) - 1, PNG_FILLER_AFTER);
    if (!wants_alpha && (alpha || transparent)) png_set_strip_alpha(png);

    if (depth == 16) png_set_strip_16(png); /* the high byte: no rounding */
    png_set_packing(png);
    if (palette) png_set_palette_to_rgb(png);
    if (grey && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (channels < 3 && !grey) png_set_rgb_to_gray(png, PNG_ERROR_ACTION_NONE, 0.299, 0.587);
    if (channels >= 3 && grey) png_set_gray_to_rgb(png);
    return channels;
}

/* False when libpng gave up; the reason is in the reader. */
static bool read_header(png_reader *reader, int32_t channels, rn_picture *out)
{
    if (setjmp(reader->fatal)) return false;
    reader->info = png_create_info_struct(reader->png);
    if (!reader->info) png_error(reader->png, "no memory");
    png_set_read_fn(reader->png, reader, on_read);
    png_set_chunk_cache_max(reader->png, 1); /* keep none: a thousand compressed comments may expand to 8 MB each */
    png_read_info(reader->png, reader->info);
    out->c = choose_transformations(reader->png, reader->info, channels);
    out->h = (int32_t)png_get_image_height(reader->png, reader->info); /* libpng holds both to 2^31 - 1 and above zero */
    out->w = (int32_t)png_get_image_width(reader->png, reader->info);
    return true;
}

static bool read_pixels(png_reader *reader, rn_picture *out)
{
    if (setjmp(reader->fatal)) return false;
    const size_t row_bytes = (size_t)out->w * (size_t)out->c;
    const int pass_count = png_set_interlace_handling(reader->png);
    png_read_update_info(reader->png, reader->info);
    if (png_get_rowbytes(reader->png, reader->info) != row_bytes) png_error(reader->png, "unexpected row size");
    for (int pass = 0; pass < pass_count; pass++) {
        for (int32_t y = 0; y < out->h; y++) png_read_row(reader->png, out->pixels + (size_t)y * row_bytes, NULL);
    }
    png_read_end(reader->png, NULL);
    return true;
}

rn_status rn__decode_png(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    png_reader reader = {.next = source->bytes, .left = source->byte_count};
    reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
    if (!reader.png) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a PNG decoder");

    rn_picture header = {0};
    if (!read_header(&reader, channels, &header)) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Invalid PNG. Failed to initialize decoder. (%s)", reader.reason);
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, rn__picture_create(source, out, header.h, header.w, header.c, err));
    if (!read_pixels(&reader, out)) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Invalid PNG data, size %zu (%s)", source->byte_count, reader.reason);
    }

cleanup:
    png_destroy_read_struct(&reader.png, &reader.info, NULL);
    return status;
}
