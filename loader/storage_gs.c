/* gs://bucket/key: Google Cloud Storage's JSON API. Objects are read at the generation that was listed. */
#include <stdlib.h>
#include <string.h>

#include "loader/storage_private.h"

static rn_status sign(void *context, rn__http_request *r, rn_error *err)
{
    const rn__store *store = context;
    const char *token;
    RN_TRY(rn__google_credentials_get(store->private_part, &token, err));
    if (token) RN_TRY(rn__http_add_header(r, err, "Authorization: Bearer %s", token));
    /* As stored: what is stored compressed would be unpacked on the way otherwise, and match neither size nor checksum. */
    return rn__http_add_header(r, err, "Accept-Encoding: gzip");
}

static bool renew(void *context, const rn__http_answer *answer)
{
    const rn__store *store = context;
    return answer->code == 401 && rn__google_credentials_drop(store->private_part);
}

static void explain(void *context, const rn__http_answer *answer, char *out, size_t out_bytes)
{
    (void)context;
    rn__gs_parse_error(answer->body.at, answer->body.bytes, out, out_bytes);
}

static void identify(void *context, char *out, size_t out_bytes)
{
    rn__google_credentials_identify(((const rn__store *)context)->private_part, out, out_bytes);
}

static rn_status open_store(rn__store *store, rn_error *err)
{
    rn__google_credentials *credentials;
    RN_TRY(rn__google_credentials_create(store->http, &credentials, err));
    store->private_part = credentials;
    store->site = (rn__http_site){.sign = sign, .renew = renew, .explain = explain, .identify = identify, .context = store};
    return RN_STATUS_OK;
}

static void close_store(rn__store *store)
{
    rn__google_credentials_destroy(store->private_part);
}

static void put_bucket_url(rn__buffer *url, const rn__store *store)
{
    const char *emulator = rn__env("STORAGE_EMULATOR_HOST");
    if (emulator)
        rn__buffer_format(url, "%s%.*s", strstr(emulator, "://") ? "" : "http://",
                          (int)(strlen(emulator) - (emulator[strlen(emulator) - 1] == '/')), emulator);
    else
        rn__buffer_put(url, "https://storage.googleapis.com");
    rn__buffer_format(url, "/storage/v1/b/%s/o", store->bucket);
}

static rn_status list_page(rn__store *store, const char *prefix, const char *what, rn__objects *out, char **token, rn_error *err)
{
    rn__buffer url = {0};
    rn__http_request request = {.site = &store->site, .method = "GET", .what = what};
    rn__http_answer answer = {0};
    put_bucket_url(&url, store);
    rn__buffer_put(&url, "?fields=items(name,size,generation,md5Hash,crc32c),nextPageToken&prefix=");
    rn__buffer_encode(&url, prefix, false);
    if (*token) {
        rn__buffer_put(&url, "&pageToken=");
        rn__buffer_encode(&url, *token, false);
    }
    free(*token);
    *token = NULL;
    rn_status status = rn__buffer_take(&url, &request.url, err);
    if (status == RN_STATUS_OK) status = rn__http_run(store->http, &request, RN__MOST_LISTING_BYTES, &answer, err);
    if (status == RN_STATUS_OK) {
        status = rn__gs_parse_page(answer.body.at, answer.body.bytes, prefix, out, token, err);
        if (status != RN_STATUS_OK) rn_error_prefix(err, "%s", what);
    }
    rn__http_answer_deinit(&answer);
    rn__http_request_deinit(&request);
    return status;
}

static rn_status get(rn__store *store, const char *key, const rn__object *object, rn__http_request *out, rn_error *err)
{
    rn__buffer url = {0};
    out->site = &store->site;
    put_bucket_url(&url, store);
    rn__buffer_put(&url, "/");
    rn__buffer_encode(&url, key, false);
    rn__buffer_put(&url, "?alt=media");
    if (object->tag[0]) {
        rn__buffer_put(&url, "&generation=");
        rn__buffer_encode(&url, object->tag, false);
    }
    return rn__buffer_take(&url, &out->url, err);
}

const rn__store_kind rn__store_gs = {.scheme = "gs", .open = open_store, .close = close_store, .list_page = list_page, .get = get};
