/* How the CPU backend keeps a plan's tensor in its arena.
 *
 * Rows of pixels, with room for zeros between rows and between images where a convolution reads beyond the picture. The zeros after one row
 * stand before the next one too, and those below one image above the next (gap_w = 1, gap_h = 1):
 *
 *     0 0 0 0 0      <- before the first image
 *     0 x x x x
 *     0 x x x x
 *     0 0 0 0 0      <- below image 0, above image 1
 *     0 x x x x
 *     0 x x x x
 *     0 0 0 0 0 0
 */
#ifndef RN_ENGINE_CPU_CPU_TENSOR_H
#define RN_ENGINE_CPU_CPU_TENSOR_H

#include <stddef.h>

#include "engine/plan.h"
#include "kernels/cpu/cpu_kernels.h"

typedef struct rn__cpu_tensor {
    rn_dtype dtype;             /* of the elements here: the plan's F32 may be narrower (tensor_types.c) */
    int32_t h, w, c;
    uint8_t zero;               /* every byte of the zeros around the picture: what real zero is in a quantised tensor */
    int32_t gap_h, gap_w;       /* pixels of zeros; 0 for all but maps that a padded convolution reads */
    int64_t pixel, row, image;  /* elements */
    int64_t first;              /* elements before the first pixel */
    char *memory;               /* first * element size bytes before the first pixel; NULL until the arena exists */
} rn__cpu_tensor;

rn__cpu_tensor rn__cpu_tensor_layout(const rn_plan_tensor *tensor, rn_dtype dtype, int32_t gap_h, int32_t gap_w);
/* Of `rows` batch rows, zeros included; false when the number has no size_t. */
bool rn__cpu_tensor_bytes(const rn__cpu_tensor *tensor, int32_t rows, size_t *bytes);

void *rn__cpu_tensor_data(const rn__cpu_tensor *tensor); /* the first pixel, or NULL before there is an arena */
rn_map rn__cpu_tensor_map(const rn__cpu_tensor *tensor);

/* Writes the zeros around the first `rows` batch rows. The arena is shared, so this follows whatever writes the tensor. */
void rn__cpu_tensor_clear_gaps(const rn__cpu_tensor *tensor, int32_t rows);

/* Copies batch rows [at, at + rows) from or to dense memory, whose elements have the plan's type; a tensor that is written has it too. */
void rn__cpu_tensor_write(const rn__cpu_tensor *tensor, int32_t at, int32_t rows, const void *from);
void rn__cpu_tensor_read(const rn__cpu_tensor *tensor, int32_t at, int32_t rows, void *to);

#endif
