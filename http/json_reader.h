/* JSON request bodies, read as TensorFlow Serving reads them, in two steps.
 *
 * rn_json_check walks the whole text once: syntax, and where the top-level members lie. What it accepted is then read in place with the
 * functions below, which need no error paths, no memory and no tree; numbers go from the text straight into the tensor.
 *
 * The grammar is that of rapidjson 1.1.0 with the flags that TensorFlow Serving sets: NaN, Infinity and Inf are numbers, bytes after the
 * root value are ignored, a byte order mark is skipped, the first of two equal keys counts, nesting may have any depth. Messages and
 * offsets are rapidjson's: clients have them in their logs and tests.
 *
 * A position (`at`) points to the first byte of a value or key, `limit` past the last byte of the text. All functions are thread-safe.
 */
#ifndef RN_HTTP_JSON_READER_H
#define RN_HTTP_JSON_READER_H

#include <stdint.h>

#include "http/text.h"
#include "kernels/base/error.h"

typedef enum { RN_JSON_NULL, RN_JSON_FALSE, RN_JSON_TRUE, RN_JSON_OBJECT, RN_JSON_ARRAY, RN_JSON_STRING, RN_JSON_NUMBER } rn_json_kind;

/* A member of the root object that the caller looks for. */
typedef struct rn_json_member {
    const char *name;  /* in: its key */
    const char *value; /* out: position of the first one's value, NULL when there is none */
    int64_t count;     /* out: elements, when the value is an array */
} rn_json_member;

/* Checks `text` and finds `members` in its root. *root: position of the root value. INVALID_ARGUMENT in rapidjson's words; OUT_OF_MEMORY
 * for absurdly deep nesting (one bit a level). */
rn_status rn_json_check(rn_text text, rn_json_member *members, int32_t member_count, const char **root, rn_error *err);

/* ---- reading a checked text ---- */

rn_json_kind rn_json_kind_at(const char *at);
const char *rn_json_kind_name(const char *at);               /* "Object", as rapidjson's types are called: static */
const char *rn_json_skip(const char *at, const char *limit); /* the first byte after the value */

/* Elements of an array, keys of an object: the first, or NULL; then the one after the value that ended at `end`, or NULL. */
const char *rn_json_first(const char *container);
const char *rn_json_next(const char *end);
const char *rn_json_value_of(const char *key, const char *limit); /* of a member */
int64_t rn_json_count(const char *array, const char *limit);      /* its elements */

/* The value of the first member with that name, or NULL. */
const char *rn_json_find(const char *object, const char *limit, const char *name);

/* Strings: the bytes between the quotes as they stand; *escaped: whether there is a backslash among them. */
rn_text rn_json_string(const char *at, const char *limit, bool *escaped);
/* Writes the string with its escapes replaced (UTF-8) and returns its size: never more than the bytes between the quotes. */
size_t rn_json_unescape(const char *at, const char *limit, char *out);
bool rn_json_string_equals(const char *at, const char *limit, const char *text);

#endif
