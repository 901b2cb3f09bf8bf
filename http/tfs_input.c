/* Numbers and pictures of a checked document straight into a request. This is the fast way: it follows the one shape that the signature
 * asks for and gives up on whatever deviates; tfs_input_error.c then finds out what to say. */
#include "http/base64.h"
#include "http/json_number.h"
#include "http/tfs.h"

typedef struct {
    const rn__tfs_document *document;
    const rn_tensor_spec *spec;
    rn_request *request;
    char *out; /* numbers: where the next one goes */
} reader;

/* ---- numbers ---- */

static const char *read_number(reader *r, const char *at)
{
    if (rn_json_kind_at(at) != RN_JSON_NUMBER) return NULL;
    const char *end;
    if (r->spec->dtype == RN_DTYPE_F32) {
        const float value = rn_json_float(at, r->document->limit, &end);
        memcpy(r->out, &value, sizeof value);
        r->out += sizeof value;
        return end;
    }
    int64_t value;
    if (!rn_json_int64(at, r->document->limit, &value) || value != (int32_t)value) return NULL;
    *r->out++ = (char)value; /* wraps, as in TensorFlow */
    return rn_json_skip(at, r->document->limit);
}

/* The last one or two levels, which hold nearly all of the text. */
static const char *read_last_levels(reader *r, const char *at, int32_t level)
{
    const int64_t *dims = r->spec->dims;
    const char *limit = r->document->limit;
    float *out = (float *)(void *)r->out;
    const bool two = level == r->spec->rank - 2;
    const int64_t row = dims[r->spec->rank - 1], count = two ? dims[level] * row : row;
    r->out += (size_t)count * sizeof(float);
    return two ? rn_json_float_rows(at, limit, dims[level], row, out) : rn_json_floats(at, limit, row, out);
}

static bool is_last_levels(const reader *r, int32_t level)
{
    if (r->spec->dtype != RN_DTYPE_F32 || level < r->spec->rank - 2) return false;
    for (int32_t l = level; l < r->spec->rank; l++)
        if (r->spec->dims[l] <= 0) return false;
    return true;
}

/* Reads the value at `at`, of the spec's shape from `level` on. Returns its end, or NULL when it is something else. */
static const char *read_numbers(reader *r, const char *at, int32_t level)
{
    if (level == r->spec->rank || level == RN_PLAN_MAX_RANK) return read_number(r, at); /* a rank is never more */
    if (*at != '[') return NULL;
    if (is_last_levels(r, level)) return read_last_levels(r, at, level);
    int64_t count = 0;
    const char *end = at + 1;
    for (const char *element = rn_json_first(at); element; element = rn_json_next(end), count++) {
        if (count == r->spec->dims[level]) return NULL;
        end = read_numbers(r, element, level + 1);
        if (!end) return NULL;
    }
    if (count != r->spec->dims[level]) return NULL;
    while (*end != ']') end++;
    return end + 1;
}

/* ---- pictures ---- */

const char *rn__tfs_base64_string(const char *object, const char *limit)
{
    const char *key = *object == '{' ? rn_json_first(object) : NULL;
    if (!key || !rn_json_string_equals(key, limit, "b64")) return NULL;
    const char *value = rn_json_value_of(key, limit);
    return rn_json_kind_at(value) == RN_JSON_STRING && !rn_json_next(rn_json_skip(value, limit)) ? value : NULL;
}

/* Copies the picture at `at` to *scratch and moves *scratch past it. */
static bool read_picture(const char *at, const char *limit, uint8_t **scratch, rn_encoded_picture *picture)
{
    const char *string = *at == '"' ? at : rn__tfs_base64_string(at, limit);
    if (!string) return false;
    bool escaped;
    rn_text text = rn_json_string(string, limit, &escaped);
    picture->bytes = *scratch;
    if (escaped || *at == '"') text = (rn_text){(char *)*scratch, rn_json_unescape(string, limit, (char *)*scratch)};
    picture->byte_count = text.bytes;
    if (*at == '{' && !rn_base64_decode(text, *scratch, &picture->byte_count)) return false; /* in place when it was unescaped */
    *scratch += picture->byte_count;
    return true;
}

/* ---- documents ---- */

static bool is_named_object(const char *at, const char *limit)
{
    return *at == '{' && !rn__tfs_base64_string(at, limit);
}

/* The value of the only member, which must be the input; else NULL. */
static const char *only_input(const reader *r, const char *object)
{
    const char *limit = r->document->limit, *key = rn_json_first(object);
    if (!key || !rn_json_string_equals(key, limit, r->spec->name)) return NULL;
    const char *value = rn_json_value_of(key, limit);
    return rn_json_next(rn_json_skip(value, limit)) ? NULL : value;
}

/* Returns the end of the value, or NULL. */
static const char *read_value(reader *r, const char *at, int32_t row, uint8_t **scratch)
{
    if (r->spec->dtype != RN_DTYPE_STRING) return read_numbers(r, at, 1);
    const char *limit = r->document->limit;
    return read_picture(at, limit, scratch, &r->request->pictures[row]) ? rn_json_skip(at, limit) : NULL;
}

/* `named`: rows may be objects; then all of them must be or none, which the first decides. */
static bool read_rows(reader *r, const char *array, bool named)
{
    const char *limit = r->document->limit, *first = rn_json_first(array), *end;
    uint8_t *scratch = r->request->scratch;
    const bool objects = named && first && is_named_object(first, limit);
    int32_t row = 0;
    for (const char *element = first; element; element = rn_json_next(end), row++) {
        if (is_named_object(element, limit) != objects) return false;
        const char *value = objects ? only_input(r, element) : element;
        end = value ? read_value(r, value, row, &scratch) : NULL;
        if (!end) return false;
        if (objects) end = rn_json_skip(element, limit);
    }
    return true;
}

/* Which member holds the input, and how: fails as TensorFlow Serving does when the document does not say. */
static rn_status choose_format(const rn__tfs_document *document, rn__tfs_format *format, rn_error *err)
{
    const rn_json_member *instances = &document->members[RN__TFS_INSTANCES], *inputs = &document->members[RN__TFS_INPUTS];
    const char *root = document->root, *limit = document->limit;
    if (!instances->value && !inputs->value) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Missing 'inputs' or 'instances' key");
    if (instances->value && inputs->value)
        return rn__tfs_format_error(root, limit, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
                                    err);
    *format = instances->value ? RN__TFS_ROWS : RN__TFS_COLUMNS;
    if (!instances->value) return RN_STATUS_OK;
    if (*instances->value != '[') return rn__tfs_format_error(root, limit, "Expecting 'instances' to be an list/array", err);
    if (instances->count == 0) return rn__tfs_format_error(root, limit, "No values in 'instances' array", err);
    return RN_STATUS_OK;
}

rn_status rn__tfs_read_input(const rn__tfs_document *document, rn_model *model, const rn_signature *signature, bool explained,
                             rn__tfs_format *format, rn_request **out, rn_error *err)
{
    RN_TRY(choose_format(document, format, err));
    const bool rows_format = *format == RN__TFS_ROWS;
    const rn_json_member *member = &document->members[rows_format ? RN__TFS_INSTANCES : RN__TFS_INPUTS];
    reader r = {.document = document, .spec = &signature->input};
    const char *array = member->value;
    if (!rows_format && is_named_object(array, document->limit)) array = rn_json_find(array, document->limit, r.spec->name);
    if (!array || *array != '[') return rn__tfs_explain_input(document, signature, err);
    const int64_t rows = array == member->value ? member->count : rn_json_count(array, document->limit);

    /* Decoded strings are shorter than what they are written as. */
    const size_t scratch_bytes = r.spec->dtype == RN_DTYPE_STRING ? (size_t)(document->limit - array) : 0;
    rn_request *request;
    RN_TRY((explained ? rn_request_create_explained : rn_request_create)(model, signature, rows, scratch_bytes, &request, err));
    r.request = request;
    r.out = request->input;
    if (!read_rows(&r, array, rows_format)) {
        rn_request_destroy(request);
        return rn__tfs_explain_input(document, signature, err);
    }
    *out = request;
    return RN_STATUS_OK;
}
