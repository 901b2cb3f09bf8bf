/* Tokens for Google Cloud Storage: of the service account whose key file GOOGLE_APPLICATION_CREDENTIALS names, or of the machine's or
 * Kubernetes workload's service account, from the metadata server. Where there is neither, requests go out without one, for public buckets.
 *
 * GKE's metadata server may start after the pod that asks it, so that its failures are not believed in the first half minute. */
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loader/io_error.h"
#include "loader/storage_private.h"

enum {
    RENEW_BEFORE_S = 300,
    LATE_MS =
        30000, /* cloud.google.com/kubernetes-engine/docs/concepts/workload-identity: "the first few seconds", asked for with retries */
    LATE_PAUSE_MS = 1000,
    METADATA_CONNECT_MS = 1000,
    MOST_ANSWER_BYTES = 64 << 10,
    MOST_FILE_BYTES = 64 << 10,
    ASSERTION_S = 3600,
};

static const char scope[] = "https://www.googleapis.com/auth/devstorage.read_only";

struct rn__google_credentials {
    rn__http_client *http;
    rn__http_site site;
    int64_t begin_ms;
    bool anonymous; /* decided */
    char *token;
    int64_t expires; /* Unix time */
    char identity[512];
};

/* ---- key files ---- */

static rn_status read_file(const char *path, json_t **out, rn_error *err)
{
    char *text = malloc(MOST_FILE_BYTES);
    if (!text) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials");
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? read(fd, text, MOST_FILE_BYTES) : -1;
    const rn_status status = got < 0 ? rn__io_error(path, err) : RN_STATUS_OK;
    json_error_t where;
    if (fd >= 0) close(fd);
    *out = got > 0 && got < MOST_FILE_BYTES ? json_loadb(text, (size_t)got, 0, &where) : NULL;
    if (got > 0) OPENSSL_cleanse(text, (size_t)got);
    free(text);
    if (status != RN_STATUS_OK) {
        rn_error_prefix(err, "GOOGLE_APPLICATION_CREDENTIALS");
        return status == RN_STATUS_NOT_FOUND ? RN_FAIL(err, RN_STATUS_PERMISSION_DENIED, "%s", err ? err->message : "") : status;
    }
    if (*out && json_is_object(*out)) return RN_STATUS_OK;
    json_decref(*out);
    return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED, "GOOGLE_APPLICATION_CREDENTIALS: %s: expected a JSON object", path);
}

static const char *field(const json_t *file, const char *name)
{
    const char *text = json_string_value(json_object_get(file, name));
    return text ? text : "";
}

/* RFC 7518, 3.3. */
static bool sign_rs256(const char *pem, rn__buffer *text)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, "") : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *signature = NULL;
    size_t bytes = 0;
    bool good =
        key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(context, NULL, &bytes, (const unsigned char *)text->at, text->bytes) == 1 && (signature = malloc(bytes)) != NULL &&
        EVP_DigestSign(context, signature, &bytes, (const unsigned char *)text->at, text->bytes) == 1;
    if (good) {
        rn__buffer_put(text, ".");
        rn__buffer_base64url(text, signature, bytes);
    }
    free(signature);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return good;
}

static void put_part(rn__buffer *out, json_t *part)
{
    char *text = part ? json_dumps(part, JSON_COMPACT) : NULL;
    if (text)
        rn__buffer_base64url(out, text, strlen(text));
    else
        out->failed = true;
    free(text);
    json_decref(part);
}

static rn_status make_assertion(const json_t *file, const char *path, rn__buffer *out, rn_error *err)
{
    const json_int_t now = time(NULL);
    put_part(out, json_pack("{s:s, s:s, s:s}", "alg", "RS256", "typ", "JWT", "kid", field(file, "private_key_id")));
    rn__buffer_put(out, ".");
    put_part(out, json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", field(file, "client_email"), "scope", scope, "aud",
                            field(file, "token_uri"), "iat", now, "exp", now + ASSERTION_S));
    if (out->failed) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials");
    if (sign_rs256(field(file, "private_key"), out)) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED, "GOOGLE_APPLICATION_CREDENTIALS: %s: its private_key is no RSA key in PEM", path);
}

static rn_status check_file(const json_t *file, const char *path, rn_error *err)
{
    const char *type = field(file, "type"), *uri = field(file, "token_uri");
    if (strcmp(type, "service_account") != 0)
        return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED,
                       "GOOGLE_APPLICATION_CREDENTIALS: %s: expected \"type\": \"service_account\", found \"%.40s\"", path, type);
    if (strncmp(uri, "https://", 8) != 0 && strncmp(uri, "http://127.0.0.1:", 17) != 0 && strncmp(uri, "http://localhost:", 17) != 0)
        return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED,
                       "GOOGLE_APPLICATION_CREDENTIALS: %s: expected a token_uri with https://, found \"%.100s\"", path, uri);
    return RN_STATUS_OK;
}

static rn_status take_token(rn__google_credentials *c, const rn__http_answer *answer, rn_error *err)
{
    char *token;
    int64_t lifetime_s;
    RN_TRY(rn__google_parse_token(answer->body.at, answer->body.bytes, &token, &lifetime_s, err));
    rn__secret_free(c->token);
    c->token = token;
    c->expires = time(NULL) + lifetime_s;
    return RN_STATUS_OK;
}

static bool denies(void *context, const rn__http_answer *answer)
{
    (void)context;
    return answer->code >= 400 && answer->code < 500 && answer->code != 408 && answer->code != 429;
}

static rn_status exchange(rn__google_credentials *c, const json_t *file, const char *path, rn_error *err)
{
    rn__http_site site = c->site;
    rn__http_request request = {.site = &site, .method = "POST", .what = "Google's token endpoint"};
    rn__http_answer answer = {0};
    rn__buffer assertion = {0};
    site.denies = denies;
    rn_status status = make_assertion(file, path, &assertion, err);
    if (status == RN_STATUS_OK) {
        rn__buffer_put(&request.body, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
        rn__buffer_put(&request.body, assertion.at);
        request.url = strdup(field(file, "token_uri"));
        if (request.body.failed || !request.url) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials");
    }
    if (status == RN_STATUS_OK) status = rn__http_run(c->http, &request, MOST_ANSWER_BYTES, &answer, err);
    if (status == RN_STATUS_OK) status = take_token(c, &answer, err);
    rn__buffer_deinit(&assertion);
    rn__http_answer_deinit(&answer);
    rn__http_request_deinit(&request);
    return status;
}

static rn_status from_file(rn__google_credentials *c, const char *path, rn_error *err)
{
    json_t *file;
    RN_TRY(read_file(path, &file, err));
    rn_status status = check_file(file, path, err);
    snprintf(c->identity, sizeof c->identity, "as service account %.200s, of GOOGLE_APPLICATION_CREDENTIALS", field(file, "client_email"));
    if (status == RN_STATUS_OK) status = exchange(c, file, path, err);
    json_decref(file);
    return status;
}

/* ---- metadata server ---- */

static rn_status ask_metadata(rn__google_credentials *c, const char *name, rn__http_answer *answer, rn_error *err)
{
    const char *host = rn__env("GCE_METADATA_HOST");
    rn__http_request request = {
        .site = &c->site, .method = "GET", .what = "the metadata server", .connect_ms = METADATA_CONNECT_MS, .direct = true};
    rn__buffer url = {0};
    rn__buffer_format(&url, "http://%s/computeMetadata/v1/instance/service-accounts/default/%s", host ? host : "169.254.169.254", name);
    rn_status status = rn__buffer_take(&url, &request.url, err);
    if (status == RN_STATUS_OK) status = rn__http_set_condition(&request, "Metadata-Flavor: ", "Google", err);
    if (status == RN_STATUS_OK) status = rn__http_run(c->http, &request, MOST_ANSWER_BYTES, answer, err);
    rn__http_request_deinit(&request);
    return status;
}

static void note_email(rn__google_credentials *c)
{
    rn__http_answer answer = {0};
    char email[256] = "default";
    if (ask_metadata(c, "email", &answer, NULL) == RN_STATUS_OK && answer.body.at) rn__put_words(answer.body.at, email, sizeof email);
    snprintf(c->identity, sizeof c->identity, "as service account %s, of the metadata server", email);
    rn__http_answer_deinit(&answer);
}

static rn_status ask_token(rn__google_credentials *c, rn_error *err)
{
    rn__http_answer answer = {0};
    rn_status status = ask_metadata(c, "token", &answer, err);
    if (status == RN_STATUS_OK) status = take_token(c, &answer, err);
    rn__http_answer_deinit(&answer);
    return status;
}

/* Whether there ought to be a metadata server that is worth waiting for. */
static bool is_on_google(void)
{
    char product[32] = "";
    if (rn__env("GCE_METADATA_HOST") || rn__env("KUBERNETES_SERVICE_HOST")) return true;
    const int fd = open("/sys/class/dmi/id/product_name", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, product, sizeof product - 1) < 0) product[0] = '\0';
    if (fd >= 0) close(fd);
    return strncmp(product, "Google", 6) == 0;
}

static rn_status from_metadata(rn__google_credentials *c, rn_error *err)
{
    const int32_t retries = c->http->max_retries;
    const bool expected = is_on_google();
    rn_error why;
    if (c->anonymous) return RN_STATUS_OK;
    if (!expected) c->http->max_retries = 0;
    rn_status status = ask_token(c, &why);
    while (status != RN_STATUS_OK && status != RN_STATUS_CANCELLED && expected && rn__http_now_ms() - c->begin_ms < LATE_MS) {
        rn__http_pause(c->http, LATE_PAUSE_MS);
        status = ask_token(c, &why);
    }
    c->http->max_retries = retries;
    if (status == RN_STATUS_OK) {
        if (!c->identity[0]) note_email(c);
        return RN_STATUS_OK;
    }
    /* Nobody there, or nobody to be. */
    if (!c->identity[0] && (status == RN_STATUS_UNAVAILABLE || status == RN_STATUS_NOT_FOUND)) {
        c->anonymous = true;
        snprintf(c->identity, sizeof c->identity, "without credentials: GOOGLE_APPLICATION_CREDENTIALS is not set; %.300s", why.message);
        return RN_STATUS_OK;
    }
    if (err) *err = why;
    return status;
}

/* ---- the token ---- */

rn_status rn__google_credentials_get(rn__google_credentials *c, const char **out, rn_error *err)
{
    const char *path = rn__env("GOOGLE_APPLICATION_CREDENTIALS");
    const int64_t now = time(NULL);
    if (!path && !c->identity[0] && rn__env("STORAGE_EMULATOR_HOST") && !rn__env("GCE_METADATA_HOST")) {
        c->anonymous = true;
        snprintf(c->identity, sizeof c->identity, "without credentials, as emulators are");
    }
    if (!c->anonymous && (!c->token || now >= c->expires - RENEW_BEFORE_S)) {
        const rn_status status = path ? from_file(c, path, err) : from_metadata(c, err);
        /* The one at hand is good for a little while yet. */
        if (status != RN_STATUS_OK && (!c->token || now >= c->expires)) {
            rn_error_prefix(err, "credentials");
            return status;
        }
    }
    *out = c->anonymous ? NULL : c->token;
    return RN_STATUS_OK;
}

bool rn__google_credentials_drop(rn__google_credentials *c)
{
    if (c->anonymous) return false;
    rn__secret_free(c->token);
    c->token = NULL;
    return true;
}

void rn__google_credentials_identify(const rn__google_credentials *c, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", c->identity);
}

static void explain(void *context, const rn__http_answer *answer, char *out, size_t out_bytes)
{
    (void)context;
    rn__gs_parse_error(answer->body.at, answer->body.bytes, out, out_bytes);
}

rn_status rn__google_credentials_create(rn__http_client *http, rn__google_credentials **out, rn_error *err)
{
    rn__google_credentials *c = calloc(1, sizeof *c);
    if (!c) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials");
    c->http = http;
    c->begin_ms = rn__http_now_ms();
    c->site = (rn__http_site){.explain = explain, .context = c};
    *out = c;
    return RN_STATUS_OK;
}

void rn__google_credentials_destroy(rn__google_credentials *c)
{
    if (!c) return;
    rn__secret_free(c->token);
    free(c);
}
