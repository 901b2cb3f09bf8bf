/* Strides, gaps, and copies between a strided tensor and a caller's dense rows. */
#include "engine/cpu/cpu_tensor.h"

#include <string.h>

#include "kernels/base/bf16.h"

/* Pixels a multiple of 4 KiB apart fall into one set of the first cache level, which holds 8 or 12 lines, and a convolution reads 14 pixels at
 * once: one line more between them cures it (1x1 with 1024 channels, batch 8: 88 -> 113 GFLOP/s on one Zen 4 core). Convolutions with a stride of two
 * read every other pixel, so that half of it is as bad (1x1/2 with 512 channels: 88 -> 112). */
enum { HALF_PAGE_BYTES = 2048, LINE_BYTES = 64 };

rn__cpu_tensor rn__cpu_tensor_layout(const rn_plan_tensor *tensor, rn_dtype dtype, int32_t gap_h, int32_t gap_w)
{
    rn__cpu_tensor t = {.dtype = dtype, .h = tensor->h, .w = tensor->w, .c = tensor->c, .gap_h = gap_h, .gap_w = gap_w};
    t.zero = (uint8_t)tensor->zero;
    const int64_t size = (int64_t)rn_dtype_bytes(t.dtype);
    t.pixel = t.c;
    if (size > 0 && t.pixel * size % HALF_PAGE_BYTES == 0) t.pixel += LINE_BYTES / size;
    t.row = (t.w + gap_w) * t.pixel;
    t.image = (t.h + gap_h) * t.row;
    t.first = gap_h * t.row + gap_w * t.pixel;
    return t;
}

bool rn__cpu_tensor_bytes(const rn__cpu_tensor *t, int32_t rows, size_t *bytes)
{
    int64_t elements, result;
    if (__builtin_mul_overflow(t->image, rows, &elements) || __builtin_add_overflow(elements, t->first, &elements) ||
        __builtin_mul_overflow(elements, (int64_t)rn_dtype_bytes(t->dtype), &result)) {
        return false;
    }
    *bytes = (size_t)result;
    return true;
}

void *rn__cpu_tensor_data(const rn__cpu_tensor *t)
{
    return !t->memory ? NULL : t->memory + t->first * (int64_t)rn_dtype_bytes(t->dtype);
}

rn_map rn__cpu_tensor_map(const rn__cpu_tensor *t)
{
    return (rn_map){rn__cpu_tensor_data(t), t->image, t->row, t->pixel, t->dtype};
}

void rn__cpu_tensor_clear_gaps(const rn__cpu_tensor *t, int32_t rows)
{
    if (t->gap_h == 0 && t->gap_w == 0) return;
    const int64_t size = (int64_t)rn_dtype_bytes(t->dtype), row = t->row * size, pixel = t->pixel * size;
    char *data = rn__cpu_tensor_data(t);
    memset(t->memory, t->zero, (size_t)(t->first * size));
    for (int32_t i = 0; i < rows; i++, data += t->image * size) {
        for (int32_t y = 0; y < t->h; y++) memset(data + y * row + t->w * pixel, t->zero, (size_t)(t->gap_w * pixel));
        memset(data + t->h * row, t->zero, (size_t)(t->gap_h * row));
    }
}

/* Walks the longest runs that are dense on both sides: all rows, an image's line, or a pixel. */
static void copy(const rn__cpu_tensor *t, int32_t at, int32_t rows, char *dense, bool to_tensor)
{
    const int64_t size = (int64_t)rn_dtype_bytes(t->dtype);
    const bool dense_pixels = t->pixel == t->c, dense_lines = dense_pixels && t->gap_w == 0 && t->gap_h == 0;
    const int64_t lines = dense_lines ? 1 : (int64_t)rows * t->h, pixels = dense_pixels ? 1 : t->w;
    const size_t run = (size_t)(size * t->c * (dense_pixels ? t->w : 1) * (dense_lines ? (int64_t)rows * t->h : 1));
    for (int64_t line = 0; line < lines; line++) {
        char *own = (char *)rn__cpu_tensor_data(t) + size * ((at + line / t->h) * t->image + line % t->h * t->row);
        for (int64_t x = 0; x < pixels; x++, own += size * t->pixel, dense += run) {
            if (to_tensor) memcpy(own, dense, run);
            else memcpy(dense, own, run);
        }
    }
}

void rn__cpu_tensor_write(const rn__cpu_tensor *t, int32_t at, int32_t rows, const void *from)
{
    copy(t, at, rows, (char *)from, true); /* copy only reads it */
}

static void read_bf16(const rn__cpu_tensor *t, int32_t at, int32_t rows, float *to)
{
    const rn_map map = rn__cpu_tensor_map(t);
    for (int64_t line = 0; line < (int64_t)rows * t->h; line++) {
        const rn_bf16 *from = rn_map_at(&map, (at + line / t->h) * t->image + line % t->h * t->row);
        for (int32_t x = 0; x < t->w; x++, from += t->pixel) {
            for (int32_t c = 0; c < t->c; c++) *to++ = rn_bf16_to_f32(from[c]);
        }
    }
}

void rn__cpu_tensor_read(const rn__cpu_tensor *t, int32_t at, int32_t rows, void *to)
{
    if (t->dtype == RN_DTYPE_BF16) read_bf16(t, at, rows, to);
    else copy(t, at, rows, to, false);
}
