/* One pass over a file, whatever the checksum. */
#include "loader/storage_check.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "loader/crc32c.h"
#include "loader/io_error.h"
#include "loader/storage_text.h"

static const struct {
    const char *name;
    size_t bytes;
} kinds[RN__CHECK_COUNT] = {
#define KIND(kind, text, size) [RN__CHECK_##kind] = {text, size},
    RN__CHECK_LIST(KIND)
#undef KIND
};

void rn__check_improve_base64(rn__check *check, rn__check_kind kind, const char *text)
{
    uint8_t digest[RN__CHECK_MOST_BYTES];
    if (kind <= check->kind || !text || !rn__base64_decode_exactly(text, digest, kinds[kind].bytes)) return;
    check->kind = kind;
    memcpy(check->digest, digest, kinds[kind].bytes);
}

void rn__check_improve_hex(rn__check *check, rn__check_kind kind, const char *text)
{
    uint8_t digest[RN__CHECK_MOST_BYTES];
    if (kind <= check->kind || !text || strlen(text) != 2 * kinds[kind].bytes || !rn__hex_decode(text, digest, kinds[kind].bytes)) return;
    check->kind = kind;
    memcpy(check->digest, digest, kinds[kind].bytes);
}

uint64_t rn__crc64(uint64_t crc, const void *bytes, size_t count)
{
    static const uint64_t reflected = 0x9a6c9329ac4bc9b5u;
    uint64_t table[256];
    const uint8_t *p = bytes;
    for (uint64_t i = 0; i < 256; i++) { /* made anew each time: some 2000 steps for a block of a million bytes */
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? reflected : 0);
    }
    crc = ~crc;
    for (size_t i = 0; i < count; i++) crc = crc >> 8 ^ table[(crc ^ p[i]) & 0xff];
    return ~crc;
}

/* ---- files ---- */

typedef struct {
    rn__check_kind kind;
    EVP_MD_CTX *digest; /* NULL: a CRC */
    uint64_t crc;
} checker;

static bool begin(checker *c)
{
    if (c->kind != RN__CHECK_MD5 && c->kind != RN__CHECK_SHA256) return true;
    c->digest = EVP_MD_CTX_new();
    return c->digest && EVP_DigestInit_ex(c->digest, c->kind == RN__CHECK_MD5 ? EVP_md5() : EVP_sha256(), NULL) == 1;
}

static bool update(checker *c, const void *bytes, size_t count)
{
    if (c->digest) return EVP_DigestUpdate(c->digest, bytes, count) == 1;
    if (c->kind == RN__CHECK_CRC32C) c->crc = rn__crc32c((uint32_t)c->crc, bytes, count);
    if (c->kind == RN__CHECK_CRC32) c->crc = crc32_z(c->crc, bytes, count);
    if (c->kind == RN__CHECK_CRC64) c->crc = rn__crc64(c->crc, bytes, count);
    return true;
}

static bool end(checker *c, uint8_t out[RN__CHECK_MOST_BYTES])
{
    if (c->digest) return EVP_DigestFinal_ex(c->digest, out, NULL) == 1;
    const size_t bytes = kinds[c->kind].bytes;
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(c->crc >> 8 * (bytes - 1 - i));
    return true;
}

static rn_status read_all(int fd, const char *path, checker *c, uint8_t digest[RN__CHECK_MOST_BYTES], rn_error *err)
{
    enum { BLOCK = 1 << 20 };
    uint8_t *block = malloc(BLOCK);
    bool good = block && begin(c);
    ssize_t got = 1;
    while (good && (got = read(fd, block, BLOCK)) > 0) good = update(c, block, (size_t)got);
    free(block);
    if (good && got < 0) return rn__io_error(path, err);
    if (good && end(c, digest)) return RN_STATUS_OK;
    /* MD5 is what a library in FIPS mode refuses. */
    return RN_FAIL(err, RN_STATUS_INTERNAL, "%s: its %s cannot be computed", path, kinds[c->kind].name);
}

rn_status rn__check_file(const char *path, const rn__check *check, const char *what, rn_error *err)
{
    if (check->kind == RN__CHECK_NONE) return RN_STATUS_OK;
    uint8_t digest[RN__CHECK_MOST_BYTES];
    checker c = {.kind = check->kind};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return rn__io_error(path, err);
    const rn_status status = read_all(fd, path, &c, digest, err);
    EVP_MD_CTX_free(c.digest);
    close(fd);
    RN_TRY(status);
    const size_t bytes = kinds[check->kind].bytes;
    if (memcmp(digest, check->digest, bytes) == 0) return RN_STATUS_OK;
    char found[2 * RN__CHECK_MOST_BYTES + 1], expected[2 * RN__CHECK_MOST_BYTES + 1];
    rn__hex_encode(digest, bytes, found);
    rn__hex_encode(check->digest, bytes, expected);
    return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: corrupt: expected %s %s, found %s", what, kinds[check->kind].name, expected, found);
}
