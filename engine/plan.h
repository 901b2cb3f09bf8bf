/* The plan: the only language between loaders and backends.
 *
 * A plan is a list of operations over named tensors with weights attached, plus the signatures under which callers know its inputs and outputs. A
 * loader builds it with the rn_plan_add_* functions, rn_plan_finish checks it whole, the passes of engine/passes.h rewrite it, and from
 * then on it is immutable and may be shared by any number of threads.
 *
 * Activations are NHWC. A tensor's shape is that of one batch row, h x w x c; vectors (logits, pooled features) are 1 x 1 x c. Filters are
 * TensorFlow's HWIO: [r][s][c / groups][k].
 *
 * A plan may be quantised: some tensors are kept as bytes that stand for real numbers, and the convolutions between them have int8 filters. What
 * an operation computes is still said in real numbers; bytes are how its inputs come and its outputs are rounded.
 *
 * Every tensor is written by at most one operation. A signature names the tensor that the caller fills and the tensors that it reads; the
 * operations to run are those on the way between them. Two signatures may meet in one network: "serving_default" fills the float tensor that
 * the picture front end of "serving_preprocess" computes.
 */
#ifndef RN_ENGINE_PLAN_H
#define RN_ENGINE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/error.h"

/* Limits on what a plan may hold: they bound memory for any file, and ResNet-152 stays far below them. */
enum {
    RN_PLAN_MAX_OPS = 8192,
    RN_PLAN_MAX_SIGNATURES = 32,
    RN_PLAN_MAX_OUTPUTS = 8,      /* of one signature */
    RN_PLAN_MAX_RANK = 4,
    RN_PLAN_MAX_SIDE = 16384,     /* height, width, filter size */
    RN_PLAN_MAX_CHANNELS = 1 << 20,
    RN_PLAN_NAME_BYTES = 256      /* longest name, with its NUL */
};

enum { RN_NONE = -1 }; /* no tensor, no weight, no operation */

/*    kind                  name in model files */
#define RN_OP_LIST(X)                                                                                                          \
    X(IMAGE,                "image")               /* encoded picture -> u8 [h,w,c]; runs on the host, before batching */      \
    X(FIT,                  "fit")                 /* numbers of one size -> f32 [h,w,c]; runs on the host, before batching */    \
    X(CONV2D,               "conv2d")                                                                                          \
    X(SCALE_SHIFT,          "scale_shift")         /* y = relu?(x * scale[c] + shift[c]); also casts u8 -> f32 */              \
    X(ADD,                  "add")                 /* y = relu?(a + b) */                                                      \
    X(MAX_POOL,             "max_pool")                                                                                        \
    X(GLOBAL_AVERAGE_POOL,  "global_average_pool") /* [h,w,c] -> [1,1,c] */                                                    \
    X(DENSE,                "dense")               /* [1,1,c] -> [1,1,k] */                                                    \
    X(CLASS_MAP,            "class_map")           /* [h,w,c] before the average, [1,1,k] behind the dense layer -> [h,w,1]: sum  \
                                                      over c of x * weights[c][class]; on request (rn_batch_part.classes) */     \
    X(QUANTIZE,             "quantize")            /* f32 [h,w,c] -> quantised u8 [h,w,c or more], the rest zero */            \
    X(SOFTMAX,              "softmax")             /* over c, maximum subtracted in f32 */                                     \
    X(TOP_K,                "top_k")               /* [1,1,c] -> values f32 [1,1,k] descending, indexes i32 [1,1,k];           \
                                                      equal values in rising order of index */

typedef enum {
#define RN_OP_ENUM(kind, name) RN_OP_##kind,
    RN_OP_LIST(RN_OP_ENUM)
#undef RN_OP_ENUM
        RN_OP_COUNT
} rn_op_kind;

const char *rn_op_kind_name(rn_op_kind kind);

typedef struct rn_plan_tensor {
    char name[RN_PLAN_NAME_BYTES];
    rn_dtype dtype; /* STRING: one encoded picture a batch row, h = w = c = 1 */
    int32_t h, w, c;
    /* Quantised, U8 only: element e stands for (e - zero) * step, rounded to the nearest, and what lies beyond 0 and 255 becomes these. step 0: e is
     * itself, and zero is 0. Padding is real zero: the byte `zero`. */
    float step;
    int32_t zero;
} rn_plan_tensor;

/* Read-only numbers. `data` is element_count elements in row-major order, aligned to 4 bytes at least, and lives as long as the plan. */
typedef struct rn_plan_weights {
    char name[RN_PLAN_NAME_BYTES];
    rn_dtype dtype; /* F32; I8 for filters of quantised convolutions */
    int32_t rank;
    int32_t dims[RN_PLAN_MAX_RANK];
    int64_t element_count;
    const void *data;
    int32_t steps;  /* I8: F32 weights [k], k the last dimension; element e of channel k stands for e * steps[k]. Others: RN_NONE */
} rn_plan_weights;

/* How a picture of any size becomes [h,w,c], exactly as the SavedModel's own graph did it: decode, crop, resize, cut out the centre, reverse the
 * channels, clip, cast. */

/* What is kept of height and width n. CENTER_SQUARE: side = min(height, width), offset = (n - side + 1) / 2 for ROUND_UP, (n - side) / 2 for
 * ROUND_DOWN. */
typedef enum { RN_CROP_NONE, RN_CROP_CENTER_SQUARE_ROUND_UP, RN_CROP_CENTER_SQUARE_ROUND_DOWN } rn_crop_rule;

/* TensorFlow's operations ResizeBilinear, ResizeNearestNeighbor, ResizeBicubic, ResizeArea. */
typedef enum { RN_RESIZE_BILINEAR, RN_RESIZE_NEAREST, RN_RESIZE_BICUBIC, RN_RESIZE_AREA } rn_resize_method;

/* Where output pixel i lies in the input: HALF_PIXEL (i + 0.5) * in / out - 0.5 (TensorFlow 2), CORNER i * in / out, ALIGNED i * (in - 1) / (out - 1)
 * (align_corners). */
typedef enum { RN_GRID_HALF_PIXEL, RN_GRID_CORNER, RN_GRID_ALIGNED } rn_resize_grid;

/* A side n where the shorter one, m, becomes `shorter`: FLOAT (int)(n * (shorter / m)) and ROUNDED rint(n * (shorter / m)) in float32, INTEGER
 * n * shorter / m in integers. */
typedef enum { RN_LONGER_FLOAT, RN_LONGER_ROUNDED, RN_LONGER_INTEGER } rn_longer_rule;

typedef struct rn_image_op {
    rn_crop_rule crop;
    rn_resize_method method;
    rn_resize_grid grid;
    int32_t full_h, full_w;     /* what it is resized to, where `shorter` is 0 */
    int32_t shorter;            /* else what its shorter side is resized to */
    rn_longer_rule longer;
    int32_t h, w, c;            /* of the result: the centre of that, at offset (n - size) / 2 */
    int32_t decode_channels;    /* decode_image's argument: 0 as in the file, 1, 3 */
    bool reverse;               /* channels: blue first */
    bool clip;                  /* to 0..255 */
    bool as_float;              /* the result is f32; else u8, truncated */
} rn_image_op;

/* What a side becomes where op->shorter rules and the shorter one is `shorter`; far outside of what int32 holds, INT32_MAX. */
int32_t rn_image_op_side(const rn_image_op *op, int32_t side, int32_t shorter);

/* What a model does to the size and the order of its numeric input before it computes: crop, then bilinear resize, then crop, all optional.
 * With channels_first the input's rows are [c][h][w], kept in a tensor that names c, h, w as its h, w, c. */
typedef struct rn_fit_op {
    bool channels_first;
    int32_t top, left, crop_h, crop_w; /* rectangle of the input */
    int32_t resize_h, resize_w;        /* 0: not resized */
    rn_resize_grid grid;
    int32_t after_top, after_left;     /* rectangle of what was resized, h x w */
    int32_t h, w;                      /* of the result */
} rn_fit_op;

/* Whether what an operation cuts out lies inside what it cuts it from; x: its input. */
bool rn_fit_op_is_inside(const rn_fit_op *fit, const rn_plan_tensor *x);

typedef struct rn_conv2d_op {
    int32_t r, s;               /* filter height and width */
    int32_t stride_h, stride_w;
    int32_t pad_top, pad_left, pad_bottom, pad_right; /* with zeros */
    int32_t groups;
    int32_t filter;             /* weights [r][s][c / groups][k]. F32: so are all tensors. I8: input and residual are quantised, outputs may be */
    int32_t bias;               /* weights [k] or RN_NONE */
    bool relu;                  /* on output 0, after the residual */
    int32_t scale2, shift2;     /* weights [k]; output 1 = relu(scale2 * output 0 + shift2); RN_NONE without it */
} rn_conv2d_op;

typedef struct rn_scale_shift_op {
    int32_t scale, shift;       /* weights [c], or [1] for every channel, or RN_NONE: 1 and 0 */
    bool relu;
} rn_scale_shift_op;

typedef struct rn_add_op {
    bool relu;
} rn_add_op;

typedef struct rn_max_pool_op {
    int32_t r, s, stride_h, stride_w;
    int32_t pad_top, pad_left, pad_bottom, pad_right;
    bool pad_zero;              /* true: the border counts as zeros (Keras); false: it never wins (TensorFlow SAME) */
} rn_max_pool_op;

typedef struct rn_dense_op {
    int32_t weights;            /* [c][k] */
    int32_t bias;               /* [k] or RN_NONE */
    bool relu;
} rn_dense_op;

typedef struct rn_class_map_op {
    int32_t weights;            /* those of the dense layer: [c][k], or [1][1][c][k] where it is a convolution */
    /* Where the map lies on the network's input: what position 0 looks at is centred at `first`, and each next one `step` further on, in pixels of
     * the input from its upper left corner. */
    float first_h, first_w, step_h, step_w;
} rn_class_map_op;

typedef struct rn_top_k_op {
    int32_t k;
} rn_top_k_op;

typedef struct rn_op {
    rn_op_kind kind;
    char name[RN_PLAN_NAME_BYTES]; /* where it came from, for messages and profiles */
    int32_t inputs[2];   /* tensors. CONV2D: x, residual or RN_NONE (added before ReLU). ADD: a, b. CLASS_MAP: x, scores of
                          * the classes, of which the largest is taken unless a class is asked for. Others: x, RN_NONE */
    int32_t outputs[2];  /* tensors. CONV2D: y or RN_NONE when nobody reads it, pre-activation y2 or RN_NONE. TOP_K: values, indexes */
    union {
        rn_image_op image;
        rn_fit_op fit;
        rn_conv2d_op conv2d;
        rn_scale_shift_op scale_shift;
        rn_add_op add;
        rn_max_pool_op max_pool;
        rn_dense_op dense;
        rn_class_map_op class_map;
        rn_top_k_op top_k;
    } u;
} rn_op;

/* A tensor as callers see it. dims[0] of a batched tensor is -1. */
typedef struct rn_tensor_spec {
    char name[RN_PLAN_NAME_BYTES];      /* key in the signature: "inputs" */
    char tf_name[RN_PLAN_NAME_BYTES];   /* graph tensor, for metadata: "serving_default_inputs:0" */
    rn_dtype dtype;                     /* the tensor's own; I64 over a tensor of i32: whoever writes the output widens it */
    int32_t rank;
    int64_t dims[RN_PLAN_MAX_RANK];     /* -1: any */
    int32_t tensor;                     /* of the plan */
    bool labels;                        /* output only: dtype is STRING, the tensor holds i32 indexes into the plan's labels */
} rn_tensor_spec;

typedef struct rn_signature {
    char name[RN_PLAN_NAME_BYTES];
    char method_name[RN_PLAN_NAME_BYTES];
    rn_tensor_spec input;
    int32_t output_count;
    rn_tensor_spec outputs[RN_PLAN_MAX_OUTPUTS];
    int32_t explanation;        /* tensor of a CLASS_MAP, or RN_NONE; set by rn_plan_explain alone, and in no list of outputs */

    /* Filled by rn_plan_finish. */
    int32_t image_op;           /* the picture front end when input is STRING, else RN_NONE */
    int32_t fit_op;             /* what is done to a numeric input on the host, or RN_NONE */
    int32_t feed;               /* tensor that the backend is given: the image or fit operation's output, or input.tensor */
    int32_t class_map_op;       /* what writes the explanation, or RN_NONE: runs behind `ops` in a batch where somebody asks for it */
    int32_t *ops;               /* operations that the backend runs, in order: all but IMAGE, FIT and CLASS_MAP */
    int32_t op_count;
} rn_signature;

/* What one signature gave when it was recorded in float32: see engine/golden.h. */
typedef struct rn_golden {
    char source[64];           /* for people: "reference", "warm-up record 2" */
    int32_t signature, rows;   /* of the plan; at least 1 */
    double allowed;            /* error that the plan itself makes, as a share of the largest magnitude (int8); 0: none but the device's precision */
    const void *input;         /* [rows][h][w][c] of the feed tensor */
    const float *outputs[RN_PLAN_MAX_OUTPUTS]; /* F32 outputs: [rows][h][w][c]. Indexes of a top_k: [rows][classes], what was sorted. NULL: not recorded */
} rn_golden;

typedef struct rn_plan rn_plan;
struct rn_plan {
    char architecture[RN_PLAN_NAME_BYTES];  /* for people: "ResNet-101 v2, 64x64x3, 10 classes" */
    rn_plan_tensor *tensors;
    rn_plan_weights *weights;
    rn_op *ops;                 /* in an order in which every input is written before it is read */
    rn_signature *signatures;
    char **labels;              /* NUL-terminated UTF-8; label i belongs to class i */
    rn_golden *goldens;
    int32_t tensor_count, weights_count, op_count, signature_count, label_count, golden_count;
    struct rn_plan_storage *storage; /* memory that the weights point into */
};

/* ---- building: one thread, before anybody else sees the plan ---- */

/* An empty plan. NULL when out of memory. */
rn_plan *rn_plan_create(void);
void rn_plan_destroy(rn_plan *plan); /* NULL allowed */

/* Each returns the index of the new entry in *out and copies what it is given. Fails on a limit, a bad value or no memory. */
rn_status rn_plan_add_tensor(rn_plan *plan, const char *name, rn_dtype dtype, int32_t h, int32_t w, int32_t c, int32_t *out, rn_error *err);
rn_status rn_plan_add_op(rn_plan *plan, const rn_op *op, int32_t *out, rn_error *err);
rn_status rn_plan_add_signature(rn_plan *plan, const rn_signature *signature, int32_t *out, rn_error *err); /* derived fields ignored */
rn_status rn_plan_add_label(rn_plan *plan, const char *label, rn_error *err);

/* Weights that point to `data`, which the plan does not own: it must outlive the plan or be handed over with rn_plan_adopt. */
rn_status rn_plan_add_weights(rn_plan *plan, const char *name, rn_dtype dtype, int32_t rank, const int32_t *dims, const void *data,
                              int32_t *out, rn_error *err);
/* Weights with memory of their own, zeroed, 64-byte aligned, owned by the plan; *data is where to write them. */
rn_status rn_plan_new_weights(rn_plan *plan, const char *name, rn_dtype dtype, int32_t rank, const int32_t *dims, void **data, int32_t *out,
                              rn_error *err);
/* Takes `memory`: release(memory, bytes) is called once when the plan is destroyed, or at once when this fails. */
rn_status rn_plan_adopt(rn_plan *plan, void *memory, size_t bytes, void (*release)(void *memory, size_t bytes), rn_error *err);

/* A check of the plan's data that may still be under way, such as the hash of its file. finish(context, err) waits for it, gives its verdict and frees the
 * context; it is called once, at the latest before memory that the plan owns is released. */
typedef rn_status rn_plan_check_fn(void *context, rn_error *err);
void rn_plan_expect(rn_plan *plan, rn_plan_check_fn *finish, void *context);
/* Waits for that check: its verdict the first time, OK afterwards and where there is none. Whoever prepares a plan meanwhile calls this before anybody sees
 * what came of it. */
rn_status rn_plan_await(rn_plan *plan, rn_error *err);

/* Sorts the operations, drops those that no signature needs, checks every index, shape, dtype and weight against the operations' contracts,
 * and fills the derived fields of the signatures. Fails naming the operation. May be called again after a pass. */
rn_status rn_plan_finish(rn_plan *plan, rn_error *err);

/* ---- reading: any thread ---- */

/* The signature of that name, or NULL. */
const rn_signature *rn_plan_signature(const rn_plan *plan, const char *name);
int64_t rn_plan_tensor_elements(const rn_plan_tensor *tensor); /* of one batch row: h * w * c */
size_t rn_plan_tensor_bytes(const rn_plan_tensor *tensor);     /* of one batch row; 0 for STRING */
int64_t rn_plan_parameter_count(const rn_plan *plan);          /* elements of all weights */
int64_t rn_plan_multiply_count(const rn_plan *plan, const rn_signature *signature); /* multiply-accumulates of one batch row */

/* Output height or width of a window operation; less than 1 when the window does not fit. */
int32_t rn_plan_window_output(int32_t size, int32_t window, int32_t stride, int32_t pad_before, int32_t pad_after);

#endif
