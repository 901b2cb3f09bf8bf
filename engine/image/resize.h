/* The resize methods of TensorFlow, for engine/image only: each makes the rows of a result one after the other, in float32, in exactly the
 * order of TensorFlow's arithmetic (the build forbids fused multiply-adds), and hands them to rn__resize_store.
 *
 * Sources: the operations ResizeBilinear, ResizeNearestNeighbor, ResizeBicubic and ResizeArea (2.21), bit for bit.
 */
#ifndef RN_ENGINE_IMAGE_RESIZE_H
#define RN_ENGINE_IMAGE_RESIZE_H

#include <math.h>

#include "engine/image/image.h"

/* Part [top, top + op->h) x [left, left + op->w) of what in_h x in_w pixels become when they are resized to full_h x full_w. */
typedef struct rn__resize {
    const rn_image_op *op;
    const uint8_t *pixels; /* [in_h] rows, `stride` bytes apart, of [in_w][op->c] */
    size_t stride;
    int32_t in_h, in_w;
    int32_t full_h, full_w;
    int32_t top, left;
    void *out; /* [op->h][op->w][op->c], f32 where op->as_float, else u8 */
} rn__resize;

/* OUT_OF_MEMORY, nothing else. */
rn_status rn__resize_bilinear(const rn__resize *r, rn_error *err);
rn_status rn__resize_nearest(const rn__resize *r, rn_error *err);
rn_status rn__resize_bicubic(const rn__resize *r, rn_error *err);
rn_status rn__resize_area(const rn__resize *r, rn_error *err);

/* Row y of the result: order of channels, clip, cast. row: [op->w][op->c], changed. */
void rn__resize_store(const rn__resize *r, int32_t y, float *row);

/* Input pixels an output pixel, of one dimension. */
static inline float rn__resize_scale(rn_resize_grid grid, int32_t in, int32_t out)
{
    return grid == RN_GRID_ALIGNED && out > 1 ? (float)(in - 1) / (float)(out - 1) : (float)in / (float)out;
}

/* Where output position i falls among input positions. */
static inline float rn__resize_source(rn_resize_grid grid, int32_t i, float scale)
{
    return grid == RN_GRID_HALF_PIXEL ? ((float)i + 0.5f) * scale - 0.5f : (float)i * scale;
}

#endif
