/* Contracts of the CUDA kernels: what each launcher is given, and the table through which the engine finds the ones of a storage type.
 *
 * A launcher puts one kernel on the stream and returns: OK, or DEVICE_FAILED when the launch was refused. It allocates nothing, waits for
 * nothing and touches no state, so any thread may call it, also while the stream is being captured. Arguments are copied: they may lie on
 * the caller's stack, the pointers in them are device memory. Nothing is checked: engine/plan.c checked every shape once.
 *
 * T is the storage type of the feature maps: f32, f16 or bf16. Arithmetic is f32. Maps are NHWC and dense, [n][h][w][c]; outputs do not
 * overlap inputs unless a line says so. Pointers to T are 16-byte aligned. When c is a multiple of RN_CUDA_VECTOR_BYTES / sizeof(T), memory
 * moves 16 bytes at a time, otherwise element by element: the engine pads channels so that the first holds, and keeps the padding zero. A
 * picture's map has fewer than 2^31 elements, n is at most 65535.
 */
#ifndef RN_KERNELS_CUDA_CUDA_KERNELS_H
#define RN_KERNELS_CUDA_CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RN_CUDA_VECTOR_BYTES = 16 };

/* Part of a decoded picture that becomes the whole of a map. */
typedef struct rn_cuda_picture {
    int64_t offset;             /* of its first pixel, in bytes */
    int32_t row_bytes;          /* from one row to the next */
    int32_t h, w;               /* at least 1 */
    float ratio_h, ratio_w;     /* h and w over the map's, rounded to f32: a division on the device is fused products */
    int32_t padding;
} rn_cuda_picture;

/* Bilinear resize, truncating cast, then scale and shift: TensorFlow's ResizeBilinear with half_pixel_centers, Cast to uint8, Mul, AddV2, bit for
 * bit before the result is rounded to T. Pictures of any sizes in one launch. */
typedef struct rn_cuda_image_fit_args {
    const rn_cuda_picture *pictures; /* [n] in device memory, 8-byte aligned */
    const uint8_t *pixels;      /* what the offsets count from: `channels` interleaved, any alignment */
    const float *scale, *shift; /* [channels] */
    void *y;                    /* T [n][h][w][c], c >= channels; the channels beyond are zero */
    int32_t n, h, w, c;
    int32_t channels;           /* 1 to 4 */
    bool relu;
} rn_cuda_image_fit_args;

/* y = relu?(x * scale + shift), rounded after the product and after the sum, from a caller's dense map to the engine's padded one. */
typedef struct rn_cuda_pack_args {
    const void *x;              /* u8 or f32 [pixels][channels], 4-byte aligned */
    const float *scale, *shift; /* [channels]; both NULL: only the type and the padding change */
    void *y;                    /* T [pixels][c], c >= channels; the channels beyond are zero */
    int64_t pixels;             /* n * h * w; pixels * c below 2^31 */
    int32_t channels, c;
    bool relu;
} rn_cuda_pack_args;

/* The way back: y = x without its padding, as f32. */
typedef struct rn_cuda_unpack_args {
    const void *x;              /* T [pixels][c] */
    float *y;                   /* [pixels][channels], channels <= c */
    int64_t pixels;             /* n * h * w; pixels * c below 2^31 */
    int32_t channels, c;
} rn_cuda_unpack_args;

/* y = relu?(x * scale + shift), rounded after the product and after the sum: a batch norm that could not be folded. */
typedef struct rn_cuda_scale_shift_args {
    const void *x;              /* T [pixels][c] */
    const float *scale, *shift; /* [c], 16-byte aligned */
    void *y;                    /* T [pixels][c]; may be x */
    int64_t pixels;             /* n * h * w; pixels * c below 2^32 vectors */
    int32_t c;
    bool relu;
} rn_cuda_scale_shift_args;

/* y = relu?(a + b) */
typedef struct rn_cuda_add_args {
    const void *a, *b;          /* T [elements] */
    void *y;                    /* T [elements] */
    int64_t elements;           /* need not be a multiple of a vector */
    bool relu;
} rn_cuda_add_args;

/* Maximum over a window; TensorFlow's MaxPool. A NaN never wins over a number. */
typedef struct rn_cuda_max_pool_args {
    const void *x;              /* T [n][h][w][c] */
    void *y;                    /* T [n][p][q][c] */
    int32_t n, h, w, c, p, q;
    int32_t r, s, stride_h, stride_w, pad_top, pad_left;
    bool pad_zero;              /* the border counts as zeros; otherwise it never wins */
} rn_cuda_max_pool_args;

/* Mean over height and width, summed in a fixed order. */
typedef struct rn_cuda_global_average_pool_args {
    const void *x;              /* T [n][positions][c] */
    void *y;                    /* T [n][c] */
    int32_t n, positions, c;
} rn_cuda_global_average_pool_args;

/* y = exp(x - max(x)) / sum, summed in a fixed order. */
typedef struct rn_cuda_softmax_args {
    const void *x;              /* T [rows][c], of which `channels` are used */
    float *y;                   /* [rows][y_c]; the channels beyond are zero */
    int64_t rows;               /* n * h * w, below 2^31 */
    int32_t channels, c, y_c;
} rn_cuda_softmax_args;

/* The k largest values in falling order and where they were; equal values in rising order of index, NaN after all numbers. The k values are
 * found one after the other, each in one pass over the row. */
typedef struct rn_cuda_top_k_args {
    const void *x;              /* T [rows][c], of which `channels` are used */
    float *values;              /* [rows][k] */
    int32_t *indexes;           /* [rows][k] */
    int64_t rows;               /* below 2^31 */
    int32_t channels, c, k;     /* k <= channels */
} rn_cuda_top_k_args;

/* y[n][position] = sum over channels of x * weights of the picture's class, in f32 and in a fixed order. */
typedef struct rn_cuda_class_map_args {
    const void *x;              /* T [n][positions][c] */
    const void *weights;        /* T [..][c]: a dense layer's filter as the engine keeps it */
    const int32_t *classes;     /* of picture n: classes[n * class_stride], checked by nobody */
    int64_t class_stride;
    const int32_t *asked;       /* [n] or NULL: what is not negative counts instead of classes[n * class_stride] */
    int32_t *chosen;            /* [n] or NULL: the class that was taken */
    float *y;                   /* [n][positions] */
    int32_t n, positions, c;
} rn_cuda_class_map_args;

/* y = relu?(x * filter + residual + bias), y2 = relu(y * scale + shift): a 1x1 convolution with stride 1 and the pre-activation of what
 * follows, for f16 and bf16. Sums are f32; y2 is made of the rounded y. */
typedef struct rn_cuda_expand_dual_args {
    const void *x;              /* T [pixels][c] */
    const void *filter;         /* T [k][c] */
    const void *bias;           /* T [k] */
    const void *residual;       /* T [pixels][k] or NULL; may be y */
    void *y;                    /* T [pixels][k], or NULL: nobody reads it */
    void *y2;                   /* T [pixels][k] */
    const float *scale, *shift; /* [k], 16-byte aligned */
    int64_t pixels;             /* n * p * q, at least 1 */
    int32_t c, k;               /* multiples of RN_CUDA_EXPAND_DEPTH and RN_CUDA_EXPAND_CHANNELS */
    bool relu;
} rn_cuda_expand_dual_args;
enum { RN_CUDA_EXPAND_PIXELS = 128, RN_CUDA_EXPAND_CHANNELS = 128, RN_CUDA_EXPAND_DEPTH = 32 }; /* what a block computes at once */

/* The launchers of one storage type. pack_u8 and pack_f32 differ in the type of x alone and share their arguments' struct. */
#define RN_CUDA_SLOT_LIST(X)                                                                                                               \
    X(image_fit, image_fit)                                                                                                                \
    X(pack_u8, pack)                                                                                                                       \
    X(pack_f32, pack)                                                                                                                      \
    X(unpack, unpack)                                                                                                                      \
    X(scale_shift, scale_shift)                                                                                                            \
    X(add, add)                                                                                                                            \
    X(max_pool, max_pool)                                                                                                                  \
    X(global_average_pool, global_average_pool)                                                                                            \
    X(softmax, softmax)                                                                                                                    \
    X(top_k, top_k)                                                                                                                        \
    X(class_map, class_map)

/* Those that only f16 and bf16 have; NULL for f32. */
#define RN_CUDA_HALF_SLOT_LIST(X) X(expand_dual, expand_dual)

#define RN_CUDA_SLOT_TYPE(slot, operation)                                                                                                 \
    typedef rn_status rn_cuda_##slot##_fn(const rn_cuda_##operation##_args *args, cudaStream_t stream);
RN_CUDA_SLOT_LIST(RN_CUDA_SLOT_TYPE)
RN_CUDA_HALF_SLOT_LIST(RN_CUDA_SLOT_TYPE)
#undef RN_CUDA_SLOT_TYPE

typedef struct rn_cuda_kernels {
#define RN_CUDA_SLOT_FIELD(slot, operation) rn_cuda_##slot##_fn *slot;
    RN_CUDA_SLOT_LIST(RN_CUDA_SLOT_FIELD)
    RN_CUDA_HALF_SLOT_LIST(RN_CUDA_SLOT_FIELD)
#undef RN_CUDA_SLOT_FIELD
} rn_cuda_kernels;

/* The launchers whose maps are of that type; NULL unless it is F32, F16 or BF16. Static. */
const rn_cuda_kernels *rn_cuda_kernels_of(rn_dtype dtype);

/* Whether this build has code for the calling thread's device: cudaErrorNoKernelImageForDevice when it has none. */
cudaError_t rn_cuda_kernels_check(void);
extern const char *const rn_cuda_architectures; /* what it has code for: "sm_80 sm_90a" */

/* The symbols: rn_<slot>_<type>__cuda. */
#define RN_CUDA_SYMBOL(slot, operation)                                                                                                    \
    rn_cuda_##slot##_fn rn_##slot##_f32__cuda;                                                                                             \
    rn_cuda_##slot##_fn rn_##slot##_f16__cuda;                                                                                             \
    rn_cuda_##slot##_fn rn_##slot##_bf16__cuda;
RN_CUDA_SLOT_LIST(RN_CUDA_SYMBOL)
RN_CUDA_HALF_SLOT_LIST(RN_CUDA_SYMBOL)
#undef RN_CUDA_SYMBOL

#ifdef __cplusplus
}
#endif

#endif
