/* A convolution as the libraries see it: what cuDNN and cuBLASLt are both asked for.
 *
 * y = relu?(conv(x, filter) + bias + residual), and where there is a second output y2 = relu(y * scale + shift). There is always a bias, of
 * zeros if need be: cuDNN 9.19 has no engine for a residual without one. Channels are padded to 16 bytes, so c and k here are those in
 * memory. A dense layer is a convolution of 1x1 maps by a 1x1 filter.
 */
#ifndef RN_ENGINE_CUDA_CONV_H
#define RN_ENGINE_CUDA_CONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/dtype.h"

/* What identifies the work, with no addresses in it: layers of the same shape share one plan. */
typedef struct rn__conv_shape {
    int32_t n, h, w, c;         /* x */
    int32_t k, p, q;            /* y: [n,p,q,k] */
    int32_t r, s, stride_h, stride_w;
    int32_t pad_top, pad_left, pad_bottom, pad_right;
    int32_t groups;
    rn_dtype x_dtype, y_dtype;  /* filter is of x_dtype; bias and residual are of y_dtype */
    bool residual, relu;
    bool second;                /* there is a second output */
    bool tf32;                  /* f32 operands may lose mantissa bits on their way into the tensor cores */
} rn__conv_shape;

/* The same as plain numbers in the order of the fields: for comparing and for files. */
enum { RN__CONV_NUMBERS = 22 };
void rn__conv_to_numbers(const rn__conv_shape *shape, int32_t numbers[RN__CONV_NUMBERS]);
void rn__conv_from_numbers(const int32_t numbers[RN__CONV_NUMBERS], rn__conv_shape *shape);
bool rn__conv_equal(const rn__conv_shape *a, const rn__conv_shape *b);

/* Device memory. filter: [k][r][s][c / groups]. */
typedef struct rn__conv_buffers {
    const void *x, *filter, *bias, *residual;
    void *y;                    /* NULL: nobody reads it, there is a second output */
    void *y2;                   /* second output */
    const float *scale, *shift; /* [k], of the second output */
    void *workspace;            /* of as many bytes as the way asked for, shared by all */
} rn__conv_buffers;

/* Workspace that a way may ask for: what split-K needs for the largest layers; beyond it, the faster way is rarely worth the memory. */
enum { RN__CONV_WORKSPACE_LIMIT = 64 << 20 };

#endif
