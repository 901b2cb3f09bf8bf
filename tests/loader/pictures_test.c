/* The loop over pictures, written by hand: which crop rule is found, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/tiny_graph.h"

typedef struct body_options {
    int32_t add;  /* to the border before it is halved */
    int32_t part; /* the square's side is the shorter side * part / 8 */
    bool crop, half_pixel_centers, cast, set_next;
    int32_t channels;
} body_options;

static const body_options plain = {.add = 1, .part = 8, .crop = true, .half_pixel_centers = true, .cast = true, .channels = 3};

static void add_scalar(tiny_body *b, const char *name, int32_t value)
{
    tiny_ints(b, name, 0, NULL, &value);
}

/* offset = (dim - side + add) / 2, of one dimension. */
static void add_offset(tiny_body *b, const char *name, const char *dim)
{
    char border[32], sum[32], inputs[96];
    snprintf(border, sizeof border, "%s_border", name);
    snprintf(sum, sizeof sum, "%s_sum", name);
    snprintf(inputs, sizeof inputs, "%s:output:0 side:z:0", dim);
    tiny_add(b, border, "Sub", inputs);
    snprintf(inputs, sizeof inputs, "%s:z:0 add:output:0", border);
    tiny_add(b, sum, "AddV2", inputs);
    snprintf(inputs, sizeof inputs, "%s:z:0 two:output:0", sum);
    tiny_add(b, name, "FloorDiv", inputs);
}

static void add_body(tiny_graph *graph, const body_options *o)
{
    tiny_body *b = tiny_function_add(graph, "body", "counter batch index list_out list_in",
                                     "a=next_counter:z:0 b=batch c=next_index:z:0 d=set:output_handle:0 e=list_in");
    add_scalar(b, "one", 1), add_scalar(b, "two", 2), add_scalar(b, "zero", 0), add_scalar(b, "add", o->add),
        add_scalar(b, "part", o->part);
    add_scalar(b, "eight", 8);
    tiny_add(b, "next_counter", "AddV2", "counter one:output:0");
    tiny_add(b, "next_index", "AddV2", "index one:output:0");
    tiny_add(b, "item", "TensorListGetItem", "list_in index zero:output:0");
    tiny_node *decode = tiny_add(b, "decode", "DecodeImage", "item:item:0");
    tiny_attr_int(decode, "channels", o->channels);
    tiny_attr_bool(decode, "expand_animations", false);
    tiny_add(b, "shape", "Shape", "decode:image:0");
    tiny_attr_int(tiny_add(b, "dims", "Unpack", "shape:output:0"), "num", 3);
    tiny_add(b, "height", "Identity", "dims:output:0");
    tiny_add(b, "width", "Identity", "dims:output:1");
    tiny_add(b, "shorter", "Minimum", "height:output:0 width:output:0");
    tiny_add(b, "eighths", "Mul", "shorter:z:0 part:output:0");
    tiny_add(b, "side", "FloorDiv", "eighths:z:0 eight:output:0");
    add_offset(b, "top", "height");
    add_offset(b, "left", "width");
    tiny_add(b, "begin", "Pack", "top:z:0 left:z:0 zero:output:0");
    tiny_add(b, "size", "Pack", "side:z:0 side:z:0 dims:output:2");
    tiny_add(b, "cropped", "Slice", "decode:image:0 begin:output:0 size:output:0");
    tiny_add(b, "expanded", "ExpandDims", o->crop ? "cropped:output:0 zero:output:0" : "decode:image:0 zero:output:0");
    tiny_ints(b, "target", 1, (int64_t[]){2}, (int32_t[]){12, 16});
    tiny_attr_bool(tiny_add(b, "resized", "ResizeBilinear", "expanded:output:0 target:output:0"), "half_pixel_centers",
                   o->half_pixel_centers);
    tiny_attr_ints(tiny_add(b, "squeezed", "Squeeze", "resized:resized_images:0"), "squeeze_dims", 1, (int64_t[]){0});
    tiny_attr_type(tiny_add(b, "cast", "Cast", "squeezed:output:0"), "DstT", RN__DT_UINT8);
    tiny_add(b, "set", "TensorListSetItem",
             !o->cast      ? "list_out index squeezed:output:0"
             : o->set_next ? "list_out next_index:z:0 cast:y:0"
                           : "list_out index cast:y:0");
}

/* Imports the front end; *out is its operation. */
static rn_status import_front_end(const body_options *options, rn_image_op *out, rn_error *err)
{
    tiny_graph *graph = tiny_create();
    tiny_body *b = &graph->body;
    tiny_add(b, "bytes", "Placeholder", "");
    tiny_ints(b, "zero", 0, NULL, (int32_t[]){0});
    tiny_ints(b, "zeros", 1, (int64_t[]){1}, (int32_t[]){0});
    tiny_ints(b, "ones", 1, (int64_t[]){1}, (int32_t[]){1});
    tiny_add(b, "shape", "Shape", "bytes");
    tiny_attr_int(tiny_add(b, "batch", "StridedSlice", "shape zeros ones ones"), "shrink_axis_mask", 1);
    tiny_add(b, "reserve", "TensorListReserve", "zero batch");
    tiny_add(b, "list", "TensorListFromTensor", "bytes zeros");
    tiny_node *loop = tiny_add(b, "loop", "StatelessWhile", "zero batch zero reserve list");
    tiny_attr_function(loop, "cond", "cond");
    tiny_attr_function(loop, "body", "body");
    tiny_add(b, "pictures", "TensorListStack", "loop:3 zero");
    tiny_attr_type(tiny_add(b, "cast", "Cast", "pictures"), "DstT", RN__DT_FLOAT);
    tiny_add(b, "floats", "Relu", "cast");
    tiny_body *cond = tiny_function_add(graph, "cond", "counter batch index list_out list_in", "go=both:z:0");
    tiny_add(cond, "first", "Less", "counter batch");
    tiny_add(cond, "second", "Less", "index batch");
    tiny_add(cond, "both", "LogicalAnd", "first:z:0 second:z:0");
    add_body(graph, options);

    Sm__TensorShape__Dim dim = SM__TENSOR_SHAPE__DIM__INIT, *dims = &dim;
    Sm__TensorShape shape = SM__TENSOR_SHAPE__INIT;
    Sm__TensorInfo infos[2] = {SM__TENSOR_INFO__INIT, SM__TENSOR_INFO__INIT};
    Sm__Signature__TensorEntry entries[2] = {SM__SIGNATURE__TENSOR_ENTRY__INIT, SM__SIGNATURE__TENSOR_ENTRY__INIT};
    Sm__Signature__TensorEntry *input = &entries[0], *output = &entries[1];
    Sm__Signature signature = SM__SIGNATURE__INIT;
    dim.size = -1;
    shape.n_dim = 1, shape.dim = &dims;
    infos[0].name = entries[0].key = "bytes";
    infos[1].name = entries[1].key = "floats";
    infos[0].dtype = RN__DT_STRING, infos[0].tensor_shape = &shape;
    entries[0].value = &infos[0], entries[1].value = &infos[1];
    signature.n_inputs = signature.n_outputs = 1;
    signature.inputs = &input, signature.outputs = &output;

    const rn__value *value;
    tiny_import(graph, "bytes", &value); /* prepares; a placeholder has no value by itself */
    rn_status status = rn__import_signature(&graph->import, "pictures", &signature, err);
    if (status == RN_STATUS_OK) status = rn_plan_finish(graph->plan, err);
    if (status == RN_STATUS_OK) *out = graph->plan->ops[graph->plan->signatures[0].image_op].u.image;
    tiny_destroy(graph);
    return status;
}

static void expect_rule(const body_options *options, rn_crop_rule rule)
{
    rn_image_op image;
    rn_error err = {0};
    if (import_front_end(options, &image, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    assert_int_equal(image.crop, rule);
    assert_int_equal(image.h, 12);
    assert_int_equal(image.w, 16);
    assert_int_equal(image.c, 3);
    assert_int_equal(image.decode_channels, options->channels);
}

static void crop_rules_are_found(void **state)
{
    (void)state;
    body_options o = plain;
    expect_rule(&o, RN_CROP_CENTER_SQUARE_ROUND_UP);
    o.add = 0;
    expect_rule(&o, RN_CROP_CENTER_SQUARE_ROUND_DOWN);
    o.channels = 0;
    expect_rule(&o, RN_CROP_CENTER_SQUARE_ROUND_DOWN);
    o.crop = false;
    expect_rule(&o, RN_CROP_NONE);
}

static rn_image_op found(body_options o)
{
    rn_image_op image;
    rn_error err = {0};
    if (import_front_end(&o, &image, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    return image;
}

static void grid_and_cast_are_found(void **state)
{
    (void)state;
    body_options o = plain;
    rn_image_op image = found(o);
    assert_int_equal(image.method, RN_RESIZE_BILINEAR);
    assert_int_equal(image.grid, RN_GRID_HALF_PIXEL);
    assert_false(image.as_float);
    assert_int_equal(image.full_h, 12);
    assert_int_equal(image.full_w, 16);
    assert_int_equal(image.shorter, 0);
    o.half_pixel_centers = false;
    image = found(o);
    assert_int_equal(image.grid, RN_GRID_CORNER);
    o.cast = false;
    image = found(o);
    assert_true(image.as_float);
}

static void expect_refusal(body_options o, const char *words)
{
    rn_image_op image;
    rn_error err = {0};
    assert_int_equal(import_front_end(&o, &image, &err), RN_STATUS_UNSUPPORTED);
    if (!strstr(err.message, words)) fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void other_front_ends_are_refused(void **state)
{
    (void)state;
    body_options o = plain;
    o.part = 7;
    expect_refusal(o, "a crop of 0x0"); /* of a picture of one pixel */
    o = plain;
    o.add = -2;
    expect_refusal(o, "it begins outside dimension 0");
    o = plain;
    o.set_next = true;
    expect_refusal(o, "other than the loop's own element");
    o = plain;
    o.channels = 4;
    expect_refusal(o, "channels is 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crop_rules_are_found),
        cmocka_unit_test(grid_and_cast_are_found),
        cmocka_unit_test(other_front_ends_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
