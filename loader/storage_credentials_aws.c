/* Keys for AWS, from the first source that the environment names: keys in variables, a web identity that STS exchanges (IRSA), the
 * container endpoint (EKS Pod Identity, ECS), the instance's metadata service (version 2). Where there is none, requests go out unsigned,
 * for public buckets. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loader/io_error.h"
#include "loader/storage_private.h"

enum {
    RENEW_BEFORE_S = 300,
    MOST_ANSWER_BYTES = 64 << 10,
    MOST_TOKEN_BYTES = 16 << 10,
    METADATA_CONNECT_MS = 1000, /* it is on the same machine or nowhere */
    SESSION_TOKEN_S = 21600,
};

typedef rn_status (*source)(rn__aws_credentials *c, rn__aws_keys *out, rn_error *err);

struct rn__aws_credentials {
    rn__http_client *http;
    rn__http_site site; /* of STS and the metadata services: only explains */
    source source;      /* NULL: not chosen yet */
    bool chosen, fixed;
    rn__aws_keys keys;
    int64_t got; /* when */
    char identity[512];
};

void rn__aws_keys_deinit(rn__aws_keys *keys)
{
    rn__secret_free(keys->id);
    rn__secret_free(keys->secret);
    rn__secret_free(keys->token);
    *keys = (rn__aws_keys){0};
}

static rn_status copy_text(const char *from, char **out, rn_error *err)
{
    *out = strdup(from);
    return *out ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials");
}

/* Small files that somebody else rotates: read anew every time. The caller frees *out. */
static rn_status read_token(const char *path, char **out, rn_error *err)
{
    char *text = malloc(MOST_TOKEN_BYTES);
    if (!text) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials");
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, MOST_TOKEN_BYTES) : -1;
    const rn_status status = got < 0 ? rn__io_error(path, err) : RN_STATUS_OK;
    if (fd >= 0) close(fd);
    while (got > 0 && got < MOST_TOKEN_BYTES && strchr(" \r\n\t", text[got - 1])) got--;
    if (status == RN_STATUS_OK && got > 0 && got < MOST_TOKEN_BYTES) {
        text[got] = '\0';
        *out = text;
        return RN_STATUS_OK;
    }
    if (got > 0) OPENSSL_cleanse(text, (size_t)got);
    free(text);
    if (status != RN_STATUS_OK) return status;
    return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED, "%s: expected a token of up to %d bytes, found %zd", path, MOST_TOKEN_BYTES - 1, got);
}

/* ---- variables ---- */

static rn_status from_variables(rn__aws_credentials *c, rn__aws_keys *out, rn_error *err)
{
    const char *id = rn__env("AWS_ACCESS_KEY_ID"), *secret = rn__env("AWS_SECRET_ACCESS_KEY"), *token = rn__env("AWS_SESSION_TOKEN");
    const size_t length = strlen(id);
    snprintf(c->identity, sizeof c->identity, "with the access key ...%s of AWS_ACCESS_KEY_ID", id + (length > 4 ? length - 4 : length));
    if (!secret) return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED, "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not");
    RN_TRY(copy_text(id, &out->id, err));
    RN_TRY(copy_text(secret, &out->secret, err));
    return token ? copy_text(token, &out->token, err) : RN_STATUS_OK;
}

/* ---- web identity ---- */

static void put_sts_url(rn__buffer *out)
{
    const char *endpoint = rn__env("AWS_ENDPOINT_URL_STS"), *region = rn__env("AWS_REGION"),
               *regional = rn__env("AWS_STS_REGIONAL_ENDPOINTS");
    if (!endpoint) endpoint = rn__env("AWS_ENDPOINT_URL");
    if (!region) region = rn__env("AWS_DEFAULT_REGION");
    if (endpoint)
        rn__buffer_format(out, "%s%s", endpoint, endpoint[strlen(endpoint) - 1] == '/' ? "" : "/");
    else if (!region || (regional && strcmp(regional, "legacy") == 0))
        rn__buffer_put(out, "https://sts.amazonaws.com/");
    else
        rn__buffer_format(out, "https://sts.%s.amazonaws.com%s/", region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

static rn_status ask_sts(rn__aws_credentials *c, const char *role, const char *token, rn__aws_keys *out, rn_error *err)
{
    const char *session = rn__env("AWS_ROLE_SESSION_NAME");
    rn__buffer url = {0};
    rn__http_answer answer = {0};
    rn__http_request request = {.site = &c->site, .method = "POST", .what = "AWS STS, AssumeRoleWithWebIdentity"};
    rn__buffer_put(&request.body, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
    rn__buffer_encode(&request.body, role, false);
    rn__buffer_put(&request.body, "&RoleSessionName=");
    rn__buffer_encode(&request.body, session ? session : "resnetd", false);
    rn__buffer_put(&request.body, "&WebIdentityToken=");
    rn__buffer_encode(&request.body, token, false);
    put_sts_url(&url);
    rn_status status = rn__buffer_take(&url, &request.url, err);
    if (status == RN_STATUS_OK && request.body.failed) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a request to STS");
    if (status == RN_STATUS_OK) status = rn__http_run(c->http, &request, MOST_ANSWER_BYTES, &answer, err);
    if (status == RN_STATUS_OK) status = rn__aws_parse_sts(answer.body.at, answer.body.bytes, out, err);
    rn__http_answer_deinit(&answer);
    rn__http_request_deinit(&request);
    return status;
}

static rn_status from_web_identity(rn__aws_credentials *c, rn__aws_keys *out, rn_error *err)
{
    const char *role = rn__env("AWS_ROLE_ARN");
    char *token;
    if (!role) return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED, "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not");
    snprintf(c->identity, sizeof c->identity, "as role %s, by web identity", role);
    RN_TRY(read_token(rn__env("AWS_WEB_IDENTITY_TOKEN_FILE"), &token, err));
    const rn_status status = ask_sts(c, role, token, out, err);
    rn__secret_free(token);
    return status;
}

/* ---- endpoints on the machine ---- */

static rn_status ask_local(rn__aws_credentials *c, const char *method, const char *url, const char *header, const char *what,
                           rn__http_answer *answer, rn_error *err)
{
    rn__http_request request = {.site = &c->site, .method = method, .what = what, .connect_ms = METADATA_CONNECT_MS, .direct = true};
    rn_status status = copy_text(url, &request.url, err);
    if (status == RN_STATUS_OK && header) status = copy_text(header, &request.condition, err);
    if (status == RN_STATUS_OK) status = rn__http_run(c->http, &request, MOST_ANSWER_BYTES, answer, err);
    if (request.condition) OPENSSL_cleanse(request.condition, strlen(request.condition));
    rn__http_request_deinit(&request);
    return status;
}

/* Keys go over plain HTTP to this machine and to the addresses of EKS and ECS alone, as in the SDKs. */
static bool may_be_plain(const char *url)
{
    static const char *const hosts[] = {"http://localhost",     "http://127.0.0.1",      "http://[::1]",
                                        "http://169.254.170.2", "http://169.254.170.23", "http://[fd00:ec2::23]"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        const size_t length = strlen(hosts[i]);
        if (strncmp(url, hosts[i], length) == 0 && (url[length] == '/' || url[length] == ':' || !url[length])) return true;
    }
    return strncmp(url, "https://", 8) == 0;
}

static rn_status container_header(char **out, rn_error *err)
{
    const char *file = rn__env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), *fixed = rn__env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    char *token = NULL;
    rn__buffer header = {0};
    *out = NULL;
    if (!file && !fixed) return RN_STATUS_OK;
    if (file) RN_TRY(read_token(file, &token, err));
    const bool clean = !strpbrk(file ? token : fixed, "\r\n");
    if (clean) rn__buffer_format(&header, "Authorization: %s", file ? token : fixed);
    rn__secret_free(token);
    if (!clean) return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED, "the container's authorization token has several lines");
    return rn__buffer_take(&header, out, err);
}

static rn_status from_container(rn__aws_credentials *c, rn__aws_keys *out, rn_error *err)
{
    static const char what[] = "the container's credentials endpoint";
    const char *full = rn__env("AWS_CONTAINER_CREDENTIALS_FULL_URI"), *relative = rn__env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    char url[2048], *header = NULL;
    rn__http_answer answer = {0};
    snprintf(c->identity, sizeof c->identity, "with the container's credentials");
    if (snprintf(url, sizeof url, "%s%s", relative ? "http://169.254.170.2" : "", relative ? relative : full) >= (int)sizeof url ||
        !may_be_plain(url))
        return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED,
                       "AWS_CONTAINER_CREDENTIALS_FULL_URI: expected https:// or an address of this machine, found \"%.200s\"", url);
    RN_TRY(container_header(&header, err));
    rn_status status = ask_local(c, "GET", url, header, what, &answer, err);
    if (status == RN_STATUS_OK) status = rn__aws_parse_keys_json(answer.body.at, answer.body.bytes, out, err);
    if (status == RN_STATUS_OK && out->identity[0])
        snprintf(c->identity, sizeof c->identity, "as role %.400s, by the container's credentials", out->identity);
    rn__http_answer_deinit(&answer);
    rn__secret_free(header);
    return status;
}

static rn_status read_instance(rn__aws_credentials *c, const char *base, const char *header, rn__aws_keys *out, rn_error *err)
{
    static const char what[] = "the instance's metadata service";
    char url[1024], role[256];
    rn__http_answer answer = {0};
    snprintf(url, sizeof url, "%s/latest/meta-data/iam/security-credentials/", base);
    rn_status status = ask_local(c, "GET", url, header, what, &answer, err);
    if (status == RN_STATUS_OK) {
        rn__put_words(answer.body.at ? answer.body.at : "", role, sizeof role);
        role[strcspn(role, " ")] = '\0';
        snprintf(c->identity, sizeof c->identity, "as the instance's role %s", role);
        snprintf(url, sizeof url, "%s/latest/meta-data/iam/security-credentials/%s", base, role);
        rn__http_answer_deinit(&answer);
        status = ask_local(c, "GET", url, header, what, &answer, err);
    }
    if (status == RN_STATUS_OK) status = rn__aws_parse_keys_json(answer.body.at, answer.body.bytes, out, err);
    rn__http_answer_deinit(&answer);
    return status;
}

static const char *metadata_base(void)
{
    const char *base = rn__env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    return base ? base : "http://169.254.169.254";
}

static rn_status from_instance(rn__aws_credentials *c, rn__aws_keys *out, rn_error *err)
{
    char base[512], url[600], ttl[80];
    rn__http_answer answer = {0};
    rn__buffer header = {0};
    snprintf(base, sizeof base, "%s", metadata_base());
    while (*base && base[strlen(base) - 1] == '/') base[strlen(base) - 1] = '\0';
    snprintf(url, sizeof url, "%s/latest/api/token", base);
    snprintf(ttl, sizeof ttl, "x-aws-ec2-metadata-token-ttl-seconds: %d", SESSION_TOKEN_S);
    rn_status status = ask_local(c, "PUT", url, ttl, "the instance's metadata service", &answer, err);
    if (status == RN_STATUS_OK && (!answer.body.at || strpbrk(answer.body.at, "\r\n")))
        status = RN_FAIL(err, RN_STATUS_UNAVAILABLE, "the instance's metadata service answered without a token");
    if (status == RN_STATUS_OK) {
        rn__buffer_format(&header, "x-aws-ec2-metadata-token: %s", answer.body.at);
        status = header.failed ? RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials")
                               : read_instance(c, base, header.at, out, err);
    }
    rn__http_answer_deinit(&answer);
    rn__buffer_deinit(&header);
    return status;
}

/* ---- choosing ---- */

static const struct {
    const char *variables[2]; /* any of them chooses the source */
    source source;
    bool fixed; /* asking again gives the same keys */
} sources[] = {
    {{"AWS_ACCESS_KEY_ID"}, from_variables, true},
    {{"AWS_WEB_IDENTITY_TOKEN_FILE"}, from_web_identity, false},
    {{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"}, from_container, false},
};

static void choose(rn__aws_credentials *c)
{
    c->chosen = true;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        for (int v = 0; v < 2; v++) {
            if (!sources[i].variables[v] || !rn__env(sources[i].variables[v])) continue;
            c->source = sources[i].source;
            c->fixed = sources[i].fixed;
            return;
        }
    const char *disabled = rn__env("AWS_EC2_METADATA_DISABLED");
    if (!disabled || strcmp(disabled, "true") != 0) c->source = from_instance;
}

/* Without a machine's metadata service there is nobody to be: a laptop that reads a public bucket. Its answer that there is no role comes
 * to the same. It is asked once, and briefly. */
static rn_status ask_instance_first(rn__aws_credentials *c, rn__aws_keys *out, rn_error *err)
{
    rn_error why;
    const int32_t retries = c->http->max_retries;
    if (retries > 1) c->http->max_retries = 1;
    const rn_status status = from_instance(c, out, &why);
    c->http->max_retries = retries;
    if (status == RN_STATUS_OK || status == RN_STATUS_CANCELLED || status == RN_STATUS_OUT_OF_MEMORY) {
        if (status != RN_STATUS_OK && err) *err = why;
        return status;
    }
    c->source = NULL;
    snprintf(c->identity, sizeof c->identity,
             "without credentials: none of AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_CREDENTIALS_* is set; %.200s",
             why.message);
    return RN_STATUS_OK;
}

static void take(rn__aws_credentials *c, rn__aws_keys *fresh)
{
    rn__aws_keys_deinit(&c->keys);
    c->keys = *fresh;
    c->got = time(NULL);
}

rn_status rn__aws_credentials_get(rn__aws_credentials *c, const rn__aws_keys **out, rn_error *err)
{
    const int64_t now = time(NULL);
    rn__aws_keys fresh = {0};
    *out = &c->keys;
    if (!c->chosen) choose(c);
    if (!c->source) {
        if (!c->identity[0]) snprintf(c->identity, sizeof c->identity, "without credentials: the environment names none");
        return RN_STATUS_OK;
    }
    if (c->keys.id && (c->keys.expires == 0 || now < c->keys.expires - RENEW_BEFORE_S)) return RN_STATUS_OK;
    rn_error why;
    const bool first = c->source == from_instance && !c->got;
    const rn_status status = first ? ask_instance_first(c, &fresh, &why) : c->source(c, &fresh, &why);
    if (status == RN_STATUS_OK) {
        take(c, &fresh);
        return RN_STATUS_OK;
    }
    rn__aws_keys_deinit(&fresh);
    /* Those at hand are good for a little while yet. */
    if (c->keys.id && now < c->keys.expires) return RN_STATUS_OK;
    if (err) *err = why;
    rn_error_prefix(err, "credentials, asking %s", c->identity);
    return status;
}

bool rn__aws_credentials_drop(rn__aws_credentials *c)
{
    if (!c->source || c->fixed) return false;
    rn__aws_keys_deinit(&c->keys);
    return true;
}

void rn__aws_credentials_identify(const rn__aws_credentials *c, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", c->identity);
}

static void explain(void *context, const rn__http_answer *answer, char *out, size_t out_bytes)
{
    (void)context;
    char code[64], message[256];
    rn__s3_parse_error(answer->body.at, answer->body.bytes, code, sizeof code, message, sizeof message);
    if (*code) snprintf(out, out_bytes, "%s: %s", code, message);
}

/* STS answers 400 to a token that it does not accept. */
static bool denies(void *context, const rn__http_answer *answer)
{
    (void)context;
    return answer->code >= 400 && answer->code < 500 && answer->code != 408 && answer->code != 429;
}

rn_status rn__aws_credentials_create(rn__http_client *http, rn__aws_credentials **out, rn_error *err)
{
    rn__aws_credentials *c = calloc(1, sizeof *c);
    if (!c) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for credentials");
    c->http = http;
    c->site = (rn__http_site){.denies = denies, .explain = explain};
    *out = c;
    return RN_STATUS_OK;
}

void rn__aws_credentials_destroy(rn__aws_credentials *c)
{
    if (!c) return;
    rn__aws_keys_deinit(&c->keys);
    free(c);
}
