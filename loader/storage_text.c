/* Small encodings that several storages share. */
#include "loader/storage_text.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- growing ---- */

static bool reserve(rn__buffer *b, size_t more)
{
    enum { LEAST = 256 };
    if (b->failed) return false;
    if (more < b->capacity - b->bytes) return true;
    size_t capacity = b->capacity ? b->capacity : LEAST;
    while (capacity - b->bytes <= more && capacity < SIZE_MAX / 2) capacity *= 2;
    /* Not realloc, which leaves a copy of what may be a secret. */
    char *grown = capacity - b->bytes > more ? malloc(capacity) : NULL;
    if (!grown) {
        b->failed = true;
        return false;
    }
    if (b->bytes) memcpy(grown, b->at, b->bytes);
    if (b->at) OPENSSL_cleanse(b->at, b->bytes);
    free(b->at);
    b->at = grown;
    b->capacity = capacity;
    return true;
}

void rn__buffer_add(rn__buffer *b, const void *bytes, size_t count)
{
    if (!reserve(b, count)) return;
    if (count) memcpy(b->at + b->bytes, bytes, count);
    b->bytes += count;
    b->at[b->bytes] = '\0';
}

void rn__buffer_put(rn__buffer *b, const char *text)
{
    rn__buffer_add(b, text, strlen(text));
}

void rn__buffer_format(rn__buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int wanted = vsnprintf(NULL, 0, format, args);
    if (wanted >= 0 && reserve(b, (size_t)wanted)) {
        vsnprintf(b->at + b->bytes, (size_t)wanted + 1, format, again);
        b->bytes += (size_t)wanted;
    }
    va_end(again);
    va_end(args);
}

void rn__buffer_encode(rn__buffer *b, const char *text, bool keep_slash)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (const char *c = text; *c; c++) {
        if (strchr(plain, *c) || (keep_slash && *c == '/'))
            rn__buffer_add(b, c, 1);
        else
            rn__buffer_format(b, "%%%02X", (unsigned char)*c);
    }
}

rn_status rn__buffer_take(rn__buffer *b, char **out, rn_error *err)
{
    rn__buffer_add(b, "", 0);
    if (b->failed) {
        rn__buffer_deinit(b);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a request to the storage");
    }
    *out = b->at;
    *b = (rn__buffer){0};
    return RN_STATUS_OK;
}

void rn__buffer_deinit(rn__buffer *b)
{
    if (b->at) OPENSSL_cleanse(b->at, b->bytes);
    free(b->at);
    *b = (rn__buffer){0};
}

void rn__secret_free(char *text)
{
    if (text) OPENSSL_cleanse(text, strlen(text));
    free(text);
}

/* ---- encodings ---- */

static int digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool rn__hex_decode(const char *text, uint8_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);
        if (low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void rn__hex_encode(const uint8_t *bytes, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

bool rn__url_decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        uint8_t byte = *from == '+' ? ' ' : (uint8_t)*from;
        if (*from == '%') {
            if (!rn__hex_decode(from + 1, &byte, 1) || byte == 0) return false;
            from += 2;
        }
        *to++ = (char)byte;
    }
    *to = '\0';
    return true;
}

bool rn__base64_decode_exactly(const char *text, uint8_t *out, size_t out_bytes)
{
    enum { LONGEST = 64 };
    uint8_t block[LONGEST / 4 * 3 + 3];
    const size_t length = strlen(text);
    if (length > LONGEST || length != (out_bytes + 2) / 3 * 4) return false;
    if (EVP_DecodeBlock(block, (const unsigned char *)text, (int)length) < 0) return false;
    const size_t padding = (out_bytes + 2) / 3 * 3 - out_bytes;
    if (strspn(text + length - padding, "=") != padding || (padding < length && text[length - padding - 1] == '=')) return false;
    memcpy(out, block, out_bytes);
    return true;
}

void rn__buffer_base64url(rn__buffer *b, const void *bytes, size_t count)
{
    const size_t begin = b->bytes, encoded = (count + 2) / 3 * 4;
    if (!reserve(b, encoded)) return;
    EVP_EncodeBlock((unsigned char *)b->at + begin, bytes, (int)count);
    b->bytes += encoded;
    for (char *c = b->at + begin; *c; c++) {
        if (*c == '+') *c = '-';
        if (*c == '/') *c = '_';
    }
    while (b->bytes > begin && b->at[b->bytes - 1] == '=') b->at[--b->bytes] = '\0';
}

const char *rn__env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}
