/* Plan to JSON and back. The fields of every kind of operation stand in one table, which both directions follow.
 *
 * Reading trusts nothing: a function reads one value, checks kind and range, and says what it wanted; the callers put the path to it in
 * front.
 */
#include "loader/plan_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* ---- the fields of operations ---- */

typedef enum { FIELD_INT, FIELD_WEIGHTS, FIELD_BOOL, FIELD_CROP, FIELD_METHOD, FIELD_GRID, FIELD_LONGER } field_type;

typedef struct op_field {
    rn_op_kind kind;
    const char *name;
    field_type type;
    size_t offset; /* in rn_op */
} op_field;

#define FIELD(KIND, member, field, TYPE)                                    \
    {                                                                       \
        RN_OP_##KIND, #field, FIELD_##TYPE, offsetof(rn_op, u.member.field) \
    }

static const op_field op_fields[] = {
    FIELD(IMAGE, image, crop, CROP),
    FIELD(IMAGE, image, method, METHOD),
    FIELD(IMAGE, image, grid, GRID),
    FIELD(IMAGE, image, full_h, INT),
    FIELD(IMAGE, image, full_w, INT),
    FIELD(IMAGE, image, shorter, INT),
    FIELD(IMAGE, image, longer, LONGER),
    FIELD(IMAGE, image, h, INT),
    FIELD(IMAGE, image, w, INT),
    FIELD(IMAGE, image, c, INT),
    FIELD(IMAGE, image, decode_channels, INT),
    FIELD(IMAGE, image, reverse, BOOL),
    FIELD(IMAGE, image, clip, BOOL),
    FIELD(IMAGE, image, as_float, BOOL),
    FIELD(FIT, fit, channels_first, BOOL),
    FIELD(FIT, fit, top, INT),
    FIELD(FIT, fit, left, INT),
    FIELD(FIT, fit, crop_h, INT),
    FIELD(FIT, fit, crop_w, INT),
    FIELD(FIT, fit, resize_h, INT),
    FIELD(FIT, fit, resize_w, INT),
    FIELD(FIT, fit, grid, GRID),
    FIELD(FIT, fit, after_top, INT),
    FIELD(FIT, fit, after_left, INT),
    FIELD(FIT, fit, h, INT),
    FIELD(FIT, fit, w, INT),
    FIELD(CONV2D, conv2d, r, INT),
    FIELD(CONV2D, conv2d, s, INT),
    FIELD(CONV2D, conv2d, stride_h, INT),
    FIELD(CONV2D, conv2d, stride_w, INT),
    FIELD(CONV2D, conv2d, pad_top, INT),
    FIELD(CONV2D, conv2d, pad_left, INT),
    FIELD(CONV2D, conv2d, pad_bottom, INT),
    FIELD(CONV2D, conv2d, pad_right, INT),
    FIELD(CONV2D, conv2d, groups, INT),
    FIELD(CONV2D, conv2d, filter, WEIGHTS),
    FIELD(CONV2D, conv2d, bias, WEIGHTS),
    FIELD(CONV2D, conv2d, relu, BOOL),
    FIELD(CONV2D, conv2d, scale2, WEIGHTS),
    FIELD(CONV2D, conv2d, shift2, WEIGHTS),
    FIELD(SCALE_SHIFT, scale_shift, scale, WEIGHTS),
    FIELD(SCALE_SHIFT, scale_shift, shift, WEIGHTS),
    FIELD(SCALE_SHIFT, scale_shift, relu, BOOL),
    FIELD(ADD, add, relu, BOOL),
    FIELD(MAX_POOL, max_pool, r, INT),
    FIELD(MAX_POOL, max_pool, s, INT),
    FIELD(MAX_POOL, max_pool, stride_h, INT),
    FIELD(MAX_POOL, max_pool, stride_w, INT),
    FIELD(MAX_POOL, max_pool, pad_top, INT),
    FIELD(MAX_POOL, max_pool, pad_left, INT),
    FIELD(MAX_POOL, max_pool, pad_bottom, INT),
    FIELD(MAX_POOL, max_pool, pad_right, INT),
    FIELD(MAX_POOL, max_pool, pad_zero, BOOL),
    FIELD(DENSE, dense, weights, WEIGHTS),
    FIELD(DENSE, dense, bias, WEIGHTS),
    FIELD(DENSE, dense, relu, BOOL),
    FIELD(TOP_K, top_k, k, INT),
};
enum { OP_FIELD_COUNT = sizeof op_fields / sizeof op_fields[0] };

/* The words for the values of an enumeration, which begin at 0. */
typedef struct choices {
    const char *names[4];
    int count;
} choices;

static const choices choices_of[] = {
    [FIELD_CROP] = {{[RN_CROP_NONE] = "none",
                     [RN_CROP_CENTER_SQUARE_ROUND_UP] = "center_square_round_up",
                     [RN_CROP_CENTER_SQUARE_ROUND_DOWN] = "center_square_round_down"},
                    3},
    [FIELD_METHOD] = {{[RN_RESIZE_BILINEAR] = "bilinear",
                       [RN_RESIZE_NEAREST] = "nearest",
                       [RN_RESIZE_BICUBIC] = "bicubic",
                       [RN_RESIZE_AREA] = "area"},
                      4},
    [FIELD_GRID] = {{[RN_GRID_HALF_PIXEL] = "half_pixel", [RN_GRID_CORNER] = "corner", [RN_GRID_ALIGNED] = "aligned"}, 3},
    [FIELD_LONGER] = {{[RN_LONGER_FLOAT] = "float", [RN_LONGER_ROUNDED] = "rounded", [RN_LONGER_INTEGER] = "integer"}, 3},
};
_Static_assert(sizeof(rn_crop_rule) == sizeof(int) && sizeof(rn_resize_method) == sizeof(int) && sizeof(rn_resize_grid) == sizeof(int) &&
                   sizeof(rn_longer_rule) == sizeof(int),
               "enumerations are read and written as int");

/* ---- writing: NULL is out of memory, or a name that is not UTF-8 ---- */

static json_t *index_to_json(int32_t index)
{
    return index == RN_NONE ? json_null() : json_integer(index);
}

static json_t *field_to_json(const op_field *field, const rn_op *op)
{
    const void *at = (const char *)op + field->offset;
    switch (field->type) {
    case FIELD_INT:
        return json_integer(*(const int32_t *)at);
    case FIELD_WEIGHTS:
        return index_to_json(*(const int32_t *)at);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_CROP:
    case FIELD_METHOD:
    case FIELD_GRID:
    case FIELD_LONGER:
        return json_string(choices_of[field->type].names[*(const int *)at]);
    }
    return NULL;
}

static json_t *tensor_to_json(const rn_plan *plan, int32_t i)
{
    const rn_plan_tensor *tensor = &plan->tensors[i];
    json_t *json = json_pack("{s:s, s:s, s:[i,i,i]}", "name", tensor->name, "dtype", rn_dtype_name(tensor->dtype), "shape", tensor->h,
                             tensor->w, tensor->c);
    if (!json || tensor->step == 0) return json;
    json_object_set_new(json, "step", json_real((double)tensor->step));
    json_object_set_new(json, "zero", json_integer(tensor->zero));
    return json;
}

/* NULL for a plan without int8 filters. */
static json_t *filter_steps_to_json(const rn_plan *plan)
{
    json_t *list = NULL;
    for (int32_t i = 0; i < plan->weights_count; i++) {
        if (plan->weights[i].steps == RN_NONE) continue;
        if (!list) list = json_array();
        json_array_append_new(list, json_pack("[i,i]", i, plan->weights[i].steps));
    }
    return list;
}

static json_t *op_to_json(const rn_plan *plan, int32_t i)
{
    const rn_op *op = &plan->ops[i];
    json_t *json = json_pack("{s:s, s:s, s:[o,o], s:[o,o]}", "kind", rn_op_kind_name(op->kind), "name", op->name, "inputs",
                             index_to_json(op->inputs[0]), index_to_json(op->inputs[1]), "outputs", index_to_json(op->outputs[0]),
                             index_to_json(op->outputs[1]));
    for (int f = 0; json && f < OP_FIELD_COUNT; f++) {
        if (op_fields[f].kind != op->kind) continue;
        if (json_object_set_new(json, op_fields[f].name, field_to_json(&op_fields[f], op)) == 0) continue;
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *spec_to_json(const rn_tensor_spec *spec)
{
    json_t *dims = json_array();
    for (int32_t i = 0; i < spec->rank; i++) json_array_append_new(dims, json_integer(spec->dims[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:i, s:b}", "name", spec->name, "tf_name", spec->tf_name, "dtype", rn_dtype_name(spec->dtype),
                     "dims", dims, "tensor", spec->tensor, "labels", spec->labels);
}

static json_t *signature_to_json(const rn_plan *plan, int32_t i)
{
    const rn_signature *signature = &plan->signatures[i];
    json_t *outputs = json_array();
    for (int32_t o = 0; o < signature->output_count; o++) {
        if (json_array_append_new(outputs, spec_to_json(&signature->outputs[o])) == 0) continue;
        json_decref(outputs);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:o, s:o}", "name", signature->name, "method_name", signature->method_name, "input",
                     spec_to_json(&signature->input), "outputs", outputs);
}

/* root[key] = [to_json(0), to_json(1), ...] */
static rn_status write_list(json_t *root, const char *key, const rn_plan *plan, int32_t count,
                            json_t *(*to_json)(const rn_plan *plan, int32_t i), rn_error *err)
{
    json_t *list = json_array();
    json_object_set_new(root, key, list);
    for (int32_t i = 0; i < count; i++) {
        if (json_array_append_new(list, to_json(plan, i)) != 0) {
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s[%d]: a name is not UTF-8, or no memory", key, i);
        }
    }
    return RN_STATUS_OK;
}

rn_status rn__plan_json_write(const rn_plan *plan, char **out, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    json_t *root = json_pack("{s:s}", "architecture", plan->architecture);
    if (!root) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "architecture: not UTF-8, or no memory");
    RN_TRY_CLEANUP(status, write_list(root, "tensors", plan, plan->tensor_count, tensor_to_json, err));
    RN_TRY_CLEANUP(status, write_list(root, "ops", plan, plan->op_count, op_to_json, err));
    RN_TRY_CLEANUP(status, write_list(root, "signatures", plan, plan->signature_count, signature_to_json, err));
    json_t *steps = filter_steps_to_json(plan);
    if (steps) json_object_set_new(root, "filter_steps", steps);
    *out = json_dumps(root, JSON_COMPACT);
    if (!*out) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the text of a plan");

cleanup:
    json_decref(root);
    return status;
}

/* ---- reading single values ---- */

/* What a message says that it found. */
typedef struct found {
    char text[64];
} found;

static found find(const json_t *value)
{
    static const char *const names[] = {"an object", "an array", "a string", "a whole number", "a fraction", "true", "false", "null"};
    found out;
    if (!value)
        snprintf(out.text, sizeof out.text, "nothing");
    else if (json_is_integer(value))
        snprintf(out.text, sizeof out.text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_string(value))
        snprintf(out.text, sizeof out.text, "\"%.48s\"", json_string_value(value));
    else
        snprintf(out.text, sizeof out.text, "%s", names[json_typeof(value)]);
    return out;
}

static rn_status read_integer(const json_t *value, const char *key, int64_t low, int64_t high, int64_t *out, rn_error *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < low || json_integer_value(value) > high) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: expected a whole number from %" PRId64 " to %" PRId64 ", found %s", key, low, high,
                       find(value).text);
    }
    *out = json_integer_value(value);
    return RN_STATUS_OK;
}

static rn_status read_int32(const json_t *value, const char *key, int32_t *out, rn_error *err)
{
    int64_t wide = 0;
    RN_TRY(read_integer(value, key, INT32_MIN, INT32_MAX, &wide, err));
    *out = (int32_t)wide;
    return RN_STATUS_OK;
}

/* null is RN_NONE. */
static rn_status read_index(const json_t *value, const char *key, int32_t count, int32_t *out, rn_error *err)
{
    int64_t wide = RN_NONE;
    if (!json_is_null(value)) RN_TRY(read_integer(value, key, 0, (int64_t)count - 1, &wide, err));
    *out = (int32_t)wide;
    return RN_STATUS_OK;
}

static rn_status read_bool(const json_t *value, const char *key, bool *out, rn_error *err)
{
    if (!json_is_boolean(value)) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: expected true or false, found %s", key, find(value).text);
    *out = json_is_true(value);
    return RN_STATUS_OK;
}

static rn_status read_name(const json_t *object, const char *key, char out[RN_PLAN_NAME_BYTES], rn_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || json_string_length(value) >= RN_PLAN_NAME_BYTES) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: expected a string of at most %d bytes, found %s", key, RN_PLAN_NAME_BYTES - 1,
                       find(value).text);
    }
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return RN_STATUS_OK;
}

/* The place of a string in `names`. */
static rn_status read_choice(const json_t *value, const char *key, const char *const *names, int count, int *out, rn_error *err)
{
    for (*out = 0; *out < count && json_is_string(value); ++*out) {
        if (strcmp(names[*out], json_string_value(value)) == 0) return RN_STATUS_OK;
    }
    return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: found %s, which is none that this version knows", key, find(value).text);
}

static rn_status read_dtype(const json_t *object, rn_dtype *out, rn_error *err)
{
    const json_t *value = json_object_get(object, "dtype");
    if (json_is_string(value) && rn_dtype_from_name(json_string_value(value), out)) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_DATA_LOSS, "dtype: found %s, which is none that this version knows", find(value).text);
}

/* An array of `low` to `high` elements. */
static rn_status read_array(const json_t *object, const char *key, size_t low, size_t high, const json_t **out, rn_error *err)
{
    *out = json_object_get(object, key);
    if (!json_is_array(*out)) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: expected an array, found %s", key, find(*out).text);
    if (json_array_size(*out) < low || json_array_size(*out) > high) {
        return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: expected %zu to %zu elements, found %zu", key, low, high, json_array_size(*out));
    }
    return RN_STATUS_OK;
}

/* ---- reading the parts of a plan ---- */

/* The values themselves are rn_plan_finish's to check. */
static rn_status read_quantisation(const json_t *json, rn_plan_tensor *tensor, rn_error *err)
{
    const json_t *step = json_object_get(json, "step");
    if (!step) return RN_STATUS_OK;
    if (!json_is_number(step)) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "step: expected a number, found %s", find(step).text);
    tensor->step = (float)json_number_value(step);
    return read_int32(json_object_get(json, "zero"), "zero", &tensor->zero, err);
}

static rn_status read_filter_steps(const json_t *root, rn_plan *plan, rn_error *err)
{
    const json_t *list, *pair;
    int32_t filter, steps;
    if (!json_object_get(root, "filter_steps")) return RN_STATUS_OK;
    RN_TRY(read_array(root, "filter_steps", 0, (size_t)plan->weights_count, &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        pair = json_array_get(list, i);
        RN_TRY(read_index(json_array_get(pair, 0), "filter_steps", plan->weights_count, &filter, err));
        RN_TRY(read_index(json_array_get(pair, 1), "filter_steps", plan->weights_count, &steps, err));
        if (filter == RN_NONE) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "filter_steps[%zu]: steps without a filter", i);
        plan->weights[filter].steps = steps;
    }
    return RN_STATUS_OK;
}

static rn_status read_tensor(const json_t *json, rn_plan *plan, rn_error *err)
{
    char name[RN_PLAN_NAME_BYTES];
    rn_dtype dtype;
    const json_t *shape;
    int32_t sides[3], index;
    RN_TRY(read_name(json, "name", name, err));
    RN_TRY(read_dtype(json, &dtype, err));
    RN_TRY(read_array(json, "shape", 3, 3, &shape, err));
    for (size_t i = 0; i < 3; i++) RN_TRY(read_int32(json_array_get(shape, i), "shape", &sides[i], err));
    RN_TRY(rn_plan_add_tensor(plan, name, dtype, sides[0], sides[1], sides[2], &index, err));
    return read_quantisation(json, &plan->tensors[index], err);
}

static rn_status read_field(const json_t *json, const op_field *field, const rn_plan *plan, rn_op *op, rn_error *err)
{
    void *at = (char *)op + field->offset;
    const json_t *value = json_object_get(json, field->name);
    int choice;
    switch (field->type) {
    case FIELD_INT:
        return read_int32(value, field->name, at, err);
    case FIELD_WEIGHTS:
        return read_index(value, field->name, plan->weights_count, at, err);
    case FIELD_BOOL:
        return read_bool(value, field->name, at, err);
    case FIELD_CROP:
    case FIELD_METHOD:
    case FIELD_GRID:
    case FIELD_LONGER:
        RN_TRY(read_choice(value, field->name, choices_of[field->type].names, choices_of[field->type].count, &choice, err));
        *(int *)at = choice;
    }
    return RN_STATUS_OK;
}

static rn_status read_tensor_pair(const json_t *json, const char *key, const rn_plan *plan, int32_t out[2], rn_error *err)
{
    const json_t *pair;
    RN_TRY(read_array(json, key, 2, 2, &pair, err));
    for (size_t i = 0; i < 2; i++) RN_TRY(read_index(json_array_get(pair, i), key, plan->tensor_count, &out[i], err));
    return RN_STATUS_OK;
}

static rn_status read_op(const json_t *json, rn_plan *plan, rn_error *err)
{
    static const char *const kinds[RN_OP_COUNT] = {
#define OP_KIND_NAME(kind, name) [RN_OP_##kind] = name,
        RN_OP_LIST(OP_KIND_NAME)
#undef OP_KIND_NAME
    };
    rn_op op = {0};
    int kind;
    RN_TRY(read_choice(json_object_get(json, "kind"), "kind", kinds, RN_OP_COUNT, &kind, err));
    op.kind = (rn_op_kind)kind;
    RN_TRY(read_name(json, "name", op.name, err));
    RN_TRY(read_tensor_pair(json, "inputs", plan, op.inputs, err));
    RN_TRY(read_tensor_pair(json, "outputs", plan, op.outputs, err));
    for (int f = 0; f < OP_FIELD_COUNT; f++) {
        if (op_fields[f].kind == op.kind) RN_TRY(read_field(json, &op_fields[f], plan, &op, err));
    }
    return rn_plan_add_op(plan, &op, NULL, err);
}

static rn_status read_spec(const json_t *json, const rn_plan *plan, rn_tensor_spec *out, rn_error *err)
{
    const json_t *dims;
    RN_TRY(read_name(json, "name", out->name, err));
    RN_TRY(read_name(json, "tf_name", out->tf_name, err));
    RN_TRY(read_dtype(json, &out->dtype, err));
    RN_TRY(read_array(json, "dims", 0, RN_PLAN_MAX_RANK, &dims, err));
    out->rank = (int32_t)json_array_size(dims);
    for (size_t i = 0; i < json_array_size(dims); i++) {
        RN_TRY(read_integer(json_array_get(dims, i), "dims", -1, INT64_MAX, &out->dims[i], err));
    }
    RN_TRY(read_index(json_object_get(json, "tensor"), "tensor", plan->tensor_count, &out->tensor, err));
    return read_bool(json_object_get(json, "labels"), "labels", &out->labels, err);
}

static rn_status read_signature(const json_t *json, rn_plan *plan, rn_error *err)
{
    rn_signature signature = {0};
    const json_t *outputs;
    int32_t index;
    RN_TRY(read_name(json, "name", signature.name, err));
    RN_TRY(read_name(json, "method_name", signature.method_name, err));
    RN_TRY(read_spec(json_object_get(json, "input"), plan, &signature.input, err));
    RN_TRY(read_array(json, "outputs", 1, RN_PLAN_MAX_OUTPUTS, &outputs, err));
    signature.output_count = (int32_t)json_array_size(outputs);
    for (int32_t i = 0; i < signature.output_count; i++) {
        RN_TRY(read_spec(json_array_get(outputs, (size_t)i), plan, &signature.outputs[i], err));
    }
    return rn_plan_add_signature(plan, &signature, &index, err);
}

static rn_status read_list(const json_t *root, const char *key, size_t limit, rn_plan *plan,
                           rn_status (*read)(const json_t *json, rn_plan *plan, rn_error *err), rn_error *err)
{
    const json_t *list;
    RN_TRY(read_array(root, key, 0, limit, &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *json = json_array_get(list, i);
        const rn_status status = read(json, plan, err);
        if (status == RN_STATUS_OK) continue;
        const json_t *name = json_object_get(json, "name");
        rn_error_prefix(err, "%s[%zu] %s", key, i, json_is_string(name) ? json_string_value(name) : "without a name");
        return status;
    }
    return RN_STATUS_OK;
}

rn_status rn__plan_json_read(const char *text, rn_plan *plan, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    json_error_t where;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!root) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "byte %d of the plan's text: %s", where.position, where.text);
    RN_TRY_CLEANUP(status, read_name(root, "architecture", plan->architecture, err));
    RN_TRY_CLEANUP(status, read_filter_steps(root, plan, err));
    RN_TRY_CLEANUP(status, read_list(root, "tensors", 4 * RN_PLAN_MAX_OPS, plan, read_tensor, err));
    RN_TRY_CLEANUP(status, read_list(root, "ops", RN_PLAN_MAX_OPS, plan, read_op, err));
    RN_TRY_CLEANUP(status, read_list(root, "signatures", RN_PLAN_MAX_SIGNATURES, plan, read_signature, err));

cleanup:
    json_decref(root);
    return status;
}
