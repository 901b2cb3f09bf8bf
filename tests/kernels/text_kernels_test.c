/* Every entry of the list against the reference: all lengths, every byte at every place, in place, and nothing written behind the room that
 * the contract gives. */
#include "kernels/text/text_kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TEXT = 400 };

static const struct {
    const char *name;
    rn_base64_decode_fn *run;
    rn_isa needs;
} entries[] = {
#define RN_TEXT_KERNEL(slot, symbol, needs) {#symbol, symbol, RN_ISA_##needs},
#include "kernels/text/text_kernels.def"
#undef RN_TEXT_KERNEL
};

enum { ENTRIES = sizeof entries / sizeof entries[0] };

static void fill(char *text, size_t bytes)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes; i++) text[i] = alphabet[(i * 37 + i / 64 + bytes) % 64];
}

/* Text and output end where their memory ends: a sanitizer sees what reads or writes too far. */
static void check(int k, const char *text, size_t bytes)
{
    uint8_t expected[MAX_TEXT], *out = malloc(bytes / 4 * 3 + 3);
    char *exact = malloc(bytes + 1);
    memcpy(exact, text, bytes);
    const size_t wanted = rn_base64_decode__ref(text, bytes, expected), got = entries[k].run(exact, bytes, out);
    if (got != wanted) fail_msg("%s: %zu of %zu characters, expected %zu", entries[k].name, got, bytes, wanted);
    assert_memory_equal(out, expected, wanted / 4 * 3);
    assert_int_equal(entries[k].run(exact, bytes, (uint8_t *)exact), wanted);
    assert_memory_equal(exact, expected, wanted / 4 * 3);
    free(exact);
    free(out);
}

static void each_entry(void (*test)(int k))
{
    for (int k = 0; k < ENTRIES; k++) {
        if (entries[k].needs <= rn_cpu_best_isa())
            test(k);
        else
            printf("SKIP %s: the processor has no %s\n", entries[k].name, rn_isa_name(entries[k].needs));
    }
}

static void all_lengths(int k)
{
    char text[MAX_TEXT];
    for (size_t bytes = 0; bytes <= MAX_TEXT; bytes++) {
        fill(text, bytes);
        check(k, text, bytes);
    }
}

static void every_byte_everywhere(int k)
{
    char text[200];
    for (size_t at = 0; at < sizeof text; at++) {
        for (int byte = 0; byte < 256; byte++) {
            fill(text, sizeof text);
            text[at] = (char)byte;
            check(k, text, sizeof text);
        }
    }
}

static void test_all_lengths(void **state)
{
    (void)state;
    each_entry(all_lengths);
}

static void test_every_byte_everywhere(void **state)
{
    (void)state;
    each_entry(every_byte_everywhere);
}

static void test_selection(void **state)
{
    (void)state;
    for (rn_isa isa = 0; isa < RN_ISA_COUNT; isa++) {
        rn_text_kernels kernels = {0};
        rn_text_kernels_select(isa, &kernels);
        int expected = 0;
        for (int k = 0; k < ENTRIES; k++)
            if (entries[k].needs <= isa) expected = k;
        assert_ptr_equal(kernels.base64_decode, entries[expected].run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_lengths), cmocka_unit_test(test_every_byte_everywhere),
                                       cmocka_unit_test(test_selection)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
