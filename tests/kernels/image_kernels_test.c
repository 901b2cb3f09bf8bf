/* Every entry of the list of picture kernels against the arithmetic written in its header, to the bit: sizes around every tile, all numbers
 * of channels, enlarging and shrinking. Inputs end where their memory ends, so that a sanitizer sees what reads too far; outputs start as
 * NaN and are followed by guard bytes. */
#include "kernels/image/image_kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef void any_fn(void);

static const struct {
    const char *slot, *name;
    any_fn *run;
    rn_isa needs;
} entries[] = {
#define RN_IMAGE_KERNEL(slot, symbol, needs) {#slot, #symbol, (any_fn *)symbol, RN_ISA_##needs},
#include "kernels/image/image_kernels.def"
#undef RN_IMAGE_KERNEL
};

enum { ENTRIES = sizeof entries / sizeof entries[0], GUARD_BYTES = 64, GUARD = 0xa5 };

/* Tiles are of 8, 16 and 32 numbers and of 16 columns. */
static const int32_t sizes[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 224};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static uint32_t seed = 20251130;

static uint32_t next_random(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
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

/* ---- memory: `bytes` of 0xff, which is NaN for floats, and the guard ---- */

static void *guarded(uint32_t bytes)
{
    uint8_t *memory = malloc((size_t)bytes + GUARD_BYTES);
    memset(memory, 0xff, bytes);
    memset(memory + bytes, GUARD, GUARD_BYTES);
    return memory;
}

static void check_and_free(int k, void *memory, const void *expected, size_t bytes, int32_t size)
{
    const uint8_t *end = (const uint8_t *)memory + bytes;
    if (memcmp(memory, expected, bytes) != 0) fail_msg("%s: size %d: another result", entries[k].name, size);
    for (int i = 0; i < GUARD_BYTES; i++) {
        if (end[i] != GUARD) fail_msg("%s: size %d: byte %d behind the result was written", entries[k].name, size, i);
    }
    free(memory);
}

static float *random_floats(int32_t n, float least, float most)
{
    float *out = malloc((size_t)n * sizeof *out);
    for (int32_t i = 0; i < n; i++) out[i] = least + (most - least) * ((float)next_random() * 0x1p-24f);
    return out;
}

/* ---- columns ---- */

/* w columns of a row of in_w pixels: evenly spread, the first and the last pixel among them. Everything but the pairs is left to the
 * caller. */
static void spread(int32_t *lower, int32_t *upper, int32_t in_w, int32_t w, int32_t c)
{
    for (int32_t x = 0; x < w; x++) {
        const int32_t pixel = w > 1 ? (int32_t)((int64_t)x * (in_w - 1) / (w - 1)) : in_w - 1;
        lower[x] = pixel * c;
        upper[x] = (pixel + (pixel + 1 < in_w && next_random() % 4 ? 1 : 0)) * c;
        if (x > 0 && upper[x] < upper[x - 1]) upper[x] = upper[x - 1];
    }
}

static void check_columns(int k, int32_t in_w, int32_t w, int32_t c)
{
    const size_t n = (size_t)w * (size_t)c, row_bytes = (size_t)in_w * (size_t)c;
    uint8_t *row = malloc(row_bytes);
    int32_t *lower = malloc((size_t)w * sizeof *lower), *upper = malloc((size_t)w * sizeof *upper);
    float *weights = malloc(n * sizeof *weights), *expected = malloc(n * sizeof *expected), *out = guarded((uint32_t)(n * sizeof *out));
    for (size_t i = 0; i < row_bytes; i++) row[i] = (uint8_t)next_random();
    spread(lower, upper, in_w, w, c);
    rn_column_pairs columns = {.w = w, .c = c, .row_bytes = (int32_t)row_bytes, .lower = lower, .upper = upper, .weights = weights};
    for (int32_t x = 0; x < w; x++) {
        const float weight = (float)next_random() * 0x1p-24f;
        const int32_t reach = upper[x] + c - lower[x - x % RN_COLUMN_BLOCK];
        if (reach > columns.reach) columns.reach = reach;
        if (upper[x] + 4 <= (int32_t)row_bytes) columns.followed_w = x + 1;
        for (int32_t i = 0; i < c; i++) {
            const volatile float l = row[lower[x] + i], difference = row[upper[x] + i] - l, product = difference * weight;
            weights[x * c + i] = weight;
            expected[x * c + i] = l + product;
        }
    }
    columns.left = guarded((uint32_t)n + 1);
    columns.right = guarded((uint32_t)n + 1);
    ((rn_mix_columns_fn *)entries[k].run)(&columns, row, out);
    check_and_free(k, out, expected, n * sizeof *out, w);
    for (int i = 0; i < GUARD_BYTES; i++)
        assert_true(columns.left[n + 1 + (size_t)i] == GUARD && columns.right[n + 1 + (size_t)i] == GUARD);
    free(columns.left);
    free(columns.right);
    free(expected);
    free(weights);
    free(upper);
    free(lower);
    free(row);
}

/* Input widths around every width at which a block of columns reaches over 128 bytes, besides equal, enlarged and much reduced ones. */
static void columns_of_all_sizes(int k)
{
    for (int i = 0; i < SIZES; i++) {
        for (int32_t c = 1; c <= 4; c++) {
            for (int32_t fifths = 1; fifths <= 40; fifths++) check_columns(k, (sizes[i] * fifths + 4) / 5, sizes[i], c);
        }
    }
    for (int32_t in_w = 16; in_w <= 48; in_w++) check_columns(k, in_w, 16, 3);
    for (int32_t in_w = 500; in_w <= 640; in_w++) check_columns(k, in_w, 224, 3);
}

static void test_columns(void **state)
{
    (void)state;
    each_entry("mix_columns", columns_of_all_sizes);
}

/* ---- rows ---- */

static void check_rows(int k, int32_t n, bool same)
{
    float *top = random_floats(n, 0, 255), *bottom = same ? top : random_floats(n, 0, 255);
    float *expected = malloc((size_t)n * sizeof *expected), *out = guarded((uint32_t)n * (uint32_t)sizeof *out);
    const float weight = (float)next_random() * 0x1p-24f;
    for (int32_t i = 0; i < n; i++) {
        const volatile float difference = bottom[i] - top[i], product = difference * weight;
        expected[i] = top[i] + product;
    }
    ((rn_mix_rows_fn *)entries[k].run)(top, bottom, weight, n, out);
    check_and_free(k, out, expected, (size_t)n * sizeof *out, n);
    free(expected);
    if (!same) free(bottom);
    free(top);
}

static void rows_of_all_sizes(int k)
{
    for (int i = 0; i < SIZES; i++) {
        check_rows(k, sizes[i], false);
        check_rows(k, sizes[i], true);
    }
}

static void test_rows(void **state)
{
    (void)state;
    each_entry("mix_rows", rows_of_all_sizes);
}

/* ---- casts ---- */

static void check_cast(int k, int32_t n, float least, float most)
{
    float *in = random_floats(n, least, most);
    if (n > 2) in[n / 2] = most, in[0] = least;
    uint8_t *expected = malloc((size_t)n), *out = guarded((uint32_t)n);
    for (int32_t i = 0; i < n; i++) expected[i] = (uint8_t)((int64_t)in[i] & 0xff);
    ((rn_cast_fn *)entries[k].run)(in, n, out);
    check_and_free(k, out, expected, (size_t)n, n);
    free(expected);
    free(in);
}

/* What bicubic resizes give lies outside of 0 to 255, too. */
static void casts_of_all_sizes(int k)
{
    for (int i = 0; i < SIZES; i++) {
        check_cast(k, sizes[i], 0, 255);
        check_cast(k, sizes[i], -600, 900);
        check_cast(k, sizes[i], -2e9f, 2e9f);
    }
}

static void test_casts(void **state)
{
    (void)state;
    each_entry("cast", casts_of_all_sizes);
}

/* ---- selection ---- */

static any_fn *expected_for(const char *slot, rn_isa isa)
{
    any_fn *expected = NULL;
    for (int k = 0; k < ENTRIES; k++)
        if (strcmp(entries[k].slot, slot) == 0 && entries[k].needs <= isa) expected = entries[k].run;
    return expected;
}

static void check_selection(const rn_image_kernels *kernels, rn_isa isa)
{
    assert_true((any_fn *)kernels->mix_columns == expected_for("mix_columns", isa));
    assert_true((any_fn *)kernels->mix_rows == expected_for("mix_rows", isa));
    assert_true((any_fn *)kernels->cast == expected_for("cast", isa));
}

static void test_selection(void **state)
{
    (void)state;
    for (rn_isa isa = 0; isa < RN_ISA_COUNT; isa++) {
        rn_image_kernels kernels = {0};
        rn_image_kernels_select(isa, &kernels);
        check_selection(&kernels, isa);
    }
    check_selection(rn_image_kernels_best, rn_cpu_best_isa());
}

int main(void)
{
    printf("seed %u\n", seed);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns), cmocka_unit_test(test_rows), cmocka_unit_test(test_casts),
                                       cmocka_unit_test(test_selection)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
