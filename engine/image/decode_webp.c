/* WebP, through libwebp: RGB, or RGBA where the file declares alpha; of an animation the first frame on its canvas, always RGBA.
 *
 * TensorFlow converts nothing here: a caller that asks for other channels than the file has is refused.
 */
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "engine/image/decoders.h"

static rn_status decode_still(const rn_picture_source *source, rn_picture *out, rn_error *err)
{
    const int row_bytes = out->w * out->c; /* libwebp's sides stay below 2^14 */
    const size_t out_bytes = (size_t)row_bytes * (size_t)out->h;
    const uint8_t *done = out->c == 4 ? WebPDecodeRGBAInto(source->bytes, source->byte_count, out->pixels, out_bytes, row_bytes)
                                      : WebPDecodeRGBInto(source->bytes, source->byte_count, out->pixels, out_bytes, row_bytes);
    if (!done) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Failed to decode WebP image.");
    return RN_STATUS_OK;
}

/* The decoder owns the canvas that it hands out. */
static rn_status decode_first_frame(const rn_picture_source *source, rn_picture *out, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    uint8_t *canvas;
    int end_ms;
    WebPAnimInfo info;
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&(WebPData){source->bytes, source->byte_count}, NULL);
    if (!decoder || !WebPAnimDecoderGetInfo(decoder, &info)) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Failed to decode WebP Animation: failed to decode WebP Animation");
        goto cleanup;
    }
    if (info.canvas_width != (uint32_t)out->w || info.canvas_height != (uint32_t)out->h) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Failed to decode WebP Animation: canvas of %u x %u, expected %d x %d",
                         info.canvas_width, info.canvas_height, out->w, out->h);
        goto cleanup;
    }
    if (!WebPAnimDecoderHasMoreFrames(decoder) || !WebPAnimDecoderGetNext(decoder, &canvas, &end_ms)) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Failed to decode WebP Animation: failed to decode frame: 0");
        goto cleanup;
    }
    memcpy(out->pixels, canvas, (size_t)out->h * (size_t)out->w * (size_t)out->c);

cleanup:
    WebPAnimDecoderDelete(decoder);
    return status;
}

rn_status rn__decode_webp(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err)
{
    if (channels == 1) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "WebP only supports 3 or 4 channels");
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(source->bytes, source->byte_count, &features) != VP8_STATUS_OK) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Failed to decode WebP header.");
    }
    const int32_t file_channels = features.has_alpha ? 4 : 3;
    if (channels != 0 && channels != file_channels) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Number of channels requested does not match input: %d requested, the file has %d",
                       channels, file_channels);
    }
    if (features.has_animation && channels == 3) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "WebP Animation must be 4 channel RGBA");

    RN_TRY(rn__picture_create(source, out, features.height, features.width, features.has_animation ? 4 : file_channels, err));
    return features.has_animation ? decode_first_frame(source, out, err) : decode_still(source, out, err);
}
