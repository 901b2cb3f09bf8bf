/* Where commas, blanks and line breaks go is decided in one place, before_value; everything else appends bytes. */
#include "http/json_writer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void rn_json_writer_init(rn_json_writer *writer)
{
    writer->text = NULL;
    writer->bytes = writer->capacity = 0;
    writer->failed = writer->single_line = writer->compact = false;
    writer->indent = 4;
    writer->depth = 0;
}

void rn_json_writer_deinit(rn_json_writer *writer)
{
    free(writer->text);
    writer->text = NULL;
}

rn_status rn_json_writer_finish(const rn_json_writer *writer, rn_error *err)
{
    if (!writer->failed) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for an answer of more than %zu bytes", writer->capacity);
}

/* Room for `bytes` more, or NULL. */
static char *reserve(rn_json_writer *writer, size_t bytes)
{
    if (writer->failed) return NULL;
    if (writer->capacity - writer->bytes < bytes) {
        size_t capacity = writer->capacity ? writer->capacity : 1024;
        while (capacity - writer->bytes < bytes) capacity *= 2;
        char *grown = realloc(writer->text, capacity);
        if (!grown) {
            writer->failed = true;
            return NULL;
        }
        writer->text = grown;
        writer->capacity = capacity;
    }
    return writer->text + writer->bytes;
}

static void put(rn_json_writer *writer, const char *at, size_t bytes)
{
    char *out = reserve(writer, bytes);
    if (!out) return;
    memcpy(out, at, bytes);
    writer->bytes += bytes;
}

static void put_char(rn_json_writer *writer, char c)
{
    put(writer, &c, 1);
}

static void new_line(rn_json_writer *writer)
{
    if (writer->compact) return;
    const size_t blanks = (size_t)(writer->depth * writer->indent);
    char *out = reserve(writer, 1 + blanks);
    if (!out) return;
    *out = '\n';
    memset(out + 1, ' ', blanks);
    writer->bytes += 1 + blanks;
}

/* Separates the key or value that follows from what stands before it. */
static void before_value(rn_json_writer *writer)
{
    if (writer->depth == 0) return;
    const int32_t top = writer->depth - 1;
    if (writer->levels[top].value_due) {
        put(writer, ": ", writer->compact ? 1 : 2);
        writer->levels[top].value_due = false;
        return;
    }
    const bool first = !writer->levels[top].begun;
    writer->levels[top].begun = true;
    if (!first) put_char(writer, ',');
    if (writer->levels[top].array && writer->single_line) {
        if (!first && !writer->compact) put_char(writer, ' ');
    } else {
        new_line(writer);
    }
}

static void begin(rn_json_writer *writer, bool array)
{
    assert(writer->depth < RN_JSON_MAX_LEVELS);
    before_value(writer);
    put_char(writer, array ? '[' : '{');
    writer->levels[writer->depth].array = array;
    writer->levels[writer->depth].value_due = false;
    writer->levels[writer->depth].begun = false;
    writer->depth++;
}

static void end(rn_json_writer *writer, bool array)
{
    assert(writer->depth > 0);
    writer->depth--;
    if (writer->levels[writer->depth].begun && !(array && writer->single_line)) new_line(writer);
    put_char(writer, array ? ']' : '}');
}

void rn_json_begin_object(rn_json_writer *writer)
{
    begin(writer, false);
}

void rn_json_end_object(rn_json_writer *writer)
{
    end(writer, false);
}

void rn_json_begin_array(rn_json_writer *writer)
{
    begin(writer, true);
}

void rn_json_end_array(rn_json_writer *writer)
{
    end(writer, true);
}

static void put_quoted(rn_json_writer *writer, rn_text value)
{
    static const char hex[] = "0123456789ABCDEF", names[] = "btn\0fr"; /* of 8, 9, 10, -, 12, 13 */
    char *out = reserve(writer, 2 + 6 * value.bytes);
    if (!out) return;
    char *const start = out;
    *out++ = '"';
    for (size_t i = 0; i < value.bytes; i++) {
        const unsigned char c = (unsigned char)value.at[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            *out++ = (char)c;
            continue;
        }
        *out++ = '\\';
        if (c >= 0x20) {
            *out++ = (char)c;
        } else if (c >= 8 && c <= 13 && c != 11) {
            *out++ = names[c - 8];
        } else {
            memcpy(out, "u00", 3);
            out[3] = hex[c >> 4];
            out[4] = hex[c & 15];
            out += 5;
        }
    }
    *out++ = '"';
    writer->bytes += (size_t)(out - start);
}

void rn_json_key(rn_json_writer *writer, rn_text key)
{
    before_value(writer);
    put_quoted(writer, key);
    writer->levels[writer->depth - 1].value_due = true;
}

void rn_json_string_value(rn_json_writer *writer, rn_text value)
{
    before_value(writer);
    put_quoted(writer, value);
}

void rn_json_string_member(rn_json_writer *writer, const char *key, const char *value)
{
    rn_json_key(writer, rn_text_of(key));
    rn_json_string_value(writer, rn_text_of(value));
}

void rn_json_raw_value(rn_json_writer *writer, rn_text value)
{
    before_value(writer);
    put(writer, value.at, value.bytes);
}

void rn_json_text(rn_json_writer *writer, rn_text text)
{
    put(writer, text.at, text.bytes);
}

void rn_json_int_value(rn_json_writer *writer, int64_t value)
{
    char digits[32];
    rn_json_raw_value(writer, (rn_text){digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)value)});
}

void rn_json_bool_value(rn_json_writer *writer, bool value)
{
    rn_json_raw_value(writer, rn_text_of(value ? "true" : "false"));
}

void rn_json_float_value(rn_json_writer *writer, float value)
{
    before_value(writer);
    char *out = reserve(writer, RN_JSON_FLOAT_BYTES);
    if (out) writer->bytes += rn_json_print_float(value, out);
}
