/* Signature Version 4. libcurl signs too, but each of its releases differently; what is written here is held to AWS's own test vectors. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "loader/storage_private.h"

enum { HASH_BYTES = 32, HASH_TEXT_BYTES = 2 * HASH_BYTES + 1, DATE_BYTES = 8, MOST_PARAMETERS = 32 };

static bool hmac(const void *key, size_t key_bytes, const char *text, size_t bytes, uint8_t out[HASH_BYTES])
{
    unsigned int out_bytes = HASH_BYTES;
    return HMAC(EVP_sha256(), key, (int)key_bytes, (const unsigned char *)text, bytes, out, &out_bytes) != NULL;
}

/* By name, then by value. The texts are in their encoded form, as the specification wants them compared. */
static int by_name(const void *a, const void *b)
{
    const char *first = *(char *const *)a, *second = *(char *const *)b;
    const size_t first_bytes = strcspn(first, "="), second_bytes = strcspn(second, "=");
    const int order = memcmp(first, second, first_bytes < second_bytes ? first_bytes : second_bytes);
    if (order) return order;
    if (first_bytes != second_bytes) return first_bytes < second_bytes ? -1 : 1;
    return strcmp(first + first_bytes, second + second_bytes);
}

static rn_status put_query(rn__buffer *out, const char *query, rn_error *err)
{
    char *parameters[MOST_PARAMETERS], *copy = strdup(query), *rest = copy;
    size_t count = 0;
    if (!copy) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a signature");
    for (char *one; (one = strsep(&rest, "&")) != NULL && count < MOST_PARAMETERS;)
        if (*one) parameters[count++] = one;
    qsort(parameters, count, sizeof *parameters, by_name);
    for (size_t i = 0; i < count; i++) rn__buffer_format(out, "%s%s%s", i ? "&" : "", parameters[i], strchr(parameters[i], '=') ? "" : "=");
    free(copy);
    return RN_STATUS_OK;
}

static void put_names(rn__buffer *out, const rn__aws_signing *s)
{
    for (int32_t i = 0; i < s->header_count; i++) rn__buffer_format(out, "%s%s", i ? ";" : "", s->headers[i].name);
}

static rn_status hash_canonical_request(const rn__aws_signing *s, char out[HASH_TEXT_BYTES], rn_error *err)
{
    rn__buffer text = {0};
    uint8_t digest[HASH_BYTES];
    rn__buffer_format(&text, "%s\n%s\n", s->method, s->path);
    rn_status status = put_query(&text, s->query, err);
    rn__buffer_put(&text, "\n");
    for (int32_t i = 0; i < s->header_count; i++) rn__buffer_format(&text, "%s:%s\n", s->headers[i].name, s->headers[i].value);
    rn__buffer_put(&text, "\n");
    put_names(&text, s);
    rn__buffer_format(&text, "\n%s", s->payload_sha256);
    if (status == RN_STATUS_OK && (text.failed || EVP_Digest(text.at, text.bytes, digest, NULL, EVP_sha256(), NULL) != 1))
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a signature");
    if (status == RN_STATUS_OK) rn__hex_encode(digest, HASH_BYTES, out);
    rn__buffer_deinit(&text);
    return status;
}

static bool derive_key(const rn__aws_signing *s, uint8_t key[HASH_BYTES])
{
    rn__buffer first = {0};
    rn__buffer_format(&first, "AWS4%s", s->secret);
    const bool good = !first.failed && hmac(first.at, first.bytes, s->time, DATE_BYTES, key) &&
                      hmac(key, HASH_BYTES, s->region, strlen(s->region), key) &&
                      hmac(key, HASH_BYTES, s->service, strlen(s->service), key) &&
                      hmac(key, HASH_BYTES, "aws4_request", strlen("aws4_request"), key);
    rn__buffer_deinit(&first);
    return good;
}

rn_status rn__aws_sign(const rn__aws_signing *s, char **out, rn_error *err)
{
    char request[HASH_TEXT_BYTES], signature[HASH_TEXT_BYTES];
    uint8_t key[HASH_BYTES], digest[HASH_BYTES];
    rn__buffer text = {0}, value = {0};
    RN_TRY(hash_canonical_request(s, request, err));
    rn__buffer_format(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", s->time, s->time, s->region, s->service, request);
    const bool good = !text.failed && derive_key(s, key) && hmac(key, HASH_BYTES, text.at, text.bytes, digest);
    OPENSSL_cleanse(key, sizeof key);
    rn__buffer_deinit(&text);
    if (!good) return RN_FAIL(err, RN_STATUS_INTERNAL, "no HMAC-SHA-256 for a signature");
    rn__hex_encode(digest, HASH_BYTES, signature);
    rn__buffer_format(&value, "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=", s->id, s->time, s->region,
                      s->service);
    put_names(&value, s);
    rn__buffer_format(&value, ", Signature=%s", signature);
    return rn__buffer_take(&value, out, err);
}
