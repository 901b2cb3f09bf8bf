/* The reader against rapidjson 1.1.0's verdicts, and its floats against strtod. */
#include "http/json_reader.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "http/json_number.h"

/* A copy without slack behind it, so that the address sanitizer sees a read past the end. */
static rn_text exact_copy(const char *at, size_t bytes)
{
    char *copy = malloc(bytes ? bytes : 1);
    memcpy(copy, at, bytes);
    return (rn_text){copy, bytes};
}

static void expect_message(const char *json, size_t bytes, const char *wanted)
{
    const rn_text text = exact_copy(json, bytes);
    rn_error err = {0};
    const char *root;
    const rn_status status = rn_json_check(text, NULL, 0, &root, &err);
    if (wanted) {
        char full[256];
        snprintf(full, sizeof full, "JSON Parse error: %s", wanted);
        assert_int_equal(status, RN_STATUS_INVALID_ARGUMENT);
        assert_string_equal(err.message, full);
    } else if (status != RN_STATUS_OK) {
        fail_msg("%.*s: %s", (int)bytes, json, err.message);
    }
    free((char *)text.at);
}

static void test_syntax(void **state)
{
    (void)state;
    static const struct {
        const char *json, *message; /* NULL: accepted */
    } cases[] = {
        {"", "The document is empty"},
        {"  ", "The document is empty. at offset: 2"},
        {"]", "The document is empty. at offset: 0"},
        {"instances = [1, 2]", "Invalid value. at offset: 0"},
        {"{\"i\":[1", "Missing a comma or ']' after an array element. at offset: 7"},
        {"{\"i\":[1}", "Missing a comma or ']' after an array element. at offset: 7"},
        {"{\"i\":[1,]}", "Invalid value. at offset: 8"},
        {"{\"i\":1,}", "Missing a name for object member. at offset: 7"},
        {"{\"i\":1 2", "Missing a comma or '}' after an object member. at offset: 7"},
        {"{i:1}", "Missing a name for object member. at offset: 1"},
        {"{'i':1}", "Missing a name for object member. at offset: 1"},
        {"{\"i\" 1}", "Missing a colon after a name of object member. at offset: 5"},
        {"{\"i\":}", "Invalid value. at offset: 5"},
        {"{\"i\":", "Invalid value. at offset: 5"},
        {"{", "Missing a name for object member. at offset: 1"},
        {"{\"i\":tru}", "Invalid value. at offset: 8"},
        {"{\"i\":nan}", "Invalid value. at offset: 6"},
        {"{\"i\":Nan}", "Invalid value. at offset: 7"},
        {"{\"i\":Infinitx}", "Invalid value. at offset: 12"},
        {"{\"i\":-}", "Invalid value. at offset: 6"},
        {"{\"i\":+1}", "Invalid value. at offset: 5"},
        {"{\"i\":.5}", "Invalid value. at offset: 5"},
        {"{\"i\":1.}", "Miss fraction part in number. at offset: 7"},
        {"{\"i\":1e}", "Miss exponent in number. at offset: 7"},
        {"{\"i\":01}", "Missing a comma or '}' after an object member. at offset: 6"},
        {"{\"i\": 1e400}", "Number too big to be stored in double. at offset: 6"},
        {"{\"i\": 1.5e309}", NULL}, /* counts the decimals: becomes infinity */
        {"{\"i\": 1.5e310}", "Number too big to be stored in double. at offset: 6"},
        {"{\"i\": 1e308, \"j\": -1.79e308, \"k\": 1e-400}", NULL},
        {"{\"i\":\"a", "Missing a closing quotation mark in string. at offset: 7"},
        {"{\"i\":\"a\n\"}", "Invalid escape character in string. at offset: 7"},
        {"{\"i\":\"\\x\"}", "Invalid escape character in string. at offset: 6"},
        {"{\"i\":\"\\u12g4\"}", "Incorrect hex digit after \\u escape in string. at offset: 6"},
        {"{\"i\":\"\\ud800\"}", "The surrogate pair in string is invalid. at offset: 6"},
        {"{\"i\":\"\\ud800\\u0041\"}", "The surrogate pair in string is invalid. at offset: 6"},
        {"{\"i\":\"\\ud83d\\ude00 \\udc00 \\/ \xff\"}", NULL},
        {"{\"i\":[1]} // comment", NULL},
        {"{\"i\":[1]}XYZ", NULL},
        {"// comment\n{}", "Invalid value. at offset: 0"},
        {"\xef\xbb\xbf {\"i\":[NaN, Inf, -Infinity, -Inf]}", NULL},
        {"\xef\xbb\xbf[1", "Missing a comma or ']' after an array element. at offset: 5"},
        {"null", NULL},
        {"5", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) expect_message(cases[i].json, strlen(cases[i].json), cases[i].message);
    expect_message("{\"i\":\0 1}", 9, "Invalid value. at offset: 5"); /* a NUL byte ends the text */

    char digits[400] = "[";
    memset(digits + 1, '9', 309);
    digits[310] = ']';
    expect_message(digits, 311, "Number too big to be stored in double. at offset: 1");
    digits[309] = ']';
    expect_message(digits, 310, NULL);
}

/* Arrays of numbers are skipped in blocks, and only up to a depth: the same text inside of so many brackets more is read number by number.
 * Both must say the same about every byte at every place. */
enum { DEEPER = 70, BLOCKS_TEXT = 4096 };

static rn_status verdict(const char *body, size_t bytes, int brackets, size_t *offset, char message[RN_ERROR_MESSAGE_BYTES])
{
    rn_text text = {malloc(bytes + (size_t)brackets), bytes + (size_t)brackets};
    memset((char *)text.at, '[', (size_t)brackets);
    memcpy((char *)text.at + brackets, body, bytes);
    const char *root;
    rn_error err = {0};
    const rn_status status = rn_json_check(text, NULL, 0, &root, &err);
    const char *at = strstr(err.message, " at offset: ");
    *offset = at ? strtoull(at + strlen(" at offset: "), NULL, 10) - (size_t)brackets : 0;
    snprintf(message, RN_ERROR_MESSAGE_BYTES, "%.*s", (int)(at ? at - err.message : 0), err.message);
    free((char *)text.at);
    return status;
}

static size_t write_numbers(char *out, const char *format, const char *separator)
{
    size_t n = (size_t)sprintf(out, "{\"instances\": [");
    for (int i = 0; n < BLOCKS_TEXT / 2; i++) {
        n += (size_t)sprintf(out + n, "%s[[", i ? separator : "");
        for (int k = 0; k < 5; k++) {
            n += (size_t)sprintf(out + n, k ? separator : "");
            n += (size_t)sprintf(out + n, format, (k - 2) * 0.37 + i);
        }
        n += (size_t)sprintf(out + n, i % 3 ? "]]" : "], [0, -0.5%s-12]]", separator);
    }
    return n + (size_t)sprintf(out + n, "]}]");
}

static void test_blocks_see_what_bytes_see(void **state)
{
    (void)state;
    static const char *const formats[] = {"%.4f", "%.17g", "%.0f", "%e"}, *const separators[] = {", ", ",", " , "};
    static const char bytes[] = "0159.-+eE,[]{}:\"N \n\tx/;\x7f\xb0";
    for (size_t f = 0; f < sizeof formats / sizeof formats[0] * 3; f++) {
        char text[BLOCKS_TEXT];
        const size_t size = write_numbers(text, formats[f / 3], separators[f % 3]);
        for (size_t at = 14; at < 400; at++) {
            const char kept = text[at];
            for (size_t b = 0; b < sizeof bytes; b++) { /* the NUL at the end too */
                size_t offset, deeper_offset;
                char message[RN_ERROR_MESSAGE_BYTES], deeper[RN_ERROR_MESSAGE_BYTES];
                text[at] = bytes[b];
                const rn_status status = verdict(text, size, 1, &offset, message);
                assert_int_not_equal(verdict(text, size, DEEPER, &deeper_offset, deeper), RN_STATUS_OK); /* not all brackets are closed */
                const bool agree = status == RN_STATUS_OK ? deeper_offset == size : strcmp(message, deeper) == 0 && offset == deeper_offset;
                if (!agree)
                    fail_msg("%s, byte %zu as 0x%02x: %s at %zu, %s at %zu", formats[f / 3], at, (unsigned char)bytes[b], message, offset,
                             deeper, deeper_offset);
            }
            text[at] = kept;
        }
    }
}

static void test_depth(void **state)
{
    (void)state;
    enum { DEPTH = 500000 };
    char *json = malloc(2 * DEPTH + 64);
    const int head = sprintf(json, "{\"unused\":");
    memset(json + head, '[', DEPTH);
    memset(json + head + DEPTH, ']', DEPTH);
    sprintf(json + head + 2 * DEPTH, ",\"instances\":[1,2,3]}");
    rn_json_member member = {.name = "instances"};
    const char *root;
    const rn_text text = rn_text_of(json);
    assert_int_equal(rn_json_check(text, &member, 1, &root, NULL), RN_STATUS_OK);
    assert_int_equal(member.count, 3);
    assert_ptr_equal(rn_json_skip(root, text.at + text.bytes), text.at + text.bytes);
    free(json);
}

static void test_members(void **state)
{
    (void)state;
    static const char json[] = "{\"x\":{\"inputs\":[9]},\"inputs\":[[1,2],[3]],\"\\u0069nstances\":[],\"inputs\":7}";
    const rn_text text = exact_copy(json, sizeof json - 1);
    rn_json_member members[] = {{.name = "inputs"}, {.name = "instances"}, {.name = "absent"}};
    const char *root, *limit = text.at + text.bytes;
    assert_int_equal(rn_json_check(text, members, 3, &root, NULL), RN_STATUS_OK);
    assert_ptr_equal(root, text.at);
    assert_int_equal(members[0].value - text.at, 29);
    assert_int_equal(members[0].count, 2);
    assert_int_equal(rn_json_kind_at(members[1].value), RN_JSON_ARRAY);
    assert_int_equal(members[1].count, 0);
    assert_null(members[2].value);

    const char *row = rn_json_first(members[0].value), *end;
    const char *number = rn_json_first(row);
    assert_true(rn_json_float(number, limit, &end) == 1);
    number = rn_json_next(end);
    assert_true(rn_json_float(number, limit, &end) == 2);
    assert_null(rn_json_next(end));
    row = rn_json_next(rn_json_skip(row, limit));
    assert_true(rn_json_float(rn_json_first(row), limit, &end) == 3);
    assert_null(rn_json_next(rn_json_skip(row, limit)));
    assert_null(rn_json_first(members[1].value));
    assert_non_null(rn_json_find(rn_json_find(root, limit, "x"), limit, "inputs"));
    free((char *)text.at);
}

static void test_strings(void **state)
{
    (void)state;
    static const char json[] = "[\"plain, longer than eight\",\"a\\n\\u00e9\\u20ac\\ud83d\\ude00\\/\\\"\"]";
    const rn_text text = exact_copy(json, sizeof json - 1);
    const char *root, *limit = text.at + text.bytes;
    assert_int_equal(rn_json_check(text, NULL, 0, &root, NULL), RN_STATUS_OK);
    bool escaped;
    const char *first = rn_json_first(root);
    const rn_text raw = rn_json_string(first, limit, &escaped);
    assert_false(escaped);
    assert_true(rn_text_equals(raw, "plain, longer than eight"));
    const char *second = rn_json_next(rn_json_skip(first, limit));
    const rn_text coded = rn_json_string(second, limit, &escaped);
    assert_true(escaped);
    char *plain = malloc(coded.bytes);
    const size_t bytes = rn_json_unescape(second, limit, plain);
    static const char wanted[] = "a\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/\"";
    assert_int_equal(bytes, sizeof wanted - 1);
    assert_memory_equal(plain, wanted, bytes);
    assert_true(rn_json_string_equals(second, limit, wanted));
    assert_false(rn_json_string_equals(first, limit, "plain"));
    free(plain);
    free((char *)text.at);
}

/* Walks everything that a handler may walk. */
static void walk(const char *at, const char *limit, int depth)
{
    char *text = malloc((size_t)(limit - at) + 1);
    const char *end;
    bool escaped;
    int64_t integer;
    switch (rn_json_kind_at(at)) {
    case RN_JSON_NUMBER:
        rn_json_float(at, limit, &end);
        rn_json_int64(at, limit, &integer);
        assert_ptr_equal(end, rn_json_skip(at, limit));
        break;
    case RN_JSON_STRING:
        assert_true(rn_json_unescape(at, limit, text) <= rn_json_string(at, limit, &escaped).bytes);
        break;
    case RN_JSON_ARRAY:
        for (const char *e = rn_json_first(at); e && depth < 50; e = rn_json_next(rn_json_skip(e, limit))) walk(e, limit, depth + 1);
        break;
    case RN_JSON_OBJECT:
        rn_json_find(at, limit, "absent");
        for (const char *key = rn_json_first(at); key && depth < 50;) {
            const char *value = rn_json_value_of(key, limit);
            walk(key, limit, depth + 1);
            walk(value, limit, depth + 1);
            key = rn_json_next(rn_json_skip(value, limit));
        }
        break;
    default:
        break;
    }
    free(text);
}

static uint64_t random_bits(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Texts one to four random bytes away from good ones: whatever the checker accepts must be safe to walk. Memory errors are the sanitizer's
 * to find. */
static void test_mutations(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "{\"signature_name\":\"a\",\"instances\":[[1,2.5e-3],[NaN,-Infinity]]}",
        "{\"inputs\":{\"x\":{\"b64\":\"aGVsbG8=\"},\"y\":[{\"b64\":\"\\/\\u0041\\ud83d\\ude00\"}]}}",
        "{\"a\":[true,false,null,[],{},[[]],{\"b\":{}}],\"c\":\"\\n\\\\\\\"\"}",
        "{\"instances\":[12345678901234567890,0.12345678901234567,1e308,-0,9e-400]}",
    };
    static const char alphabet[] = "{}[]:,\"\\0123456789.eE+-NaInfityulrstb64 \n\t/\x01\x7f\xff";
    uint64_t seed = 20260901;
    int accepted = 0;
    for (int i = 0; i < 200000; i++) {
        const char *source = seeds[random_bits(&seed) % 4];
        rn_text text = exact_copy(source, strlen(source));
        char *bytes = (char *)text.at;
        for (uint64_t n = 1 + random_bits(&seed) % 4; n > 0; n--)
            bytes[random_bits(&seed) % text.bytes] = alphabet[random_bits(&seed) % (sizeof alphabet - 1)];
        if (random_bits(&seed) % 8 == 0) text.bytes = random_bits(&seed) % text.bytes;
        rn_json_member member = {.name = "instances"};
        const char *root;
        if (rn_json_check(text, &member, 1, &root, NULL) == RN_STATUS_OK && (*root == '{' || *root == '[')) {
            walk(root, text.at + text.bytes, 0);
            accepted++;
        }
        free(bytes);
    }
    print_message("%d of 200000 accepted\n", accepted);
    assert_true(accepted > 10000);
}

/* ---- numbers ---- */

static float read_float(const char *number)
{
    char json[2048];
    const rn_text text = exact_copy(json, (size_t)snprintf(json, sizeof json, "[%s]", number));
    const char *root, *end;
    assert_int_equal(rn_json_check(text, NULL, 0, &root, NULL), RN_STATUS_OK);
    const float value = rn_json_float(root + 1, text.at + text.bytes, &end);
    assert_ptr_equal(end, text.at + text.bytes - 1);
    free((char *)text.at);
    return value;
}

static void test_float_rules(void **state)
{
    (void)state;
    assert_true(read_float("1435774380") == 1435774336.0f);
    assert_true(read_float("1.79e308") == INFINITY);
    assert_true(read_float("-1.79e308") == -INFINITY);
    assert_true(read_float("2.2e-308") == 0);
    assert_true(isnan(read_float("NaN")));
    assert_true(read_float("Infinity") == INFINITY);
    assert_true(read_float("-Inf") == -INFINITY);
    assert_true(read_float("5.003") == 5.003f);
    assert_true(read_float("18446744073709551615") == 18446744073709551616.0f);
    assert_true(read_float("1e-45") == 1e-45f);
    assert_true(signbit(read_float("-0.0")));
    char zeros[1200] = "0.";
    memset(zeros + 2, '0', 1000);
    strcpy(zeros + 1002, "1e1001");
    assert_true(read_float(zeros) == 1);

    int64_t integer;
    static const char integers[] = "-9223372036854775808 9223372036854775807 9223372036854775808 1.0 1e2 7";
    const char *limit = integers + sizeof integers - 1;
    assert_true(rn_json_int64(integers, limit, &integer) && integer == INT64_MIN);
    assert_true(rn_json_int64(integers + 21, limit, &integer) && integer == INT64_MAX);
    assert_false(rn_json_int64(integers + 41, limit, &integer));
    assert_false(rn_json_int64(integers + 61, limit, &integer));
    assert_false(rn_json_int64(integers + 65, limit, &integer));
    assert_true(rn_json_int64(integers + 69, limit, &integer) && integer == 7);
}

/* Every printed form of floats, doubles and of the middles between floats, where rounding is hardest. */
static void test_float_rounding(void **state)
{
    (void)state;
    static const char *const formats[] = {"%.17g", "%.9g", "%.6f", "%.20f", "%.3e", "%g"};
    uint64_t seed = 20260831;
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = random_bits(&seed);
        double value;
        if (i % 4 == 0) { /* a middle, or its neighbour */
            bits = (bits & ~((1ull << 29) - 1)) | (1ull << 28);
            bits += (uint64_t)(i / 4 % 3) - 1;
            bits = (bits & 0x800fffffffffffffull) | (uint64_t)(1023 - 20 + (int)(random_bits(&seed) % 40)) << 52;
        } else if (i % 4 == 1) { /* a pixel */
            bits = 0;
        }
        memcpy(&value, &bits, sizeof value);
        if (i % 4 == 1) value = (float)(random_bits(&seed) % 256) / 255.0f;
        if (!isfinite(value) || fabs(value) > 1e300) continue;
        char number[512];
        snprintf(number, sizeof number, formats[random_bits(&seed) % 6], value);
        const float wanted = (float)strtod(number, NULL), got = read_float(number);
        if (wanted != got) fail_msg("%s: %.9g, expected %.9g", number, (double)got, (double)wanted);
    }
}

/* Prints the speed of checking and of reading a 224x224x3 picture; no assertion, machines differ. */
static void test_speed(void **state)
{
    (void)state;
    enum { COUNT = 224 * 224 * 3, ROUNDS = 10 };
    static const char *const formats[] = {"%.17g", "%.4f"};
    for (int f = 0; f < 2; f++) {
        char *json = malloc(COUNT * 26 + 64), *p = json + sprintf(json, "{\"instances\":[");
        uint64_t seed = 7;
        for (int i = 0; i < COUNT; i++) {
            *p++ = i ? ',' : ' ';
            p += sprintf(p, formats[f], (double)(random_bits(&seed) >> 11) / 9007199254740992.0);
        }
        p += sprintf(p, "]}");
        const rn_text text = {json, (size_t)(p - json)};
        const char *root, *limit = text.at + text.bytes;
        rn_json_member member = {.name = "instances"};
        struct timespec t0, t1, t2;
        double check = 1e9, read = 1e9;
        volatile float sum = 0;
        for (int round = 0; round < ROUNDS; round++) {
            clock_gettime(CLOCK_MONOTONIC, &t0);
            assert_int_equal(rn_json_check(text, &member, 1, &root, NULL), RN_STATUS_OK);
            clock_gettime(CLOCK_MONOTONIC, &t1);
            const char *end;
            for (const char *at = rn_json_first(member.value); at; at = rn_json_next(end)) sum = sum + rn_json_float(at, limit, &end);
            clock_gettime(CLOCK_MONOTONIC, &t2);
            check = fmin(check, (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec));
            read = fmin(read, (double)(t2.tv_sec - t1.tv_sec) + 1e-9 * (double)(t2.tv_nsec - t1.tv_nsec));
        }
        print_message("%s: check %.0f MB/s, read %.0f MB/s, both %.0f MB/s\n", formats[f], 1e-6 * (double)text.bytes / check,
                      1e-6 * (double)text.bytes / read, 1e-6 * (double)text.bytes / (check + read));
        free(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),         cmocka_unit_test(test_blocks_see_what_bytes_see),
        cmocka_unit_test(test_depth),          cmocka_unit_test(test_members),
        cmocka_unit_test(test_strings),        cmocka_unit_test(test_mutations), cmocka_unit_test(test_float_rules),
        cmocka_unit_test(test_float_rounding), cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
