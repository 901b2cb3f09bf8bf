/* JPEG, through libjpeg-turbo, with the choices of TensorFlow's DecodeImage: the fast integer DCT and fancy upsampling.
 *
 * libjpeg reports fatal errors through a callback that must not return, so the decoding runs under setjmp. Everything that has to survive
 * the jump sits in one struct of the caller's frame; row memory comes from libjpeg's pool, which jpeg_destroy_decompress frees.
 *
 * TensorFlow ignores libjpeg's warnings (bad Huffman codes, extraneous bytes) and returns the picture. It refuses a file that ends before
 * its end-of-image marker, so the source below has no bytes to make up: asking for more is fatal.
 */
#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs FILE */

#include <jpeglib.h>

#include <jerror.h>

#include "engine/image/decoders.h"

/* A progressive file may hold any number of scans, and each costs a pass over the whole picture: a small file could keep a worker busy for
 * hours. Encoders write about ten. */
enum { MAX_SCANS = 500, MAX_SCANS_OF_LARGEST = 20 };

typedef struct jpeg_reader {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf fatal;
    const rn_picture_source *file;
    rn_picture *out;
    rn_error *err;
    rn_status status;
} jpeg_reader;

/* ---- callbacks of libjpeg ---- */

static void fail(j_common_ptr info, rn_status status, const char *reason)
{
    jpeg_reader *reader = info->client_data;
    reader->status = RN_FAIL(reader->err, status, "jpeg::Uncompress failed. Invalid JPEG data or crop window. (%s)", reason);
    longjmp(reader->fatal, 1);
}

static void on_error(j_common_ptr info)
{
    char reason[JMSG_LENGTH_MAX];
    info->err->format_message(info, reason);
    fail(info, info->err->msg_code == JERR_OUT_OF_MEMORY ? RN_STATUS_OUT_OF_MEMORY : RN_STATUS_INVALID_ARGUMENT, reason);
}

static void on_message(j_common_ptr info, int level)
{
    (void)info, (void)level;
}

static void on_progress(j_common_ptr info)
{
    const j_decompress_ptr picture = (j_decompress_ptr)info;
    const jpeg_reader *reader = info->client_data;
    const int64_t pixels = (int64_t)picture->image_width * picture->image_height;
    if (picture->input_scan_number > MAX_SCANS ||
        picture->input_scan_number * pixels > rn__picture_work_limit(reader->file, MAX_SCANS_OF_LARGEST)) {
        fail(info, RN_STATUS_INVALID_ARGUMENT, "more scans than any encoder writes");
    }
}

static void source_ignore(j_decompress_ptr info)
{
    (void)info;
}

static boolean source_fill(j_decompress_ptr info)
{
    fail((j_common_ptr)info, RN_STATUS_INVALID_ARGUMENT, "the data ends before the end-of-image marker");
    return FALSE;
}

static void source_skip(j_decompress_ptr info, long byte_count)
{
    if (byte_count <= 0) return;
    if ((size_t)byte_count > info->src->bytes_in_buffer) source_fill(info);
    info->src->next_input_byte += byte_count;
    info->src->bytes_in_buffer -= (size_t)byte_count;
}

/* ---- decoding ---- */

/* c, m, y, k -> r, g, b. Adobe's files hold inverted ink. */
static void cmyk_to_rgb(const uint8_t *cmyk, bool inverted, int32_t w, uint8_t *rgb)
{
    const int flip = inverted ? 0 : 255;
    for (int32_t x = 0; x < w; x++) {
        const int k = cmyk[4 * x + 3] ^ flip;
        for (int32_t i = 0; i < 3; i++) rgb[3 * x + i] = (uint8_t)((cmyk[4 * x + i] ^ flip) * k / 255);
    }
}

static void choose_colours(jpeg_reader *reader, int32_t channels)
{
    struct jpeg_decompress_struct *info = &reader->info;
    if (channels == 0) channels = info->num_components < 3 ? info->num_components : 3;
    if (channels == 2) fail((j_common_ptr)info, RN_STATUS_INVALID_ARGUMENT, "two colour components");
    const bool inks = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = channels == 1 ? JCS_GRAYSCALE : inks ? JCS_CMYK : JCS_RGB;
    info->dct_method = JDCT_IFAST;
    info->do_fancy_upsampling = TRUE;
}

static void read_rows(jpeg_reader *reader)
{
    struct jpeg_decompress_struct *info = &reader->info;
    rn_picture *out = reader->out;
    const size_t row_bytes = (size_t)out->w * (size_t)out->c;
    JSAMPARRAY cmyk = NULL;
    if (info->out_color_space == JCS_CMYK) cmyk = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, info->output_width * 4, 1);

    while (info->output_scanline < info->output_height) {
        uint8_t *row = out->pixels + info->output_scanline * row_bytes;
        jpeg_read_scanlines(info, cmyk ? cmyk : &row, 1);
        if (cmyk) cmyk_to_rgb(cmyk[0], info->saw_Adobe_marker, out->w, row);
    }
}

/* Returns the status; fatal errors arrive here by longjmp. Nothing local changes after setjmp. */
static rn_status read_picture(jpeg_reader *reader, int32_t channels)
{
    struct jpeg_decompress_struct *info = &reader->info;
    if (setjmp(reader->fatal)) return reader->status;

    jpeg_create_decompress(info);
    info->src = &reader->source;
    info->progress = &reader->progress;
    jpeg_read_header(info, TRUE);
    choose_colours(reader, channels);
    jpeg_calc_output_dimensions(info);
    RN_TRY(rn__picture_create(reader->file, reader->out, info->output_height, info->output_width,
                              info->out_color_space == JCS_GRAYSCALE ? 1 : 3, reader->err));
    jpeg_start_decompress(info);
    read_rows(reader);
    jpeg_finish_decompress(info); /* reads up to the end-of-image marker: a file without it is refused here */
    return RN_STATUS_OK;
}

rn_status rn__decode_jpeg(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    if (channels == 4) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "JPEG does not support 4 channels");
    jpeg_reader reader = {
        .file = source,
        .out = out,
        .err = err,
        .progress = {.progress_monitor = on_progress},
        .source = {.next_input_byte = source->bytes,
                   .bytes_in_buffer = source->byte_count,
                   .init_source = source_ignore,
                   .fill_input_buffer = source_fill,
                   .skip_input_data = source_skip,
                   .resync_to_restart = jpeg_resync_to_restart,
                   .term_source = source_ignore},
    };
    reader.info.err = jpeg_std_error(&reader.errors);
    reader.info.client_data = &reader;
    reader.errors.error_exit = on_error;
    reader.errors.emit_message = on_message;
    const rn_status status = read_picture(&reader, channels);
    jpeg_destroy_decompress(&reader.info);
    return status;
}
