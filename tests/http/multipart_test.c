/* The forms that browsers, curl and Python's requests send, and what is malformed about others. */
#include "http/multipart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TYPE "multipart/form-data; boundary=xyz"

static void expect_text(rn_text text, const char *wanted)
{
    if (!wanted)
        assert_null(text.at);
    else if (!text.at || !rn_text_equals(text, wanted))
        fail_msg("got \"%.*s\", expected \"%s\"", RN_TEXT_ARG(text), wanted);
}

static void expect_part(rn_multipart *reader, const char *name, const char *filename, const char *type, const char *body)
{
    rn_part part;
    bool more;
    assert_int_equal(rn_multipart_next(reader, &part, &more, NULL), RN_STATUS_OK);
    assert_true(more);
    expect_text(part.name, name);
    expect_text(part.filename, filename);
    expect_text(part.content_type, type);
    expect_text(part.body, body);
}

static void expect_end(rn_multipart *reader)
{
    rn_part part;
    bool more;
    assert_int_equal(rn_multipart_next(reader, &part, &more, NULL), RN_STATUS_OK);
    assert_false(more);
}

static void begin(rn_multipart *reader, const char *type, const char *body)
{
    assert_int_equal(rn_multipart_begin(reader, rn_text_of(type), rn_text_of(body), NULL), RN_STATUS_OK);
}

static void test_parts(void **state)
{
    (void)state;
    rn_multipart reader;
    begin(
        &reader, TYPE,
        "--xyz\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b;c.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\r\n--xy\r\n"
        "--xyz\r\ncontent-disposition:form-data;NAME=d\r\nX-Other: y\r\n\r\n\r\n--xyz--\r\nepilogue");
    expect_part(&reader, "a", "b;c.jpg", "image/jpeg", "\xff\xd8\r\n--xy");
    expect_part(&reader, "d", NULL, NULL, "");
    expect_end(&reader);
    assert_int_equal(reader.part_count, 2);
}

static void test_preamble_and_blanks(void **state)
{
    (void)state;
    rn_multipart reader;
    begin(&reader, "Multipart/Form-Data; charset=\"a;boundary=b\" ; Boundary=\"x y\"",
          "nobody\r\nreads this\r\n--x y \t\r\n\r\nbody\r\n--x y--");
    expect_part(&reader, NULL, NULL, NULL, "body");
    expect_end(&reader);
}

static void test_quotes(void **state)
{
    (void)state;
    rn_text value;
    assert_true(rn_header_parameter(rn_text_of("form-data; name=\"a\\\"; b\"; filename=x"), "filename", &value));
    expect_text(value, "x");
    assert_true(rn_header_parameter(rn_text_of("form-data; name=\"a\\\"; b\"; filename=x"), "name", &value));
    expect_text(value, "a\\\"; b");
    assert_false(rn_header_parameter(rn_text_of("form-data; name"), "name", &value));
    assert_false(rn_header_parameter(rn_text_of(""), "name", &value));
}

static void expect_bad_type(const char *type, const char *body, const char *message)
{
    rn_multipart reader;
    rn_error err;
    assert_int_equal(rn_multipart_begin(&reader, rn_text_of(type), rn_text_of(body), &err), RN_STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.message, message);
}

static void expect_bad_part(const char *body, const char *message)
{
    rn_multipart reader;
    rn_part part;
    bool more = true;
    rn_error err;
    rn_status status = RN_STATUS_OK;
    begin(&reader, TYPE, body);
    while (status == RN_STATUS_OK && more) status = rn_multipart_next(&reader, &part, &more, &err);
    assert_int_equal(status, RN_STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.message, message);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char no_boundary[] = "multipart/form-data: Content-Type names no boundary of 1 to 70 bytes";
    static const char not_there[] = "multipart/form-data: the boundary that Content-Type names is not in the body";
    char longest[160] = "multipart/form-data; boundary=";
    expect_bad_type("multipart/form-data", "", no_boundary);
    expect_bad_type("multipart/form-data; boundary=\"\"", "", no_boundary);
    memset(longest + strlen(longest), 'x', 71);
    expect_bad_type(longest, "", no_boundary);
    expect_bad_type(TYPE, "", not_there);
    expect_bad_type(TYPE, "--xy", not_there);
    expect_bad_type(TYPE, "a--xyz\r\n\r\nb\r\n--xy", not_there);
    expect_bad_part("--xyz", "multipart/form-data, part 0: no line break behind its boundary");
    expect_bad_part("--xyzz\r\n\r\n\r\n--xyz--", "multipart/form-data, part 0: no line break behind its boundary");
    expect_bad_part("--xyz\r\nContent-Type: a", "multipart/form-data, part 0: its headers do not end with an empty line");
    expect_bad_part("--xyz\r\n\r\na\r\n--xyz\r\n\r\nb\r\n--xy",
                    "multipart/form-data, part 1: no boundary behind it: the body is cut short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_preamble_and_blanks),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
