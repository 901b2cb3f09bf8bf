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

typedef void any_fn(void);

static const struct {
    const char *slot, *name;
    any_fn *run;
    rn_isa needs;
} entries[] = {
#define RN_TEXT_KERNEL(slot, symbol, needs) {#slot, #symbol, (any_fn *)symbol, RN_ISA_##needs},
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
    rn_base64_decode_fn *decode = (rn_base64_decode_fn *)entries[k].run;
    const size_t wanted = rn_base64_decode__ref(text, bytes, expected), got = decode(exact, bytes, out);
    if (got != wanted) fail_msg("%s: %zu of %zu characters, expected %zu", entries[k].name, got, bytes, wanted);
    assert_memory_equal(out, expected, wanted / 4 * 3);
    assert_int_equal(decode(exact, bytes, (uint8_t *)exact), wanted);
    assert_memory_equal(exact, expected, wanted / 4 * 3);
    free(exact);
    free(out);
}

static void each_entry(const char *slot, void (*test)(int k))
{
    for (int k = 0; k < ENTRIES; k++) {
        if (strcmp(entries[k].slot, slot) != 0) continue;
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
    each_entry("base64_decode", all_lengths);
}

static void test_every_byte_everywhere(void **state)
{
    (void)state;
    each_entry("base64_decode", every_byte_everywhere);
}

/* ---- base64, the way back ---- */

static void encode_all_lengths(int k)
{
    rn_base64_encode_fn *encode = (rn_base64_encode_fn *)entries[k].run;
    for (size_t bytes = 0; bytes <= MAX_TEXT; bytes++) {
        uint8_t *in = malloc(bytes + 1);
        char expected[MAX_TEXT / 3 * 4 + 4], *out = malloc(bytes / 3 * 4 + 1);
        for (size_t i = 0; i < bytes; i++) in[i] = (uint8_t)(i * 151 + i / 7 + bytes);
        const size_t wanted = rn_base64_encode__ref(in, bytes, expected), got = encode(in, bytes, out);
        if (got != wanted) fail_msg("%s: %zu of %zu bytes, expected %zu", entries[k].name, got, bytes, wanted);
        assert_int_equal(wanted, bytes / 3 * 3);
        assert_memory_equal(out, expected, wanted / 3 * 4);
        free(in);
        free(out);
    }
}

static void test_encode_all_lengths(void **state)
{
    (void)state;
    each_entry("base64_encode", encode_all_lengths);
}

/* ---- numbers ---- */

enum { NUMBERS = 60, NUMBER_TEXT = NUMBERS * 48 };

typedef struct {
    char *text, *limit; /* ends where its memory ends */
    const char *ends[NUMBERS];
    float values[NUMBERS];
} number_text;

static uint32_t next_random(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* How clients write numbers, and some ways in which none does. */
static int print_number(char *out, int form)
{
    static const char *const formats[] = {"%.17g", "%.9g", "%.4f", "%.5f", "%.6f", "%.8f", "%.0f", "%.12f", "%.15f", "%.20f"};
    enum { FORMATS = sizeof formats / sizeof formats[0] };
    const double share = (double)next_random() / 4294967296.0;
    switch (form) {
    case FORMATS:
        return sprintf(out, "%u%09u%09u.%u", next_random() % 90 + 1, next_random() % 1000000000, next_random() % 1000000000, next_random());
    case FORMATS + 1:
        return sprintf(out, "%.17g", (double)((float)share * 255));
    case FORMATS + 2: { /* in the middle between two floats, or a hair away from it */
        const float value = (float)share;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits++;
        float above;
        memcpy(&above, &bits, sizeof above);
        return sprintf(out, "%.*f", 16 + (int)(next_random() % 3), ((double)value + above) / 2);
    }
    case FORMATS + 3:
        return sprintf(out, "-%.6e", share);
    default:
        return sprintf(out, formats[form], form % 2 ? share * 4 - 2 : (double)(float)share);
    }
}

enum { FORMS = 14 };

/* `row` numbers in an array, arrays side by side. Behind the last number come the brackets and `tail` blanks. */
static void write_number_text(number_text *t, int form, int row, const char *comma, int tail)
{
    char text[NUMBER_TEXT];
    int used = 0, end[NUMBERS];
    for (int i = 0; i < NUMBERS; i++) {
        if (i > 0) used += sprintf(text + used, i % row ? "%s" : "]%s[", comma);
        const int begin = used;
        used += print_number(text + used, form == FORMS ? (int)(next_random() % FORMS) : form);
        end[i] = used;
        t->values[i] = (float)strtod(text + begin, NULL);
    }
    used += sprintf(text + used, "]]%*s", tail, "");
    t->text = malloc((size_t)used);
    t->limit = t->text + used;
    memcpy(t->text, text, (size_t)used);
    for (int i = 0; i < NUMBERS; i++) t->ends[i] = t->text + end[i];
}

/* From any number on: what is read is right, and where it stops as well. Returns how many were read from the first on. */
static int64_t check_numbers(int k, const number_text *t, int row)
{
    rn_json_floats_fn *read = (rn_json_floats_fn *)entries[k].run;
    int64_t from_first = 0;
    for (int first = 0; first < NUMBERS; first++) {
        const char *begin = t->text, *at;
        if (first > 0)
            for (begin = t->ends[first - 1]; strchr(",][ \n", *begin); begin++) continue;
        at = begin;
        const int64_t count = NUMBERS - first;
        float *out = malloc((size_t)count * sizeof *out); /* what is written behind it, a sanitizer sees */
        const int64_t got = read(&at, t->limit, count, row, row - first % row, out);
        if (got < 0 || got > count) fail_msg("%s: %lld of %lld numbers", entries[k].name, (long long)got, (long long)count);
        assert_ptr_equal(at, got ? t->ends[first + got - 1] : begin);
        for (int64_t i = 0; i < got; i++)
            if (memcmp(&out[i], &t->values[first + i], sizeof out[i]) != 0)
                fail_msg("%s: %a of \"%.40s\", expected %a", entries[k].name, (double)out[i], begin, (double)t->values[first + i]);
        if (first == 0) from_first = got;
        free(out);
    }
    return from_first;
}

static void numbers(int k)
{
    static const char *const commas[] = {", ", ",", " ,", ",\n"};
    for (int turn = 0; turn < 40; turn++) {
        for (int form = 0; form <= FORMS; form++) {
            for (int c = 0; c < 4; c++) {
                const int row = turn % 3 == 0 ? NUMBERS : turn % 3 == 1 ? 3 : 1;
                number_text t;
                write_number_text(&t, form, row, commas[c], turn % 2 ? 200 : 0);
                const int64_t got = check_numbers(k, &t, row);
                /* What clients write is read to the end, but for the last bytes. */
                const bool common = form < 7 && c < 2 && turn % 2;
                if (entries[k].needs != RN_ISA_SCALAR && common && got < NUMBERS && !memchr(t.text, 'e', (size_t)(t.limit - t.text)))
                    fail_msg("%s: %lld of %d numbers in form %d", entries[k].name, (long long)got, NUMBERS, form);
                free(t.text);
            }
        }
    }
}

static void test_numbers(void **state)
{
    (void)state;
    each_entry("json_floats", numbers);
}

/* ---- skipping ---- */

/* As deep as the kernel says it is, and where a value is expected. */
static void check_place(int k, const char *text, const rn_json_place *begin, const rn_json_place *end)
{
    size_t depth = begin->depth;
    for (const char *p = text; p < end->p; p++) depth += (size_t)(*p == '[') - (size_t)(*p == ']');
    if (depth != end->depth || (end->p > text && end->p[-1] != ',' && !(end->p[-1] == ' ' && end->p[-2] == ',')))
        fail_msg("%s: depth %zu, found %zu, at \"%.20s\"", entries[k].name, end->depth, depth, end->p);
}

static void skipping(int k)
{
    static const char bytes[] = "0159.-+eE,[]{}:\"N \n\tx/;\x7f\xb0";
    rn_json_skip_fn *run = (rn_json_skip_fn *)entries[k].run;
    int moved = 0;
    for (int turn = 0; turn < 20000; turn++) {
        number_text t;
        write_number_text(&t, turn % 7, turn % 3 ? 3 : 5, turn % 2 ? ", " : ",", 0);
        const size_t size = (size_t)(t.limit - t.text);
        if (turn % 4) t.text[next_random() % size] = bytes[next_random() % (sizeof bytes - 1)];
        const rn_json_place begin = {.p = t.text, .depth = 3 + next_random() % 3, .objects = 1};
        rn_json_place end = begin;
        run(&end, t.limit);
        assert_in_range((uintptr_t)end.p, (uintptr_t)t.text, (uintptr_t)t.limit);
        check_place(k, t.text, &begin, &end);
        moved += end.p > t.text;
        free(t.text);
    }
    if (entries[k].needs != RN_ISA_SCALAR) assert_true(moved > 5000);
}

static void test_skipping(void **state)
{
    (void)state;
    each_entry("json_skip", skipping);
}

/* ---- selection ---- */

static any_fn *expected_for(const char *slot, rn_isa isa)
{
    any_fn *expected = NULL;
    for (int k = 0; k < ENTRIES; k++)
        if (strcmp(entries[k].slot, slot) == 0 && entries[k].needs <= isa) expected = entries[k].run;
    return expected;
}

static void check_selection(const rn_text_kernels *kernels, rn_isa isa)
{
    assert_true((any_fn *)kernels->base64_decode == expected_for("base64_decode", isa));
    assert_true((any_fn *)kernels->base64_encode == expected_for("base64_encode", isa));
    assert_true((any_fn *)kernels->json_skip == expected_for("json_skip", isa));
    assert_true((any_fn *)kernels->json_floats == expected_for("json_floats", isa));
}

static void test_selection(void **state)
{
    (void)state;
    for (rn_isa isa = 0; isa < RN_ISA_COUNT; isa++) {
        rn_text_kernels kernels = {0};
        rn_text_kernels_select(isa, &kernels);
        check_selection(&kernels, isa);
    }
    check_selection(rn_text_kernels_best, rn_cpu_best_isa());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_lengths),        cmocka_unit_test(test_every_byte_everywhere),
                                       cmocka_unit_test(test_encode_all_lengths), cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_skipping),           cmocka_unit_test(test_selection)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
