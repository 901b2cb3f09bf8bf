/* s3://bucket/key: Amazon S3 and what speaks its protocol. The bucket is in the host's name with AWS, where its name can be in a
 * certificate, and in the path everywhere else. A wrong region is corrected by what S3 answers to the first request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loader/storage_private.h"

static const char empty_sha256[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

typedef struct {
    rn__aws_credentials *credentials;
    char region[64];
    const char *endpoint; /* from the environment; NULL: AWS */
    bool region_corrected;
} s3;

/* ---- requests ---- */

static bool in_host_name(const rn__store *store)
{
    const s3 *s = store->private_part;
    return !s->endpoint && !strchr(store->bucket, '.') && !strchr(store->bucket, '_');
}

/* path: encoded, begins with a slash after the bucket; query: encoded. */
static rn_status make_url(const rn__store *store, const char *key, const char *query, char **out, rn_error *err)
{
    const s3 *s = store->private_part;
    const char *domain = strncmp(s->region, "cn-", 3) == 0 ? "amazonaws.com.cn" : "amazonaws.com";
    rn__buffer url = {0};
    if (s->endpoint) {
        size_t length = strlen(s->endpoint);
        while (length && s->endpoint[length - 1] == '/') length--;
        rn__buffer_add(&url, s->endpoint, length);
        rn__buffer_format(&url, "/%s", store->bucket);
    } else if (in_host_name(store)) {
        rn__buffer_format(&url, "https://%s.s3.%s.%s", store->bucket, s->region, domain);
    } else {
        rn__buffer_format(&url, "https://s3.%s.%s/%s", s->region, domain, store->bucket);
    }
    rn__buffer_put(&url, "/");
    rn__buffer_encode(&url, key, true);
    if (*query) rn__buffer_format(&url, "?%s", query);
    return rn__buffer_take(&url, out, err);
}

/* After a correction of the region, the host is another. */
static rn_status correct_host(const rn__store *store, rn__http_request *r, rn_error *err)
{
    const s3 *s = store->private_part;
    if (!s->region_corrected || s->endpoint) return RN_STATUS_OK;
    rn__buffer url = {0};
    const char *domain = strstr(r->url, ".amazonaws.com");
    if (!domain) return RN_STATUS_OK;
    if (in_host_name(store))
        rn__buffer_format(&url, "https://%s.s3.%s%s", store->bucket, s->region, domain);
    else
        rn__buffer_format(&url, "https://s3.%s%s", s->region, domain);
    free(r->url);
    r->url = NULL;
    return rn__buffer_take(&url, &r->url, err);
}

static rn_status add_signature(const s3 *s, const rn__aws_keys *keys, rn__http_request *r, rn_error *err)
{
    char time_text[32], host[600], path[4096], *authorization;
    const time_t now = time(NULL);
    struct tm parts;
    strftime(time_text, sizeof time_text, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &parts));
    const char *authority = strstr(r->url, "://") + 3, *query = strchr(r->url, '?');
    const size_t authority_bytes = strcspn(authority, "/?"), path_bytes = strcspn(authority + authority_bytes, "?");
    if (authority_bytes >= sizeof host || path_bytes >= sizeof path)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: the URL is too long", r->what);
    snprintf(host, sizeof host, "%.*s", (int)authority_bytes, authority);
    snprintf(path, sizeof path, "%.*s", (int)path_bytes, authority + authority_bytes);
    const rn__aws_header headers[] = {
        {"host", host}, {"x-amz-content-sha256", empty_sha256}, {"x-amz-date", time_text}, {"x-amz-security-token", keys->token}};
    const rn__aws_signing signing = {.method = r->method,
                                     .path = path,
                                     .query = query ? query + 1 : "",
                                     .headers = headers,
                                     .header_count = keys->token ? 4 : 3,
                                     .payload_sha256 = empty_sha256,
                                     .time = time_text,
                                     .region = s->region,
                                     .service = "s3",
                                     .id = keys->id,
                                     .secret = keys->secret};
    RN_TRY(rn__aws_sign(&signing, &authorization, err));
    const rn_status status = rn__http_add_header(r, err, "Authorization: %s", authorization);
    rn__secret_free(authorization);
    RN_TRY(status);
    RN_TRY(rn__http_add_header(r, err, "x-amz-date: %s", time_text));
    RN_TRY(rn__http_add_header(r, err, "x-amz-content-sha256: %s", empty_sha256));
    return keys->token ? rn__http_add_header(r, err, "x-amz-security-token: %s", keys->token) : RN_STATUS_OK;
}

static rn_status sign(void *context, rn__http_request *r, rn_error *err)
{
    const rn__store *store = context;
    const s3 *s = store->private_part;
    const rn__aws_keys *keys;
    RN_TRY(correct_host(store, r, err));
    RN_TRY(rn__aws_credentials_get(s->credentials, &keys, err));
    if (keys->id) RN_TRY(add_signature(s, keys, r, err));
    if (strcmp(r->method, "HEAD") == 0) RN_TRY(rn__http_add_header(r, err, "x-amz-checksum-mode: ENABLED"));
    return RN_STATUS_OK;
}

/* ---- failures ---- */

static bool correct_region(s3 *s, const rn__http_answer *answer)
{
    char region[sizeof s->region];
    rn__http_header(answer, "x-amz-bucket-region", region, sizeof region);
    if (s->region_corrected || !region[0] || strcmp(region, s->region) == 0) return false;
    if (region[strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-")]) return false;
    strcpy(s->region, region);
    s->region_corrected = true;
    return true;
}

static bool is_out_of_date(const rn__http_answer *answer)
{
    static const char *const codes[] = {"ExpiredToken",         "ExpiredTokenException", "InvalidToken",
                                        "TokenRefreshRequired", "RequestExpired",        "InvalidAccessKeyId"};
    char code[64], message[8];
    rn__s3_parse_error(answer->body.at, answer->body.bytes, code, sizeof code, message, sizeof message);
    if (answer->code == 401) return true;
    /* An answer to HEAD has no body that could tell. */
    if (answer->code == 400 && !code[0]) return true;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(code, codes[i]) == 0) return true;
    return false;
}

static bool renew(void *context, const rn__http_answer *answer)
{
    const rn__store *store = context;
    s3 *s = store->private_part;
    if (answer->code < 300 || answer->code >= 404) return false;
    return correct_region(s, answer) || (is_out_of_date(answer) && rn__aws_credentials_drop(s->credentials));
}

static bool denies(void *context, const rn__http_answer *answer)
{
    (void)context;
    return answer->code == 400 && is_out_of_date(answer);
}

static void explain(void *context, const rn__http_answer *answer, char *out, size_t out_bytes)
{
    (void)context;
    char code[64], message[256];
    rn__s3_parse_error(answer->body.at, answer->body.bytes, code, sizeof code, message, sizeof message);
    if (*code) snprintf(out, out_bytes, "%s: %s", code, message);
}

static void identify(void *context, char *out, size_t out_bytes)
{
    const s3 *s = ((const rn__store *)context)->private_part;
    rn__aws_credentials_identify(s->credentials, out, out_bytes);
}

/* ---- the store ---- */

static void close_store(rn__store *store)
{
    s3 *s = store->private_part;
    if (s) rn__aws_credentials_destroy(s->credentials);
    free(s);
}

static rn_status open_store(rn__store *store, rn_error *err)
{
    s3 *s = store->private_part = calloc(1, sizeof *s);
    if (!s) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a bucket");
    const char *region = rn__env("AWS_REGION"), *endpoint = rn__env("AWS_ENDPOINT_URL_S3");
    if (!region) region = rn__env("AWS_DEFAULT_REGION");
    if (snprintf(s->region, sizeof s->region, "%s", region ? region : "us-east-1") >= (int)sizeof s->region)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "AWS_REGION: \"%.80s...\" is no region", region);
    s->endpoint = endpoint ? endpoint : rn__env("AWS_ENDPOINT_URL");
    if (s->endpoint && strncmp(s->endpoint, "http://", 7) != 0 && strncmp(s->endpoint, "https://", 8) != 0)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "AWS_ENDPOINT_URL: expected http://... or https://..., found \"%s\"", s->endpoint);
    store->site =
        (rn__http_site){.sign = sign, .renew = renew, .denies = denies, .explain = explain, .identify = identify, .context = store};
    return rn__aws_credentials_create(store->http, &s->credentials, err);
}

static rn_status list_page(rn__store *store, const char *prefix, const char *what, rn__objects *out, char **token, rn_error *err)
{
    rn__buffer query = {0};
    rn__http_request request = {.site = &store->site, .method = "GET", .what = what};
    rn__http_answer answer = {0};
    char *query_text = NULL;
    if (*token) {
        rn__buffer_put(&query, "continuation-token=");
        rn__buffer_encode(&query, *token, false);
        rn__buffer_put(&query, "&");
    }
    rn__buffer_put(&query, "encoding-type=url&list-type=2&prefix=");
    rn__buffer_encode(&query, prefix, false);
    free(*token);
    *token = NULL;
    rn_status status = rn__buffer_take(&query, &query_text, err);
    if (status == RN_STATUS_OK) status = make_url(store, "", query_text, &request.url, err);
    if (status == RN_STATUS_OK) status = rn__http_run(store->http, &request, RN__MOST_LISTING_BYTES, &answer, err);
    if (status == RN_STATUS_OK) {
        status = rn__s3_parse_page(answer.body.at, answer.body.bytes, prefix, out, token, err);
        if (status != RN_STATUS_OK) rn_error_prefix(err, "%s", what);
    }
    rn__http_answer_deinit(&answer);
    rn__http_request_deinit(&request);
    free(query_text);
    return status;
}

/* An ETag is the MD5 of what was put at once, unless it was encrypted with a key of KMS or of the client. */
static bool is_md5(const rn__http_answer *answer)
{
    char encryption[32], customer[32];
    rn__http_header(answer, "x-amz-server-side-encryption", encryption, sizeof encryption);
    rn__http_header(answer, "x-amz-server-side-encryption-customer-algorithm", customer, sizeof customer);
    return !customer[0] && strncmp(encryption, "aws:kms", 7) != 0;
}

static void take_checksums(const rn__http_answer *answer, rn__check *check)
{
    static const struct {
        const char *header;
        rn__check_kind kind;
    } headers[] = {{"x-amz-checksum-sha256", RN__CHECK_SHA256},
                   {"x-amz-checksum-crc64nvme", RN__CHECK_CRC64},
                   {"x-amz-checksum-crc32c", RN__CHECK_CRC32C},
                   {"x-amz-checksum-crc32", RN__CHECK_CRC32}};
    char type[32], value[96];
    rn__http_header(answer, "x-amz-checksum-type", type, sizeof type);
    /* One of parts' checksums ("COMPOSITE", a value that ends in "-4") cannot be compared with the whole. */
    for (size_t i = 0; strcmp(type, "COMPOSITE") != 0 && i < sizeof headers / sizeof *headers; i++) {
        rn__http_header(answer, headers[i].header, value, sizeof value);
        rn__check_improve_base64(check, headers[i].kind, value);
    }
    rn__http_header(answer, "etag", value, sizeof value);
    const size_t length = strlen(value);
    if (length < 2 || value[0] != '"' || !is_md5(answer)) return;
    value[length - 1] = '\0';
    rn__check_improve_hex(check, RN__CHECK_MD5, value + 1);
}

static rn_status examine(rn__store *store, const char *key, const char *what, rn__object *object, rn_error *err)
{
    rn__http_request request = {.site = &store->site, .method = "HEAD", .what = what};
    rn__http_answer answer = {0};
    char tag[256] = "";
    rn_status status = make_url(store, key, "", &request.url, err);
    if (status == RN_STATUS_OK) status = rn__http_run(store->http, &request, 0, &answer, err);
    if (status == RN_STATUS_OK) {
        rn__http_header(&answer, "etag", tag, sizeof tag);
        if (object->tag[0] && strcmp(tag, object->tag) != 0)
            status = RN_FAIL(err, RN_STATUS_FAILED_PRECONDITION, "%s: changed after it was listed", what);
        else
            take_checksums(&answer, &object->check);
    }
    rn__http_answer_deinit(&answer);
    rn__http_request_deinit(&request);
    return status;
}

/* As it was listed, or not at all. */
static rn_status get(rn__store *store, const char *key, const rn__object *object, rn__http_request *out, rn_error *err)
{
    out->site = &store->site;
    RN_TRY(make_url(store, key, "", &out->url, err));
    return object->tag[0] ? rn__http_set_condition(out, "If-Match: ", object->tag, err) : RN_STATUS_OK;
}

const rn__store_kind rn__store_s3 = {
    .scheme = "s3", .open = open_store, .close = close_store, .list_page = list_page, .examine = examine, .get = get};
