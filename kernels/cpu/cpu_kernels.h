/* Contracts of the CPU kernels: what each operation is given, and the table through which the engine calls the best version of it.
 *
 * All kernels are single-threaded and touch only what their arguments name. An operation's arguments carry a range of output rows (or
 * pictures), so that a caller can split one operation over threads; the result of a row does not depend on the split. Nothing is checked:
 * engine/plan.c checked every shape once. Pointers need the alignment of their type unless a line says otherwise; strides count elements.
 * A NaN passes through ReLU.
 *
 * Maps have an element type. The table holds one kernel for each type of an operation's x, and the engine gives a kernel only maps of the types
 * for which it is listed: y, y2 and residual have the type of x, unless the operation says otherwise. Sums are f32, and biases, scales and
 * shifts are f32 for all types.
 */
#ifndef RN_KERNELS_CPU_CPU_KERNELS_H
#define RN_KERNELS_CPU_CPU_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/cpu_features.h"
#include "kernels/base/dtype.h"

/* A batch of feature maps in memory: element c of pixel (i, y, x) is data[i * image + y * row + x * pixel + c], counted in elements of dtype.
 * Kernels write only the maps named y, y2, values and indexes; what lies between pixels, rows and images is neither read nor written. */
typedef struct rn_map {
    void *data; /* NULL: not there */
    int64_t image, row, pixel;
    rn_dtype dtype;
} rn_map;

/* The address of the element that is `offset` elements away from the first one. */
static inline void *rn_map_at(const rn_map *map, int64_t offset)
{
    return (char *)map->data + offset * (int64_t)rn_dtype_bytes(map->dtype);
}

/* y = relu?(conv2d(x, filter) + bias + residual), y2 = relu(y * scale2 + shift2); TensorFlow's Conv2D, FusedBatchNorm folded, AddV2, Relu. */
typedef struct rn_conv2d_args {
    rn_map x;               /* [n,h,w,c] */
    rn_map residual;        /* [n,p,q,k] or not there */
    rn_map y, y2;           /* [n,p,q,k]; one of them may be missing. y, or y2 where there is no y, may be the residual; no other two maps overlap.
                             * Residual, y and y2 may have other types than x and than each other, as rn_conv2d_tile_args says */
    const float *filter;    /* [r,s,c/groups,k] dense; not used where x is u8 */
    bool chained;           /* x is f32, and the filter is packed as chained bf16 (kernels/base/bf16.h) */
    const float *bias;      /* [k] or NULL: zero */
    const float *scale2, *shift2; /* [k], needed with y2 */
    int32_t n, h, w, c, p, q, k;
    int32_t r, s, stride_h, stride_w, pad_top, pad_left, groups; /* zeros surround x */
    int32_t row_begin, row_end; /* of the n * p output rows */
    bool relu;              /* of y; y2 sees its result */

    /* x is u8. With y and y2 f32 or u8, counted in their own steps and from their own zeros where these are u8:
     *     y = relu?(sum * multiplier + bias + residual * residual_multiplier), y2 = relu(y * scale2 + shift2)
     * where sum is exact but under Winograd, each product and the sum after it are rounded once together, and y2 sees y before it becomes a byte. Bytes
     * are rounded to the nearest, ties to even, and clamped; ReLU leaves what is below byte 0 of y2 to that. No value exceeds 2^30 in magnitude. */
    const int8_t *filter8;  /* [r,s,c/groups,k] dense */
    const float *multiplier; /* [k] */
    float residual_multiplier; /* of the residual's bytes; bias has what its zero means */
    uint8_t x_zero;         /* the byte that surrounds x */
} rn_conv2d_args;

/* The inner block of a convolution seen as a matrix product whose rows are output pixels: at most `rows` pixels x `lanes` output channels, where
 * rows and lanes are the kernel's tile. The first rows / 2 pixels are those at a0, the others those at a1: two bases, because two rows of a
 * picture that is rows / 2 pixels wide make one tile. Summation runs over tap_rows x tap_columns x steps in this order. A step is four bytes of
 * weights for every output channel, RN_STEP_BYTES, and as many channels of a pixel: one f32, two bf16 or four u8, or two f32 where the weights are
 * chained bf16. */
typedef struct rn_conv2d_tile_args {
    const void *a0, *a1;        /* first channel that pixel 0, pixel rows / 2 reads; a1 is unused with fewer pixels */
    int64_t a_pixel;            /* from what one pixel reads to what the next one reads */
    int64_t a_tap_row, a_tap_column;
    int32_t tap_rows, tap_columns, steps;
    int32_t pixels;             /* 1 .. rows */
    int32_t channels;           /* 1 .. lanes: output channels that exist; the others are computed and dropped */
    const void *panel;          /* [tap_rows][tap_columns][steps][lanes][channels of a step], in the type of a0, 64-byte aligned. One chain, or a part of
                                 * one, where the weights are chained: the two bytes before it are what comes before */
    const float *bias;          /* [channels] or NULL */
    const float *scale2, *shift2; /* [channels] */
    const void *residual0, *residual1; /* of pixel 0 and pixel rows / 2, or NULL */
    void *y0, *y1;              /* the same of y; NULL when only y2 is wanted */
    void *z0, *z1;              /* the same of y2, or NULL */
    rn_dtype residual_dtype, y_dtype, z_dtype; /* of the residual, y and y2, where they are there: f32 or the type of a0; the AVX-512 kernel for
                                                * f32 also has bf16, and with a u8 a0 y and y2 have one type and the residual is u8 */
    int64_t residual_pixel, y_pixel, z_pixel;
    const float *multiplier;    /* [channels], and the next: for a u8 x, as in rn_conv2d_args */
    float residual_multiplier;
    const char *ahead;          /* weights that are wanted soon: ahead_bytes of them per step are prefetched; any address will do */
    const char *inputs_ahead;   /* the same of inputs */
    int32_t ahead_bytes, inputs_ahead_bytes;
    const void *residual_next, *y_next, *z_next; /* residual and outputs of the next tile, or NULL: prefetched, as many pixels as this one has */
    bool relu;
} rn_conv2d_tile_args;
typedef rn_conv2d_tile_args rn_conv2d_tile_chained_args;

enum { RN_STEP_BYTES = 4 };

/* Input channels of one step. */
static inline int32_t rn_conv2d_step_channels(const rn_conv2d_args *args)
{
    return RN_STEP_BYTES / (int32_t)rn_dtype_bytes(args->chained ? RN_DTYPE_BF16 : args->x.dtype);
}

/* One side of a Winograd convolution (conv2d_winograd.h): the input transform writes `points` from conv->x, the output transform reads them and
 * does all that conv says about the sums. Channels are multiples of 16. */
typedef struct rn_winograd_args {
    const rn_conv2d_args *conv; /* 3x3, stride 1; its rows are not used */
    int32_t m;                  /* 2, 4 or 5: a tile is m x m outputs, (m + 2) x (m + 2) points */
    int32_t tiles_h, tiles_w;   /* of one picture: ceil(p / m), ceil(q / m) */
    int32_t tile_begin, tile_end; /* of the n * tiles_h * tiles_w tiles */
    int32_t k_begin, k_end;     /* output transform: these output channels */
    void *points;               /* [points][tile - tile_begin][c, or k_end - k_begin], 64-byte aligned: the type of x, bf16 where x is u8; f32 for the
                                 * output transform */
    int64_t plane, row;         /* elements between points and between tiles */
} rn_winograd_args;
typedef rn_winograd_args rn_winograd_input_args, rn_winograd_output_args;

/* The filter's side of it: the points of input channels and of the output channels of one panel. They are computed in double precision and
 * rounded once, by the same operations in the same order in every kernel, so that all of them give the same bits. */
typedef struct rn_winograd_filter_args {
    const float *filter;        /* [3][3][c][k] dense */
    int32_t m, c, k;            /* multiples of 16 */
    int32_t c_begin, c_end;     /* these input channels */
    int32_t k_begin, lanes;     /* the panel's output channels start here; lanes is a multiple of 16, and channels beyond k are zeros */
    float *panel;               /* [points][c_end - c_begin][lanes], 64-byte aligned; all of it is written */
} rn_winograd_filter_args;

/* y = relu?(x * scale + shift), rounded after the product and after the sum. */
typedef struct rn_scale_shift_args {
    rn_map x;               /* [n,h,w,c]; u8 has an f32 y, and the kernel for bf16 also makes a bf16 y of an f32 x */
    rn_map y;               /* [n,h,w,c]; may be x */
    const float *scale;     /* [c], [1], or NULL: one */
    const float *shift;     /* [c], [1], or NULL: zero */
    bool scale_per_channel, shift_per_channel; /* [c], not [1] */
    int32_t h, w, c;
    int32_t row_begin, row_end; /* of the n * h rows */
    bool relu;
} rn_scale_shift_args;

/* y = relu?(a + b) */
typedef struct rn_add_args {
    rn_map a, b, y;         /* [n,h,w,c]; y may be a or b */
    int32_t h, w, c;
    int32_t row_begin, row_end; /* of the n * h rows */
    bool relu;
} rn_add_args;

/* Maximum over a window; TensorFlow's MaxPool. A NaN never wins over a number. */
typedef struct rn_max_pool_args {
    rn_map x;               /* [n,h,w,c] */
    rn_map y;               /* [n,p,q,c] */
    int32_t h, w, c, p, q;
    int32_t r, s, stride_h, stride_w, pad_top, pad_left;
    int32_t row_begin, row_end; /* of the n * p output rows */
    bool pad_zero;          /* the border counts as zeros; otherwise it never wins */
    uint8_t zero;           /* the byte that is zero, for a u8 x */
} rn_max_pool_args;

/* y = round(x * multiplier) + zero, ties to even, clamped to a byte; a NaN becomes 0. Channels of y beyond those of x become zero. */
typedef struct rn_quantize_args {
    rn_map x;               /* [n,h,w,c] f32 */
    rn_map y;               /* [n,h,w,y_c] u8 */
    float multiplier;
    uint8_t zero;
    int32_t h, w, c, y_c;
    int32_t row_begin, row_end; /* of the n * h rows */
} rn_quantize_args;

/* Mean over height and width. */
typedef struct rn_global_average_pool_args {
    rn_map x;               /* [n,h,w,c] */
    rn_map y;               /* [n,1,1,c], f32 for all types of x */
    int32_t h, w, c;
    int32_t image_begin, image_end;
} rn_global_average_pool_args;

/* y[i][h][w] = sum over c of x[i][h][w][c] * weights[i][c]: how much each position speaks for a class. Averaged over the positions it is the
 * class's logit but for its bias. */
typedef struct rn_class_map_args {
    rn_map x;               /* [n,h,w,c], the last feature map */
    const float *weights;   /* [n,c] dense: those of the dense layer for the class of each picture */
    float *y;               /* [n,h,w] dense */
    int32_t h, w, c;
    int32_t row_begin, row_end; /* of the n * h rows */
} rn_class_map_args;

/* y = relu?(x * weights + bias) */
typedef struct rn_dense_args {
    rn_map x;               /* [n,1,1,c] */
    rn_map y;               /* [n,1,1,k] */
    const float *weights;   /* [c,k] dense */
    const float *bias;      /* [k] or NULL */
    int32_t c, k;
    int32_t image_begin, image_end;
    bool relu;
} rn_dense_args;

/* y = exp(x - max(x)) / sum, over the channels of every pixel */
typedef struct rn_softmax_args {
    rn_map x, y;            /* [n,h,w,c]; y may be x */
    int32_t h, w, c;
    int32_t row_begin, row_end; /* of the n * h rows */
} rn_softmax_args;

/* The k largest values in falling order and where they were. Equal values come in rising order of index, NaN after all numbers. */
typedef struct rn_top_k_args {
    rn_map x;               /* [n,1,1,c] */
    rn_map values;          /* [n,1,1,k] */
    int32_t *indexes;       /* [n,1,1,k], index_image elements between pictures */
    int64_t index_image;
    int32_t c, k;
    int32_t image_begin, image_end;
} rn_top_k_args;

/* What the table holds: for each operation a slot for every type of x. Reference kernels fill all f32 slots but the micro-kernels, which exist only
 * for some machines. */
#define RN_CPU_SLOT_LIST(X)                                                                                                                \
    X(conv2d)                                                                                                                              \
    X(conv2d_tile)                                                                                                                         \
    X(conv2d_tile_chained)                                                                                                                 \
    X(winograd_input)                                                                                                                      \
    X(winograd_output)                                                                                                                     \
    X(winograd_filter)                                                                                                                     \
    X(scale_shift)                                                                                                                         \
    X(add)                                                                                                                                 \
    X(max_pool)                                                                                                                            \
    X(quantize)                                                                                                                            \
    X(global_average_pool)                                                                                                                 \
    X(class_map)                                                                                                                           \
    X(dense)                                                                                                                               \
    X(softmax)                                                                                                                             \
    X(top_k)

#define RN_CPU_SLOT_TYPES(slot)                                                                                                            \
    typedef void rn_##slot##_fn(const rn_##slot##_args *args);                                                                             \
    typedef struct rn_##slot##_kernel {                                                                                                    \
        rn_##slot##_fn *run; /* NULL: no kernel for this machine */                                                                        \
        const char *name;                                                                                                                  \
        rn_isa isa;                                                                                                                        \
        int32_t rows, lanes; /* its tile, or the pixels and channels that it takes at once */                                              \
    } rn_##slot##_kernel;
RN_CPU_SLOT_LIST(RN_CPU_SLOT_TYPES)
#undef RN_CPU_SLOT_TYPES

typedef struct rn_cpu_kernels {
#define RN_CPU_SLOT_FIELD(slot) rn_##slot##_kernel slot[RN_DTYPE_COUNT];
    RN_CPU_SLOT_LIST(RN_CPU_SLOT_FIELD)
#undef RN_CPU_SLOT_FIELD
    int64_t l2_bytes;       /* a core's second cache level, which the loops around the kernels cut their blocks for */
} rn_cpu_kernels;

/* Fills the table with the best kernels that need no more than `isa`, which the caller knows this machine to have. */
void rn_cpu_kernels_select(rn_isa isa, rn_cpu_kernels *out);

#define RN_CPU_KERNEL(slot, dtype, symbol, isa, rows, lanes) rn_##slot##_fn symbol;
#include "kernels/cpu/cpu_kernels.def"
#undef RN_CPU_KERNEL

#endif
