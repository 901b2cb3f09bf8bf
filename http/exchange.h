/* One request and its answer, as handlers see them.
 *
 * A handler is called once for each request, on the loop (it must not block then) or on a worker, as routes.def says. Somebody, on any
 * thread, then calls one of the rn_exchange_ functions that answer, exactly once; the exchange is gone afterwards. The client may go away
 * at any moment: what an exchange points to stays valid all the same, and `cancelled` tells.
 */
#ifndef RN_HTTP_EXCHANGE_H
#define RN_HTTP_EXCHANGE_H

#include "engine/workers.h"
#include "http/access_log.h"
#include "http/json_writer.h"
#include "http/routes.h"
#include "http/serving.h"

/* What all handlers share: settings, models. Read-only while the server runs. */
typedef struct rn_service {
    rn_serving *serving;
    rn_workers *workers;
    rn_metrics *metrics;
    rn_access_log *access_log; /* NULL: none */
    int64_t timeout_us;       /* of a predict call; 0: none */
    size_t max_request_bytes; /* of a body, also once inflated */
    const char *metrics_path; /* of TensorFlow Serving's page of metrics; NULL: there is none */
    const char *mlflow_run_id; /* shown in metrics and metadata; empty: not known */
    bool device_required;      /* --device names one */
    bool checks_method_names; /* of signatures, in classify and regress */
    bool cors;                /* answer pages of other origins */
    bool page;                /* answer / with the page for people */
    bool tensor_content;      /* gRPC answers hold raw bytes instead of lists of values */
} rn_service;

/* What is said of signatures whose method is another, which all of a picture classifier's are: kind, expected, found. */
#define RN__TFS_METHOD_NAME_ERROR "Expected %s signature method_name to be %s. Was: %s"
#define RN__TFS_CLASSIFY_METHOD "tensorflow/serving/classify"
#define RN__TFS_REGRESS_METHOD "tensorflow/serving/regress"

typedef struct rn_header {
    rn_text name, value; /* the name in lower case */
} rn_header;

enum { RN_ANSWER_HEADERS = 4, RN_ANSWER_HEADER_BYTES = 192 };

typedef struct rn_exchange rn_exchange;
struct rn_exchange {
    const rn_service *service;
    rn_text method, path; /* path: with query, as sent */
    rn_text body;
    const rn_header *headers; /* of the request, in its order; Host and those on the connection are not among them */
    size_t header_count;
    rn_target target; /* what the route's pattern found in the path */
    bool gzip;        /* Content-Encoding names gzip */
    bool web_origin;  /* Origin begins with http:// or https:// */
    atomic_bool cancelled;

    /* The answer, written by handlers. */
    rn_json_writer answer;
    const char *content_type; /* static; "application/json" unless a handler says otherwise: then x->answer holds any bytes */
    struct {
        const char *name; /* static, in lower case */
        char value[RN_ANSWER_HEADER_BYTES];
    } answer_headers[RN_ANSWER_HEADERS];
    int32_t answer_header_count;
    rn_timings timings;
    char device[128];               /* X-Resnetd-Device; empty: no header */
    rn_model_metrics *asked_model; /* set by whoever looks the model up; NULL: none that exists */

    /* Private to the server. */
    rn_job job; /* the call of the handler on a worker */
    const rn_route *route;
    int64_t begin_us; /* when the request had been read */
    rn_trace trace;
    int32_t code;
};

/* The value of the request's first header of that name (given in lower case); `at` is NULL when there is none. */
rn_text rn_exchange_header(const rn_exchange *x, const char *name);
/* Adds a header to the answer, whatever becomes of it. `name`: static, in lower case. At most RN_ANSWER_HEADERS; longer values are cut. */
void rn_exchange_add_header(rn_exchange *x, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Hands a request to its model: `done` is called with `context` in it. The time until now, from begin_us, was for reading the call; the answer
 * has until timeout_us after begin_us (0: no limit). */
void rn_exchange_submit(rn_exchange *x, rn_request *request, void *context, void (*done)(rn_request *request), int64_t begin_us,
                        int64_t timeout_us);

/* Takes over what a finished request tells about itself: timings and device. */
void rn_exchange_note_request(rn_exchange *x, const rn_request *request);

/* 200 with what x->answer holds; a writer that failed becomes an error. */
void rn_exchange_answer(rn_exchange *x);
/* The same with `code`. */
void rn_exchange_answer_code(rn_exchange *x, int32_t code);
/* `code` with an empty body. */
void rn_exchange_answer_empty(rn_exchange *x, int32_t code);
/* {"error": message} with the status's HTTP code, or with `code`; what x->answer held is dropped. */
void rn_exchange_fail(rn_exchange *x, rn_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rn_exchange_fail_code(rn_exchange *x, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Writes the body of an error: TensorFlow Serving's, to the byte. */
void rn__write_error(rn_json_writer *out, const char *message);

#endif
