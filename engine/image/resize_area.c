/* The mean over the area of the input that an output pixel covers; pixels at its border count by the share that lies inside. */
#include <stdlib.h>

#include "engine/image/resize.h"

/* Input positions [begin, end) under one output position. */
typedef struct span {
    int32_t begin, end;
    float first, last; /* shares of `begin` and of `end` - 1; those between count whole */
} span;

static float share(int32_t position, float from, float to, float scale)
{
    if ((float)position < from) return (float)(position + 1) > to ? scale : (float)(position + 1) - from;
    return (float)(position + 1) > to ? to - (float)position : 1.0f;
}

static span span_at(int32_t i, float scale)
{
    const float from = (float)i * scale, to = (float)(i + 1) * scale;
    span s = {.begin = (int32_t)floorf(from), .end = (int32_t)ceilf(to)};
    s.first = share(s.begin, from, to, scale);
    s.last = share(s.end - 1, from, to, scale);
    return s;
}

static int32_t bounded(int32_t position, int32_t size)
{
    return position < size ? position : size - 1;
}

/* The sum of one input row under one span, for channel k. */
static float row_sum(const rn__resize *r, const uint8_t *in, const span *x, int32_t k)
{
    const int32_t c = r->op->c;
    float sum = (float)in[bounded(x->begin, r->in_w) * c + k] * x->first;
    for (int32_t i = x->begin + 1; i < x->end - 1; i++) sum += (float)in[bounded(i, r->in_w) * c + k];
    if (x->end - x->begin > 1) sum += (float)in[bounded(x->end - 1, r->in_w) * c + k] * x->last;
    return sum;
}

rn_status rn__resize_area(const rn__resize *r, rn_error *err)
{
    const int32_t w = r->op->w, c = r->op->c;
    const size_t byte_count = (size_t)w * (sizeof(span) + (size_t)c * sizeof(float));
    span *columns = malloc(byte_count);
    if (!columns) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to resize a picture: %zu bytes", byte_count);
    float *row = (float *)(columns + w);
    const float scale_x = rn__resize_scale(r->op->grid, r->in_w, r->full_w), scale_y = rn__resize_scale(r->op->grid, r->in_h, r->full_h);
    const float factor = 1.0f / (scale_y * scale_x);
    for (int32_t x = 0; x < w; x++) columns[x] = span_at(r->left + x, scale_x);
    for (int32_t y = 0; y < r->op->h; y++) {
        const int32_t at = r->top + y;
        const float from = (float)at * scale_y, to = (float)(at + 1) * scale_y;
        const int32_t begin = (int32_t)floorf(from), end = (int32_t)ceilf(to);
        for (int32_t i = 0; i < w * c; i++) row[i] = 0;
        for (int32_t j = begin; j < end; j++) {
            const uint8_t *in = r->pixels + (size_t)bounded(j, r->in_h) * r->stride;
            const float weight = share(j, from, to, scale_y);
            for (int32_t x = 0; x < w; x++) {
                for (int32_t k = 0; k < c; k++) row[x * c + k] += row_sum(r, in, &columns[x], k) * weight;
            }
        }
        for (int32_t i = 0; i < w * c; i++) row[i] *= factor;
        rn__resize_store(r, y, row);
    }
    free(columns);
    return RN_STATUS_OK;
}
