/* JSON text in the exact layout that TensorFlow Serving's clients get: rapidjson's PrettyWriter, indented by four spaces, arrays on one
 * line where the writer is told so, no newline at the end.
 *
 * A writer owns one growing buffer. Running out of memory is remembered and reported once, by rn_json_writer_finish, so that the calls in
 * between need no checks. The caller keeps to the grammar: in an object, keys and values in turn.
 */
#ifndef RN_HTTP_JSON_WRITER_H
#define RN_HTTP_JSON_WRITER_H

#include <stdint.h>

#include "http/text.h"
#include "kernels/base/error.h"

/* Open arrays and objects at once. Enough for an echo: each level writes a byte, and an echo ends after RN_JSON_ECHO_BYTES. */
enum { RN_JSON_MAX_LEVELS = 320, RN_JSON_ECHO_BYTES = 256 };

typedef struct rn_json_writer {
    char *text; /* `bytes` of `capacity` */
    size_t bytes, capacity;
    bool failed;      /* out of memory: nothing more is written */
    bool single_line; /* arrays: "[1, 2]" instead of a line for each element */
    bool compact;     /* no blanks and no lines at all: {"a":[1,2]} */
    int32_t indent;   /* spaces a level */
    int32_t depth;
    struct {
        bool array;
        bool value_due; /* in an object: the key has been written */
        bool begun;     /* something has been written into it */
    } levels[RN_JSON_MAX_LEVELS];
} rn_json_writer;

void rn_json_writer_init(rn_json_writer *writer); /* indent 4, arrays on several lines */
void rn_json_writer_deinit(rn_json_writer *writer);

/* OUT_OF_MEMORY when something did not fit; else the text is writer->text, writer->bytes. */
rn_status rn_json_writer_finish(const rn_json_writer *writer, rn_error *err);

void rn_json_begin_object(rn_json_writer *writer);
void rn_json_end_object(rn_json_writer *writer);
void rn_json_begin_array(rn_json_writer *writer);
void rn_json_end_array(rn_json_writer *writer);
void rn_json_key(rn_json_writer *writer, rn_text key);
void rn_json_string_value(rn_json_writer *writer, rn_text value); /* any bytes: escapes " \ and control characters only */
void rn_json_string_member(rn_json_writer *writer, const char *key, const char *value);
void rn_json_int_value(rn_json_writer *writer, int64_t value);
void rn_json_bool_value(rn_json_writer *writer, bool value);
/* A number, true, false or null that is text already. */
void rn_json_raw_value(rn_json_writer *writer, rn_text value);
/* Bytes as they are, outside of the grammar: for documents that are pieced together. */
void rn_json_text(rn_json_writer *writer, rn_text text);
/* As TensorFlow Serving prints floats: see rn_json_print_float. */
void rn_json_float_value(rn_json_writer *writer, float value);

/* "%g" when that reads back as the same float, else "%.9g"; ".0" when there is neither point nor exponent; NaN, Infinity, -Infinity.
 * Returns the size; `out` holds RN_JSON_FLOAT_BYTES, no NUL is promised. */
enum { RN_JSON_FLOAT_BYTES = 32 };
size_t rn_json_print_float(float value, char *out);

/* Writes the value at `at` of a checked text (http/json_reader.h) in the layout of TensorFlow Serving's messages, and stops after the
 * element that takes it past RN_JSON_ECHO_BYTES: the result may not be valid JSON. */
void rn_json_echo(rn_json_writer *writer, const char *at, const char *limit);

#endif
