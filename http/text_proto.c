/* The text is translated into the bytes of the wire format, which protobuf-c then decodes: what belongs to which struct is its business,
 * and a field that repeats, an entry of a map and a oneof need no code of their own here. A message's length is put before it when it is
 * complete. */
#include "http/text_proto.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    uint8_t *at;
    size_t used, capacity;
    bool failed; /* no memory */
} buffer;

typedef struct {
    const char *begin, *at, *limit;
    const char *source;
    buffer wire;
    rn_error *err;
} parser;

/* ---- wire format ---- */

static void put(buffer *out, const void *bytes, size_t count)
{
    if (out->used + count > out->capacity) {
        const size_t capacity = 2 * (out->used + count) + 64;
        uint8_t *grown = realloc(out->at, capacity);
        out->failed = out->failed || !grown;
        if (!grown) return;
        out->at = grown;
        out->capacity = capacity;
    }
    if (count > 0) memcpy(out->at + out->used, bytes, count);
    out->used += count;
}

static size_t encode_varint(uint64_t value, uint8_t out[10])
{
    size_t count = 0;
    for (; value >= 0x80; value >>= 7) out[count++] = (uint8_t)(value | 0x80);
    out[count++] = (uint8_t)value;
    return count;
}

static void put_varint(buffer *out, uint64_t value)
{
    uint8_t bytes[10];
    put(out, bytes, encode_varint(value, bytes));
}

static void put_tag(buffer *out, const ProtobufCFieldDescriptor *field, unsigned wire_type)
{
    put_varint(out, (uint64_t)field->id << 3 | wire_type);
}

enum { WIRE_VARINT = 0, WIRE_LENGTH = 2 };

/* Puts the length of everything from `start` on before it. */
static void put_length_at(buffer *out, size_t start)
{
    uint8_t length[10];
    if (out->failed) return;
    const size_t body = out->used - start, count = encode_varint(body, length);
    put(out, length, count);
    if (out->failed) return;
    memmove(out->at + start + count, out->at + start, body);
    memcpy(out->at + start, length, count);
}

/* ---- characters ---- */

static rn_status fail_at(const parser *p, const char *at, const char *format, ...) __attribute__((format(printf, 3, 4)));
static rn_status fail_at(const parser *p, const char *at, const char *format, ...)
{
    char message[512];
    int line = 1;
    const char *line_begin = p->begin;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    for (const char *c = p->begin; c < at; c++) {
        if (*c != '\n') continue;
        line++;
        line_begin = c + 1;
    }
    return RN_FAIL(p->err, RN_STATUS_INVALID_ARGUMENT, "%s:%d:%d: %s", p->source, line, (int)(at - line_begin) + 1, message);
}

static void skip_space(parser *p)
{
    while (p->at < p->limit) {
        if (*p->at == '#')
            while (p->at < p->limit && *p->at != '\n') p->at++;
        else if (isspace((unsigned char)*p->at))
            p->at++;
        else
            return;
    }
}

/* The next character behind space and comments; '\0' at the end (and for a NUL, which fits nowhere). */
static char next(parser *p)
{
    skip_space(p);
    return p->at < p->limit ? *p->at : '\0';
}

static bool take(parser *p, char c)
{
    if (next(p) != c || p->at >= p->limit) return false;
    p->at++;
    return true;
}

/* For "found ..." in messages. */
static const char *found(parser *p, char out[32])
{
    const char c = next(p);
    if (p->at >= p->limit)
        strcpy(out, "the end of the text");
    else
        snprintf(out, 32, isprint((unsigned char)c) ? "'%c'" : "byte 0x%02x", (unsigned char)c);
    return out;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-' || c == '+';
}

/* A name, a number or nothing: letters, digits and what stands in numbers. */
static rn_text take_word(parser *p)
{
    next(p);
    const char *begin = p->at;
    while (p->at < p->limit && is_word(*p->at)) p->at++;
    return (rn_text){begin, (size_t)(p->at - begin)};
}

/* ---- strings ---- */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 16;
}

/* Up to max_digits digits to the base; *count is how many there were. */
static uint32_t take_digits(parser *p, int base, int max_digits, int *count)
{
    uint32_t value = 0;
    for (*count = 0; *count < max_digits && p->at < p->limit && digit_of(*p->at) < base; ++*count)
        value = value * (uint32_t)base + (uint32_t)digit_of(*p->at++);
    return value;
}

static void put_utf8(buffer *out, uint32_t c)
{
    uint8_t bytes[4];
    size_t count = 0;
    if (c < 0x80) {
        bytes[count++] = (uint8_t)c;
    } else {
        const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
        bytes[count++] = (uint8_t)(leads[more] | c >> (6 * more));
        for (int i = more - 1; i >= 0; i--) bytes[count++] = (uint8_t)(0x80 | (c >> (6 * i) & 0x3f));
    }
    put(out, bytes, count);
}

/* What follows a backslash. */
static rn_status take_escape(parser *p)
{
    static const char names[] = "abfnrtv\\'\"?", values[] = "\a\b\f\n\r\t\v\\'\"?";
    const char *begin = p->at - 1;
    int count;
    const char c = p->at < p->limit ? *p->at++ : '\0';
    const char *name = c ? strchr(names, c) : NULL;
    if (name) {
        put(&p->wire, &values[name - names], 1);
    } else if (digit_of(c) < 8) {
        p->at--;
        const uint32_t value = take_digits(p, 8, 3, &count);
        if (value > 0xff) return fail_at(p, begin, "an octal escape ends at \\377");
        put(&p->wire, &(uint8_t){(uint8_t)value}, 1);
    } else if (c == 'x' || c == 'X') {
        const uint32_t value = take_digits(p, 16, 2, &count);
        if (count == 0) return fail_at(p, begin, "expected hexadecimal digits behind \\x");
        put(&p->wire, &(uint8_t){(uint8_t)value}, 1);
    } else if (c == 'u' || c == 'U') {
        const int wanted = c == 'u' ? 4 : 8;
        const uint32_t value = take_digits(p, 16, wanted, &count);
        if (count < wanted) return fail_at(p, begin, "expected %d hexadecimal digits behind \\%c", wanted, c);
        if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return fail_at(p, begin, "U+%04X is no character", value);
        put_utf8(&p->wire, value);
    } else {
        return fail_at(p, begin, "unknown escape");
    }
    return RN_STATUS_OK;
}

/* One or more quoted pieces, which are joined. */
static rn_status take_string(parser *p)
{
    char text[32];
    if (next(p) != '"' && next(p) != '\'') return fail_at(p, p->at, "expected a quoted string, found %s", found(p, text));
    while (next(p) == '"' || next(p) == '\'') {
        const char *begin = p->at;
        const char quote = *p->at++;
        for (;;) {
            if (p->at == p->limit || *p->at == '\n') return fail_at(p, begin, "the string has no end on its line");
            const char c = *p->at++;
            if (c == quote) break;
            if (c == '\\')
                RN_TRY(take_escape(p));
            else
                put(&p->wire, &c, 1);
        }
    }
    return RN_STATUS_OK;
}

/* ---- numbers and names ---- */

typedef struct {
    uint64_t bits; /* two's complement */
    bool negative;
} integer;

/* Decimal, octal (0...) or hexadecimal (0x...). */
static rn_status take_integer(parser *p, integer *out)
{
    char digits[32], shown[32];
    next(p);
    const char *begin = p->at;
    const rn_text word = take_word(p);
    char *end;
    if (word.bytes == 0) return fail_at(p, begin, "expected a number, found %s", found(p, shown));
    snprintf(digits, sizeof digits, "%.*s", RN_TEXT_ARG(word));
    out->negative = digits[0] == '-';
    const char *number = digits + out->negative;
    errno = 0;
    const uint64_t magnitude = strtoull(number, &end, 0);
    if (!isdigit((unsigned char)*number) || *end != '\0' || word.bytes >= sizeof digits)
        return fail_at(p, begin, "expected a whole number, found %.*s", RN_TEXT_ARG(word));
    if (errno == ERANGE || (out->negative && magnitude > (uint64_t)INT64_MAX + 1))
        return fail_at(p, begin, "%.*s does not fit into 64 bits", RN_TEXT_ARG(word));
    out->bits = out->negative ? -magnitude : magnitude;
    return RN_STATUS_OK;
}

static rn_status take_number(parser *p, ProtobufCType type)
{
    integer number;
    next(p);
    const char *begin = p->at;
    RN_TRY(take_integer(p, &number));
    const int64_t value = (int64_t)number.bits;
    const bool too_large = !number.negative && value < 0; /* for a signed type */
    bool fits;
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
        fits = !too_large && value >= INT32_MIN && value <= INT32_MAX;
        break;
    case PROTOBUF_C_TYPE_UINT32:
        fits = !number.negative && number.bits <= UINT32_MAX;
        break;
    case PROTOBUF_C_TYPE_INT64:
        fits = !too_large;
        break;
    default:
        fits = !number.negative;
    }
    if (!fits) return fail_at(p, begin, "%.*s is out of the field's range", (int)(p->at - begin), begin);
    put_varint(&p->wire, number.bits);
    return RN_STATUS_OK;
}

static rn_status take_bool(parser *p)
{
    static const char *const words[2][4] = {{"false", "False", "f", "0"}, {"true", "True", "t", "1"}};
    char shown[32];
    next(p);
    const char *begin = p->at;
    const rn_text word = take_word(p);
    for (uint64_t value = 0; value < 2; value++) {
        for (int i = 0; i < 4; i++) {
            if (!rn_text_equals(word, words[value][i])) continue;
            put_varint(&p->wire, value);
            return RN_STATUS_OK;
        }
    }
    if (word.bytes == 0) return fail_at(p, begin, "expected true or false, found %s", found(p, shown));
    return fail_at(p, begin, "expected true or false, found %.*s", RN_TEXT_ARG(word));
}

/* By name, or by the number of one of the names. */
static rn_status take_enum(parser *p, const ProtobufCEnumDescriptor *type)
{
    next(p);
    const char *begin = p->at;
    if (isdigit((unsigned char)next(p)) || next(p) == '-') {
        integer number;
        RN_TRY(take_integer(p, &number));
        if (number.bits > INT32_MAX || !protobuf_c_enum_descriptor_get_value(type, (int)number.bits))
            return fail_at(p, begin, "%s has no value of that number", type->short_name);
        put_varint(&p->wire, number.bits);
        return RN_STATUS_OK;
    }
    char name[64];
    const rn_text word = take_word(p);
    snprintf(name, sizeof name, "%.*s", RN_TEXT_ARG(word));
    const ProtobufCEnumValue *value = word.bytes < sizeof name ? protobuf_c_enum_descriptor_get_value_by_name(type, name) : NULL;
    if (!value) return fail_at(p, begin, "%s has no value \"%.*s\"", type->short_name, RN_TEXT_ARG(word));
    put_varint(&p->wire, (uint64_t)(int64_t)value->value);
    return RN_STATUS_OK;
}

/* ---- messages ---- */

/* What closes a message that `c` opens; '\0' when it opens none. */
static char closer_of(char c)
{
    return c == '{' ? '}' : c == '<' ? '>' : '\0';
}

static rn_status fail_unclosed(const parser *p, const char *opening)
{
    return fail_at(p, opening, "'%c' is never closed", *opening);
}

/* Anything up to the `closer` that belongs to `opening`. What is inside is left alone, but it has to be balanced. */
static rn_status skip_message(parser *p, const char *opening)
{
    enum { MAX_DEPTH = 64 };
    char closers[MAX_DEPTH];
    int depth = 0;
    const size_t written = p->wire.used;
    closers[depth++] = closer_of(*opening);
    while (depth > 0) {
        const char c = next(p);
        if (p->at == p->limit) return fail_unclosed(p, opening);
        if (c == '"' || c == '\'') {
            RN_TRY(take_string(p));
            p->wire.used = p->wire.failed ? p->wire.used : written;
            continue;
        }
        const char *at = p->at++;
        if (closer_of(c) && depth == MAX_DEPTH) return fail_at(p, at, "more than %d messages inside each other", MAX_DEPTH);
        if (closer_of(c))
            closers[depth++] = closer_of(c);
        else if ((c == '}' || c == '>') && c != closers[--depth])
            return fail_at(p, at, "expected '%c', found '%c'", closers[depth], c);
    }
    return RN_STATUS_OK;
}

static rn_status take_fields(parser *p, const ProtobufCMessageDescriptor *type, const char *opening);

static rn_status take_message(parser *p, const ProtobufCMessageDescriptor *type)
{
    char text[32];
    if (!closer_of(next(p))) return fail_at(p, p->at, "expected '{', found %s", found(p, text));
    const char *opening = p->at++;
    const size_t start = p->wire.used;
    RN_TRY(strcmp(type->short_name, "Unread") == 0 ? skip_message(p, opening) : take_fields(p, type, opening));
    put_length_at(&p->wire, start);
    return RN_STATUS_OK;
}

static rn_status take_value(parser *p, const ProtobufCFieldDescriptor *field)
{
    size_t start;
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        put_tag(&p->wire, field, WIRE_LENGTH);
        return take_message(p, field->descriptor);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        put_tag(&p->wire, field, WIRE_LENGTH);
        start = p->wire.used;
        RN_TRY(take_string(p));
        put_length_at(&p->wire, start);
        return RN_STATUS_OK;
    case PROTOBUF_C_TYPE_BOOL:
        put_tag(&p->wire, field, WIRE_VARINT);
        return take_bool(p);
    case PROTOBUF_C_TYPE_ENUM:
        put_tag(&p->wire, field, WIRE_VARINT);
        return take_enum(p, field->descriptor);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        put_tag(&p->wire, field, WIRE_VARINT);
        return take_number(p, field->type);
    default:
        return fail_at(p, p->at, "field %s is of a type that text is not read into", field->name);
    }
}

/* "[a, b]" or one value. */
static rn_status take_values(parser *p, const ProtobufCFieldDescriptor *field)
{
    char text[32];
    if (field->label != PROTOBUF_C_LABEL_REPEATED || !take(p, '[')) return take_value(p, field);
    if (take(p, ']')) return RN_STATUS_OK;
    do RN_TRY(take_value(p, field));
    while (take(p, ','));
    if (take(p, ']')) return RN_STATUS_OK;
    return fail_at(p, p->at, "expected ',' or ']', found %s", found(p, text));
}

/* A field comes once, and so does a choice. */
static rn_status check_once(const parser *p, const char *at, const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
                            bool *seen)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED) return RN_STATUS_OK;
    const bool choice = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *other = &type->fields[i];
        const bool same = other == field || (choice && other->quantifier_offset == field->quantifier_offset);
        if (same && seen[i]) return fail_at(p, at, "%s is given although %s already is", field->name, other->name);
    }
    seen[field - type->fields] = true;
    return RN_STATUS_OK;
}

static rn_status take_field(parser *p, const ProtobufCMessageDescriptor *type, bool *seen)
{
    char name[64], shown[32];
    next(p);
    const char *begin = p->at;
    const rn_text word = take_word(p);
    if (word.bytes == 0) return fail_at(p, begin, "expected the name of a field, found %s", found(p, shown));
    snprintf(name, sizeof name, "%.*s", RN_TEXT_ARG(word));
    const ProtobufCFieldDescriptor *field = word.bytes < sizeof name ? protobuf_c_message_descriptor_get_field_by_name(type, name) : NULL;
    if (!field) return fail_at(p, begin, "%s has no field \"%.*s\"", type->short_name, RN_TEXT_ARG(word));
    RN_TRY(check_once(p, begin, type, field, seen));
    const bool colon = take(p, ':');
    if (!colon && field->type != PROTOBUF_C_TYPE_MESSAGE) return fail_at(p, p->at, "expected ':', found %s", found(p, shown));
    RN_TRY(take_values(p, field));
    if (!take(p, ',')) take(p, ';');
    return RN_STATUS_OK;
}

/* Fields up to what closes `opening`; NULL: up to the end of the text. */
static rn_status take_fields(parser *p, const ProtobufCMessageDescriptor *type, const char *opening)
{
    enum { MAX_FIELDS = 32 };
    bool seen[MAX_FIELDS] = {false};
    if (type->n_fields > MAX_FIELDS) return RN_FAIL(p->err, RN_STATUS_INTERNAL, "%s has more than %d fields", type->name, MAX_FIELDS);
    for (;;) {
        const char c = next(p);
        if (p->at == p->limit) return opening ? fail_unclosed(p, opening) : RN_STATUS_OK;
        if (opening && c == closer_of(*opening)) {
            p->at++;
            return RN_STATUS_OK;
        }
        RN_TRY(take_field(p, type, seen));
    }
}

rn_status rn_text_proto_parse(rn_text text, const char *source, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
                              rn_error *err)
{
    const char *begin = text.bytes ? text.at : "";
    parser p = {.begin = begin, .at = begin, .limit = begin + text.bytes, .source = source, .err = err};
    rn_status status = take_fields(&p, type, NULL);
    if (status == RN_STATUS_OK) {
        *out = p.wire.failed ? NULL : protobuf_c_message_unpack(type, NULL, p.wire.used, p.wire.at);
        if (!*out) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for %zu bytes of text", source, text.bytes);
    }
    free(p.wire.at);
    return status;
}
