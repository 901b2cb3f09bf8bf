/* Why an input is refused, in TensorFlow Serving's words: which check comes first, which element is named and how a value is quoted is what
 * clients have seen for years. This walks the document in the order of util/json_tensor.cc (FillPredictRequestFromJson) and stores nothing;
 * it runs only for requests that fail, and what it does not object to has the wrong shape for the model. */
#include <stdio.h>
#include <stdlib.h>

#include "http/base64.h"
#include "http/json_number.h"
#include "http/status_map.h"
#include "http/tfs.h"

/* No tensor here has more than four dimensions: deeper lists are cut off, so that neither recursion nor counting gets out of hand. */
enum { MAX_SHAPE_RANK = 8 };

typedef struct {
    int32_t rank;
    int64_t dims[MAX_SHAPE_RANK];
} shape;

typedef struct {
    const rn__tfs_document *document;
    const rn_signature *signature;
    const char *limit;
    rn_dtype dtype;
    rn_error *err;
    bool has_first; /* below: size and shape of the first row */
    int64_t first_size;
    shape first_shape;
} walker;

/* ---- values ---- */

static rn_status type_error(const walker *w, const char *at)
{
    char text[128];
    snprintf(text, sizeof text, "Type: %s is not of expected type: %s", rn_json_kind_name(at), rn_dtype_tf_name(w->dtype));
    rn__tfs_format_error(at, w->limit, text, w->err);
    return RN_STATUS_INVALID_ARGUMENT;
}

static bool is_int32(const walker *w, const char *at)
{
    int64_t value;
    return rn_json_int64(at, w->limit, &value) && value == (int32_t)value;
}

static rn_status check_scalar(const walker *w, const char *at)
{
    const rn_json_kind kind = rn_json_kind_at(at);
    switch (w->dtype) {
    case RN_DTYPE_F32:
        return kind == RN_JSON_NUMBER ? RN_STATUS_OK : type_error(w, at);
    case RN_DTYPE_U8:
        return kind == RN_JSON_NUMBER && is_int32(w, at) ? RN_STATUS_OK : type_error(w, at);
    case RN_DTYPE_STRING:
        return kind == RN_JSON_STRING ? RN_STATUS_OK : type_error(w, at);
    default: {
        char text[64];
        snprintf(text, sizeof text, "to type: %s", rn_dtype_tf_name(w->dtype));
        rn__tfs_format_error(at, w->limit, text, w->err);
        rn_error_prefix(w->err, "Conversion of");
        return RN_STATUS_UNSUPPORTED;
    }
    }
}

rn_status rn__tfs_check_base64(const char *at, const char *limit, rn_error *err)
{
    const char *string = rn__tfs_base64_string(at, limit);
    if (!string) return rn__tfs_format_error(at, limit, "not formatted correctly for base64 data", err);
    const size_t room = (size_t)(rn_json_skip(string, limit) - string);
    char *text = malloc(room);
    if (!text) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to decode %zu bytes of base64", room);
    size_t bytes = rn_json_unescape(string, limit, text);
    const bool valid = rn_base64_decode((rn_text){text, bytes}, (uint8_t *)text, &bytes);
    free(text);
    return valid ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to base64 decode");
}

/* ---- tensors ---- */

/* The shape that the first elements of nested lists suggest. */
static shape guess_shape(const char *at, const char *limit)
{
    shape s = {0};
    while (at && *at == '[' && s.rank < MAX_SHAPE_RANK) {
        s.dims[s.rank++] = rn_json_count(at, limit);
        at = rn_json_first(at);
    }
    return s;
}

/* Checks that the value at `at` has this shape and type, and counts its numbers or strings. */
static rn_status check_tensor(const walker *w, const char *at, const shape *s, int32_t level, int64_t *size)
{
    if (*at != '[') {
        if (level != s->rank) {
            char text[96];
            snprintf(text, sizeof text, "found at incorrect level: %d in the JSON DOM. Expected at level: %d", level + 1, s->rank);
            return rn__tfs_format_error(at, w->limit, text, w->err);
        }
        if (*at != '{')
            RN_TRY(check_scalar(w, at));
        else if (w->dtype == RN_DTYPE_STRING)
            RN_TRY(rn__tfs_check_base64(at, w->limit, w->err));
        else
            return type_error(w, at);
        ++*size;
        return RN_STATUS_OK;
    }
    if (level >= s->rank)
        return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Encountered list at unexpected level: %d expected < %d", level, s->rank);
    const int64_t count = rn_json_count(at, w->limit);
    if (count != s->dims[level])
        return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Encountered list at unexpected size: %lld at level: %d expected size: %lld",
                       (long long)count, level, (long long)s->dims[level]);
    for (const char *element = rn_json_first(at); element; element = rn_json_next(rn_json_skip(element, w->limit)))
        RN_TRY(check_tensor(w, element, s, level + 1, size));
    return RN_STATUS_OK;
}

/* "[1,2]" */
static const char *print_dims(const int64_t *dims, int32_t rank, char out[256])
{
    int used = sprintf(out, "[");
    for (int32_t i = 0; i < rank; i++) used += sprintf(out + used, "%s%lld", i ? "," : "", (long long)dims[i]);
    strcpy(out + used, "]");
    return out;
}

/* ---- rows ---- */

/* One value of one row: type and shape, and the same size and shape as in the first row. */
static rn_status check_row_value(walker *w, const char *at)
{
    const shape s = guess_shape(at, w->limit);
    int64_t size = 0;
    RN_TRY(check_tensor(w, at, &s, 0, &size));
    if (!w->has_first) {
        w->has_first = true;
        w->first_size = size;
        w->first_shape = s;
        return RN_STATUS_OK;
    }
    if (size != w->first_size)
        return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Expecting tensor size: %lld but got: %lld", (long long)w->first_size,
                       (long long)size);
    if (s.rank != w->first_shape.rank || memcmp(s.dims, w->first_shape.dims, (size_t)s.rank * sizeof s.dims[0]) != 0) {
        char wanted[256], got[256];
        return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Expecting shape %s but got: %s",
                       print_dims(w->first_shape.dims, w->first_shape.rank, wanted), print_dims(s.dims, s.rank, got));
    }
    return RN_STATUS_OK;
}

/* Puts "Failed to process element: ..." before the message; whatever was wrong, the caller is to blame. */
static rn_status blame_element(const walker *w, rn_status status, int64_t row, rn_text key)
{
    char message[RN_ERROR_MESSAGE_BYTES];
    if (w->err) memcpy(message, w->err->message, sizeof message);
    const char *cause = w->err ? message : "";
    if (key.at)
        return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Failed to process element: %lld key: %.*s of 'instances' list. Error: %s: %s",
                       (long long)row, RN_TEXT_ARG(key), rn_status_grpc_name(status), cause);
    return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Failed to process element: %lld of 'instances' list. Error: %s: %s", (long long)row,
                   rn_status_grpc_name(status), cause);
}

static rn_status check_row_object(walker *w, const char *object, int64_t row)
{
    const char *name = w->signature->input.name;
    bool found = false;
    for (const char *key = rn_json_first(object); key;) {
        const char *value = rn_json_value_of(key, w->limit);
        bool escaped;
        const rn_text text = rn_json_string(key, w->limit, &escaped);
        rn_status status;
        if (rn_json_string_equals(key, w->limit, name)) {
            found = true;
            status = check_row_value(w, value);
        } else {
            status = RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "JSON object: does not have named input: %.*s", RN_TEXT_ARG(text));
        }
        if (status != RN_STATUS_OK) return blame_element(w, status, row, text);
        key = rn_json_next(rn_json_skip(value, w->limit));
    }
    if (found) return RN_STATUS_OK;
    char text[RN_PLAN_NAME_BYTES + 32];
    snprintf(text, sizeof text, "keys must be equal to: %s", name);
    rn__tfs_format_error(object, w->limit, text, w->err);
    /* TensorFlow Serving says "JSON object:" here where it says "JSON Value:" elsewhere. */
    char message[RN_ERROR_MESSAGE_BYTES];
    snprintf(message, sizeof message, "%s", w->err ? w->err->message + strlen("JSON Value: ") : "");
    return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Failed to process element: %lld of 'instances' list. JSON object: %s",
                   (long long)row, message);
}

static rn_status check_rows(walker *w, const char *array)
{
    const char *first = rn_json_first(array);
    const bool objects = *first == '{' && !rn__tfs_base64_string(first, w->limit);
    int64_t row = 0;
    for (const char *element = first; element; element = rn_json_next(rn_json_skip(element, w->limit)), row++) {
        const bool object = *element == '{' && !rn__tfs_base64_string(element, w->limit);
        if (object != objects)
            return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Expecting %s at item %lld of input list",
                           objects ? "object but got list" : "value/list but got object", (long long)row);
        if (objects) {
            RN_TRY(check_row_object(w, element, row));
            continue;
        }
        const rn_status status = check_row_value(w, element);
        if (status != RN_STATUS_OK) return blame_element(w, status, row, (rn_text){NULL, 0});
    }
    return RN_STATUS_OK;
}

/* ---- columns ---- */

static rn_status check_column(walker *w, const char *inputs, shape *s)
{
    const char *name = w->signature->input.name, *value = inputs;
    if (*inputs == '{' && !rn__tfs_base64_string(inputs, w->limit)) {
        value = rn_json_find(inputs, w->limit, name);
        if (!value) return RN_FAIL(w->err, RN_STATUS_INVALID_ARGUMENT, "Missing named input: %s in 'inputs' object.", name);
    }
    int64_t size = 0;
    *s = guess_shape(value, w->limit);
    return check_tensor(w, value, s, 0, &size);
}

rn_status rn__tfs_explain_input(const rn__tfs_document *document, const rn_signature *signature, rn_error *err)
{
    const rn_tensor_spec *spec = &signature->input;
    const rn_json_member *instances = &document->members[RN__TFS_INSTANCES], *inputs = &document->members[RN__TFS_INPUTS];
    walker w = {.document = document, .signature = signature, .limit = document->limit, .dtype = spec->dtype, .err = err};
    shape got = {0};
    if (instances->value) {
        RN_TRY(check_rows(&w, instances->value));
        got.rank = w.first_shape.rank < MAX_SHAPE_RANK ? w.first_shape.rank + 1 : MAX_SHAPE_RANK;
        got.dims[0] = instances->count;
        memcpy(got.dims + 1, w.first_shape.dims, (size_t)(got.rank - 1) * sizeof got.dims[0]);
    } else {
        RN_TRY(check_column(&w, inputs->value, &got));
    }
    char wanted_text[256], got_text[256];
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Input %s: expected shape %s, got %s", spec->name,
                   print_dims(spec->dims, spec->rank, wanted_text), print_dims(got.dims, got.rank, got_text));
}
