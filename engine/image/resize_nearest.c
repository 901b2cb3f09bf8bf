/* The nearest pixel: by TensorFlow's rule the one that the position falls into, or, aligned, the one that it is rounded to. */
#include <stdlib.h>

#include "engine/image/resize.h"

static int32_t nearest(rn_resize_grid grid, int32_t i, int32_t in_size, float scale)
{
    const float at = grid == RN_GRID_HALF_PIXEL ? ((float)i + 0.5f) * scale : (float)i * scale;
    const int32_t position = (int32_t)(grid == RN_GRID_ALIGNED ? roundf(at) : floorf(at));
    return position < in_size ? position : in_size - 1;
}

rn_status rn__resize_nearest(const rn__resize *r, rn_error *err)
{
    const int32_t w = r->op->w, c = r->op->c;
    const size_t byte_count = (size_t)w * (sizeof(int32_t) + (size_t)c * sizeof(float));
    int32_t *columns = malloc(byte_count);
    if (!columns) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to resize a picture: %zu bytes", byte_count);
    float *row = (float *)(columns + w);
    const float scale_x = rn__resize_scale(r->op->grid, r->in_w, r->full_w), scale_y = rn__resize_scale(r->op->grid, r->in_h, r->full_h);
    for (int32_t x = 0; x < w; x++) columns[x] = nearest(r->op->grid, r->left + x, r->in_w, scale_x) * c;
    for (int32_t y = 0; y < r->op->h; y++) {
        const uint8_t *in = r->pixels + (size_t)nearest(r->op->grid, r->top + y, r->in_h, scale_y) * r->stride;
        for (int32_t x = 0; x < w; x++) {
            for (int32_t k = 0; k < c; k++) row[x * c + k] = in[columns[x] + k];
        }
        rn__resize_store(r, y, row);
    }
    free(columns);
    return RN_STATUS_OK;
}
