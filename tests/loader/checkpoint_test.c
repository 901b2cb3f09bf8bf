/* Checkpoints: the table in all its forms, slices, strings, and every way of damaging them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/checkpoint_data.h"
#include "loader/crc32c.h"
#include "tests/support/tiny_checkpoint.h"

/* Keys of slices as TensorFlow writes them. */
static void slice_keys(void **state)
{
    (void)state;
    uint8_t key[64];
    const uint8_t expected[] = {0, 'w', 0, 1, 1, 2, 0x80, 0x83, 0x80, 0x7f}; /* [0,3) of the first dimension, all of the second */
    assert_int_equal(rn__slice_key("w", 2, (int64_t[]){0, 0}, (int64_t[]){3, -1}, key, sizeof key), sizeof expected);
    assert_memory_equal(key, expected, sizeof expected);
    const uint8_t escaped[] = {0, 'a', 0xff, 0, 0, 1, 0};
    assert_int_equal(rn__slice_key("a\xff", 0, NULL, NULL, key, sizeof key), sizeof escaped);
    assert_memory_equal(key, escaped, sizeof escaped);
    assert_int_equal(rn__slice_key("w", 2, (int64_t[]){0, 0}, (int64_t[]){3, -1}, key, sizeof expected - 1), 0);
}

/* Ordered numbers: their bytes rise with their value, and grow at 2^6, 2^13, 2^20, ... */
static void ordered_numbers(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        uint8_t bytes[10];
        size_t count;
    } cases[] = {
        {0, {0x80}, 1},
        {63, {0xbf}, 1},
        {64, {0xc0, 0x40}, 2},
        {-1, {0x7f}, 1},
        {-64, {0x40}, 1},
        {-65, {0x3f, 0xbf}, 2},
        {8191, {0xdf, 0xff}, 2},
        {8192, {0xe0, 0x20, 0x00}, 3},
        {1100000, {0xf0, 0x10, 0xc8, 0xe0}, 4},
        {INT64_MAX, {0xff, 0xc0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t key[64];
        const size_t count = rn__slice_key("", 1, &cases[i].value, &(int64_t){0}, key, sizeof key);
        assert_int_equal(count, 3 + 2 + cases[i].count + 1);
        assert_memory_equal(key + 5, cases[i].bytes, cases[i].count);
    }
    uint8_t before[64], key[64];
    size_t before_count = 0;
    for (int64_t value = -70000; value < 70000; value += 7) {
        const size_t count = rn__slice_key("", 1, &value, &(int64_t){0}, key, sizeof key);
        if (before_count) assert_true(memcmp(before, key, before_count < count ? before_count : count) < 0);
        memcpy(before, key, count);
        before_count = count;
    }
}

/* Twenty vectors of rising length, one of them empty. */
static void fill(tiny_checkpoint *c)
{
    tiny_checkpoint_init(c, 1);
    for (int i = 0; i < 20; i++) {
        char key[32];
        float values[20];
        Sm__BundleEntry entry = SM__BUNDLE_ENTRY__INIT;
        entry.dtype = RN__DT_FLOAT;
        for (int v = 0; v < i; v++) values[v] = (float)(i * 100 + v);
        snprintf(key, sizeof key, "layer/%02d/weights", i);
        tiny_checkpoint_add(c, key, strlen(key), &entry, 1, &(int64_t){i}, values, (size_t)i * sizeof *values);
    }
}

static rn_status read_table(const uint8_t *table, size_t bytes, rn__checkpoint_index *index, rn__arena *arena, rn_error *err)
{
    return rn__checkpoint_index_read("table", &(rn__file_bytes){table, bytes}, arena, index, err);
}

static void tables_of_every_blocking(void **state)
{
    (void)state;
    static tiny_checkpoint c;
    for (size_t per_block = 1; per_block <= 21; per_block++) {
        for (size_t restart = 1; restart <= 21; restart += 5) {
            fill(&c);
            tiny_checkpoint_finish(&c, per_block, restart);
            rn__arena *arena = rn__arena_create(1 << 20);
            rn__checkpoint_index index;
            rn_error err = {0};
            if (read_table(c.table, c.table_bytes, &index, arena, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
            assert_int_equal(index.entry_count, 20);
            assert_int_equal(index.shard_count, 1);
            const rn__checkpoint_entry *entry = rn__checkpoint_index_find(&index, "layer/07/weights", 16);
            assert_non_null(entry);
            assert_int_equal(entry->element_count, 7);
            assert_int_equal(entry->offset, 4 * 21);
            assert_null(rn__checkpoint_index_find(&index, "layer/07", 8));
            assert_null(rn__checkpoint_index_find(&index, "", 0));
            rn__arena_destroy(arena);
        }
    }
}

/* Every cut and every flipped bit of a small table is noticed, or changes nothing. */
static void damaged_tables(void **state)
{
    (void)state;
    static tiny_checkpoint c;
    fill(&c);
    tiny_checkpoint_finish(&c, 7, 3);
    uint8_t *copy = malloc(c.table_bytes);
    int unnoticed = 0;
    for (size_t at = 0; at < 8 * c.table_bytes; at++) {
        rn__arena *arena = rn__arena_create(1 << 20);
        rn__checkpoint_index index;
        rn_error err = {0};
        memcpy(copy, c.table, c.table_bytes);
        copy[at / 8] ^= (uint8_t)(1u << at % 8);
        const rn_status status = read_table(copy, c.table_bytes, &index, arena, &err);
        if (status != RN_STATUS_OK)
            assert_non_null(strstr(err.message, "table"));
        else if (at / 8 < c.table_bytes - 48 || index.entry_count != 20)
            fail_msg("bit %zu was not noticed", at);
        else
            unnoticed++; /* a handle in the footer, spelled with a byte more than it needs */
        rn__arena_destroy(arena);
    }
    assert_in_range(unnoticed, 0, 1);
    for (size_t cut = 0; cut < c.table_bytes; cut++) {
        rn__arena *arena = rn__arena_create(1 << 20);
        rn__checkpoint_index index;
        uint8_t *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees a read past the end */
        memcpy(exact, c.table, cut);
        assert_int_equal(read_table(exact, cut, &index, arena, NULL), RN_STATUS_DATA_LOSS);
        free(exact);
        rn__arena_destroy(arena);
    }
    free(copy);
}

typedef struct stored {
    char folder[64], prefix[128];
    rn__checkpoint *checkpoint;
    rn__arena *arena;
} stored;

static void store(stored *s, tiny_checkpoint *c)
{
    strcpy(s->folder, "/tmp/rn_checkpoint_XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->prefix, sizeof s->prefix, "%s/variables", s->folder);
    tiny_checkpoint_finish(c, 4, 16);
    tiny_checkpoint_write(c, s->folder);
    rn_error err = {0};
    if (rn__checkpoint_open(s->prefix, NULL, &s->checkpoint, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    s->arena = rn__arena_create(1 << 20);
}

static void discard(stored *s)
{
    char path[160];
    rn__checkpoint_close(s->checkpoint);
    rn__arena_destroy(s->arena);
    snprintf(path, sizeof path, "%s.index", s->prefix);
    unlink(path);
    snprintf(path, sizeof path, "%s.data-00000-of-00001", s->prefix);
    unlink(path);
    rmdir(s->folder);
}

static rn_status read_key(stored *s, const char *key, rn__constant *out, rn_error *err)
{
    const rn__checkpoint_entry *entry = rn__checkpoint_find(s->checkpoint, key);
    assert_non_null(entry);
    return rn__checkpoint_read(s->checkpoint, entry, s->arena, out, err);
}

/* Tensor "s" of 2x5, columns [0,2) and [2,5); `second` says where the second slice claims to start and how long it is. */
static void fill_slices(tiny_checkpoint *c, int64_t second_start, int64_t second_length)
{
    const int64_t starts[2][2] = {{0, 0}, {0, second_start}}, lengths[2][2] = {{-1, 2}, {-1, second_length}};
    const float left[] = {0, 1, 5, 6}, right[] = {2, 3, 4, 7, 8, 9};
    tiny_checkpoint_init(c, 1);
    for (int i = 0; i < 2; i++) {
        uint8_t key[64];
        Sm__BundleEntry entry = SM__BUNDLE_ENTRY__INIT;
        entry.dtype = RN__DT_FLOAT;
        const size_t key_bytes = rn__slice_key("s", 2, starts[i], lengths[i], key, sizeof key);
        const int64_t columns = i == 0 ? 2 : second_length;
        tiny_checkpoint_add(c, key, key_bytes, &entry, 2, (int64_t[]){2, columns}, i == 0 ? left : right,
                            (size_t)(2 * columns) * sizeof(float));
    }
    Sm__BundleEntry whole = SM__BUNDLE_ENTRY__INIT;
    Sm__TensorSlice slices[2], *list[2];
    Sm__TensorSlice__Extent extents[2][2], *extent_list[2][2];
    for (int i = 0; i < 2; i++) {
        sm__tensor_slice__init(&slices[i]);
        for (int d = 0; d < 2; d++) {
            sm__tensor_slice__extent__init(&extents[i][d]);
            extents[i][d].start = starts[i][d];
            extents[i][d].length = lengths[i][d];
            if (lengths[i][d] >= 0) extents[i][d].has_length_case = SM__TENSOR_SLICE__EXTENT__HAS_LENGTH_LENGTH;
            extent_list[i][d] = &extents[i][d];
        }
        slices[i].n_extent = 2;
        slices[i].extent = extent_list[i];
        list[i] = &slices[i];
    }
    whole.dtype = RN__DT_FLOAT;
    whole.n_slices = 2;
    whole.slices = list;
    tiny_checkpoint_add(c, "s", 1, &whole, 2, (int64_t[]){2, 5}, NULL, 0);
}

static void slices_are_assembled(void **state)
{
    (void)state;
    static tiny_checkpoint c;
    stored s;
    rn__constant value;
    rn_error err = {0};
    fill_slices(&c, 2, 3);
    store(&s, &c);
    if (read_key(&s, "s", &value, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    assert_int_equal(value.count, 10);
    for (int i = 0; i < 10; i++) assert_true(value.data.floats[i] == (float)i);

    const rn__string key = {"s", 1};
#define PART(text) rn__checkpoint_find_part(s.checkpoint, key, (rn__string){text, sizeof text - 1})
    assert_non_null(PART(""));
    const rn__checkpoint_entry *part = PART("2 5 0,2:2,3");
    assert_non_null(part);
    assert_int_equal(part->element_count, 6);
    assert_ptr_equal(PART("2 5 -:2,3"), part);
    assert_null(PART("2 5 0,2:1,3"));
    assert_null(PART("2 5 0,2"));
    assert_null(PART("2 5 0,2:2,3:0,1"));
    assert_null(PART("2 5 0,2:2,x"));
    assert_null(PART("nonsense"));
    discard(&s);

    fill_slices(&c, 1, 3); /* overlaps, and leaves a column */
    store(&s, &c);
    assert_int_equal(read_key(&s, "s", &value, &err), RN_STATUS_DATA_LOSS);
    assert_non_null(strstr(err.message, "overlap"));
    discard(&s);
    fill_slices(&c, 2, 2); /* leaves a column */
    store(&s, &c);
    assert_int_equal(read_key(&s, "s", &value, &err), RN_STATUS_DATA_LOSS);
    assert_non_null(strstr(err.message, "cover"));
    discard(&s);
    fill_slices(&c, 3, 3); /* runs over the edge */
    store(&s, &c);
    assert_int_equal(read_key(&s, "s", &value, &err), RN_STATUS_DATA_LOSS);
    assert_non_null(strstr(err.message, "outside"));
    discard(&s);
}

/* Two strings: lengths, checksum of the lengths as u32, bytes; the entry's checksum runs on over both. */
static void strings_are_read(void **state)
{
    (void)state;
    static tiny_checkpoint c;
    stored s;
    rn__constant value;
    rn_error err = {0};
    for (int damage = 0; damage < 3; damage++) {
        uint8_t bytes[16] = {2, 3};
        uint32_t crc = rn__crc32c(0, (uint8_t[]){2, 0, 0, 0, 3, 0, 0, 0}, 8);
        const uint32_t masked = rn__crc32c_mask(crc);
        for (int i = 0; i < 4; i++) bytes[2 + i] = (uint8_t)(masked >> 8 * i);
        memcpy(bytes + 6, "abxyz", 5);
        crc = rn__crc32c(crc, bytes + 2, 9);
        Sm__BundleEntry entry = SM__BUNDLE_ENTRY__INIT;
        entry.dtype = RN__DT_STRING;
        entry.crc32c = rn__crc32c_mask(crc);
        if (damage == 1) bytes[8] ^= 1;
        if (damage == 2) bytes[1] = 4;
        tiny_checkpoint_init(&c, 1);
        tiny_checkpoint_add(&c, "labels", 6, &entry, 1, &(int64_t){2}, bytes, 11);
        store(&s, &c);
        const rn_status status = read_key(&s, "labels", &value, &err);
        if (damage) {
            assert_int_equal(status, RN_STATUS_DATA_LOSS);
        } else {
            assert_int_equal(status, RN_STATUS_OK);
            assert_int_equal(value.data.strings[1].byte_count, 3);
            assert_memory_equal(value.data.strings[1].bytes, "xyz", 3);
        }
        discard(&s);
    }
}

static void wrong_extents_and_sums(void **state)
{
    (void)state;
    static tiny_checkpoint c;
    stored s;
    rn__constant value;
    rn_error err = {0};
    static const struct {
        const char *what, *words;
        int32_t dtype;
        size_t bytes, data_cut;
        uint32_t crc;
    } cases[] = {
        {"short", "size does not fit", RN__DT_FLOAT, 12, 0, 0},
        {"cut", "outside the file", RN__DT_FLOAT, 16, 1, 0},
        {"sum", "checksum mismatch", RN__DT_FLOAT, 16, 0, 1},
        {"type", "type 24", 24, 16, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Sm__BundleEntry entry = SM__BUNDLE_ENTRY__INIT;
        entry.dtype = cases[i].dtype;
        entry.crc32c = cases[i].crc;
        tiny_checkpoint_init(&c, 1);
        tiny_checkpoint_add(&c, "v", 1, &entry, 1, &(int64_t){4}, (float[]){1, 2, 3, 4}, cases[i].bytes);
        c.data_bytes -= cases[i].data_cut;
        store(&s, &c);
        assert_int_not_equal(read_key(&s, "v", &value, &err), RN_STATUS_OK);
        if (!strstr(err.message, cases[i].words)) fail_msg("%s: \"%s\"", cases[i].what, err.message);
        discard(&s);
    }
}

/* Halves are widened, and a float that is not aligned is copied. */
static void dtypes_and_alignment(void **state)
{
    (void)state;
    static tiny_checkpoint c;
    stored s;
    rn__constant value;
    Sm__BundleEntry byte = SM__BUNDLE_ENTRY__INIT, number = SM__BUNDLE_ENTRY__INIT, half = SM__BUNDLE_ENTRY__INIT;
    byte.dtype = RN__DT_BOOL;
    number.dtype = RN__DT_FLOAT;
    half.dtype = RN__DT_HALF;
    tiny_checkpoint_init(&c, 1);
    tiny_checkpoint_add(&c, "a", 1, &byte, 0, NULL, (uint8_t[]){1}, 1);
    tiny_checkpoint_add(&c, "b", 1, &number, 1, &(int64_t){2}, (float[]){1.5f, -2}, 8);
    tiny_checkpoint_add(&c, "c", 1, &half, 1, &(int64_t){2}, (uint16_t[]){0x3c00, 0xc000}, 4);
    store(&s, &c);
    assert_int_equal(read_key(&s, "a", &value, NULL), RN_STATUS_OK);
    assert_int_equal(value.data.ints[0], 1);
    assert_int_equal(read_key(&s, "b", &value, NULL), RN_STATUS_OK);
    assert_int_equal((uintptr_t)value.data.floats % sizeof(float), 0);
    assert_true(value.data.floats[0] == 1.5f && value.data.floats[1] == -2);
    assert_int_equal(read_key(&s, "c", &value, NULL), RN_STATUS_OK);
    assert_true(value.data.floats[0] == 1 && value.data.floats[1] == -2);
    discard(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slice_keys),
        cmocka_unit_test(ordered_numbers),
        cmocka_unit_test(tables_of_every_blocking),
        cmocka_unit_test(damaged_tables),
        cmocka_unit_test(slices_are_assembled),
        cmocka_unit_test(strings_are_read),
        cmocka_unit_test(wrong_extents_and_sums),
        cmocka_unit_test(dtypes_and_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
