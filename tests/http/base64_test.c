/* What decodes, what is refused, and in-place use. */
#include "http/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_cases(void **state)
{
    (void)state;
    static const struct {
        const char *text, *plain; /* NULL: refused */
    } cases[] = {
        {"", ""},
        {"aGVsbG8=", "hello"},
        {"d29ybGQ=", "world"},
        {"aGVsbG8", "hello"},
        {"aGVsbG8gd29ybGQh", "hello world!"},
        {"aGVs\nbG8g d29y\r\nbGQh\n", "hello world!"},
        {"Zg==", "f"},
        {"Zg= =", "f"},
        {"Zg", "f"},
        {"Pz8/Pj4+", "??\?>>>"},
        {"Pz8_Pj4-", NULL}, /* URL-safe */
        {"Zg=", NULL},
        {"Zg===", NULL},
        {"aGVsbG8==", NULL},
        {"aGVs=", NULL},
        {"Z", NULL},
        {"aGVsbA==aGVs", NULL},
        {"aGVs!G8=", NULL},
        {"aGVsbG8\xff", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const rn_text text = rn_text_of(cases[i].text);
        uint8_t *out = malloc(rn_base64_bound(text.bytes));
        size_t bytes = 0;
        const bool decoded = rn_base64_decode(text, out, &bytes);
        if (decoded != (cases[i].plain != NULL) || (decoded && !rn_text_equals((rn_text){(char *)out, bytes}, cases[i].plain)))
            fail_msg("%s: %s", cases[i].text, decoded ? "decoded otherwise" : "refused");
        free(out);
    }
}

static void test_round_trip_in_place(void **state)
{
    (void)state;
    for (size_t plain_bytes = 0; plain_bytes < 300; plain_bytes++) {
        uint8_t plain[300];
        for (size_t i = 0; i < plain_bytes; i++) plain[i] = (uint8_t)(i * 37 + plain_bytes);
        char *text = malloc(plain_bytes / 3 * 4 + 4);
        const size_t bytes = rn_base64_encode((rn_text){(char *)plain, plain_bytes}, text);
        assert_int_equal(bytes, (plain_bytes + 2) / 3 * 4);
        size_t out_bytes;
        assert_true(rn_base64_decode((rn_text){text, bytes}, (uint8_t *)text, &out_bytes));
        assert_int_equal(out_bytes, plain_bytes);
        assert_memory_equal(text, plain, plain_bytes);
        free(text);
    }
    char out[8];
    assert_int_equal(rn_base64_encode(rn_text_of("hello"), out), 8);
    assert_memory_equal(out, "aGVsbG8=", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_round_trip_in_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
