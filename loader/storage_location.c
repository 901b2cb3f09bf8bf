/* URLs taken apart and put together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/storage_location.h"

static const rn__store_kind *const kinds[] = {&rn__store_gs, &rn__store_s3, &rn__store_http, &rn__store_https};
enum { KIND_COUNT = sizeof kinds / sizeof kinds[0], SHOWN = 100 };

bool rn_storage_is_url(const char *path)
{
    return strstr(path, "://") != NULL;
}

static bool is_web(const rn__store_kind *kind)
{
    return strncmp(kind->scheme, "http", 4) == 0;
}

static rn_status check_bucket(const rn__location *location, const char *url, rn_error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    const char *bucket = location->bucket;
    const size_t length = strlen(bucket);
    if (length >= 3 && length <= 222 && !bucket[strspn(bucket, letters)] && bucket[0] != '.' && !strstr(bucket, "..")) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.*s: expected %s://bucket/path, found the bucket \"%.*s\"", SHOWN, url,
                   location->kind->scheme, SHOWN, bucket);
}

/* A password in a URL would stand in every message about it, which must not begin here. */
static rn_status check_web(const char *url, const char *rest, rn_error *err)
{
    const size_t authority = strcspn(rest, "/?#");
    if (memchr(rest, '@', authority))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "a URL with a name and password before its host: expected none, they would be in every log");
    if (authority == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.*s: expected a host", SHOWN, url);
    if (rest[strcspn(rest, "?#")])
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.*s: expected a path that ends with it, found a query or fragment",
                       (int)(rest - url + strcspn(rest, "?#")), url);
    return RN_STATUS_OK;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t all = strlen(text), part = strlen(end);
    return all > part && strcmp(text + all - part, end) == 0;
}

rn_status rn__location_parse(const char *url, rn__location *out, rn_error *err)
{
    const char *rest = strstr(url, "://") + 3;
    *out = (rn__location){0};
    for (int i = 0; i < KIND_COUNT; i++)
        if (strlen(kinds[i]->scheme) == (size_t)(rest - 3 - url) && strncmp(url, kinds[i]->scheme, (size_t)(rest - 3 - url)) == 0)
            out->kind = kinds[i];
    if (!out->kind)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.*s: expected a directory, gs://, s3://, http:// or https://", SHOWN, url);
    if (is_web(out->kind)) RN_TRY(check_web(url, rest, err));
    const char *bucket = is_web(out->kind) ? url : rest;
    const size_t bucket_bytes = (size_t)(rest - bucket) + strcspn(rest, "/");
    const char *key = bucket + bucket_bytes;
    while (*key == '/') key++;
    size_t key_bytes = strlen(key);
    while (key_bytes && key[key_bytes - 1] == '/') key_bytes--;
    if (bucket_bytes >= sizeof out->bucket || key_bytes >= sizeof out->key - 64)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.*s...: the URL is too long", SHOWN, url);
    memcpy(out->bucket, bucket, bucket_bytes);
    memcpy(out->key, key, key_bytes);
    out->file = ends_with(out->key, ".safetensors");
    return is_web(out->kind) ? RN_STATUS_OK : check_bucket(out, url, err);
}

rn_status rn_storage_check_url(const char *url, rn_error *err)
{
    rn__location location;
    return rn__location_parse(url, &location, err);
}

void rn__location_url(const rn__location *location, const char *name, char *out, size_t out_bytes)
{
    const bool below = name && *name && !location->file;
    snprintf(out, out_bytes, "%s%s%s%s%s%s%s", is_web(location->kind) ? "" : location->kind->scheme, is_web(location->kind) ? "" : "://",
             location->bucket, *location->key ? "/" : "", location->key, below ? "/" : "", below ? name : "");
}

rn_status rn__location_key(const rn__location *location, const char *name, char out[RN__OBJECT_NAME_BYTES], rn_error *err)
{
    if (location->file) {
        strcpy(out, location->key);
        return RN_STATUS_OK;
    }
    if (snprintf(out, RN__OBJECT_NAME_BYTES, "%s%s%s", location->key, *location->key ? "/" : "", name) < RN__OBJECT_NAME_BYTES)
        return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the object's name is too long", location->key);
}

rn_status rn__location_list(rn__store *store, const rn__location *location, rn__objects *out, rn_error *err)
{
    char prefix[RN__OBJECT_NAME_BYTES + 1], what[2048], *token = NULL;
    rn__location_url(location, NULL, what, sizeof what);
    snprintf(prefix, sizeof prefix, "%s%s", location->key, *location->key && !location->file ? "/" : "");
    *out = (rn__objects){.file = location->file};
    do {
        const rn_status status = store->kind->list_page(store, prefix, what, out, &token, err);
        if (status == RN_STATUS_OK) continue;
        free(token);
        rn__objects_deinit(out);
        if (err && !strstr(err->message, what)) rn_error_prefix(err, "%s", what);
        return status;
    } while (token);
    return RN_STATUS_OK;
}
