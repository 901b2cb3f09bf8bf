/* Varints, checksums and the arena: the ground that every parser of the loader stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/arena.h"
#include "loader/crc32c.h"
#include "loader/varint.h"

static void varints_of_every_length(void **state)
{
    (void)state;
    for (int bits = 0; bits <= 64; bits++) {
        const uint64_t value = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - (bits > 0);
        uint8_t bytes[10];
        int count = 0;
        uint64_t rest = value;
        do {
            bytes[count++] = (uint8_t)(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0);
            rest >>= 7;
        } while (rest);
        uint64_t read = 1;
        const uint8_t *at = bytes;
        assert_true(rn__varint_read(&at, bytes + count, &read));
        assert_int_equal(read, value);
        assert_ptr_equal(at, bytes + count);
        for (int cut = 0; cut < count; cut++) {
            at = bytes;
            assert_false(rn__varint_read(&at, bytes + cut, &read));
            assert_ptr_equal(at, bytes);
        }
        uint32_t narrow;
        at = bytes;
        assert_int_equal(rn__varint_read_u32(&at, bytes + count, &narrow), value <= UINT32_MAX);
    }
}

static void varints_past_64_bits_are_refused(void **state)
{
    (void)state;
    const uint8_t eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    const uint8_t overflow[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    uint64_t value;
    const uint8_t *at = eleven;
    assert_false(rn__varint_read(&at, eleven + sizeof eleven, &value));
    at = overflow;
    assert_false(rn__varint_read(&at, overflow + sizeof overflow, &value));
}

/* RFC 3720, appendix B.4. */
static void crc_vectors(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(rn__crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_int_equal(rn__crc32c(0, bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    assert_int_equal(rn__crc32c(0, bytes, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(rn__crc32c(0, bytes, 32), 0x113fdb5c);
    assert_int_equal(rn__crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(rn__crc32c(0, NULL, 0), 0);
    assert_int_equal(rn__crc32c_mask(0), 0xa282ead8);
}

static void crc_forms_agree(void **state)
{
    (void)state;
    uint8_t bytes[300];
    srand(1);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)rand();
    for (size_t start = 0; start < 9; start++) {
        for (size_t count = 0; start + count <= sizeof bytes; count++) {
            const uint32_t whole = rn__crc32c(0, bytes + start, count);
            assert_int_equal(whole, rn__crc32c_portable(0, bytes + start, count));
            assert_int_equal(whole, rn__crc32c(rn__crc32c(0, bytes + start, count / 3), bytes + start + count / 3, count - count / 3));
        }
    }
}

static void arena_keeps_its_limit(void **state)
{
    (void)state;
    rn__arena *arena = rn__arena_create(100000);
    assert_non_null(arena);
    rn_error err = {0};
    assert_null(rn__arena_array(arena, 100001, 1, "too much", &err));
    assert_int_equal(err.status, RN_STATUS_OUT_OF_MEMORY);
    assert_non_null(strstr(err.message, "too much"));
    assert_null(rn__arena_array(arena, UINT64_MAX / 2, 8, "an overflow", &err));
    size_t given = 0;
    for (size_t bytes = 0;; bytes += 37) {
        char *piece = rn__arena_take(arena, bytes);
        if (!piece) break;
        assert_int_equal((uintptr_t)piece % (bytes >= 4096 ? 64 : 16), 0);
        memset(piece, 1, bytes);
        given += bytes;
    }
    assert_in_range(given, 90000, 100000);
    assert_int_equal(rn__arena_used(arena), given);
    assert_non_null(rn__arena_array(arena, 0, 8, "nothing", &err));
    rn__arena_destroy(arena);
    rn__arena_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varints_of_every_length),
        cmocka_unit_test(varints_past_64_bits_are_refused),
        cmocka_unit_test(crc_vectors),
        cmocka_unit_test(crc_forms_agree),
        cmocka_unit_test(arena_keeps_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
