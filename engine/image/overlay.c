/* See overlay.h. The map is enlarged as the picture was made smaller: bilinearly, between the
 * middles of its positions, inside the crop window alone. */
#include "engine/image/overlay.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

/* The part of a picture that the network sees. */
typedef struct {
    int32_t top, left, h, w;
} window;

typedef struct {
    const rn_overlay_map *map;
    float least, span; /* of the finite values; span 0: they are all alike */
} heat;

static int32_t min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* ---- the picture ---- */

/* In colour where its format gives colour, else in what the network itself asks for. */
static rn_status decode(const rn_image_op *op, const rn_picture_source *source, rn_picture *out, rn_error *err)
{
    if (rn_picture_decode(source, 3, out, NULL) == RN_STATUS_OK) return RN_STATUS_OK;
    return rn_picture_decode(source, op->decode_channels, out, err);
}

/* Sides of the result: the picture's own, made longer or shorter together. */
static void choose_size(const rn_picture *picture, int32_t *h, int32_t *w)
{
    const int32_t longest = picture->h > picture->w ? picture->h : picture->w;
    const double factor = longest < RN_OVERLAY_LEAST_SIDE  ? (double)RN_OVERLAY_LEAST_SIDE / longest
                          : longest > RN_OVERLAY_MOST_SIDE ? (double)RN_OVERLAY_MOST_SIDE / longest
                                                           : 1;
    *h = (int32_t)lround(picture->h * factor);
    *w = (int32_t)lround(picture->w * factor);
    if (*h < 1) *h = 1;
    if (*w < 1) *w = 1;
}

/* [h][w][3] of a picture with any number of channels: grey is repeated, alpha is dropped. */
static rn_status resize_to_rgb(const rn_picture *picture, int32_t h, int32_t w, uint8_t *rgb, rn_error *err)
{
    const rn_image_op op = {.full_h = h, .full_w = w, .h = h, .w = w, .c = picture->c}; /* no crop, bilinear, bytes */
    const size_t pixels = (size_t)h * (size_t)w;
    if (picture->c == 3) return rn_picture_fit(&op, picture, rgb, err);
    uint8_t *own = malloc(pixels * (size_t)picture->c);
    if (!own) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a picture of %d x %d", w, h);
    const rn_status status = rn_picture_fit(&op, picture, own, err);
    for (size_t i = 0; i < pixels && status == RN_STATUS_OK; i++) {
        for (size_t k = 0; k < 3; k++) rgb[3 * i + k] = own[i * (size_t)picture->c + (picture->c > 2 ? k : 0)];
    }
    free(own);
    return status;
}

rn_overlay_map rn_overlay_map_of(const rn_plan *plan, const rn_signature *signature, const float *values)
{
    const rn_plan_tensor *shape = &plan->tensors[signature->explanation], *feed = &plan->tensors[signature->feed];
    const rn_class_map_op *op = &plan->ops[signature->class_map_op].u.class_map;
    const float h = (float)feed->h, w = (float)feed->w;
    return (rn_overlay_map){values, shape->h, shape->w, op->first_h / h, op->first_w / w, op->step_h / h, op->step_w / w};
}

rn_overlay_window rn_overlay_window_of(const rn_image_op *op)
{
    const float full_h = (float)(op->shorter ? op->shorter : op->full_h), full_w = (float)(op->shorter ? op->shorter : op->full_w);
    return (rn_overlay_window){op->crop != RN_CROP_NONE || op->shorter != 0, (float)op->h / full_h, (float)op->w / full_w};
}

/* In pixels of a picture; cut where the network sees more than there is, which it does by roundings alone. */
static window window_of(const rn_image_op *op, int32_t h, int32_t w)
{
    const rn_overlay_window in = rn_overlay_window_of(op);
    const float side = (float)min(h, w);
    const int32_t in_h = min(h, (int32_t)lroundf(in.height * (in.of_shorter ? side : (float)h)));
    const int32_t in_w = min(w, (int32_t)lroundf(in.width * (in.of_shorter ? side : (float)w)));
    return (window){(h - in_h) / 2, (w - in_w) / 2, in_h > 0 ? in_h : 1, in_w > 0 ? in_w : 1};
}

/* ---- the map ---- */

static heat measure(const rn_overlay_map *map)
{
    heat m = {.map = map, .least = INFINITY};
    float most = -INFINITY;
    for (int64_t i = 0; i < (int64_t)map->h * map->w; i++) {
        if (!isfinite(map->values[i])) continue;
        m.least = fminf(m.least, map->values[i]);
        most = fmaxf(most, map->values[i]);
    }
    m.span = most > m.least ? most - m.least : 0;
    return m;
}

/* 0 to 1. */
static float level(const heat *m, int32_t y, int32_t x)
{
    const float value = m->map->values[(int64_t)y * m->map->w + x];
    return isfinite(value) && m->span > 0 ? (value - m->least) / m->span : 0;
}

/* Position of a share of the height or width; before the first and behind the last one it is theirs. */
static float position_at(float share, float first, float step, int32_t count)
{
    return fminf(fmaxf((share - first) / step, 0), (float)(count - 1));
}

/* Between positions: `y` and `x` are shares of the window's height and width. */
static float level_at(const heat *m, float y, float x)
{
    const rn_overlay_map *map = m->map;
    const float v = position_at(y, map->first_h, map->step_h, map->h), u = position_at(x, map->first_w, map->step_w, map->w);
    const int32_t top = (int32_t)v, left = (int32_t)u, bottom = min(top + 1, map->h - 1), right = min(left + 1, map->w - 1);
    const float down = v - (float)top, along = u - (float)left;
    const float above = level(m, top, left) * (1 - along) + level(m, top, right) * along;
    const float below = level(m, bottom, left) * (1 - along) + level(m, bottom, right) * along;
    return above * (1 - down) + below * down;
}

/* From dark violet by red and orange to yellow: rising in lightness, so that it reads without colour too. */
static void colour_of(float level, float rgb[3])
{
    static const float stops[][3] = {{28, 16, 68}, {114, 31, 129}, {205, 64, 113}, {250, 129, 76}, {252, 225, 120}};
    enum { STEPS = sizeof stops / sizeof stops[0] - 1 };
    const float at = level * STEPS;
    const int32_t i = min((int32_t)at, STEPS - 1);
    for (int k = 0; k < 3; k++) rgb[k] = stops[i][k] + (stops[i + 1][k] - stops[i][k]) * (at - (float)i);
}

/* Grey and dark outside the window; inside, the colour covers a part of the picture everywhere, so that cold places can be seen too. */
static void lay_over(uint8_t *rgb, int32_t h, int32_t w, const window *in, const heat *m)
{
    for (int32_t y = 0; y < h; y++) {
        for (int32_t x = 0; x < w; x++, rgb += 3) {
            const bool inside = y >= in->top && y < in->top + in->h && x >= in->left && x < in->left + in->w;
            const float grey = 0.299f * (float)rgb[0] + 0.587f * (float)rgb[1] + 0.114f * (float)rgb[2];
            if (!inside) {
                rgb[0] = rgb[1] = rgb[2] = (uint8_t)(grey * 0.45f);
                continue;
            }
            float colour[3];
            const float hot = level_at(m, ((float)(y - in->top) + 0.5f) / (float)in->h, ((float)(x - in->left) + 0.5f) / (float)in->w);
            colour_of(hot, colour);
            for (int k = 0; k < 3; k++) {
                const float under = (float)rgb[k] * hot + grey * (1 - hot), share = 0.5f;
                rgb[k] = (uint8_t)lroundf(under * (1 - share) + colour[k] * share);
            }
        }
    }
}

/* ---- the file ---- */

static rn_status encode(const uint8_t *rgb, int32_t h, int32_t w, void **png, size_t *png_bytes, rn_error *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)w,
                       .height = (png_uint_32)h,
                       .format = PNG_FORMAT_RGB,
                       .flags = PNG_IMAGE_FLAG_FAST};
    png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image); /* compressed once, not once more to learn the size */
    *png = malloc(bytes);
    if (!*png) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a PNG of %d x %d", w, h);
    if (png_image_write_to_memory(&image, *png, &bytes, 0, rgb, 0, NULL)) {
        *png_bytes = bytes;
        return RN_STATUS_OK;
    }
    free(*png);
    *png = NULL;
    return RN_FAIL(err, RN_STATUS_INTERNAL, "encoding a PNG of %d x %d: %s", w, h, image.message);
}

rn_status rn_overlay_png(const rn_image_op *op, const rn_picture_source *source, const rn_overlay_map *map, void **png, size_t *png_bytes,
                         rn_error *err)
{
    rn_status status;
    rn_picture picture;
    int32_t out_h, out_w;
    *png = NULL;
    RN_TRY(decode(op, source, &picture, err));
    choose_size(&picture, &out_h, &out_w);
    uint8_t *rgb = malloc((size_t)out_h * (size_t)out_w * 3);
    if (!rgb) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a picture of %d x %d", out_w, out_h);
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, resize_to_rgb(&picture, out_h, out_w, rgb, err));
    const window in = window_of(op, out_h, out_w);
    const heat m = measure(map);
    lay_over(rgb, out_h, out_w, &in, &m);
    status = encode(rgb, out_h, out_w, png, png_bytes, err);
cleanup:
    free(rgb);
    rn_picture_deinit(&picture);
    return status;
}
