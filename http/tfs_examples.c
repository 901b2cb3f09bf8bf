/* The bodies of :classify and :regress: Examples as JSON, checked as TensorFlow Serving turns them into messages (util/json_tensor.cc,
 * FillClassifyRegressRequestFromJson). Nothing is stored, since no signature here takes Examples. */
#include "http/json_number.h"
#include "http/tfs.h"

/* What the elements of a feature are, which the first one decides. */
typedef enum { NOTHING, BYTES, FLOATS, INTEGERS } feature_kind;

typedef struct {
    const char *limit;
    rn_text name;
    feature_kind kind;
    rn_error *err;
} feature;

static rn_status unexpected(const feature *f, const char *at)
{
    return RN_FAIL(f->err, RN_STATUS_INVALID_ARGUMENT, "Feature: %.*s has element with unexpected JSON type: %s", RN_TEXT_ARG(f->name),
                   rn_json_kind_name(at));
}

static rn_status take_kind(feature *f, feature_kind kind)
{
    static const char *const names[] = {"UNKNOWN", "bytes", "float", "int64"};
    if (f->kind == NOTHING) f->kind = kind;
    if (f->kind == kind) return RN_STATUS_OK;
    return RN_FAIL(f->err, RN_STATUS_INVALID_ARGUMENT, "Unexpected element type in feature: %.*s expecting type: %s", RN_TEXT_ARG(f->name),
                   names[f->kind]);
}

/* Whether it is written as an integer up to 2^64 - 1. JSON has no leading zeros. */
static bool is_uint64(const char *at, const char *end)
{
    static const char largest[] = "18446744073709551615";
    const size_t bytes = (size_t)(end - at), most = sizeof largest - 1;
    for (const char *c = at; c < end; c++)
        if (*c < '0' || *c > '9') return false;
    return bytes < most || (bytes == most && memcmp(at, largest, most) <= 0);
}

static rn_status check_number(feature *f, const char *at)
{
    int64_t value;
    if (rn_json_int64(at, f->limit, &value)) return take_kind(f, INTEGERS);
    if (!is_uint64(at, rn_json_skip(at, f->limit))) return take_kind(f, FLOATS);
    RN_TRY(take_kind(f, INTEGERS));
    return RN_FAIL(f->err, RN_STATUS_INVALID_ARGUMENT, "Feature: %.*s has uint64 element. Only int64_t is supported.",
                   RN_TEXT_ARG(f->name));
}

static rn_status check_element(feature *f, const char *at)
{
    switch (rn_json_kind_at(at)) {
    case RN_JSON_FALSE:
    case RN_JSON_TRUE:
        return take_kind(f, INTEGERS);
    case RN_JSON_STRING:
        return take_kind(f, BYTES);
    case RN_JSON_NUMBER:
        return check_number(f, at);
    case RN_JSON_OBJECT:
        if (!rn__tfs_base64_string(at, f->limit)) return unexpected(f, at);
        RN_TRY(take_kind(f, BYTES));
        return rn__tfs_check_base64(at, f->limit, f->err);
    default:
        return unexpected(f, at);
    }
}

static rn_status check_example(const char *example, const char *limit, rn_error *err)
{
    if (*example != '{')
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Example must be JSON object but got JSON %s", rn_json_kind_name(example));
    for (const char *key = rn_json_first(example); key;) {
        const char *value = rn_json_value_of(key, limit);
        bool escaped;
        feature f = {.limit = limit, .name = rn_json_string(key, limit, &escaped), .err = err};
        if (*value == '[') {
            for (const char *e = rn_json_first(value); e; e = rn_json_next(rn_json_skip(e, limit))) RN_TRY(check_element(&f, e));
        } else {
            RN_TRY(check_element(&f, value));
        }
        key = rn_json_next(rn_json_skip(value, limit));
    }
    return RN_STATUS_OK;
}

rn_status rn__tfs_check_examples(const rn__tfs_document *document, rn_error *err)
{
    const rn_json_member *examples = &document->members[RN__TFS_EXAMPLES];
    const char *root = document->root, *limit = document->limit, *context = document->members[RN__TFS_CONTEXT].value;
    if (context) RN_TRY(check_example(context, limit, err));
    if (!examples->value)
        return rn__tfs_format_error(root, limit, "When method is classify, key 'examples' is expected and was not found", err);
    if (*examples->value != '[') return rn__tfs_format_error(root, limit, "Expecting 'examples' value to be an list/array", err);
    if (examples->count == 0) return rn__tfs_format_error(root, limit, "'examples' value is an empty array", err);
    for (const char *e = rn_json_first(examples->value); e; e = rn_json_next(rn_json_skip(e, limit))) RN_TRY(check_example(e, limit, err));
    return RN_STATUS_OK;
}
