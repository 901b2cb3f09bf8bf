/* A plan in words: what it was found to be, what is done to its inputs, what it takes to run. */
#include "tools/convert/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/passes.h"
#include "engine/quantize.h"
#include "loader/model_file.h"

static void print_spec(const char *role, const rn_tensor_spec *spec)
{
    char shape[128];
    int used = snprintf(shape, sizeof shape, "[");
    for (int32_t i = 0; i < spec->rank; i++) {
        used += snprintf(shape + used, sizeof shape - (size_t)used, "%s%" PRId64, i ? "," : "", spec->dims[i]);
    }
    printf("  %-10s %-20s %-7s %s]%s\n", role, spec->name, rn_dtype_tf_name(spec->dtype), shape, spec->labels ? "  labels" : "");
}

static const char *const crop_words[] = {
    [RN_CROP_NONE] = "not cropped",
    [RN_CROP_CENTER_SQUARE_ROUND_UP] = "centre square at offset (n - side + 1) / 2",
    [RN_CROP_CENTER_SQUARE_ROUND_DOWN] = "centre square at offset (n - side) / 2",
};
static const char *const method_words[] = {[RN_RESIZE_BILINEAR] = "bilinear",
                                           [RN_RESIZE_NEAREST] = "nearest pixel",
                                           [RN_RESIZE_BICUBIC] = "bicubic",
                                           [RN_RESIZE_AREA] = "area mean"};
static const char *const grid_words[] = {
    [RN_GRID_HALF_PIXEL] = "", [RN_GRID_CORNER] = " on TensorFlow 1's grid", [RN_GRID_ALIGNED] = " with aligned corners"};

static void print_front_end(const rn_image_op *image)
{
    printf("  front end  JPEG, PNG, GIF, BMP or WebP of any size, ");
    if (image->decode_channels)
        printf("decoded to %d channel%s", image->decode_channels, image->decode_channels == 1 ? "" : "s");
    else
        printf("which must have %d channel%s", image->c, image->c == 1 ? "" : "s");
    printf("; %s; %s%s to ", crop_words[image->crop], method_words[image->method], grid_words[image->grid]);
    if (image->shorter)
        printf("%d at the shorter side, of that the centre, ", image->shorter);
    else if (image->full_h != image->h || image->full_w != image->w)
        printf("%d x %d, of that the centre, ", image->full_w, image->full_h);
    printf("%d x %d", image->w, image->h);
    printf("%s%s; as %s\n", image->reverse ? "; blue first" : "", image->clip ? "; clipped to 0..255" : "",
           image->as_float ? "floats" : "bytes, truncated");
}

static void print_fit(const rn_fit_op *fit)
{
    printf("  %-10s ", "fitted");
    if (fit->channels_first) printf("channels come first and are put last; ");
    printf("%d x %d at (%d,%d)", fit->crop_w, fit->crop_h, fit->left, fit->top);
    if (fit->resize_h) printf("; bilinear%s to %d x %d", grid_words[fit->grid], fit->resize_w, fit->resize_h);
    if (fit->resize_h && (fit->resize_h != fit->h || fit->resize_w != fit->w))
        printf(", of which %d x %d at (%d,%d) is kept", fit->w, fit->h, fit->after_left, fit->after_top);
    putchar('\n');
}

enum { PICTURE_CHANNELS = 4 };

/* "[a, b, c]", or the one number that they all are. */
static void print_vector(const rn_plan *plan, int32_t weights)
{
    const rn_plan_weights *w = &plan->weights[weights];
    const float *values = w->data;
    bool same = true;
    for (int64_t i = 1; i < w->element_count; i++) same = same && values[i] == values[0];
    if (same) {
        printf("%.7g", (double)values[0]);
        return;
    }
    for (int64_t i = 0; i < w->element_count; i++) printf("%s%.7g", i ? ", " : "[", (double)values[i]);
    putchar(']');
}

/* A 1x1 convolution of few channels: which channel goes where, and what it is multiplied with. */
static void print_channels(const rn_plan *plan, const rn_op *op)
{
    const rn_plan_weights *w = &plan->weights[op->u.conv2d.filter];
    const float *filter = w->data;
    printf("channels");
    for (int32_t k = 0; k < w->dims[3]; k++) {
        printf("%s", k ? "," : "");
        for (int32_t c = 0; c < w->dims[2]; c++) {
            const double factor = (double)filter[c * w->dims[3] + k];
            if (factor == 1)
                printf(" %d", c);
            else if (factor != 0)
                printf(" %.7g * %d", factor, c);
        }
    }
    if (op->u.conv2d.bias == RN_NONE) return;
    printf(", plus ");
    print_vector(plan, op->u.conv2d.bias);
}

/* The operation that alone reads a tensor, or NULL. */
static const rn_op *only_reader(const rn_plan *plan, const rn_signature *signature, int32_t tensor)
{
    const rn_op *found = NULL;
    for (int32_t i = 0; i < signature->op_count; i++) {
        const rn_op *op = &plan->ops[signature->ops[i]];
        if (op->inputs[0] != tensor && op->inputs[1] != tensor) continue;
        if (found) return NULL;
        found = op;
    }
    return found;
}

/* What is done to the input before the network proper: arithmetic per channel that could not be folded into the first convolution. */
static void print_preprocessing(const rn_plan *plan, const rn_signature *signature)
{
    if (signature->image_op != RN_NONE) print_front_end(&plan->ops[signature->image_op].u.image);
    if (signature->fit_op != RN_NONE) print_fit(&plan->ops[signature->fit_op].u.fit);
    int32_t tensor = signature->feed;
    for (const rn_op *op; (op = only_reader(plan, signature, tensor)) != NULL; tensor = op->outputs[0]) {
        const rn_scale_shift_op *affine = &op->u.scale_shift;
        const bool scaled = op->kind == RN_OP_SCALE_SHIFT && !affine->relu && plan->tensors[tensor].c <= PICTURE_CHANNELS;
        const bool mixed = op->kind == RN_OP_CONV2D && op->u.conv2d.r * op->u.conv2d.s == 1 &&
                           plan->tensors[tensor].c <= PICTURE_CHANNELS && op->outputs[0] != RN_NONE &&
                           plan->tensors[op->outputs[0]].c <= PICTURE_CHANNELS && plan->weights[op->u.conv2d.filter].dtype == RN_DTYPE_F32;
        if (!scaled && !mixed) return;
        printf("  %-10s ", "then");
        if (mixed) print_channels(plan, op);
        if (scaled && affine->scale != RN_NONE) printf("times "), print_vector(plan, affine->scale);
        if (scaled && affine->shift != RN_NONE) printf("%splus ", affine->scale != RN_NONE ? ", " : ""), print_vector(plan, affine->shift);
        if (scaled && affine->scale == RN_NONE && affine->shift == RN_NONE) printf("to float");
        putchar('\n');
    }
}

static void print_signature(const rn_plan *plan, const rn_signature *signature)
{
    printf("\nsignature %s\n", signature->name);
    print_spec("input", &signature->input);
    print_preprocessing(plan, signature);
    for (int32_t i = 0; i < signature->output_count; i++) print_spec("output", &signature->outputs[i]);
    printf("  %-10s %d operations, %.3f G multiply-accumulates a picture\n", "work", signature->op_count,
           (double)rn_plan_multiply_count(plan, signature) / 1e9);
}

static void print_labels(const rn_plan *plan)
{
    enum { SHOWN = 10 };
    printf("\nlabels       %d", plan->label_count);
    for (int32_t i = 0; i < plan->label_count && i < SHOWN; i++) printf("%s %s", i ? "," : ":", plan->labels[i]);
    printf("%s\n", plan->label_count > SHOWN ? ", ..." : "");
}

static void print_window(int32_t r, int32_t s, int32_t stride_h, int32_t stride_w)
{
    printf(" %dx%d", r, s);
    if (stride_h != 1 || stride_w != 1) printf(" stride %d,%d", stride_h, stride_w);
}

static void print_padding(int32_t top, int32_t left, int32_t bottom, int32_t right)
{
    if (top || left || bottom || right) printf(" pad %d,%d,%d,%d", top, left, bottom, right);
}

static void print_if(bool condition, const char *words)
{
    if (condition) printf(" %s", words);
}

/* What tells one operation from others of its kind. */
static void print_details(const rn_plan *plan, const rn_op *op)
{
    const rn_conv2d_op *conv = &op->u.conv2d;
    const rn_scale_shift_op *affine = &op->u.scale_shift;
    const rn_max_pool_op *pool = &op->u.max_pool;
    switch (op->kind) {
    case RN_OP_CONV2D:
        print_if(plan->weights[conv->filter].dtype == RN_DTYPE_I8, "int8");
        print_window(conv->r, conv->s, conv->stride_h, conv->stride_w);
        print_padding(conv->pad_top, conv->pad_left, conv->pad_bottom, conv->pad_right);
        if (conv->groups > 1) printf(" groups %d", conv->groups);
        print_if(conv->bias != RN_NONE, "bias");
        print_if(op->inputs[1] != RN_NONE, "residual");
        print_if(conv->relu, "relu");
        print_if(op->outputs[1] != RN_NONE, "and relu(scale, shift)");
        break;
    case RN_OP_SCALE_SHIFT:
        print_if(affine->scale != RN_NONE, "scale");
        print_if(affine->shift != RN_NONE, "shift");
        print_if(affine->relu, "relu");
        break;
    case RN_OP_ADD:
        print_if(op->u.add.relu, "relu");
        break;
    case RN_OP_MAX_POOL:
        print_window(pool->r, pool->s, pool->stride_h, pool->stride_w);
        print_padding(pool->pad_top, pool->pad_left, pool->pad_bottom, pool->pad_right);
        print_if(pool->pad_zero, "with zeros");
        break;
    case RN_OP_DENSE:
        print_if(op->u.dense.bias != RN_NONE, "bias");
        print_if(op->u.dense.relu, "relu");
        break;
    case RN_OP_TOP_K:
        printf(" of %d", plan->tensors[op->inputs[0]].c);
        break;
    default:
        break;
    }
}

static void print_ops(const rn_plan *plan)
{
    int name_width = 0;
    for (int32_t i = 0; i < plan->op_count; i++) {
        const int length = (int)strlen(plan->ops[i].name);
        if (length > name_width) name_width = length;
    }
    printf("\n%5s  %-20s %-12s %s\n", "", "operation", "output", "made from");
    for (int32_t i = 0; i < plan->op_count; i++) {
        const rn_op *op = &plan->ops[i];
        const rn_plan_tensor *y = &plan->tensors[op->outputs[op->outputs[0] == RN_NONE]];
        char shape[48];
        snprintf(shape, sizeof shape, "%dx%dx%d", y->h, y->w, y->c);
        printf("%5d  %-20s %-12s %-*s", i, rn_op_kind_name(op->kind), shape, name_width, op->name);
        print_details(plan, op);
        if (y->step != 0) printf(" -> bytes, step %.4g zero %d", (double)y->step, y->zero);
        putchar('\n');
    }
}

/* A SavedModel says nothing of its making; a converted file does. */
static void print_origin(const char *path)
{
    rn_model_file_origin origin;
    char file[4096];
    snprintf(file, sizeof file, "%s/" RN_MODEL_FILE_NAME, path);
    if (rn_model_file_read_origin(path, &origin, NULL) != RN_STATUS_OK && rn_model_file_read_origin(file, &origin, NULL) != RN_STATUS_OK)
        return;
    printf("converted    by %s from %s\nSHA-256      %s\n", origin.converter, origin.source, origin.sha256);
}

/* Residual units by the size of their results: "3 x 56x56x256". A unit ends where a sum does, alone or in a convolution. */
static void print_blocks(const rn_plan *plan)
{
    int32_t units = 0, last = RN_NONE;
    bool any = false;
    const char *separator = "blocks       ";
    for (int32_t i = 0; i <= plan->op_count; i++) {
        const rn_op *op = i < plan->op_count ? &plan->ops[i] : NULL;
        const bool sum = op && (op->kind == RN_OP_ADD || (op->kind == RN_OP_CONV2D && op->inputs[1] != RN_NONE));
        if (op && !sum) continue;
        const int32_t y = op ? op->outputs[op->outputs[0] == RN_NONE] : RN_NONE;
        const rn_plan_tensor *before = last == RN_NONE ? NULL : &plan->tensors[last];
        const bool same =
            op && before && before->h == plan->tensors[y].h && before->w == plan->tensors[y].w && before->c == plan->tensors[y].c;
        if (units && !same) {
            printf("%s%d x %dx%dx%d", separator, units, before->h, before->w, before->c);
            separator = ", ";
            units = 0;
            any = true;
        }
        units++;
        last = y;
    }
    if (any) putchar('\n');
}

/* What the CPU backend needs in fp32 beside the process itself: the weights once as they lie and once packed, and one arena. */
static void print_memory(const rn_plan *plan)
{
    static const int32_t batches[] = {1, 8, 32};
    size_t *bytes = calloc((size_t)plan->tensor_count + 1, sizeof *bytes),
           *offsets = calloc((size_t)plan->tensor_count + 1, sizeof *offsets), total;
    if (bytes && offsets) {
        printf("memory       weights %.1f MB",
               (double)rn_plan_parameter_count(plan) * (rn_plan_is_quantized(plan) ? 1 : sizeof(float)) / 1e6);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            for (int32_t t = 0; t < plan->tensor_count; t++) bytes[t] = (size_t)batches[b] * rn_plan_tensor_bytes(&plan->tensors[t]);
            if (rn_plan_layout_arena(plan, bytes, NULL, offsets, &total, NULL) != RN_STATUS_OK) break;
            printf("; activations of a batch of %d: %.1f MB", batches[b], (double)total / 1e6);
        }
        putchar('\n');
    }
    free(bytes);
    free(offsets);
}

void rn_show_plan(const rn_plan *plan, const char *path, bool ops)
{
    const int64_t parameters = rn_plan_parameter_count(plan);
    printf("%s\n", plan->architecture);
    print_origin(path);
    print_blocks(plan);
    printf("parameters   %.3f million\noperations   %d%s\n", (double)parameters / 1e6, plan->op_count,
           rn_plan_is_quantized(plan) ? ", quantised: convolutions run on bytes with int8 filters" : "");
    print_memory(plan);
    if (plan->golden_count)
        printf("recorded     %d answer%s to test devices with\n", plan->golden_count, plan->golden_count == 1 ? "" : "s");
    for (int32_t i = 0; i < plan->signature_count; i++) print_signature(plan, &plan->signatures[i]);
    if (plan->label_count > 0) print_labels(plan);
    if (ops) print_ops(plan);
}
