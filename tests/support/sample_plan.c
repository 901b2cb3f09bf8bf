/* picture -> u8 8x8x3 -> f32 -> 3x3 convolution with pre-activation -> grouped convolution with residual -> pool -> add -> head -> top 2. */
#include "tests/support/sample_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka needs the three above. */
#include <cmocka.h>

#include <string.h>

static int32_t tensor(rn_plan *plan, const char *name, rn_dtype dtype, int32_t h, int32_t w, int32_t c)
{
    int32_t t;
    assert_int_equal(rn_plan_add_tensor(plan, name, dtype, h, w, c, &t, NULL), RN_STATUS_OK);
    return t;
}

/* Values that differ everywhere and are exact in float. */
static int32_t weights(rn_plan *plan, const char *name, int32_t rank, int32_t d0, int32_t d1, int32_t d2, int32_t d3)
{
    int32_t w;
    void *data;
    assert_int_equal(rn_plan_new_weights(plan, name, RN_DTYPE_F32, rank, (int32_t[]){d0, d1, d2, d3}, &data, &w, NULL), RN_STATUS_OK);
    for (int64_t i = 0; i < plan->weights[w].element_count; i++) ((float *)data)[i] = (float)(i % 17 + 100 * w) / 64.0f - 1.0f;
    return w;
}

static void add(rn_plan *plan, rn_op op, const char *name)
{
    strcpy(op.name, name);
    assert_int_equal(rn_plan_add_op(plan, &op, NULL, NULL), RN_STATUS_OK);
}

static rn_tensor_spec spec(const char *name, rn_dtype dtype, int32_t of, int32_t rank, int64_t d1, int64_t d2, int64_t d3)
{
    rn_tensor_spec s = {.dtype = dtype, .rank = rank, .dims = {-1, d1, d2, d3}, .tensor = of};
    strcpy(s.name, name);
    strcat(strcpy(s.tf_name, name), ":0");
    return s;
}

static void add_signature(rn_plan *plan, const char *name, rn_signature signature)
{
    strcpy(signature.name, name);
    strcpy(signature.method_name, "tensorflow/serving/predict");
    assert_int_equal(rn_plan_add_signature(plan, &signature, NULL, NULL), RN_STATUS_OK);
}

rn_plan *sample_plan(void)
{
    rn_plan *plan = rn_plan_create();
    assert_non_null(plan);
    strcpy(plan->architecture, "sample, 8x8x3, 3 classes");

    const int32_t bytes = tensor(plan, "bytes", RN_DTYPE_STRING, 1, 1, 1), pixels = tensor(plan, "pixels", RN_DTYPE_U8, 8, 8, 3);
    const int32_t input = tensor(plan, "input", RN_DTYPE_F32, 8, 8, 3), stem = tensor(plan, "stem", RN_DTYPE_F32, 8, 8, 4);
    const int32_t active = tensor(plan, "stem/active", RN_DTYPE_F32, 8, 8, 4), unit = tensor(plan, "unit", RN_DTYPE_F32, 8, 8, 4);
    const int32_t left = tensor(plan, "left", RN_DTYPE_F32, 4, 4, 4), right = tensor(plan, "right", RN_DTYPE_F32, 4, 4, 4);
    const int32_t sum = tensor(plan, "sum", RN_DTYPE_F32, 4, 4, 4), post = tensor(plan, "post", RN_DTYPE_F32, 4, 4, 4);
    const int32_t pooled = tensor(plan, "pooled", RN_DTYPE_F32, 1, 1, 4), logits = tensor(plan, "logits", RN_DTYPE_F32, 1, 1, 3);
    const int32_t probabilities = tensor(plan, "probabilities", RN_DTYPE_F32, 1, 1, 3);
    const int32_t values = tensor(plan, "values", RN_DTYPE_F32, 1, 1, 2), indexes = tensor(plan, "indexes", RN_DTYPE_I32, 1, 1, 2);

    const int32_t scale = weights(plan, "scale", 1, 1, 0, 0, 0), shift = weights(plan, "shift", 1, 3, 0, 0, 0);
    const int32_t filter = weights(plan, "stem/filter", 4, 3, 3, 3, 4), bias = weights(plan, "stem/bias", 1, 4, 0, 0, 0);
    const int32_t scale2 = weights(plan, "stem/scale", 1, 4, 0, 0, 0), shift2 = weights(plan, "stem/shift", 1, 4, 0, 0, 0);
    const int32_t grouped = weights(plan, "unit/filter", 4, 3, 3, 2, 4);
    const int32_t post_scale = weights(plan, "post/scale", 1, 4, 0, 0, 0), dense = weights(plan, "dense/kernel", 2, 4, 3, 0, 0);
    const int32_t dense_bias = weights(plan, "dense/bias", 1, 3, 0, 0, 0);

    add(plan, (rn_op){.kind = RN_OP_IMAGE, .inputs = {bytes, RN_NONE}, .outputs = {pixels, RN_NONE},
                      .u.image = {.crop = RN_CROP_CENTER_SQUARE_ROUND_UP, .full_h = 8, .full_w = 8, .h = 8, .w = 8, .c = 3}}, "decode");
    add(plan, (rn_op){.kind = RN_OP_SCALE_SHIFT, .inputs = {pixels, RN_NONE}, .outputs = {input, RN_NONE},
                      .u.scale_shift = {.scale = scale, .shift = shift}}, "convert");
    add(plan, (rn_op){.kind = RN_OP_CONV2D, .inputs = {input, RN_NONE}, .outputs = {stem, active},
                      .u.conv2d = {.r = 3, .s = 3, .stride_h = 1, .stride_w = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1,
                                   .groups = 1, .filter = filter, .bias = bias, .scale2 = scale2, .shift2 = shift2}}, "stem");
    add(plan, (rn_op){.kind = RN_OP_CONV2D, .inputs = {active, stem}, .outputs = {unit, RN_NONE},
                      .u.conv2d = {.r = 3, .s = 3, .stride_h = 1, .stride_w = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1,
                                   .groups = 2, .filter = grouped, .bias = RN_NONE, .relu = true, .scale2 = RN_NONE, .shift2 = RN_NONE}}, "unit");
    add(plan, (rn_op){.kind = RN_OP_MAX_POOL, .inputs = {unit, RN_NONE}, .outputs = {left, RN_NONE},
                      .u.max_pool = {.r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_bottom = 1, .pad_right = 1, .pad_zero = true}}, "left");
    add(plan, (rn_op){.kind = RN_OP_MAX_POOL, .inputs = {unit, RN_NONE}, .outputs = {right, RN_NONE},
                      .u.max_pool = {.r = 1, .s = 1, .stride_h = 2, .stride_w = 2}}, "right");
    add(plan, (rn_op){.kind = RN_OP_ADD, .inputs = {left, right}, .outputs = {sum, RN_NONE}, .u.add = {.relu = true}}, "sum");
    add(plan, (rn_op){.kind = RN_OP_SCALE_SHIFT, .inputs = {sum, RN_NONE}, .outputs = {post, RN_NONE},
                      .u.scale_shift = {.scale = post_scale, .shift = RN_NONE, .relu = true}}, "post");
    add(plan, (rn_op){.kind = RN_OP_GLOBAL_AVERAGE_POOL, .inputs = {post, RN_NONE}, .outputs = {pooled, RN_NONE}}, "pool");
    add(plan, (rn_op){.kind = RN_OP_DENSE, .inputs = {pooled, RN_NONE}, .outputs = {logits, RN_NONE},
                      .u.dense = {.weights = dense, .bias = dense_bias}}, "dense");
    add(plan, (rn_op){.kind = RN_OP_SOFTMAX, .inputs = {logits, RN_NONE}, .outputs = {probabilities, RN_NONE}}, "softmax");
    add(plan, (rn_op){.kind = RN_OP_TOP_K, .inputs = {probabilities, RN_NONE}, .outputs = {values, indexes}, .u.top_k = {.k = 2}}, "top");

    static const char *const labels[] = {"ankle boot", "T-shirt/top", "\xc3\xa9toile \"quoted\""};
    for (int i = 0; i < 3; i++) assert_int_equal(rn_plan_add_label(plan, labels[i], NULL), RN_STATUS_OK);

    rn_tensor_spec classes = spec("classes", RN_DTYPE_STRING, indexes, 2, 2, 0, 0);
    classes.labels = true;
    add_signature(plan, "serving_default", (rn_signature){.input = spec("input", RN_DTYPE_F32, input, 4, 8, 8, 3), .output_count = 1,
                                                          .outputs = {spec("probabilities", RN_DTYPE_F32, probabilities, 2, 3, 0, 0)}});
    add_signature(plan, "serving_preprocess",
                  (rn_signature){.input = spec("bytes", RN_DTYPE_STRING, bytes, 1, 0, 0, 0), .output_count = 2,
                                 .outputs = {spec("probabilities", RN_DTYPE_F32, values, 2, 2, 0, 0), classes}});
    rn_error err;
    if (rn_plan_finish(plan, &err) != RN_STATUS_OK) fail_msg("the sample plan: %s", err.message);
    return plan;
}
