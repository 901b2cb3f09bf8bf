/* TFRecord files: what is read, and where a damaged one is called so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/tf_record.h"

/* Records "hello", "" and "TFRecord", as tf.io.TFRecordWriter wrote them. */
static const uint8_t whole[] = {0x05, 0,    0,    0,    0,    0,    0,   0,   0xea, 0xb2, 0x04, 0x3e, 'h', 'e',  'l',  'l',
                                'o',  0xbb, 0x1f, 0x1c, 0x19, 0,    0,   0,   0,    0,    0,    0,    0,   0x29, 0x03, 0x98,
                                0x07, 0xd8, 0xea, 0x82, 0xa2, 0x08, 0,   0,   0,    0,    0,    0,    0,   0xff, 0x86, 0x24,
                                0x0f, 'T',  'F',  'R',  'e',  'c',  'o', 'r', 'd',  0x8d, 0x19, 0x96, 0x01};

static char path[64];

static rn_tf_records *open_bytes(const void *bytes, size_t count, size_t max_bytes)
{
    strcpy(path, "/tmp/rn_tf_record_XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes, count) == (ssize_t)count);
    close(fd);
    rn_tf_records *records;
    assert_int_equal(rn_tf_records_open(path, max_bytes, &records, NULL), RN_STATUS_OK);
    unlink(path);
    return records;
}

static void test_records(void **state)
{
    (void)state;
    static const char *const expected[] = {"hello", "", "TFRecord"};
    rn_tf_records *records = open_bytes(whole, sizeof whole, 8);
    const uint8_t *bytes;
    size_t count;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rn_tf_records_next(records, &bytes, &count, NULL), RN_STATUS_OK);
        assert_non_null(bytes);
        assert_int_equal(count, strlen(expected[i]));
        assert_memory_equal(bytes, expected[i], count);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rn_tf_records_next(records, &bytes, &count, NULL), RN_STATUS_OK);
        assert_null(bytes);
    }
    rn_tf_records_close(records);
}

/* Reads to the end or to an error; returns how many records there were. */
static int read_all(const void *bytes, size_t count, size_t max_bytes, rn_error *err)
{
    rn_tf_records *records = open_bytes(bytes, count, max_bytes);
    const uint8_t *record = (const uint8_t *)"";
    int read = 0;
    err->status = RN_STATUS_OK;
    while (rn_tf_records_next(records, &record, &count, err) == RN_STATUS_OK && record) read++;
    rn_tf_records_close(records);
    return read;
}

static void assert_damaged(const void *bytes, size_t count, size_t max_bytes, const char *words)
{
    rn_error err;
    char expected[128];
    read_all(bytes, count, max_bytes, &err);
    assert_int_equal(err.status, RN_STATUS_DATA_LOSS);
    snprintf(expected, sizeof expected, "%s: %s", path, words);
    assert_string_equal(err.message, expected);
}

static void test_damage(void **state)
{
    (void)state;
    uint8_t bytes[sizeof whole];
    memcpy(bytes, whole, sizeof whole);
    bytes[14] ^= 1;
    assert_damaged(bytes, sizeof bytes, 8, "record 1 at byte 0: its checksum does not fit");
    memcpy(bytes, whole, sizeof whole);
    bytes[38] ^= 1;
    assert_damaged(bytes, sizeof bytes, 8, "record 3 at byte 37: the checksum of its length does not fit");
    assert_damaged(whole, sizeof whole, 7, "record 3 at byte 37: it is longer than any request may be");
    assert_damaged("no TFRecord at all", 18, 8, "record 1 at byte 0: the checksum of its length does not fit");
}

/* A file that ends early either ends between two records, or is called cut. */
static void test_cuts(void **state)
{
    (void)state;
    for (size_t count = 0; count < sizeof whole; count++) {
        rn_error err;
        const int read = read_all(whole, count, 8, &err);
        assert_int_equal(read, count < 21 ? 0 : count < 37 ? 1 : 2);
        const bool between = count == 0 || count == 21 || count == 37;
        assert_int_equal(err.status, between ? RN_STATUS_OK : RN_STATUS_DATA_LOSS);
        if (!between) assert_non_null(strstr(err.message, "the file is cut short"));
    }
}

static void test_no_file(void **state)
{
    (void)state;
    rn_tf_records *records;
    rn_error err;
    assert_int_equal(rn_tf_records_open("/nowhere/x", 8, &records, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
