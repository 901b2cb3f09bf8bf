/* The checker is one loop over the text with a bit for each open bracket, so that nesting costs no stack; strings are passed eight bytes at
 * a time. The reading functions below it trust the text. */
#include "http/json_reader.h"

#include <stdlib.h>

#include "kernels/text/text_kernels.h"

enum { INLINE_LEVELS = 1024, LEVELS_PER_WORD = 64 };

typedef struct {
    const char *begin, *p, *limit;
    uint64_t inline_levels[INLINE_LEVELS / LEVELS_PER_WORD];
    uint64_t *levels; /* bit d: whether level d is an object */
    size_t depth, capacity;
    int32_t pause;        /* values before skip_blocks is tried again */
    const char *problem;  /* what is wrong, NULL while nothing is */
    const char *position; /* where */
} checker;

/* ---- small steps ---- */

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

/* The next byte; 0 at the end, which no rule below accepts, as rapidjson has it. */
static inline char peek(const checker *c)
{
    return c->p < c->limit ? *c->p : '\0';
}

static inline const char *skip_blanks(const char *p, const char *limit)
{
    while (p < limit && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

static inline bool take(checker *c, char wanted)
{
    if (peek(c) != wanted) return false;
    c->p++;
    return true;
}

static bool fail_at(checker *c, const char *problem, const char *position)
{
    c->problem = problem;
    c->position = position;
    return false;
}

static bool fail(checker *c, const char *problem)
{
    return fail_at(c, problem, c->p);
}

static bool take_word(checker *c, const char *word)
{
    while (*word)
        if (!take(c, *word++)) return fail(c, "Invalid value.");
    return true;
}

/* ---- scalars ---- */

/* Eight bytes at once: whether one of them is a quote, a backslash or a control character. False alarms above 0x7f cost nothing. */
static inline bool has_special(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t v;
    memcpy(&v, p, sizeof v);
    const uint64_t quote = v ^ (ones * '"'), backslash = v ^ (ones * '\\');
    return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((v - ones * 0x20) & ~v)) & tops;
}

static const char *skip_plain(const char *p, const char *limit)
{
    while (limit - p >= 8 && !has_special(p)) p += 8;
    while (p < limit && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) p++;
    return p;
}

static bool check_hex4(checker *c, const char *escape, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++) {
        const char h = peek(c);
        if (!is_digit(h) && !(h >= 'a' && h <= 'f') && !(h >= 'A' && h <= 'F'))
            return fail_at(c, "Incorrect hex digit after \\u escape in string.", escape);
        *code = *code * 16 + (uint32_t)(is_digit(h) ? h - '0' : (h | 0x20) - 'a' + 10);
        c->p++;
    }
    return true;
}

static bool check_escape(checker *c)
{
    static const char surrogate[] = "The surrogate pair in string is invalid.";
    const char *escape = c->p++;
    const char kind = peek(c);
    if (kind != '\0' && strchr("\"\\/bfnrt", kind)) {
        c->p++;
        return true;
    }
    if (kind != 'u') return fail_at(c, "Invalid escape character in string.", escape);
    c->p++;
    uint32_t high, low;
    if (!check_hex4(c, escape, &high)) return false;
    if (high < 0xd800 || high > 0xdbff) return true;
    if (!take(c, '\\') || !take(c, 'u')) return fail_at(c, surrogate, escape);
    if (!check_hex4(c, escape, &low)) return false;
    return (low >= 0xdc00 && low <= 0xdfff) || fail_at(c, surrogate, escape);
}

static bool check_string(checker *c)
{
    c->p++;
    for (;;) {
        c->p = skip_plain(c->p, c->limit);
        const char next = peek(c);
        if (next == '"') {
            c->p++;
            return true;
        }
        if (next == '\0') return fail(c, "Missing a closing quotation mark in string.");
        if (next != '\\') return fail(c, "Invalid escape character in string."); /* a control character */
        if (!check_escape(c)) return false;
    }
}

static bool check_not_finite(checker *c)
{
    if (peek(c) == 'N') return take_word(c, "NaN");
    if (!take_word(c, "Inf")) return false;
    return peek(c) != 'i' || take_word(c, "inity");
}

static inline const char *skip_digits(const char *p, const char *limit)
{
    while (p < limit && is_digit(*p)) p++;
    return p;
}

/* Refuses what cannot be held in a double by the rule that the offsets in clients' logs come from: the exponent against the number of
 * decimals that were kept (17 significant digits at most), and integers of 309 digits. */
static bool check_magnitude(checker *c, const char *start, const char *integer, const char *point, int64_t exponent)
{
    static const char too_big[] = "Number too big to be stored in double.";
    const int64_t integer_digits = point - integer;
    if (integer_digits > 309 || (integer_digits == 309 && memcmp(integer, "179769313486231570", 18) >= 0))
        return fail_at(c, too_big, start);
    int64_t decimals = 0;
    if (point < c->limit && *point == '.') {
        int64_t significant = *integer == '0' ? 0 : integer_digits - 1;
        for (const char *p = point + 1; p < c->limit && is_digit(*p) && significant < 17; p++) {
            decimals++;
            if (significant > 0 || *p != '0' || *integer != '0') significant++;
        }
    }
    return exponent <= 308 + decimals || fail_at(c, too_big, start);
}

static bool check_number(checker *c)
{
    const char *start = c->p;
    take(c, '-');
    const char *integer = c->p;
    const char first = peek(c);
    if (first == '0') {
        c->p++;
    } else if (is_digit(first)) {
        c->p = skip_digits(c->p, c->limit);
    } else if (first == 'I' || first == 'N') {
        return check_not_finite(c);
    } else {
        return fail(c, "Invalid value.");
    }
    const char *point = c->p;
    if (take(c, '.')) {
        if (!is_digit(peek(c))) return fail(c, "Miss fraction part in number.");
        c->p = skip_digits(c->p, c->limit);
    }
    int64_t exponent = 0;
    if (take(c, 'e') || take(c, 'E')) {
        const bool negative = take(c, '-');
        if (!negative) take(c, '+');
        if (!is_digit(peek(c))) return fail(c, "Miss exponent in number.");
        while (is_digit(peek(c))) {
            if (exponent < 100000) exponent = exponent * 10 + (*c->p - '0');
            c->p++;
        }
        if (negative || exponent < 10) exponent = 0;
    }
    return (exponent == 0 && point - integer < 309) || check_magnitude(c, start, integer, point, exponent);
}

/* ---- structure ---- */

static inline bool in_object(const checker *c)
{
    const size_t top = c->depth - 1;
    return c->levels[top / LEVELS_PER_WORD] >> (top % LEVELS_PER_WORD) & 1;
}

static rn_status push_level(checker *c, bool object, rn_error *err)
{
    if (c->depth == c->capacity) {
        const size_t bytes = c->capacity / 8;
        uint64_t *grown = realloc(c->levels == c->inline_levels ? NULL : c->levels, 2 * bytes);
        if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "JSON nested %zu levels deep: no memory for more", c->depth);
        if (c->levels == c->inline_levels) memcpy(grown, c->inline_levels, bytes);
        c->levels = grown;
        c->capacity *= 2;
    }
    uint64_t *word = &c->levels[c->depth / LEVELS_PER_WORD];
    const uint64_t bit = (uint64_t)1 << (c->depth % LEVELS_PER_WORD);
    *word = object ? *word | bit : *word & ~bit;
    c->depth++;
    return RN_STATUS_OK;
}

static rn_json_member *find_member(rn_json_member *members, int32_t count, const char *key, const char *limit)
{
    for (int32_t i = 0; i < count; i++)
        if (!members[i].value && rn_json_string_equals(key, limit, members[i].name)) return &members[i];
    return NULL;
}

static bool check_scalar(checker *c)
{
    switch (peek(c)) {
    case '"':
        return check_string(c);
    case 't':
        return take_word(c, "true");
    case 'f':
        return take_word(c, "false");
    case 'n':
        return take_word(c, "null");
    default:
        return check_number(c);
    }
}

/* The fast way through arrays of numbers. Where it does not get on, it is not tried again for a few values. */
static inline void skip_blocks(checker *c)
{
    enum { PAUSE = 16 };
    if (c->depth < RN_JSON_SKIP_DEPTH || c->depth > LEVELS_PER_WORD || c->pause > 0) {
        c->pause -= c->pause > 0;
        return;
    }
    rn_json_place place = {.p = c->p, .depth = c->depth, .objects = c->levels[0]};
    rn_text_kernels_best->json_skip(&place, c->limit);
    if (place.p == c->p) c->pause = PAUSE;
    c->p = place.p;
    c->depth = place.depth;
    c->levels[0] = place.objects;
}

/* Reads one root value. Leaves c->problem set when the text is not JSON; the status is for lack of memory only. */
static rn_status check_root(checker *c, rn_json_member *members, int32_t member_count, rn_error *err)
{
    rn_json_member *member = NULL; /* the one that the loop is inside of */
value:
    skip_blocks(c);
    c->p = skip_blanks(c->p, c->limit);
    const char next = peek(c);
    if (c->depth == 0 && (next == '\0' || strchr("]},:", next))) {
        fail(c, "The document is empty.");
        return RN_STATUS_OK;
    }
    if (c->depth == 1 && member) member->value = c->p;
    if (next != '{' && next != '[') {
        if (!check_scalar(c)) return RN_STATUS_OK;
        goto after_value;
    }
    RN_TRY(push_level(c, next == '{', err));
    c->p = skip_blanks(c->p + 1, c->limit);
    if (peek(c) == (next == '{' ? '}' : ']')) goto close;
    if (next == '{') goto key;
    if (c->depth == 2 && member) member->count = 1;
    goto value;

key:
    if (peek(c) != '"') {
        fail(c, "Missing a name for object member.");
        return RN_STATUS_OK;
    }
    const char *name = c->p;
    if (!check_string(c)) return RN_STATUS_OK;
    if (c->depth == 1) member = find_member(members, member_count, name, c->p);
    c->p = skip_blanks(c->p, c->limit);
    if (!take(c, ':')) {
        fail(c, "Missing a colon after a name of object member.");
        return RN_STATUS_OK;
    }
    goto value;

after_value:
    if (c->depth == 0) return RN_STATUS_OK;
    c->p = skip_blanks(c->p, c->limit);
    const bool object = in_object(c);
    if (take(c, ',')) {
        if (!object) {
            if (c->depth == 2 && member) member->count++;
            goto value;
        }
        c->p = skip_blanks(c->p, c->limit);
        goto key;
    }
    if (peek(c) != (object ? '}' : ']')) {
        fail(c, object ? "Missing a comma or '}' after an object member." : "Missing a comma or ']' after an array element.");
        return RN_STATUS_OK;
    }
close:
    c->p++;
    c->depth--;
    goto after_value;
}

rn_status rn_json_check(rn_text text, rn_json_member *members, int32_t member_count, const char **root, rn_error *err)
{
    if (text.bytes == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "JSON Parse error: The document is empty");
    for (int32_t i = 0; i < member_count; i++) {
        members[i].value = NULL;
        members[i].count = 0;
    }
    checker c = {.begin = text.at, .p = text.at, .limit = text.at + text.bytes, .capacity = INLINE_LEVELS};
    c.levels = c.inline_levels;
    for (int i = 0; i < 3; i++) take(&c, "\xef\xbb\xbf"[i]); /* a byte order mark, whole or in part */
    *root = skip_blanks(c.p, c.limit);
    const rn_status status = check_root(&c, members, member_count, err);
    if (c.levels != c.inline_levels) free(c.levels);
    RN_TRY(status);
    if (c.problem)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "JSON Parse error: %s at offset: %zu", c.problem, (size_t)(c.position - c.begin));
    return RN_STATUS_OK;
}

/* ---- reading a checked text ---- */

rn_json_kind rn_json_kind_at(const char *at)
{
    switch (*at) {
    case '{':
        return RN_JSON_OBJECT;
    case '[':
        return RN_JSON_ARRAY;
    case '"':
        return RN_JSON_STRING;
    case 't':
        return RN_JSON_TRUE;
    case 'f':
        return RN_JSON_FALSE;
    case 'n':
        return RN_JSON_NULL;
    default:
        return RN_JSON_NUMBER;
    }
}

const char *rn_json_kind_name(const char *at)
{
    static const char *const names[] = {
        [RN_JSON_NULL] = "Null",   [RN_JSON_FALSE] = "False",   [RN_JSON_TRUE] = "True",     [RN_JSON_OBJECT] = "Object",
        [RN_JSON_ARRAY] = "Array", [RN_JSON_STRING] = "String", [RN_JSON_NUMBER] = "Number",
    };
    return names[rn_json_kind_at(at)];
}

static const char *skip_string(const char *at, const char *limit)
{
    for (const char *p = at + 1;; p += 2) {
        p = skip_plain(p, limit);
        if (*p == '"') return p + 1;
    }
}

const char *rn_json_skip(const char *at, const char *limit)
{
    if (*at == '"') return skip_string(at, limit);
    const char *p = at;
    if (*at != '[' && *at != '{') {
        while (p < limit && !strchr(",]} \n\r\t", *p)) p++;
        return p;
    }
    int64_t depth = 0;
    do {
        if (*p == '"') {
            p = skip_string(p, limit);
            continue;
        }
        depth += (*p == '[') + (*p == '{') - (*p == ']') - (*p == '}');
        p++;
    } while (depth > 0);
    return p;
}

const char *rn_json_first(const char *container)
{
    const char *p = container + 1;
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') p++;
    return *p == ']' || *p == '}' ? NULL : p;
}

/* A checked container is closed, so that the loops end before the text does. */
const char *rn_json_next(const char *end)
{
    const char *p = end;
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') p++;
    if (*p != ',') return NULL;
    p++;
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') p++;
    return p;
}

int64_t rn_json_count(const char *array, const char *limit)
{
    int64_t count = 0;
    for (const char *element = rn_json_first(array); element; element = rn_json_next(rn_json_skip(element, limit))) count++;
    return count;
}

const char *rn_json_value_of(const char *key, const char *limit)
{
    const char *colon = skip_blanks(skip_string(key, limit), limit);
    return skip_blanks(colon + 1, limit);
}

const char *rn_json_find(const char *object, const char *limit, const char *name)
{
    for (const char *key = rn_json_first(object); key;) {
        const char *value = rn_json_value_of(key, limit);
        if (rn_json_string_equals(key, limit, name)) return value;
        key = rn_json_next(rn_json_skip(value, limit));
    }
    return NULL;
}

/* ---- strings ---- */

rn_text rn_json_string(const char *at, const char *limit, bool *escaped)
{
    const char *end = skip_plain(at + 1, limit);
    *escaped = *end == '\\';
    if (*escaped) end = skip_string(at, limit) - 1;
    return (rn_text){at + 1, (size_t)(end - at - 1)};
}

static uint32_t hex4(const char *at)
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) code = code * 16 + (uint32_t)(is_digit(at[i]) ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
    return code;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* Writes what the escape at `*p` stands for and moves *p past it. A UTF-16 surrogate pair is one character; a low surrogate that stands
 * alone is written as it is. */
static char *put_escape(char *out, const char **p)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char kind = (*p)[1];
    if (kind != 'u') {
        *p += 2;
        *out++ = values[strchr(names, kind) - names];
        return out;
    }
    uint32_t code = hex4(*p + 2);
    *p += 6;
    if (code >= 0xd800 && code <= 0xdbff) {
        code = 0x10000 + ((code - 0xd800) << 10 | (hex4(*p + 2) - 0xdc00));
        *p += 6;
    }
    return put_utf8(out, code);
}

size_t rn_json_unescape(const char *at, const char *limit, char *out)
{
    const char *const begin = out;
    for (const char *p = at + 1;;) {
        const char *stop = skip_plain(p, limit);
        memcpy(out, p, (size_t)(stop - p));
        out += stop - p;
        p = stop;
        if (*p == '"') return (size_t)(out - begin);
        out = put_escape(out, &p);
    }
}

bool rn_json_string_equals(const char *at, const char *limit, const char *text)
{
    bool escaped;
    const rn_text raw = rn_json_string(at, limit, &escaped);
    if (!escaped) return rn_text_equals(raw, text);
    const size_t wanted = strlen(text);
    if (raw.bytes < wanted || raw.bytes > 6 * wanted) return false; /* one byte is written with six at most */
    char *plain = malloc(raw.bytes);
    if (!plain) return false;
    const size_t bytes = rn_json_unescape(at, limit, plain);
    const bool equal = bytes == wanted && memcmp(plain, text, wanted) == 0;
    free(plain);
    return equal;
}
