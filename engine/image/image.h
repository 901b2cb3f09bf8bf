/* Pictures as TensorFlow reads them: decode, crop and resize, bit-equal to tf.io.decode_image and tf.image.resize (2.21).
 *
 * Sources: TensorFlow operations DecodeImage, Resize*, Cast. Every function may be called from any thread.
 */
#ifndef RN_ENGINE_IMAGE_IMAGE_H
#define RN_ENGINE_IMAGE_IMAGE_H

#include "engine/backend.h"

/* Most pixels that a picture may have where nobody says otherwise: a guard against small files that claim to be huge. */
enum { RN_IMAGE_MAX_PIXELS = 100 * 1000 * 1000 };

/* An encoded picture: borrowed bytes, and how far they are trusted. */
typedef struct rn_picture_source {
    const uint8_t *bytes;
    size_t byte_count;
    int64_t max_pixels; /* a larger picture is refused when its header has been read, before there is memory for it: at most 500 million, so
                           that samples of a row can be counted in 32 bits; 0: RN_IMAGE_MAX_PIXELS */
} rn_picture_source;

/* A decoded picture: [h][w][c] uint8, dense, on the heap; c is 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA. */
typedef struct rn_picture {
    int32_t h, w, c;
    uint8_t *pixels;
    size_t room_bytes; /* of `pixels`, as far as they are to be used again; 0 where they are just the picture's */
} rn_picture;

/* decode_image(source, channels, dtype=uint8, expand_animations=False). channels: 0 as in the file, or 1, 3, 4. The content decides the
 * format: JPEG, PNG, GIF (first frame), BMP, WebP. INVALID_ARGUMENT where TensorFlow refuses, in TensorFlow's words, and above the limit;
 * UNSUPPORTED for JPEG XL. *out is zeroed on failure. */
rn_status rn_picture_decode(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err);
/* The same into the memory of *out, a picture that was decoded before or zeroed, where it has room enough. On failure *out has no size, and
 * its memory still. */
rn_status rn_picture_decode_again(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err);
void rn_picture_deinit(rn_picture *picture); /* zeroed or decoded */

/* What the crop of `op` leaves of a decoded picture: points into it. INVALID_ARGUMENT when the channels differ. */
rn_status rn_picture_crop(const rn_image_op *op, const rn_picture *picture, rn_picture_window *out, rn_error *err);

/* All that `op` does to a decoded picture. out: [op->h][op->w][op->c], f32 where op->as_float, else u8. INVALID_ARGUMENT when the channels
 * differ, or the picture is so thin that no size fits. */
rn_status rn_picture_fit(const rn_image_op *op, const rn_picture *picture, void *out, rn_error *err);

/* Both: one encoded picture to the row of the plan's image operation. */
rn_status rn_image_run(const rn_image_op *op, const rn_picture_source *source, void *out, rn_error *err);
/* The same, decoding into `between` as rn_picture_decode_again does. */
rn_status rn_image_run_again(const rn_image_op *op, const rn_picture_source *source, rn_picture *between, void *out, rn_error *err);

/* One row of a numeric input to the row of the plan's fit operation, in TensorFlow's float32 arithmetic, bit-equal to its ResizeBilinear. x: the
 * operation's input tensor; row and out: rows of it and of the result. OUT_OF_MEMORY is all that can fail. */
rn_status rn_fit_run(const rn_fit_op *op, const rn_plan_tensor *x, const void *row, float *out, rn_error *err);

#endif
