/* The JSON that storages and metadata services answer with: GCS's listings, tokens, keys. Field names:
 * cloud.google.com/storage/docs/json_api/v1/objects and docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/storage_private.h"
#include "loader/storage_time.h"

void rn__put_words(const char *text, char *out, size_t out_bytes)
{
    size_t used = 0;
    for (; *text && used + 1 < out_bytes; text++) {
        const unsigned char c = (unsigned char)*text;
        const char shown = c > ' ' && c < 0x7f ? (char)c : ' ';
        if (shown != ' ' || (used && out[used - 1] != ' ')) out[used++] = shown;
    }
    while (used && out[used - 1] == ' ') used--;
    if (out_bytes) out[used] = '\0';
}

/* jansson's own message may quote what it read, which may be a secret: it is not passed on. */
static rn_status parse(const char *bytes, size_t count, json_t **out, rn_error *err)
{
    json_error_t where;
    *out = count ? json_loadb(bytes, count, JSON_REJECT_DUPLICATES, &where) : NULL;
    if (*out && json_is_object(*out)) return RN_STATUS_OK;
    json_decref(*out);
    return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "the storage answered with %zu bytes that are no JSON object", count);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text && *text ? text : NULL;
}

/* ---- GCS ---- */

/* 64-bit numbers are texts in Google's JSON. */
static bool size_of(const json_t *item, uint64_t *out)
{
    const json_t *value = json_object_get(item, "size");
    const char *text = json_string_value(value);
    char *end;
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    if (!text || text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *out <= INT64_MAX;
}

static rn_status add_item(const json_t *item, const char *prefix, rn__objects *out, rn_error *err)
{
    const char *name = text_of(item, "name"), *generation = text_of(item, "generation");
    rn__check check = {0};
    uint64_t size;
    if (!name || !size_of(item, &size) || strncmp(name, prefix, strlen(prefix)) != 0)
        return RN_FAIL(err, RN_STATUS_UNAVAILABLE,
                       "the storage answered with a listing that has an object without name or size, or one that was not asked for");
    rn__check_improve_base64(&check, RN__CHECK_MD5, text_of(item, "md5Hash"));
    rn__check_improve_base64(&check, RN__CHECK_CRC32C, text_of(item, "crc32c"));
    return rn__objects_add(out, name + strlen(prefix), size, generation ? generation : "", &check, err);
}

rn_status rn__gs_parse_page(const char *bytes, size_t count, const char *prefix, rn__objects *out, char **next, rn_error *err)
{
    json_t *root, *item;
    size_t i;
    *next = NULL;
    RN_TRY(parse(bytes, count, &root, err));
    const json_t *items = json_object_get(root, "items");
    const char *token = text_of(root, "nextPageToken");
    rn_status status = items && !json_is_array(items)
                           ? RN_FAIL(err, RN_STATUS_UNAVAILABLE, "the storage answered with a listing whose items are no list")
                           : RN_STATUS_OK;
    json_array_foreach(items, i, item) if (status == RN_STATUS_OK) status = add_item(item, prefix, out, err);
    if (status == RN_STATUS_OK && token && !(*next = strdup(token)))
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the storage's answer");
    json_decref(root);
    return status;
}

void rn__gs_parse_error(const char *bytes, size_t count, char *out, size_t out_bytes)
{
    json_t *root;
    out[0] = '\0';
    if (parse(bytes, count, &root, NULL) != RN_STATUS_OK) return;
    /* {"error": {"message": ...}} of the API; {"error": "invalid_grant", "error_description": ...} of the token endpoint. */
    const json_t *error = json_object_get(root, "error");
    const char *message = json_is_object(error) ? text_of(error, "message") : text_of(root, "error_description");
    if (!message) message = json_string_value(error);
    if (message) rn__put_words(message, out, out_bytes);
    json_decref(root);
}

/* ---- tokens and keys ---- */

/* What is written into a header may not end it. */
static rn_status take_text(const json_t *object, const char *name, char **out, rn_error *err)
{
    const char *text = text_of(object, name);
    if (!text || strpbrk(text, "\r\n")) return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "the answer has no usable %s", name);
    *out = strdup(text);
    return *out ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials");
}

rn_status rn__google_parse_token(const char *bytes, size_t count, char **token, int64_t *lifetime_s, rn_error *err)
{
    json_t *root;
    RN_TRY(parse(bytes, count, &root, err));
    const rn_status status = take_text(root, "access_token", token, err);
    const json_int_t lifetime = json_integer_value(json_object_get(root, "expires_in"));
    *lifetime_s = lifetime > 0 && lifetime < 86400 ? lifetime : 0;
    json_decref(root);
    return status;
}

rn_status rn__aws_parse_keys_json(const char *bytes, size_t count, rn__aws_keys *out, rn_error *err)
{
    json_t *root;
    *out = (rn__aws_keys){0};
    RN_TRY(parse(bytes, count, &root, err));
    rn_status status = take_text(root, "AccessKeyId", &out->id, err);
    if (status == RN_STATUS_OK) status = take_text(root, "SecretAccessKey", &out->secret, err);
    if (status == RN_STATUS_OK) status = take_text(root, "Token", &out->token, err);
    const char *expires = text_of(root, "Expiration"), *role = text_of(root, "RoleArn");
    if (expires) out->expires = rn__time_of_text(expires);
    if (role) rn__put_words(role, out->identity, sizeof out->identity);
    if (status != RN_STATUS_OK) rn__aws_keys_deinit(out);
    json_decref(root);
    return status;
}
