/* libcurl's multi handles serve both single requests and parallel downloads, so that connections are kept and no thread is needed.
 *
 * Messages hold libcurl's words for a failure and not its details ("after 132 ms"), because a look at a storage that does not answer is
 * logged when its message changes. */
#include "loader/storage_http.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CONNECT_MS = 10000,
    MOST_WAIT_MS = 1000,
    MOST_HEADER_BYTES = 32 << 10,
    FIRST_DELAY_MS = 200, /* doubled with every failure, and half of it left to chance so that replicas do not return together */
    MOST_DELAY_MS = 10000,
    MOST_TOLD_MS = 30000, /* what a server's Retry-After may ask for */
    SLOWEST_BYTES = 1024, /* a second, on average of the time that a request may stand still */
};

rn_status rn__http_client_init(rn__http_client *client, rn_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
        client->multi = curl_multi_init();
        client->single = curl_multi_init();
    }
    if (!client->multi || !client->single) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "libcurl cannot be started");
    if (RAND_bytes((unsigned char *)&client->random, sizeof client->random) != 1) client->random = (uint64_t)time(NULL);
    client->random |= 1;
    return RN_STATUS_OK;
}

void rn__http_client_deinit(rn__http_client *client)
{
    if (!client->multi && !client->single) return;
    curl_multi_cleanup(client->multi);
    curl_multi_cleanup(client->single);
    client->multi = client->single = NULL;
    curl_global_cleanup();
}

void rn__http_cancel(rn__http_client *client)
{
    atomic_store(&client->cancelled, true);
    curl_multi_wakeup(client->multi);
    curl_multi_wakeup(client->single);
}

rn_status rn__http_check_cancelled(const rn__http_client *client, rn_error *err)
{
    if (!atomic_load(&client->cancelled)) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_CANCELLED, "the storage is not asked any more: the process is stopping");
}

void rn__http_wait(rn__http_client *client, int64_t most_ms)
{
    if (most_ms > 0) curl_multi_poll(client->multi, NULL, 0, (int)(most_ms < MOST_WAIT_MS ? most_ms : MOST_WAIT_MS), NULL);
}

int64_t rn__http_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void rn__http_pause(rn__http_client *client, int64_t delay_ms)
{
    const int64_t until = rn__http_now_ms() + delay_ms;
    for (int64_t left = delay_ms; left > 0 && !atomic_load(&client->cancelled); left = until - rn__http_now_ms())
        rn__http_wait(client, left);
}

/* ---- requests and answers ---- */

void rn__http_request_deinit(rn__http_request *request)
{
    for (struct curl_slist *h = request->headers; h; h = h->next) OPENSSL_cleanse(h->data, strlen(h->data));
    curl_slist_free_all(request->headers);
    rn__buffer_deinit(&request->body);
    free(request->condition);
    free(request->url);
    request->headers = NULL;
    request->condition = request->url = NULL;
}

rn_status rn__http_set_condition(rn__http_request *request, const char *name, const char *value, rn_error *err)
{
    rn__buffer line = {0};
    rn__buffer_format(&line, "%s%s", name, value);
    return rn__buffer_take(&line, &request->condition, err);
}

rn_status rn__http_add_header(rn__http_request *request, rn_error *err, const char *format, ...)
{
    char *line = NULL;
    va_list args;
    va_start(args, format);
    const int length = vasprintf(&line, format, args);
    va_end(args);
    struct curl_slist *longer = length >= 0 ? curl_slist_append(request->headers, line) : NULL;
    if (length >= 0) rn__secret_free(line);
    if (!longer) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a request to the storage");
    request->headers = longer;
    return RN_STATUS_OK;
}

void rn__http_answer_deinit(rn__http_answer *answer)
{
    rn__buffer_deinit(&answer->headers);
    rn__buffer_deinit(&answer->body);
}

void rn__http_header(const rn__http_answer *answer, const char *name, char *out, size_t out_bytes)
{
    const size_t name_bytes = strlen(name);
    out[0] = '\0';
    for (const char *line = answer->headers.at; line && *line;) {
        const char *end = strchr(line, '\n');
        if (!end) return;
        if (strncmp(line, name, name_bytes) == 0 && line[name_bytes] == ':') {
            const char *value = line + name_bytes + 1;
            while (*value == ' ') value++;
            if ((size_t)(end - value) < out_bytes) {
                memcpy(out, value, (size_t)(end - value));
                out[end - value] = '\0';
            }
            return;
        }
        line = end + 1;
    }
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    rn__http_answer *answer = context;
    const size_t all = size * count;
    size_t length = all;
    while (length && (bytes[length - 1] == '\r' || bytes[length - 1] == '\n')) length--;
    if (length >= 5 && memcmp(bytes, "HTTP/", 5) == 0) { /* of a redirect's target, or after 100 Continue */
        rn__buffer_deinit(&answer->headers);
        return all;
    }
    const char *colon = length ? memchr(bytes, ':', length) : NULL;
    if (!colon) return all;
    if (answer->headers.bytes + length > MOST_HEADER_BYTES) return 0;
    const size_t begin = answer->headers.bytes;
    rn__buffer_add(&answer->headers, bytes, length);
    rn__buffer_add(&answer->headers, "\n", 1);
    if (answer->headers.failed) return 0;
    for (char *c = answer->headers.at + begin; *c != ':'; c++) *c = (char)tolower((unsigned char)*c);
    return all;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    rn__http_answer *answer = context;
    const size_t all = size * count;
    if (all > answer->most_bytes - answer->body.bytes) {
        answer->too_long = true;
        return 0;
    }
    rn__buffer_add(&answer->body, bytes, all);
    return answer->body.failed ? 0 : all;
}

/* ---- an attempt ---- */

/* libcurl reads https_proxy, HTTPS_PROXY, no_proxy and NO_PROXY by itself, but for http:// only the name in small letters. */
static const char *proxy_of(const rn__http_request *request)
{
    const bool plain = strncmp(request->url, "http://", 7) == 0;
    return plain && !rn__env("http_proxy") && !rn__env("all_proxy") ? rn__env("HTTP_PROXY") : NULL;
}

static bool set_options(rn__http_client *client, const rn__http_request *request, rn__http_answer *answer, CURL *easy)
{
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad ? bad : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, strncmp(request->url, "https", 5) == 0 ? "https" : "http,https");
    SET(CURLOPT_FOLLOWLOCATION, request->follow ? 1L : 0L);
    SET(CURLOPT_MAXREDIRS, 5L);
    /* One connection a transfer: several fill more of a link than streams of one do. */
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "resnetd");
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(request->connect_ms               ? request->connect_ms
                                          : client->timeout_ms < CONNECT_MS ? client->timeout_ms
                                                                            : CONNECT_MS));
    SET(CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST_BYTES);
    SET(CURLOPT_LOW_SPEED_TIME, (long)((client->timeout_ms + 999) / 1000));
    SET(CURLOPT_HTTPHEADER, request->headers);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, answer);
    SET(CURLOPT_PATH_AS_IS, 1L);
    if (client->ca_file) SET(CURLOPT_CAINFO, client->ca_file);
    if (request->direct)
        SET(CURLOPT_NOPROXY, "*");
    else if (proxy_of(request))
        SET(CURLOPT_PROXY, proxy_of(request));
    if (strcmp(request->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "GET") != 0) {
        SET(CURLOPT_CUSTOMREQUEST, request->method);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.bytes);
        SET(CURLOPT_POSTFIELDS, request->body.at ? request->body.at : "");
    }
    if (request->end) {
        char range[64];
        snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)request->begin, (unsigned long long)request->end - 1);
        SET(CURLOPT_RANGE, range);
    }
#undef SET
    return bad == CURLE_OK;
}

rn_status rn__http_prepare(rn__http_client *client, rn__http_request *request, rn__http_answer *answer, CURL **out, rn_error *err)
{
    for (struct curl_slist *h = request->headers; h; h = h->next) OPENSSL_cleanse(h->data, strlen(h->data));
    curl_slist_free_all(request->headers);
    request->headers = NULL;
    if (request->site && request->site->sign) RN_TRY(request->site->sign(request->site->context, request, err));
    if (request->condition) RN_TRY(rn__http_add_header(request, err, "%s", request->condition));
    rn__http_answer_deinit(answer);
    answer->code = 0;
    answer->too_long = false;
    CURL *easy = curl_easy_init();
    if (easy && set_options(client, request, answer, easy)) {
        *out = easy;
        return RN_STATUS_OK;
    }
    curl_easy_cleanup(easy);
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: libcurl cannot prepare a request", request->what);
}

/* ---- its outcome ---- */

static int64_t next_delay(rn__http_client *client, int32_t failed, const rn__http_answer *answer)
{
    char told[32];
    int64_t delay = FIRST_DELAY_MS;
    for (int32_t i = 1; i < failed && delay < MOST_DELAY_MS; i++) delay *= 2;
    if (delay > MOST_DELAY_MS) delay = MOST_DELAY_MS;
    client->random ^= client->random << 13; /* xorshift64 (Marsaglia, 2003) */
    client->random ^= client->random >> 7;
    client->random ^= client->random << 17;
    delay = delay / 2 + (int64_t)(client->random % (uint64_t)(delay / 2 + 1));
    rn__http_header(answer, "retry-after", told, sizeof told);
    const int64_t wanted = 1000 * (int64_t)strtoul(told, NULL, 10);
    return wanted > delay && wanted <= MOST_TOLD_MS ? wanted : delay;
}

/* Scheme, host and port: the rest of a URL is in `what`. */
static int host_bytes(const char *url)
{
    const char *host = strstr(url, "://");
    return (int)(host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?") : strlen(url));
}

static bool may_pass(CURLcode code)
{
    switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_OUT_OF_MEMORY:
        return false;
    default:
        return true;
    }
}

static rn_status status_of(long code)
{
    switch (code) {
    case 401:
    case 403:
        return RN_STATUS_PERMISSION_DENIED;
    case 404:
    case 410:
        return RN_STATUS_NOT_FOUND;
    case 409:
    case 412:
    case 416:
        return RN_STATUS_FAILED_PRECONDITION;
    default:
        return RN_STATUS_UNAVAILABLE;
    }
}

static bool is_passing(long code)
{
    return code == 408 || code == 429 || (code >= 500 && code != 501 && code != 505);
}

static void describe_refusal(const rn__http_request *request, const rn__http_answer *answer, rn_error *err)
{
    const rn__http_site *site = request->site;
    const bool denied = site && site->denies && site->denies(site->context, answer);
    const rn_status status = denied ? RN_STATUS_PERMISSION_DENIED : status_of(answer->code);
    char reason[512] = "", who[512] = "";
    if (site && site->explain) site->explain(site->context, answer, reason, sizeof reason);
    if (site && site->identify && status == RN_STATUS_PERMISSION_DENIED) site->identify(site->context, who, sizeof who);
    const char *text = status == RN_STATUS_PERMISSION_DENIED     ? "permission denied"
                       : status == RN_STATUS_NOT_FOUND           ? "not found"
                       : status == RN_STATUS_FAILED_PRECONDITION ? "changed while it was being read"
                                                                 : "the storage does not serve it";
    RN_FAIL(err, status, "%s: %s: HTTP %ld%s%s%s%s%s", request->what, text, answer->code, *reason ? " " : "", reason,
            *who ? " (asked " : "", who, *who ? ")" : "");
}

static rn__http_verdict failed_for_now(rn__http_client *client, const rn__http_answer *answer, rn__http_tries *tries, int64_t *delay_ms,
                                       rn_error *err)
{
    if (tries->failed++ < client->max_retries) {
        *delay_ms = next_delay(client, tries->failed, answer);
        return RN__HTTP_AGAIN;
    }
    if (err) {
        const size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, "; %d attempts", tries->failed);
    }
    return RN__HTTP_FAILED;
}

rn__http_verdict rn__http_judge(rn__http_client *client, const rn__http_request *request, const rn__http_answer *answer, CURLcode code,
                                rn__http_tries *tries, int64_t *delay_ms, rn_error *err)
{
    if (rn__http_check_cancelled(client, err) != RN_STATUS_OK) return RN__HTTP_FAILED;
    if (answer->too_long) {
        RN_FAIL(err, RN_STATUS_UNAVAILABLE, "%s: the answer is longer than %zu bytes", request->what, answer->most_bytes);
        return RN__HTTP_FAILED;
    }
    *delay_ms = 0;
    if (code != CURLE_OK) {
        RN_FAIL(err, code == CURLE_OUT_OF_MEMORY ? RN_STATUS_OUT_OF_MEMORY : RN_STATUS_UNAVAILABLE, "%s: %.*s: %s", request->what,
                host_bytes(request->url), request->url, curl_easy_strerror(code));
        return may_pass(code) ? failed_for_now(client, answer, tries, delay_ms, err) : RN__HTTP_FAILED;
    }
    if (answer->code >= 200 && answer->code < 300) return RN__HTTP_GOOD;
    describe_refusal(request, answer, err);
    const rn__http_site *site = request->site;
    if (!tries->renewed && site && site->renew && site->renew(site->context, answer)) {
        tries->renewed = true;
        return RN__HTTP_AGAIN;
    }
    return is_passing(answer->code) ? failed_for_now(client, answer, tries, delay_ms, err) : RN__HTTP_FAILED;
}

/* ---- one after the other ---- */

static CURLcode perform(rn__http_client *client, CURL *easy)
{
    int running = 1, left;
    if (curl_multi_add_handle(client->single, easy) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    while (running && !atomic_load(&client->cancelled) && curl_multi_perform(client->single, &running) == CURLM_OK)
        if (running) curl_multi_poll(client->single, NULL, 0, MOST_WAIT_MS, NULL);
    CURLcode code = CURLE_ABORTED_BY_CALLBACK;
    for (CURLMsg *message; (message = curl_multi_info_read(client->single, &left)) != NULL;)
        if (message->msg == CURLMSG_DONE) code = message->data.result;
    curl_multi_remove_handle(client->single, easy);
    return code;
}

rn_status rn__http_run(rn__http_client *client, rn__http_request *request, size_t most_bytes, rn__http_answer *answer, rn_error *err)
{
    rn__http_tries tries = {0};
    rn_error last;
    for (;;) {
        CURL *easy;
        int64_t delay_ms;
        RN_TRY(rn__http_check_cancelled(client, err));
        RN_TRY(rn__http_prepare(client, request, answer, &easy, err));
        answer->most_bytes = most_bytes;
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
        const CURLcode code = perform(client, easy);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer->code);
        curl_easy_cleanup(easy);
        const rn__http_verdict verdict = rn__http_judge(client, request, answer, code, &tries, &delay_ms, &last);
        if (verdict == RN__HTTP_GOOD) return RN_STATUS_OK;
        if (verdict == RN__HTTP_FAILED) {
            if (err) *err = last;
            return last.status;
        }
        rn__http_pause(client, delay_ms);
    }
}
