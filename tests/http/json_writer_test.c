/* The writer byte for byte against what TensorFlow Serving answers. */
#include "http/json_writer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "http/json_reader.h"

static void expect_text(rn_json_writer *writer, const char *wanted)
{
    assert_int_equal(rn_json_writer_finish(writer, NULL), RN_STATUS_OK);
    if (!rn_text_equals((rn_text){writer->text, writer->bytes}, wanted))
        fail_msg("got:\n%.*s\nexpected:\n%s", (int)writer->bytes, writer->text, wanted);
    rn_json_writer_deinit(writer);
}

static void test_floats(void **state)
{
    (void)state;
    static const struct {
        float value;
        const char *text;
    } cases[] = {
        {0.2f, "0.2"},
        {1.0f / 3, "0.333333343"},
        {1, "1.0"},
        {0, "0.0"},
        {-0.0f, "-0.0"},
        {2.41628322e-06f, "2.41628322e-06"},
        {0.99999994f, "0.99999994"},
        {9000000, "9e+06"},
        {999999, "999999.0"},
        {555557.5f, "555557.5"},
        {0.0003f, "0.0003"},
        {0.00003f, "3e-05"},
        {16777216, "16777216.0"},
        {3.40282347e+38f, "3.40282347e+38"},
        {NAN, "NaN"},
        {INFINITY, "Infinity"},
        {-INFINITY, "-Infinity"},
        {1e-45f, "1.4013e-45"},
        {123456.789f, "123456.789"},
        {0.1f, "0.1"},
        {100000, "100000.0"},
        {1000000, "1e+06"},
        {1234567, "1234567.0"},
        {1e10f, "1e+10"},
        {-2.5f, "-2.5"},
        {9.99999944e-11f, "9.99999944e-11"},
        {0.5f, "0.5"},
        {99999.9f, "99999.9"},
        {0.000123456f, "0.000123456"},
        {1.005859375f, "1.00585938"},
        {1.001953125f, "1.00195312"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[RN_JSON_FLOAT_BYTES];
        const size_t bytes = rn_json_print_float(cases[i].value, out);
        if (!rn_text_equals((rn_text){out, bytes}, cases[i].text)) fail_msg("%.*s, expected %s", (int)bytes, out, cases[i].text);
    }
}

/* Any float: the same as the two printf forms, and it reads back. */
static void test_float_rule(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    for (int i = 0; i < 1000000; i++) {
        seed = seed * 1664525u + 1013904223u;
        float value;
        memcpy(&value, &seed, sizeof value);
        if (i % 2) value = (float)(seed >> 8) / 16777216.0f;               /* probabilities */
        if (i % 8 == 6) value = (float)(512 + (seed >> 20)) / 512.0f;      /* ten digits, the last a 5: printf rounds to the even ninth */
        if (i % 8 == 2) value = (float)(seed >> 20) / 1000.0f;             /* short decimals */
        if (i % 8 == 4) value = (float)(int32_t)(seed >> 12);              /* whole numbers */
        if (i % 16 == 8) value = scalbnf(1, (int)(seed >> 8) % 277 - 149); /* powers of two: the next float below is nearer */
        if (i % 16 == 12) value = powf(10, (float)((int)(seed >> 8) % 77 - 38));
        if (i % 32 >= 16) value = nextafterf(value, seed & 1 ? INFINITY : 0);
        if (!isfinite(value)) continue;
        char wanted[64], got[RN_JSON_FLOAT_BYTES];
        snprintf(wanted, sizeof wanted, "%g", (double)value);
        if (strtof(wanted, NULL) != value) snprintf(wanted, sizeof wanted, "%.9g", (double)value);
        if (!strpbrk(wanted, ".e")) strcat(wanted, ".0");
        const size_t bytes = rn_json_print_float(value, got);
        if (!rn_text_equals((rn_text){got, bytes}, wanted)) fail_msg("%.*s, expected %s", (int)bytes, got, wanted);
    }
}

/* Prints the speed of a thousand probabilities; no assertion, machines differ. */
static void test_float_speed(void **state)
{
    (void)state;
    enum { COUNT = 1000, ROUNDS = 200 };
    static float values[COUNT];
    for (int i = 0; i < COUNT; i++) values[i] = expf(-(float)(i * 7919 % COUNT) / 100.0f);
    struct timespec begin, end;
    double best = 1e9;
    size_t bytes = 0;
    for (int round = 0; round < ROUNDS; round++) {
        char out[RN_JSON_FLOAT_BYTES];
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int i = 0; i < COUNT; i++) bytes += rn_json_print_float(values[i], out);
        clock_gettime(CLOCK_MONOTONIC, &end);
        best = fmin(best, (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec));
    }
    print_message("%.0f ns a float (%zu bytes)\n", best / COUNT, bytes);
}

static void test_layout_row(void **state)
{
    (void)state;
    rn_json_writer w;
    rn_json_writer_init(&w);
    rn_json_begin_object(&w);
    rn_json_key(&w, rn_text_of("predictions"));
    rn_json_begin_array(&w);
    for (int row = 0; row < 2; row++) {
        w.single_line = true;
        rn_json_begin_array(&w);
        rn_json_float_value(&w, 2.5f + (float)row);
        rn_json_float_value(&w, 3 + (float)row);
        rn_json_end_array(&w);
    }
    w.single_line = false;
    rn_json_end_array(&w);
    rn_json_end_object(&w);
    expect_text(&w, "{\n    \"predictions\": [[2.5, 3.0], [3.5, 4.0]\n    ]\n}");
}

static void test_layout_compact(void **state)
{
    (void)state;
    rn_json_writer w;
    rn_json_writer_init(&w);
    w.compact = true;
    rn_json_begin_object(&w);
    rn_json_string_member(&w, "name", "a");
    rn_json_key(&w, rn_text_of("shape"));
    rn_json_begin_array(&w);
    rn_json_int_value(&w, -1);
    w.single_line = true;
    rn_json_begin_array(&w);
    rn_json_int_value(&w, 2);
    rn_json_int_value(&w, 3);
    rn_json_end_array(&w);
    rn_json_end_array(&w);
    rn_json_end_object(&w);
    expect_text(&w, "{\"name\":\"a\",\"shape\":[-1,[2,3]]}");
}

static void test_layout_columns_and_objects(void **state)
{
    (void)state;
    rn_json_writer w;
    rn_json_writer_init(&w);
    rn_json_begin_object(&w);
    rn_json_key(&w, rn_text_of("outputs"));
    rn_json_begin_array(&w);
    rn_json_begin_array(&w);
    rn_json_float_value(&w, 0.1f);
    rn_json_int_value(&w, -7);
    rn_json_end_array(&w);
    rn_json_begin_array(&w);
    rn_json_end_array(&w);
    rn_json_begin_object(&w);
    rn_json_end_object(&w);
    rn_json_end_array(&w);
    rn_json_key(&w, rn_text_of("b"));
    rn_json_bool_value(&w, true);
    rn_json_end_object(&w);
    expect_text(&w, "{\n    \"outputs\": [\n        [\n            0.1,\n            -7\n        ],\n        [],\n        {}\n    ],\n    "
                    "\"b\": true\n}");
}

static void test_escapes(void **state)
{
    (void)state;
    rn_json_writer w;
    rn_json_writer_init(&w);
    rn_json_string_value(&w, (rn_text){"a\"\\/\b\t\n\f\r\v\x1f\x7f\0é", 15});
    expect_text(&w, "\"a\\\"\\\\/\\b\\t\\n\\f\\r\\u000B\\u001F\x7f\\u0000é\"");
}

static void expect_echo(const char *json, const char *wanted)
{
    const rn_text text = rn_text_of(json);
    const char *root;
    assert_int_equal(rn_json_check(text, NULL, 0, &root, NULL), RN_STATUS_OK);
    rn_json_writer w;
    rn_json_writer_init(&w);
    rn_json_echo(&w, root, text.at + text.bytes);
    expect_text(&w, wanted);
}

static void test_echo(void **state)
{
    (void)state;
    expect_echo("[1]", "[1]");
    expect_echo("null", "null");
    expect_echo("1.5", "1.5");
    expect_echo("\"x\\u0041\"", "\"xA\"");
    expect_echo("[1 ,2.50, -3e2, 1e22, 1.25e-7,0.00001, 1e21,1e20, 18446744073709551615, 18446744073709551616, true,[],{}]",
                "[1, 2.5, -300.0, 1e22, 1.25e-7, 0.00001, 1e21, 100000000000000000000.0, 18446744073709551615, 18446744073709552000.0, "
                "true, [], {}]");
    expect_echo("{\"signature_name\":100}", "{\n    \"signature_name\": 100\n}");
    expect_echo("{\"a\":[[1,2],[3]],\"b\":{\"c\":\"d\"}}", "{\n    \"a\": [[1, 2], [3]],\n    \"b\": {\n        \"c\": \"d\"\n    }\n}");
    expect_echo("[1, NaN, 2]", "[1"); /* rapidjson's writer stops where a number has no JSON form */

    char json[1024] = "[", wanted[1024] = "[";
    for (int i = 0; i < 200; i++) sprintf(json + strlen(json), "%s77", i ? "," : "");
    strcat(json, "]");
    for (int i = 0; strlen(wanted) < RN_JSON_ECHO_BYTES; i++) sprintf(wanted + strlen(wanted), "%s77", i ? ", " : "");
    expect_echo(json, wanted);

    memset(json, '[', 400);
    memset(json + 400, ']', 400);
    json[800] = '\0';
    memset(wanted, '[', 256);
    wanted[256] = '\0';
    expect_echo(json, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_float_rule),
        cmocka_unit_test(test_float_speed),
        cmocka_unit_test(test_layout_row),
        cmocka_unit_test(test_layout_columns_and_objects),
        cmocka_unit_test(test_layout_compact),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_echo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
