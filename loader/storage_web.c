/* http://host/path and https://host/path: a plain web server, which cannot list. <path>/SHA256SUMS says what there is, in the format of
 * sha256sum: made last, when everything that it names has been put there. No credentials. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/storage_private.h"

static const char sums_name[] = "SHA256SUMS";

static rn_status open_store(rn__store *store, rn_error *err)
{
    (void)store, (void)err;
    return RN_STATUS_OK;
}

static void close_store(rn__store *store)
{
    (void)store;
}

static rn_status make_url(const rn__store *store, const char *key, rn__http_request *out, rn_error *err)
{
    rn__buffer url = {0};
    rn__buffer_format(&url, "%s/", store->bucket);
    rn__buffer_encode(&url, key, true);
    out->follow = true;
    return rn__buffer_take(&url, &out->url, err);
}

static bool is_line(const char *line, size_t length)
{
    enum { HASH_TEXT = 64 };
    return length > HASH_TEXT + 2 && line[HASH_TEXT] == ' ' && (line[HASH_TEXT + 1] == ' ' || line[HASH_TEXT + 1] == '*');
}

rn_status rn__http_parse_sums(const char *bytes, size_t count, rn__objects *out, rn_error *err)
{
    enum { HASH_TEXT = 64, NAME_AT = HASH_TEXT + 2 };
    int32_t number = 1;
    for (const char *line = bytes, *stop = bytes + count; line < stop; number++) {
        char hash[HASH_TEXT + 1], name[RN__OBJECT_NAME_BYTES];
        rn__check check = {0};
        const char *end = memchr(line, '\n', (size_t)(stop - line));
        size_t length = (size_t)((end ? end : stop) - line);
        if (length && line[length - 1] == '\r') length--;
        if (length > 0) {
            if (is_line(line, length)) {
                memcpy(hash, line, HASH_TEXT);
                hash[HASH_TEXT] = '\0';
                rn__check_improve_hex(&check, RN__CHECK_SHA256, hash);
            }
            if (!check.kind || length - NAME_AT >= sizeof name || memchr(line, '\0', length))
                return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: line %d: expected 64 hexadecimal digits, two spaces and a name", sums_name,
                               number);
            snprintf(name, sizeof name, "%.*s", (int)(length - NAME_AT), line + NAME_AT);
            RN_TRY(rn__objects_add(out, strncmp(name, "./", 2) == 0 ? name + 2 : name, 0, hash, &check, err));
        }
        line = end ? end + 1 : stop;
    }
    return RN_STATUS_OK;
}

/* Keeps what lies below `folder`, named by what follows. */
static void keep_below(rn__objects *objects, const char *folder)
{
    const size_t length = strlen(folder);
    int32_t kept = 0;
    for (int32_t i = 0; i < objects->count; i++) {
        rn__object *o = &objects->at[i];
        if (strncmp(o->name, folder, length) != 0) {
            free(o->name);
            free(o->tag);
            continue;
        }
        memmove(o->name, o->name + length, strlen(o->name) - length + 1);
        objects->at[kept++] = *o;
    }
    objects->count = kept;
}

static rn_status read_sums(rn__store *store, const char *folder, const char *what, rn__objects *out, rn_error *err)
{
    char key[RN__OBJECT_NAME_BYTES + sizeof sums_name];
    rn__http_request request = {.method = "GET", .what = what};
    rn__http_answer answer = {0};
    snprintf(key, sizeof key, "%s%s", folder, sums_name);
    rn_status status = make_url(store, key, &request, err);
    if (status == RN_STATUS_OK) status = rn__http_run(store->http, &request, RN__MOST_LISTING_BYTES, &answer, err);
    if (status == RN_STATUS_OK) status = rn__http_parse_sums(answer.body.at, answer.body.bytes, out, err);
    if (status != RN_STATUS_OK && err && !strstr(err->message, sums_name)) rn_error_prefix(err, "%s", sums_name);
    rn__http_answer_deinit(&answer);
    rn__http_request_deinit(&request);
    return status;
}

static rn_status examine(rn__store *store, const char *key, const char *what, rn__object *object, rn_error *err)
{
    rn__http_request request = {.method = "HEAD", .what = what};
    rn__http_answer answer = {0};
    char length[32] = "", ranges[32], tag[256] = "", *end;
    rn_status status = make_url(store, key, &request, err);
    if (status == RN_STATUS_OK) status = rn__http_run(store->http, &request, 0, &answer, err);
    if (status == RN_STATUS_OK) {
        rn__http_header(&answer, "content-length", length, sizeof length);
        rn__http_header(&answer, "accept-ranges", ranges, sizeof ranges);
        rn__http_header(&answer, "etag", tag, sizeof tag);
        if (!*tag) rn__http_header(&answer, "last-modified", tag, sizeof tag);
        object->size = strtoull(length, &end, 10);
        object->one_part = strcmp(ranges, "bytes") != 0;
        if (!*length || *end || object->size > INT64_MAX)
            status = RN_FAIL(err, RN_STATUS_UNAVAILABLE, "%s: the server does not tell its size: expected Content-Length", what);
    }
    if (status == RN_STATUS_OK && !object->tag && !(object->tag = strdup(tag)))
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a listing");
    rn__http_answer_deinit(&answer);
    rn__http_request_deinit(&request);
    return status;
}

/* One file, whose only checksum is its own. */
static rn_status list_file(rn__store *store, const char *key, const char *what, rn__objects *out, rn_error *err)
{
    rn__object file = {0};
    RN_TRY(examine(store, key, what, &file, err));
    const rn_status status = rn__objects_add(out, "", file.size, file.tag, NULL, err);
    free(file.tag);
    return status;
}

/* "a/b/" -> "a/", "b/". False at the top. */
static bool split_last(const char *folder, char above[RN__OBJECT_NAME_BYTES], const char **last)
{
    size_t end = strlen(folder);
    if (end < 2) return false;
    end--;
    while (end && folder[end - 1] != '/') end--;
    memcpy(above, folder, end);
    above[end] = '\0';
    *last = folder + end;
    return true;
}

/* A version's own SHA256SUMS, or its part of that of the base path. */
static rn_status list_page(rn__store *store, const char *prefix, const char *what, rn__objects *out, char **token, rn_error *err)
{
    char above[RN__OBJECT_NAME_BYTES];
    const char *last;
    *token = NULL;
    const size_t length = strlen(prefix);
    if (length && prefix[length - 1] != '/') return list_file(store, prefix, what, out, err);
    rn_status status = read_sums(store, prefix, what, out, err);
    if (status != RN_STATUS_NOT_FOUND || !split_last(prefix, above, &last)) return status;
    rn_error second;
    if (read_sums(store, above, what, out, &second) != RN_STATUS_OK) return status;
    keep_below(out, last);
    return RN_STATUS_OK;
}

static rn_status get(rn__store *store, const char *key, const rn__object *object, rn__http_request *out, rn_error *err)
{
    (void)object;
    return make_url(store, key, out, err);
}

const rn__store_kind rn__store_http = {
    .scheme = "http", .open = open_store, .close = close_store, .list_page = list_page, .examine = examine, .get = get};
const rn__store_kind rn__store_https = {
    .scheme = "https", .open = open_store, .close = close_store, .list_page = list_page, .examine = examine, .get = get};
