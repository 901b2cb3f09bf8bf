/* Kernels of the bilinear resize. The list is image_kernels.def; the instruction sets' folders of kernels/cpu hold the code, because they
 * alone are compiled for them.
 *
 * All entries of a slot give the same bits: every difference, product and sum is rounded to float32 by itself, in the order written here.
 */
#ifndef RN_KERNELS_IMAGE_IMAGE_KERNELS_H
#define RN_KERNELS_IMAGE_IMAGE_KERNELS_H

#include <stdint.h>

#include "kernels/base/cpu_features.h"

/* Which pixels of an input row the columns of an output row are mixed from. */
typedef struct rn_column_pairs {
    int32_t w, c;                 /* output columns and channels, c at most 4 */
    int32_t row_bytes;            /* of the input row: nothing behind them is read */
    const int32_t *lower, *upper; /* [w] byte offsets of the left and the right neighbour: rising, lower[x] <= upper[x] <= row_bytes - c */
    const float *weights;         /* [w][c]: of the right neighbour, the same for all channels of a column */
    uint8_t *left, *right;        /* [w * c + 1] each: room to gather in */
    int32_t followed_w;           /* columns, from the left, whose upper[x] <= row_bytes - 4 */
    int32_t reach;                /* most bytes that RN_COLUMN_BLOCK columns from a multiple of it on lie apart, last pixel included */
} rn_column_pairs;

enum { RN_COLUMN_BLOCK = 16 };

/* out[x][k] = l + (r - l) * weights[x][k], with l = row[lower[x] + k] and r = row[upper[x] + k]. row: [row_bytes]. out: [w][c]. */
typedef void rn_mix_columns_fn(const rn_column_pairs *columns, const uint8_t *row, float *out);

/* out[i] = top[i] + (bottom[i] - top[i]) * weight. All: [n]; top may be bottom. */
typedef void rn_mix_rows_fn(const float *top, const float *bottom, float weight, int32_t n, float *out);

/* The low 8 bits of the truncated numbers, which lie inside of an int32. in, out: [n]. */
typedef void rn_cast_fn(const float *in, int32_t n, uint8_t *out);

#define RN_IMAGE_KERNEL(slot, symbol, needs) rn_##slot##_fn symbol;
#include "kernels/image/image_kernels.def"
#undef RN_IMAGE_KERNEL

typedef struct rn_image_kernels {
    rn_mix_columns_fn *mix_columns;
    rn_mix_rows_fn *mix_rows;
    rn_cast_fn *cast;
} rn_image_kernels;

/* The best kernels of an instruction set. */
void rn_image_kernels_select(rn_isa isa, rn_image_kernels *out);

/* Those of this machine, chosen before main. */
extern const rn_image_kernels *const rn_image_kernels_best;

#endif
