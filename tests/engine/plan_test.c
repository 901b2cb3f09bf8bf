/* rn_plan_finish: what it derives, what it drops, and that every kind of wrong plan is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/plan.h"

/* picture -> u8 8x8x3 -> f32 -> conv 3x3 to 4 channels -> pool -> dense to 2 classes -> softmax -> top 2, and the float entry beside it. */
typedef struct fixture {
    rn_plan *plan;
    int32_t bytes, pixels, input, features, pooled, logits, probabilities, values, indexes;
    int32_t filter, weights;
} fixture;

static int32_t tensor(rn_plan *plan, const char *name, rn_dtype dtype, int32_t h, int32_t w, int32_t c)
{
    int32_t t;
    assert_int_equal(rn_plan_add_tensor(plan, name, dtype, h, w, c, &t, NULL), RN_STATUS_OK);
    return t;
}

static int32_t new_weights(rn_plan *plan, const char *name, int32_t rank, const int32_t *dims)
{
    int32_t w;
    void *data;
    assert_int_equal(rn_plan_new_weights(plan, name, RN_DTYPE_F32, rank, dims, &data, &w, NULL), RN_STATUS_OK);
    return w;
}

static rn_op *op(fixture *f, rn_op_kind kind, const char *name, int32_t x, int32_t y)
{
    rn_op new_op = {.kind = kind, .inputs = {x, RN_NONE}, .outputs = {y, RN_NONE}};
    strcpy(new_op.name, name);
    int32_t index;
    assert_int_equal(rn_plan_add_op(f->plan, &new_op, &index, NULL), RN_STATUS_OK);
    return &f->plan->ops[index];
}

static rn_tensor_spec spec(const char *name, rn_dtype dtype, int32_t tensor, int32_t rank, int64_t d1, int64_t d2, int64_t d3)
{
    rn_tensor_spec s = {.dtype = dtype, .rank = rank, .dims = {-1, d1, d2, d3}, .tensor = tensor};
    strcpy(s.name, name);
    return s;
}

/* Operations are added last to first, so that finish has sorting to do. */
static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    rn_plan *plan = f->plan = rn_plan_create();
    assert_non_null(plan);
    f->bytes = tensor(plan, "bytes", RN_DTYPE_STRING, 1, 1, 1);
    f->pixels = tensor(plan, "pixels", RN_DTYPE_U8, 8, 8, 3);
    f->input = tensor(plan, "input", RN_DTYPE_F32, 8, 8, 3);
    f->features = tensor(plan, "features", RN_DTYPE_F32, 4, 4, 4);
    f->pooled = tensor(plan, "pooled", RN_DTYPE_F32, 1, 1, 4);
    f->logits = tensor(plan, "logits", RN_DTYPE_F32, 1, 1, 2);
    f->probabilities = tensor(plan, "probabilities", RN_DTYPE_F32, 1, 1, 2);
    f->values = tensor(plan, "values", RN_DTYPE_F32, 1, 1, 2);
    f->indexes = tensor(plan, "indexes", RN_DTYPE_I32, 1, 1, 2);
    f->filter = new_weights(plan, "filter", 4, (int32_t[]){3, 3, 3, 4});
    f->weights = new_weights(plan, "weights", 2, (int32_t[]){4, 2});

    rn_op *top = op(f, RN_OP_TOP_K, "top", f->probabilities, f->values);
    top->outputs[1] = f->indexes;
    top->u.top_k.k = 2;
    op(f, RN_OP_SOFTMAX, "softmax", f->logits, f->probabilities);
    op(f, RN_OP_DENSE, "dense", f->pooled, f->logits)->u.dense = (rn_dense_op){.weights = f->weights, .bias = RN_NONE};
    op(f, RN_OP_GLOBAL_AVERAGE_POOL, "pool", f->features, f->pooled);
    op(f, RN_OP_CONV2D, "conv", f->input, f->features)->u.conv2d =
        (rn_conv2d_op){.r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_top = 0, .pad_bottom = 1, .pad_left = 0, .pad_right = 1, .groups = 1,
                       .filter = f->filter, .bias = RN_NONE, .scale2 = RN_NONE, .shift2 = RN_NONE};
    op(f, RN_OP_SCALE_SHIFT, "convert", f->pixels, f->input)->u.scale_shift = (rn_scale_shift_op){.scale = RN_NONE, .shift = RN_NONE};
    op(f, RN_OP_IMAGE, "decode", f->bytes, f->pixels)->u.image =
        (rn_image_op){.crop = RN_CROP_CENTER_SQUARE_ROUND_UP, .full_h = 8, .full_w = 8, .h = 8, .w = 8, .c = 3, .decode_channels = 3};

    rn_signature pictures = {.name = "serving_preprocess", .output_count = 2};
    pictures.input = spec("image_bytes", RN_DTYPE_STRING, f->bytes, 1, 0, 0, 0);
    pictures.outputs[0] = spec("labels", RN_DTYPE_STRING, f->indexes, 2, 2, 0, 0);
    pictures.outputs[0].labels = true;
    pictures.outputs[1] = spec("probabilities", RN_DTYPE_F32, f->values, 2, 2, 0, 0);
    rn_signature floats = {.name = "serving_default", .output_count = 1};
    floats.input = spec("inputs", RN_DTYPE_F32, f->input, 4, 8, 8, 3);
    floats.outputs[0] = spec("logits", RN_DTYPE_F32, f->logits, 2, 2, 0, 0);
    assert_int_equal(rn_plan_add_signature(plan, &pictures, NULL, NULL), RN_STATUS_OK);
    assert_int_equal(rn_plan_add_signature(plan, &floats, NULL, NULL), RN_STATUS_OK);
    assert_int_equal(rn_plan_add_label(plan, "cat", NULL), RN_STATUS_OK);
    assert_int_equal(rn_plan_add_label(plan, "dog", NULL), RN_STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    rn_plan_destroy(f->plan);
    free(f);
    return 0;
}

static rn_op *find_op(const fixture *f, const char *name)
{
    for (int32_t i = 0; i < f->plan->op_count; i++) {
        if (strcmp(f->plan->ops[i].name, name) == 0) return &f->plan->ops[i];
    }
    return NULL;
}

static void expect_refusal(const fixture *f, const char *what)
{
    rn_error err;
    assert_int_not_equal(rn_plan_finish(f->plan, &err), RN_STATUS_OK);
    if (!strstr(err.message, what)) fail_msg("expected a message with \"%s\", got: %s", what, err.message);
}

static void sorts_and_derives(void **state)
{
    const fixture *f = *state;
    rn_error err = {0};
    assert_int_equal(rn_plan_finish(f->plan, &err), RN_STATUS_OK);
    assert_string_equal(f->plan->ops[0].name, "decode");
    assert_string_equal(f->plan->ops[6].name, "top");

    const rn_signature *pictures = rn_plan_signature(f->plan, "serving_preprocess");
    assert_int_equal(pictures->image_op, 0);
    assert_string_equal(f->plan->tensors[pictures->feed].name, "pixels");
    assert_int_equal(pictures->op_count, 6);

    const rn_signature *floats = rn_plan_signature(f->plan, "serving_default");
    assert_int_equal(floats->image_op, RN_NONE);
    assert_string_equal(f->plan->tensors[floats->feed].name, "input");
    assert_int_equal(floats->op_count, 3);
    assert_string_equal(f->plan->ops[floats->ops[0]].name, "conv");
    assert_int_equal(rn_plan_multiply_count(f->plan, floats), 4 * 4 * 3 * 3 * 3 * 4 + 4 * 2);
    assert_null(rn_plan_signature(f->plan, "nope"));
}

static void drops_what_nobody_needs(void **state)
{
    fixture *f = *state;
    tensor(f->plan, "stray", RN_DTYPE_F32, 1, 1, 1);
    new_weights(f->plan, "stray weights", 1, (int32_t[]){7});
    const int32_t y = tensor(f->plan, "unread", RN_DTYPE_F32, 1, 1, 4);
    op(f, RN_OP_SOFTMAX, "unread softmax", f->pooled, y);
    assert_int_equal(rn_plan_finish(f->plan, NULL), RN_STATUS_OK);
    assert_null(find_op(f, "unread softmax"));
    assert_int_equal(f->plan->tensor_count, 9);
    assert_int_equal(f->plan->weights_count, 2);
    assert_int_equal(rn_plan_finish(f->plan, NULL), RN_STATUS_OK); /* again: nothing left to do */
    assert_int_equal(f->plan->op_count, 7);
}

static void refuses_a_cycle(void **state)
{
    fixture *f = *state;
    find_op(f, "conv")->inputs[0] = f->features;
    expect_refusal(f, "conv (conv2d): depends on itself");
}

static void refuses_two_writers(void **state)
{
    fixture *f = *state;
    op(f, RN_OP_SOFTMAX, "again", f->logits, f->probabilities);
    expect_refusal(f, "probabilities has a second writer");
}

static void refuses_a_missing_writer(void **state)
{
    fixture *f = *state;
    find_op(f, "dense")->inputs[0] = tensor(f->plan, "orphan", RN_DTYPE_F32, 1, 1, 4);
    expect_refusal(f, "tensor orphan is read and nothing writes it");
}

static void refuses_indexes_outside(void **state)
{
    fixture *f = *state;
    find_op(f, "conv")->u.conv2d.filter = 99;
    expect_refusal(f, "conv (conv2d): weights 99");
    find_op(f, "conv")->u.conv2d.filter = f->filter;
    find_op(f, "conv")->inputs[0] = -7;
    expect_refusal(f, "conv (conv2d): input 0 is tensor -7");
}

static void refuses_shapes_that_do_not_fit(void **state)
{
    fixture *f = *state;
    rn_conv2d_op *conv = &find_op(f, "conv")->u.conv2d;
    conv->pad_bottom = 0;
    expect_refusal(f, "expected tensor features to be F32 3x4x4, found F32 4x4x4");
    conv = &find_op(f, "conv")->u.conv2d;
    conv->pad_bottom = 3;
    expect_refusal(f, "padding 3 with a window of 3");
}

static void refuses_labels_that_do_not_match(void **state)
{
    fixture *f = *state;
    assert_int_equal(rn_plan_add_label(f->plan, "one too many", NULL), RN_STATUS_OK);
    expect_refusal(f, "labels names 2 classes, the plan has 3 labels");
}

static void refuses_signatures_that_do_not_match(void **state)
{
    fixture *f = *state;
    f->plan->signatures[1].outputs[0].dims[1] = 3;
    expect_refusal(f, "signature serving_default: logits has rank 2 and 3 elements a row");
    f->plan->signatures[1].outputs[0].dims[1] = 2;
    f->plan->signatures[1].outputs[0].dtype = RN_DTYPE_I32;
    expect_refusal(f, "logits is int32, tensor logits holds float");
}

static void limits_hold(void **state)
{
    fixture *f = *state;
    int32_t index;
    rn_error err;
    assert_int_equal(rn_plan_add_tensor(f->plan, "huge", RN_DTYPE_F32, RN_PLAN_MAX_SIDE + 1, 1, 1, &index, &err), RN_STATUS_UNSUPPORTED);
    assert_int_equal(rn_plan_add_weights(f->plan, "huge", RN_DTYPE_F32, 4, (int32_t[]){1 << 20, 1 << 20, 1 << 20, 1}, NULL, &index, &err),
                     RN_STATUS_UNSUPPORTED);
    char name[RN_PLAN_NAME_BYTES + 1];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_int_equal(rn_plan_add_tensor(f->plan, name, RN_DTYPE_F32, 1, 1, 1, &index, &err), RN_STATUS_UNSUPPORTED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(sorts_and_derives),
        CASE(drops_what_nobody_needs),
        CASE(refuses_a_cycle),
        CASE(refuses_two_writers),
        CASE(refuses_a_missing_writer),
        CASE(refuses_indexes_outside),
        CASE(refuses_shapes_that_do_not_fit),
        CASE(refuses_labels_that_do_not_match),
        CASE(refuses_signatures_that_do_not_match),
        CASE(limits_hold),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
