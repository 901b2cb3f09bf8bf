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

static void test_all_bytes_in_place(void **state)
{
    (void)state;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t plain_bytes = 0; plain_bytes < 300; plain_bytes++) {
        char text[512];
        size_t bytes = 0, out_bytes;
        for (size_t i = 0; i < plain_bytes; i += 3) {
            uint32_t group = 0;
            for (size_t j = i; j < i + 3; j++) group = group << 8 | (j < plain_bytes ? (uint8_t)(j * 37) : 0);
            for (int j = 0; j < 4; j++) text[bytes++] = i + (size_t)j <= plain_bytes ? alphabet[group >> (18 - 6 * j) & 63] : '=';
        }
        assert_true(rn_base64_decode((rn_text){text, bytes}, (uint8_t *)text, &out_bytes));
        assert_int_equal(out_bytes, plain_bytes);
        for (size_t i = 0; i < plain_bytes; i++) assert_int_equal((uint8_t)text[i], (uint8_t)(i * 37));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_all_bytes_in_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
