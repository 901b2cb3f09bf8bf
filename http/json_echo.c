/* The part of a request that an error message quotes. Cold code: it runs once for a refused request and stops after 256 bytes. */
#include "http/json_number.h"
#include "http/json_reader.h"
#include "http/json_writer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* More of a string than any message holds: a picture of megabytes is not copied to be cut off afterwards. */
enum { MAX_STRING_BYTES = 1024 };

static bool within_limit(const rn_json_writer *writer)
{
    return writer->bytes < RN_JSON_ECHO_BYTES && !writer->failed;
}

/* The fewest digits that read back as `value`: `digits` without point, value = 0.digits * 10^*point. */
static int shortest_digits(double value, char digits[20], int *point)
{
    char text[40];
    int precision = 0;
    do snprintf(text, sizeof text, "%.*e", precision, value);
    while (strtod(text, NULL) != value && ++precision < 17);
    int count = 0;
    for (const char *p = text; *p != 'e'; p++)
        if (*p != '.') digits[count++] = *p;
    while (count > 1 && digits[count - 1] == '0') count--;
    *point = atoi(strchr(text, 'e') + 1) + 1;
    return count;
}

/* rapidjson's layout of a double: plain between 1e-6 and 1e21, at least one decimal, exponent without sign or leading zeros otherwise. */
static size_t print_double(double value, char out[64])
{
    if (value == 0) return (size_t)sprintf(out, signbit(value) ? "-0.0" : "0.0");
    char digits[20], *p = out;
    int point;
    if (value < 0) *p++ = '-';
    const int count = shortest_digits(fabs(value), digits, &point);
    if (count <= point && point <= 21) {
        p += sprintf(p, "%.*s%.*s.0", count, digits, point - count, "00000000000000000000");
    } else if (point > 0 && point <= 21) {
        p += sprintf(p, "%.*s.%.*s", point, digits, count - point, digits + point);
    } else if (point > -6 && point <= 0) {
        p += sprintf(p, "0.%.*s%.*s", -point, "000000", count, digits);
    } else {
        p += sprintf(p, "%c%s%.*se%d", digits[0], count > 1 ? "." : "", count - 1, digits + 1, point - 1);
    }
    return (size_t)(p - out);
}

/* Whether the number is an integer between 2^63 and 2^64 - 1, which rapidjson keeps as it is. */
static bool is_uint64(const char *number)
{
    if (strspn(number, "0123456789") != strlen(number)) return false;
    errno = 0;
    strtoull(number, NULL, 10);
    return errno == 0;
}

/* False where rapidjson's writer gives up: at NaN and infinities. */
static bool echo_number(rn_json_writer *writer, const char *at, const char *limit)
{
    int64_t integer;
    if (rn_json_int64(at, limit, &integer)) {
        rn_json_int_value(writer, integer);
        return true;
    }
    char out[64], *number = strndup(at, (size_t)(rn_json_skip(at, limit) - at)); /* a root value may end with the text */
    if (!number) return false;
    const double value = rn_json_double(number);
    if (is_uint64(number))
        rn_json_raw_value(writer, rn_text_of(number));
    else if (isfinite(value))
        rn_json_raw_value(writer, (rn_text){out, print_double(value, out)});
    free(number);
    return isfinite(value);
}

static bool echo_string(rn_json_writer *writer, const char *at, const char *limit, bool key)
{
    bool escaped;
    rn_text text = rn_json_string(at, limit, &escaped);
    char *plain = NULL;
    if (escaped) {
        plain = malloc(text.bytes);
        if (!plain) return false;
        text = (rn_text){plain, rn_json_unescape(at, limit, plain)};
    }
    if (text.bytes > MAX_STRING_BYTES) text.bytes = MAX_STRING_BYTES;
    (key ? rn_json_key : rn_json_string_value)(writer, text);
    free(plain);
    return true;
}

static bool echo_scalar(rn_json_writer *writer, const char *at, const char *limit)
{
    switch (rn_json_kind_at(at)) {
    case RN_JSON_NUMBER:
        return echo_number(writer, at, limit);
    case RN_JSON_STRING:
        return echo_string(writer, at, limit, false);
    default:
        rn_json_raw_value(writer, (rn_text){at, (size_t)(rn_json_skip(at, limit) - at)});
        return true;
    }
}

void rn_json_echo(rn_json_writer *writer, const char *at, const char *limit)
{
    writer->single_line = true;
    const int32_t outside = writer->depth;
    const char *value = at;
    while (value && within_limit(writer)) {
        const char *rest;
        if (*value == '[' || *value == '{') {
            *value == '[' ? rn_json_begin_array(writer) : rn_json_begin_object(writer);
            const char *first = rn_json_first(value);
            if (first && writer->levels[writer->depth - 1].array) {
                value = first;
                continue;
            }
            if (first) {
                if (!within_limit(writer) || !echo_string(writer, first, limit, true)) return;
                value = rn_json_value_of(first, limit);
                continue;
            }
            rest = value; /* empty: the loop below closes it */
            while (*rest != ']' && *rest != '}') rest++;
        } else {
            if (!echo_scalar(writer, value, limit)) return;
            rest = rn_json_skip(value, limit);
        }
        /* What follows a value: the ends of containers, then a comma or the end of the echo. */
        value = NULL;
        while (!value && writer->depth > outside) {
            if (!within_limit(writer)) return;
            const char *next = rn_json_next(rest);
            const bool array = writer->levels[writer->depth - 1].array;
            if (!next) {
                while (*rest != ']' && *rest != '}') rest++;
                rest++;
                array ? rn_json_end_array(writer) : rn_json_end_object(writer);
            } else if (array) {
                value = next;
            } else {
                if (!echo_string(writer, next, limit, true)) return;
                value = rn_json_value_of(next, limit);
            }
        }
    }
}
