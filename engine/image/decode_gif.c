/* GIF, through giflib: the first frame, as TensorFlow's DecodeImage shows it with expand_animations=False.
 *
 * The picture is as wide as the widest and as high as the highest frame of the file, whatever screen the file declares, so all frames have
 * to be read for one. giflib's DGifSlurp would hold them all in memory; the loop here keeps the first and decodes the others into one row.
 * A defect ends the file where it stands, as it does there: the whole frames before it are used, and one is enough.
 */
#include <stdlib.h>
#include <string.h>

#include <gif_lib.h>

#include "engine/image/decoders.h"

/* Bounds the time that one file can take: a small file can hold this many, and they take three seconds (Xeon, 160 million pixels a second). */
enum { MAX_LARGEST_FRAMES = 5 };

typedef struct gif_reader {
    const rn_picture_source *source;
    GifFileType *gif;
    const uint8_t *next;
    size_t left;
    uint8_t *first; /* colour indexes of the first frame, dense */
    uint8_t *row;   /* of any other frame */
    int32_t row_bytes;
    int32_t transparent; /* colour index of the first frame, or NO_TRANSPARENT_COLOR */
    bool control_seen;   /* before the first frame: its first graphics control block counts */
    int32_t frame_count; /* whole frames so far; the sizes and pixels are theirs */
    int32_t w, h;
    int64_t pixel_count;
} gif_reader;

static int on_read(GifFileType *gif, GifByteType *to, int byte_count)
{
    gif_reader *reader = gif->UserData;
    const size_t wanted = (size_t)byte_count, taken = wanted < reader->left ? wanted : reader->left;
    memcpy(to, reader->next, taken);
    reader->next += taken;
    reader->left -= taken;
    return (int)taken;
}

static const char *error_text(int code)
{
    const char *text = GifErrorString(code);
    return text ? text : "Unknown error";
}

/* ---- reading the records of the file: false is giflib's error, a limit or no memory is a status ---- */

static bool read_extension(gif_reader *reader)
{
    int code;
    GifByteType *block; /* a byte count and that many bytes, or NULL at the end */
    if (DGifGetExtension(reader->gif, &code, &block) != GIF_OK) return false;
    if (code == GRAPHICS_EXT_FUNC_CODE && block && reader->frame_count == 0 && !reader->control_seen) {
        GraphicsControlBlock control;
        reader->control_seen = true;
        if (DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) reader->transparent = control.TransparentColor;
    }
    do { /* one block is read after an empty extension too: DGifSlurp does so */
        if (DGifGetExtensionNext(reader->gif, &block) != GIF_OK) return false;
    } while (block);
    return true;
}

static rn_status make_room(uint8_t **buffer, size_t byte_count, rn_error *err)
{
    uint8_t *grown = realloc(*buffer, byte_count);
    if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a GIF frame of %zu bytes", byte_count);
    *buffer = grown;
    return RN_STATUS_OK;
}

/* Room for the frame whose description was just read: all of it for the first, a row for the others. */
static rn_status make_frame_room(gif_reader *reader, int32_t w, int32_t h, rn_error *err)
{
    RN_TRY(rn__picture_check_size(reader->source, h, w, err));
    reader->pixel_count += (int64_t)w * h;
    const int64_t most = rn__picture_work_limit(reader->source, MAX_LARGEST_FRAMES);
    if (reader->pixel_count > most) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "the animation is too long: more than %lld pixels in all frames", (long long)most);
    }
    if (reader->frame_count == 0) return make_room(&reader->first, (size_t)w * (size_t)h, err);
    if (w <= reader->row_bytes) return RN_STATUS_OK;
    reader->row_bytes = w;
    return make_room(&reader->row, (size_t)w, err);
}

/* Interlaced frames hold every 8th row from 0, every 8th from 4, every 4th from 2, every 2nd from 1 (GIF89a, appendix E). */
static bool read_rows(gif_reader *reader, int32_t w, int32_t h)
{
    static const struct row_pass {
        int32_t from, step;
    } interlaced[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}}, dense[] = {{0, 1}};
    const bool laced = reader->gif->Image.Interlace;
    const struct row_pass *passes = laced ? interlaced : dense;
    for (int i = 0; i < (laced ? 4 : 1); i++) {
        for (int32_t y = passes[i].from; y < h; y += passes[i].step) {
            uint8_t *row = reader->frame_count == 0 ? reader->first + (size_t)y * (size_t)w : reader->row;
            if (DGifGetLine(reader->gif, row, w) != GIF_OK) return false;
        }
    }
    return true;
}

static rn_status read_frame(gif_reader *reader, bool *whole, rn_error *err)
{
    *whole = false;
    if (DGifGetImageDesc(reader->gif) != GIF_OK) return RN_STATUS_OK;
    const int32_t w = reader->gif->Image.Width, h = reader->gif->Image.Height;
    if (w <= 0 || h <= 0) return RN_STATUS_OK;
    RN_TRY(make_frame_room(reader, w, h, err));
    *whole = read_rows(reader, w, h);
    if (!*whole) return RN_STATUS_OK;
    if (w > reader->w) reader->w = w;
    if (h > reader->h) reader->h = h;
    reader->frame_count++;
    return RN_STATUS_OK;
}

static rn_status read_records(gif_reader *reader, rn_error *err)
{
    bool good = true;
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    while (good && record != TERMINATE_RECORD_TYPE) {
        good = DGifGetRecordType(reader->gif, &record) == GIF_OK;
        if (good && record == IMAGE_DESC_RECORD_TYPE) RN_TRY(read_frame(reader, &good, err));
        if (good && record == EXTENSION_RECORD_TYPE) good = read_extension(reader);
    }
    if (reader->frame_count > 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "failed to slurp gif file: %s",
                   error_text(good ? D_GIF_ERR_NO_IMAG_DSCR : reader->gif->Error));
}

/* ---- the picture ---- */

/* The first frame at its place on a black picture; what lies outside, and what is transparent, stays black. */
static rn_status draw_first_frame(const gif_reader *reader, rn_picture *out, rn_error *err)
{
    const GifImageDesc *frame = &reader->gif->SavedImages[0].ImageDesc;
    const ColorMapObject *colours = frame->ColorMap ? frame->ColorMap : reader->gif->SColorMap;
    if (!colours) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "missing color map for frame 0");

    const int32_t right = frame->Left + frame->Width < out->w ? frame->Left + frame->Width : out->w;
    const int32_t bottom = frame->Top + frame->Height < out->h ? frame->Top + frame->Height : out->h;
    for (int32_t y = frame->Top; y < bottom; y++) {
        const uint8_t *from = reader->first + (size_t)(y - frame->Top) * (size_t)frame->Width;
        uint8_t *to = out->pixels + ((size_t)y * (size_t)out->w + (size_t)frame->Left) * 3;
        for (int32_t x = frame->Left; x < right; x++, from++, to += 3) {
            if (*from == reader->transparent) continue;
            if (*from >= colours->ColorCount) {
                return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "found color index %d outside of color map range %d", *from,
                               colours->ColorCount);
            }
            const GifColorType *colour = &colours->Colors[*from];
            to[0] = colour->Red;
            to[1] = colour->Green;
            to[2] = colour->Blue;
        }
    }
    return RN_STATUS_OK;
}

rn_status rn__decode_gif(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    if (channels != 0 && channels != 3) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "channels must be 0 or 3 for GIF, got %d", channels);
    }

    rn_status status = RN_STATUS_OK;
    int code = D_GIF_SUCCEEDED;
    gif_reader reader = {.source = source, .next = source->bytes, .left = source->byte_count, .transparent = NO_TRANSPARENT_COLOR};
    reader.gif = DGifOpen(&reader, on_read, &code);
    if (!reader.gif) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "failed to open gif file: %s", error_text(code));
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, read_records(&reader, err));
    RN_TRY_CLEANUP(status, rn__picture_create(source, out, reader.h, reader.w, 3, err));
    memset(out->pixels, 0, (size_t)out->h * (size_t)out->w * 3);
    RN_TRY_CLEANUP(status, draw_first_frame(&reader, out, err));

cleanup:
    if (status == RN_STATUS_INVALID_ARGUMENT) rn_error_prefix(err, "Invalid GIF data (size %zu)", source->byte_count);
    if (reader.gif) DGifCloseFile(reader.gif, &code);
    free(reader.first);
    free(reader.row);
    return status;
}
