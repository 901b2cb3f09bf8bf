/* The front end is put before the network's input: what it ends with writes the tensor that callers of the numeric signature fill. */
#include "tools/convert/image_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/passes.h"

enum { BEST = 5, MAX_LABEL_BYTES = 1 << 24 };

/* Scale and shift of R, G and B, and whether they change places afterwards. */
static const struct {
    const char *name;
    float scale[3], shift[3];
    bool bgr;
} modes[] = {
    {"caffe", {1, 1, 1}, {-123.68f, -116.779f, -103.939f}, true},
    {"tf", {1 / 127.5f, 1 / 127.5f, 1 / 127.5f}, {-1, -1, -1}, false},
    {"torch", {1 / (255 * 0.229f), 1 / (255 * 0.224f), 1 / (255 * 0.225f)}, {-0.485f / 0.229f, -0.456f / 0.224f, -0.406f / 0.225f}, false},
    {"unit", {1 / 255.0f, 1 / 255.0f, 1 / 255.0f}, {0, 0, 0}, false},
};
enum { MODE_COUNT = sizeof modes / sizeof *modes };

static int find_mode(const char *name)
{
    for (int i = 0; i < MODE_COUNT; i++)
        if (strcmp(modes[i].name, name) == 0) return i;
    return RN_NONE;
}

bool rn_image_input_mode(const char *mode)
{
    return find_mode(mode) != RN_NONE;
}

/* ---- the network ---- */

/* The output that has a value for each class, or RN_NONE. */
static int32_t class_output(const rn_plan *plan, const rn_signature *signature)
{
    int32_t found = RN_NONE;
    for (int32_t o = 0; o < signature->output_count; o++) {
        const rn_plan_tensor *t = &plan->tensors[signature->outputs[o].tensor];
        if (t->dtype != RN_DTYPE_F32 || t->h * t->w != 1) continue;
        if (found != RN_NONE) return RN_NONE;
        found = o;
    }
    return found;
}

static bool takes_rgb(const rn_plan *plan, const rn_signature *signature)
{
    const rn_plan_tensor *input = &plan->tensors[signature->input.tensor];
    return input->dtype == RN_DTYPE_F32 && input->c == 3 && signature->fit_op == RN_NONE;
}

static rn_status choose_signature(const rn_plan *plan, int32_t *out, rn_error *err)
{
    int32_t fitting = 0;
    *out = RN_NONE;
    for (int32_t s = 0; s < plan->signature_count; s++) {
        const rn_signature *signature = &plan->signatures[s];
        if (strcmp(signature->name, "serving_preprocess") == 0)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--image_input: the model has a signature serving_preprocess already");
        if (!takes_rgb(plan, signature) || class_output(plan, signature) == RN_NONE) continue;
        fitting++;
        if (*out == RN_NONE || strcmp(signature->name, "serving_default") == 0) *out = s;
    }
    if (*out == RN_NONE)
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "--image_input: no signature maps floats [-1,height,width,3] to one vector of classes");
    if (fitting == 1 || strcmp(plan->signatures[*out].name, "serving_default") == 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "--image_input: %d signatures take pictures as floats, and none of them is serving_default",
                   fitting);
}

/* ---- labels ---- */

static rn_status read_text(const char *path, char **out, rn_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file) return RN_FAIL(err, RN_STATUS_NOT_FOUND, "--labels=%s: it cannot be opened", path);
    char *text = malloc(MAX_LABEL_BYTES + 1);
    const size_t count = text ? fread(text, 1, MAX_LABEL_BYTES + 1, file) : 0;
    fclose(file);
    rn_status status = RN_STATUS_OK;
    if (!text)
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "--labels=%s: no memory", path);
    else if (count > MAX_LABEL_BYTES || memchr(text, 0, count))
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--labels=%s: no text file of at most %d bytes", path, MAX_LABEL_BYTES);
    if (status != RN_STATUS_OK) {
        free(text);
        return status;
    }
    text[count] = '\0';
    *out = text;
    return RN_STATUS_OK;
}

/* Ends every line with a NUL, and a carriage return before; an empty line at the end counts for nothing. Returns how many there are. */
static int32_t split_lines(char *text, char **lines, int32_t room)
{
    int32_t count = 0;
    for (char *at = text, *end; *at; at = end) {
        end = at + strcspn(at, "\n");
        char *stop = end;
        if (*end) end++;
        if (stop > at && stop[-1] == '\r') stop--;
        *stop = '\0';
        if (count < room) lines[count] = at;
        count++;
    }
    return count;
}

static bool is_background(const char *label)
{
    return strcmp(label, "background") == 0 || strcmp(label, "dummy") == 0;
}

static rn_status add_labels(rn_plan *plan, const char *path, int32_t classes, rn_error *err)
{
    char *text = NULL;
    RN_TRY(read_text(path, &text, err));
    char **lines = malloc(((size_t)classes + 1) * sizeof *lines);
    const int32_t count = lines ? split_lines(text, lines, classes + 1) : 0;
    const bool add = count == classes - 1 && count > 0 && !is_background(lines[0]), drop = count == classes + 1 && is_background(lines[0]);
    rn_status status = RN_STATUS_OK;
    if (!lines)
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "--labels=%s: no memory", path);
    else if (count != classes && !add && !drop)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                         "--labels=%s: %d lines, expected %d, the number of classes (or one less, where the first class is \"background\", "
                         "or one more, where the "
                         "first line is)",
                         path, count, classes);
    if (status == RN_STATUS_OK && plan->label_count > 0)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--labels: the model has %d labels of its own", plan->label_count);
    if (status == RN_STATUS_OK && add) status = rn_plan_add_label(plan, "background", err);
    for (int32_t i = drop; i < count && status == RN_STATUS_OK; i++) status = rn_plan_add_label(plan, lines[i], err);
    free(lines);
    free(text);
    return status;
}

/* ---- operations ---- */

static rn_status add_vector(rn_plan *plan, const char *name, const float values[3], int32_t *out, rn_error *err)
{
    void *memory;
    RN_TRY(rn_plan_new_weights(plan, name, RN_DTYPE_F32, 1, (int32_t[]){3}, &memory, out, err));
    memcpy(memory, values, 3 * sizeof *values);
    return RN_STATUS_OK;
}

static rn_op make_op(rn_op_kind kind, const char *name, int32_t input, int32_t output)
{
    rn_op op = {.kind = kind, .inputs = {input, RN_NONE}, .outputs = {output, RN_NONE}};
    snprintf(op.name, sizeof op.name, "serving_preprocess/%s", name);
    return op;
}

/* Red and blue change places: a 1x1 convolution of ones and zeros. */
static rn_status add_swap(rn_plan *plan, int32_t from, int32_t to, rn_error *err)
{
    rn_op op = make_op(RN_OP_CONV2D, "bgr", from, to);
    void *memory;
    op.u.conv2d =
        (rn_conv2d_op){.r = 1, .s = 1, .stride_h = 1, .stride_w = 1, .groups = 1, .bias = RN_NONE, .scale2 = RN_NONE, .shift2 = RN_NONE};
    RN_TRY(
        rn_plan_new_weights(plan, "serving_preprocess/bgr", RN_DTYPE_F32, 4, (int32_t[]){1, 1, 3, 3}, &memory, &op.u.conv2d.filter, err));
    for (int c = 0; c < 3; c++) ((float *)memory)[c * 3 + (2 - c)] = 1;
    return rn_plan_add_op(plan, &op, NULL, err);
}

/* Encoded pictures to the tensor `to`, which callers of the numeric signature fill. */
static rn_status add_front_end(rn_plan *plan, const rn_image_input *input, int32_t to, int32_t *bytes, rn_error *err)
{
    const rn_plan_tensor x = plan->tensors[to];
    const int mode = find_mode(input->mode);
    int32_t pixels, rgb = to;
    RN_TRY(rn_plan_add_tensor(plan, "serving_preprocess/image_bytes", RN_DTYPE_STRING, 1, 1, 1, bytes, err));
    RN_TRY(rn_plan_add_tensor(plan, "serving_preprocess/pixels", RN_DTYPE_U8, x.h, x.w, 3, &pixels, err));
    if (modes[mode].bgr) RN_TRY(rn_plan_add_tensor(plan, "serving_preprocess/rgb", RN_DTYPE_F32, x.h, x.w, 3, &rgb, err));
    rn_op image = make_op(RN_OP_IMAGE, "image", *bytes, pixels);
    image.u.image = (rn_image_op){.full_h = x.h, .full_w = x.w, .h = x.h, .w = x.w, .c = 3, .decode_channels = 3};
    image.u.image.shorter = input->resize;
    image.u.image.crop = input->resize ? RN_CROP_NONE : RN_CROP_CENTER_SQUARE_ROUND_DOWN;
    rn_op affine = make_op(RN_OP_SCALE_SHIFT, input->mode, pixels, rgb);
    affine.u.scale_shift = (rn_scale_shift_op){.scale = RN_NONE, .shift = RN_NONE};
    RN_TRY(add_vector(plan, "serving_preprocess/scale", modes[mode].scale, &affine.u.scale_shift.scale, err));
    RN_TRY(add_vector(plan, "serving_preprocess/shift", modes[mode].shift, &affine.u.scale_shift.shift, err));
    RN_TRY(rn_plan_add_op(plan, &image, NULL, err));
    RN_TRY(rn_plan_add_op(plan, &affine, NULL, err));
    return modes[mode].bgr ? add_swap(plan, rgb, to, err) : RN_STATUS_OK;
}

static bool is_probability(const rn_plan *plan, int32_t tensor)
{
    for (int32_t i = 0; i < plan->op_count; i++)
        if (plan->ops[i].kind == RN_OP_SOFTMAX && plan->ops[i].outputs[0] == tensor) return true;
    return false;
}

/* The best classes of `classes`, which is turned into probabilities where it is none. */
static rn_status add_tail(rn_plan *plan, int32_t classes, int32_t k, int32_t *values, int32_t *indexes, rn_error *err)
{
    const int32_t c = plan->tensors[classes].c;
    int32_t probabilities = classes;
    if (!is_probability(plan, classes)) {
        RN_TRY(rn_plan_add_tensor(plan, "serving_preprocess/probabilities", RN_DTYPE_F32, 1, 1, c, &probabilities, err));
        const rn_op softmax = make_op(RN_OP_SOFTMAX, "softmax", classes, probabilities);
        RN_TRY(rn_plan_add_op(plan, &softmax, NULL, err));
    }
    RN_TRY(rn_plan_add_tensor(plan, "serving_preprocess/best", RN_DTYPE_F32, 1, 1, k, values, err));
    RN_TRY(rn_plan_add_tensor(plan, "serving_preprocess/classes", RN_DTYPE_I32, 1, 1, k, indexes, err));
    rn_op top = make_op(RN_OP_TOP_K, "top_k", probabilities, *values);
    top.outputs[1] = *indexes;
    top.u.top_k.k = k;
    return rn_plan_add_op(plan, &top, NULL, err);
}

static void name_spec(rn_tensor_spec *spec, const char *name)
{
    snprintf(spec->name, sizeof spec->name, "%s", name);
    snprintf(spec->tf_name, sizeof spec->tf_name, "serving_preprocess_%s:0", name);
}

rn_status rn_add_image_input(rn_plan *plan, const rn_image_input *input, rn_error *err)
{
    int32_t index, bytes, values, indexes;
    RN_TRY(choose_signature(plan, &index, err));
    const rn_signature *numbers = &plan->signatures[index];
    const int32_t feed = numbers->input.tensor, classes = numbers->outputs[class_output(plan, numbers)].tensor;
    const rn_plan_tensor x = plan->tensors[feed];
    const int32_t k = plan->tensors[classes].c < BEST ? plan->tensors[classes].c : BEST;
    if (input->resize && (x.h != input->crop || x.w != input->crop)) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--crop=%d: the model takes pictures of %dx%d", input->crop, x.h, x.w);
    }
    RN_TRY(add_labels(plan, input->labels, plan->tensors[classes].c, err));
    RN_TRY(add_front_end(plan, input, feed, &bytes, err));
    RN_TRY(add_tail(plan, classes, k, &values, &indexes, err));

    rn_signature *signature = calloc(1, sizeof *signature);
    if (!signature) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a signature");
    snprintf(signature->name, sizeof signature->name, "serving_preprocess");
    snprintf(signature->method_name, sizeof signature->method_name, "tensorflow/serving/predict");
    signature->input = (rn_tensor_spec){.dtype = RN_DTYPE_STRING, .rank = 1, .dims = {-1}, .tensor = bytes};
    signature->output_count = 2;
    signature->outputs[0] = (rn_tensor_spec){.dtype = RN_DTYPE_STRING, .rank = 2, .dims = {-1, k}, .tensor = indexes, .labels = true};
    signature->outputs[1] = (rn_tensor_spec){.dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, k}, .tensor = values};
    name_spec(&signature->input, "image_bytes");
    name_spec(&signature->outputs[0], "labels");
    name_spec(&signature->outputs[1], "probabilities");
    rn_status status = rn_plan_add_signature(plan, signature, NULL, err);
    free(signature);
    if (status == RN_STATUS_OK) status = rn_plan_finish(plan, err);
    return status == RN_STATUS_OK ? rn_plan_optimize(plan, err) : status;
}
