/* Requests to storages, over libcurl: bounded in size and time, tried again when that may help. Proxies come from the environment. */
#ifndef RN_LOADER_STORAGE_HTTP_H
#define RN_LOADER_STORAGE_HTTP_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "loader/storage_text.h"

typedef struct rn__http_client {
    CURLM *single,
        *multi; /* for rn__http_run, which may be called while others are under way, and for those; both keep connections alive */
    atomic_bool cancelled;
    int32_t max_retries;
    int64_t timeout_ms;
    uint64_t random;
    const char *ca_file; /* NULL: the system's */
    void (*log)(const char *line);
} rn__http_client;

rn_status rn__http_client_init(rn__http_client *client, rn_error *err); /* what it does not set is the caller's to set */
void rn__http_client_deinit(rn__http_client *client);

typedef struct rn__http_request rn__http_request;
typedef struct rn__http_answer rn__http_answer;

/* How requests to one place are authorised and their failures understood. NULL entries: nothing to do. */
typedef struct rn__http_site {
    /* Adds headers just before an attempt; may change the URL. */
    rn_status (*sign)(void *context, rn__http_request *request, rn_error *err);
    /* An attempt was refused: whether another one may do better, because credentials (or the region) were out of date and have been
     * dropped. */
    bool (*renew)(void *context, const rn__http_answer *answer);
    /* Whether a refusal that is neither 401 nor 403 is about who asks all the same. */
    bool (*denies)(void *context, const rn__http_answer *answer);
    /* What the body of a failure says, without anything secret. out: empty at first. */
    void (*explain)(void *context, const rn__http_answer *answer, char *out, size_t out_bytes);
    /* Who asked, for messages about permission. */
    void (*identify)(void *context, char *out, size_t out_bytes);
    void *context;
} rn__http_site;

struct rn__http_request {
    const rn__http_site *site; /* NULL: nobody's */
    const char *method;        /* "GET", "HEAD", "PUT", "POST" */
    const char *what;          /* names the object in messages: borrowed */
    char *url;                 /* owned, as the rest below */
    struct curl_slist *headers;
    rn__buffer body;
    char *condition;     /* a header that every attempt has besides what sign adds; NULL: none */
    uint64_t begin, end; /* bytes wanted, end exclusive; end 0: all */
    int64_t connect_ms;  /* 0: the client's */
    bool direct;         /* never through a proxy */
    bool follow;         /* redirects */
};

void rn__http_request_deinit(rn__http_request *request);
rn_status rn__http_set_condition(rn__http_request *request, const char *name, const char *value, rn_error *err);
rn_status rn__http_add_header(rn__http_request *request, rn_error *err, const char *format, ...) __attribute__((format(printf, 3, 4)));

struct rn__http_answer {
    long code;
    rn__buffer headers; /* "name: value\n", names in small letters */
    rn__buffer body;    /* whole, or the beginning of what a failure says */
    size_t most_bytes;  /* of the body */
    bool too_long;
};

void rn__http_answer_deinit(rn__http_answer *answer);
/* Copies the header's value; empty where it is not there or does not fit. */
void rn__http_header(const rn__http_answer *answer, const char *name, char *out, size_t out_bytes);

/* Signs, sends and reads with all retries. OK: a 2xx answer of at most most_bytes, which the caller frees in any case (zeroed before). */
rn_status rn__http_run(rn__http_client *client, rn__http_request *request, size_t most_bytes, rn__http_answer *answer, rn_error *err);

/* ---- the same in steps, for those that have several requests under way ---- */

typedef struct rn__http_tries {
    int32_t failed; /* in a row */
    bool renewed;
} rn__http_tries;

/* A handle for the next attempt: signed, its answer's headers going to *answer. The caller sets where the body goes. */
rn_status rn__http_prepare(rn__http_client *client, rn__http_request *request, rn__http_answer *answer, CURL **out, rn_error *err);

typedef enum { RN__HTTP_GOOD, RN__HTTP_AGAIN, RN__HTTP_FAILED } rn__http_verdict;

/* What an attempt came to, with *err unless it is good. AGAIN: *delay_ms from now. */
rn__http_verdict rn__http_judge(rn__http_client *client, const rn__http_request *request, const rn__http_answer *answer, CURLcode code,
                                rn__http_tries *tries, int64_t *delay_ms, rn_error *err);

/* Until something moves, at most so long; wakes up for rn__http_cancel. */
void rn__http_wait(rn__http_client *client, int64_t most_ms);
/* For so long, or until it is cancelled. */
void rn__http_pause(rn__http_client *client, int64_t delay_ms);
int64_t rn__http_now_ms(void); /* of a clock that only runs forward */
void rn__http_cancel(rn__http_client *client);
rn_status rn__http_check_cancelled(const rn__http_client *client, rn_error *err);

#endif
