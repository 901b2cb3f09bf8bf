/* Encoded pictures of every format, as a request brings them: decode, crop, resize. The first byte says how; the rest is the file. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/image.h"

enum { SIDE = 24, MAX_PIXELS = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A front end that every bit of `how` changes. */
static rn_image_op front_end(uint8_t how, int32_t channels)
{
    const bool thin = how & 128;
    return (rn_image_op){
        .crop = how & 4 ? RN_CROP_CENTER_SQUARE_ROUND_DOWN : RN_CROP_NONE,
        .method = (rn_resize_method)(how >> 3 & 3),
        .grid = how & 32 ? RN_GRID_CORNER : RN_GRID_HALF_PIXEL,
        .full_h = thin ? 0 : SIDE, .full_w = thin ? 0 : SIDE,
        .shorter = thin ? SIDE : 0,
        .h = SIDE, .w = SIDE, .c = channels,
        .as_float = how & 64,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int32_t channels[] = {0, 1, 3, 4};
    static float out[SIDE * SIDE * 4];
    if (size == 0) return 0;
    const rn_picture_source source = {data + 1, size - 1, MAX_PIXELS};
    rn_picture picture;
    rn_error err;
    if (rn_picture_decode(&source, channels[data[0] & 3], &picture, &err) != RN_STATUS_OK) {
        assert(!picture.pixels && strlen(err.message) > 0);
        return 0;
    }
    assert(picture.h > 0 && picture.w > 0 && picture.c >= 1 && picture.c <= 4 && (int64_t)picture.h * picture.w <= MAX_PIXELS);
    const rn_image_op op = front_end(data[0], picture.c);
    if (rn_picture_fit(&op, &picture, out, &err) != RN_STATUS_OK) assert(strlen(err.message) > 0);
    rn_picture_deinit(&picture);
    return 0;
}
