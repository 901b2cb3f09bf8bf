/* The decoders behind rn_picture_decode, one file a format. For engine/image only.
 *
 * Each takes a whole encoded file and decode_image's channels argument (0, 1, 3 or 4), and fills *out by way of rn__picture_create. On
 * failure it may leave what it likes in *out but its memory: rn_picture_decode sees to that. Thread-safe: all state is in the call.
 */
#ifndef RN_ENGINE_IMAGE_DECODERS_H
#define RN_ENGINE_IMAGE_DECODERS_H

#include "engine/image/image.h"

typedef rn_status rn__decoder(const rn_picture_source *source, int32_t channels, rn_picture *out, rn_error *err);

rn__decoder rn__decode_jpeg, rn__decode_png, rn__decode_gif, rn__decode_bmp, rn__decode_webp;

/* Gives *out its size and room for the pixels, which hold anything: decoders write all of them. INVALID_ARGUMENT when w * h exceeds
 * source->max_pixels: decoders call it with the sizes of the file's header, before they ask their library for memory. */
rn_status rn__picture_create(const rn_picture_source *source, rn_picture *out, int64_t h, int64_t w, int32_t c, rn_error *err);

/* The limit alone, for libraries that allocate by themselves between header and pixels. */
rn_status rn__picture_check_size(const rn_picture_source *source, int64_t h, int64_t w, rn_error *err);

/* Pixels that `pictures` of the largest size have. It bounds the time that a file can take which holds many frames or scans; a limit below
 * the usual one does not lower it, because an animation of small frames is no danger. */
int64_t rn__picture_work_limit(const rn_picture_source *source, int32_t pictures);

#endif
