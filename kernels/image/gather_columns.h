/* The neighbours of an output row's columns as two dense rows of bytes, left and right: what the entries of image_kernels.def share. */
#ifndef RN_KERNELS_IMAGE_GATHER_COLUMNS_H
#define RN_KERNELS_IMAGE_GATHER_COLUMNS_H

#include <string.h>

#include "kernels/image/image_kernels.h"

/* Columns `from` to `to`, `moved` bytes each. The pointers are parameters because a store to bytes could otherwise change what the struct
 * points to, and everything would be read again for each pixel. */
static inline void gather_some(const int32_t *restrict lower, const int32_t *restrict upper, const uint8_t *restrict row, int32_t from,
                               int32_t to, int32_t c, size_t moved, uint8_t *restrict left, uint8_t *restrict right)
{
    for (int32_t x = from; x < to; x++) {
        memcpy(left + x * c, row + lower[x], moved);
        memcpy(right + x * c, row + upper[x], moved);
    }
}

/* RGB moves four bytes at a time: the fourth is the next pixel's, and the next pixel overwrites it. Where the row has no next pixel, it is
 * three. */
static inline void gather_columns(const rn_column_pairs *p, const uint8_t *row)
{
    switch (p->c) {
    case 1:
        gather_some(p->lower, p->upper, row, 0, p->w, 1, 1, p->left, p->right);
        break;
    case 3:
        gather_some(p->lower, p->upper, row, 0, p->followed_w, 3, 4, p->left, p->right);
        gather_some(p->lower, p->upper, row, p->followed_w, p->w, 3, 3, p->left, p->right);
        break;
    default:
        gather_some(p->lower, p->upper, row, 0, p->w, p->c, (size_t)p->c, p->left, p->right);
    }
}

#endif
