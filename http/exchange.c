/* The life of one call: made on the loop that read the request, handed to a worker when its route says so, answered from any thread by a
 * message to that loop, freed on the loop.
 *
 * Two things end in any order, the call and the request. h2o frees a request when its answer has been sent or its client is gone; a shared
 * allocation in the request's pool tells. Whichever comes second frees the call. What handlers read must survive the request: the path is
 * copied always, the body where h2o could take it away (HTTP/2 streams are reset at any time; an HTTP/1 connection is not closed while its
 * request is in work). */
#include <assert.h>
#include <stdarg.h>
#include <sys/epoll.h>

#include "engine/clock.h"
#include "http/server_private.h"
#include "http/status_map.h"

typedef struct {
    rn_exchange x; /* first: handlers hold pointers to it */
    rn__loop *loop;
    rn__connection *connection;
    h2o_req_t *req; /* NULL once it is gone */
    rn__watched hangup;
    h2o_multithread_message_t message;
    size_t copied_bytes; /* of the body */
    bool http2;
    bool on_loop;        /* the handler runs on the loop: no message needed */
    bool delivered;      /* the answer has been given to h2o */
    _Alignas(rn_header) char memory[]; /* request headers, method, path, decoded target, copied body */
} call;

/* ---- beginning ---- */

static rn_text keep(char **memory, const char *at, size_t bytes)
{
    if (bytes) memcpy(*memory, at, bytes);
    const rn_text kept = {*memory, bytes};
    *memory += bytes;
    return kept;
}

static size_t headers_bytes(const h2o_headers_t *headers)
{
    size_t bytes = headers->size * sizeof(rn_header);
    for (size_t i = 0; i < headers->size; i++) bytes += headers->entries[i].name->len + headers->entries[i].value.len;
    return bytes;
}

/* A handler on a worker may read them when h2o has freed the request. */
static void keep_headers(rn_exchange *x, char **memory, const h2o_headers_t *headers)
{
    rn_header *list = (rn_header *)*memory; /* first in memory: aligned */
    *memory += headers->size * sizeof *list;
    for (size_t i = 0; i < headers->size; i++) {
        const h2o_iovec_t name = *headers->entries[i].name, value = headers->entries[i].value;
        list[i].name = keep(memory, name.base, name.len);
        list[i].value = keep(memory, value.base, value.len);
    }
    x->headers = list;
    x->header_count = headers->size;
}

static bool begins_with(rn_text text, const char *prefix)
{
    return text.bytes >= strlen(prefix) && memcmp(text.at, prefix, strlen(prefix)) == 0;
}

static void read_headers(rn_exchange *x)
{
    const rn_text encoding = rn_exchange_header(x, "content-encoding"), origin = rn_exchange_header(x, "origin");
    x->gzip = h2o_strstr(encoding.at, encoding.bytes, H2O_STRLIT("gzip")) != SIZE_MAX;
    x->trace = rn_trace_read(rn_exchange_header(x, "traceparent"), rn_exchange_header(x, "x-request-id"));
    x->web_origin = begins_with(origin, "http://") || begins_with(origin, "https://");
}

static void free_call(call *c)
{
    c->loop->in_flight--;
    rn_gauge_add(&c->x.service->metrics->in_flight[RN_PROTOCOL_HTTP], -1);
    rn_gauge_add(&c->x.service->metrics->body_bytes, -(int64_t)c->copied_bytes);
    rn__connection_end_call(c->connection);
    rn_json_writer_deinit(&c->x.answer);
    free(c);
}

/* The request's memory goes: its answer has been sent, or its client is gone. */
static void on_request_gone(void *slot)
{
    call *c = *(call **)slot;
    c->req = NULL;
    rn__watch_remove(&c->loop->watch, &c->hangup);
    rn__connection_count_answer(c->connection, c->delivered);
    if (c->delivered)
        free_call(c);
    else
        atomic_store_explicit(&c->x.cancelled, true, memory_order_relaxed);
}

static void on_hangup(rn__watched *watched)
{
    call *c = H2O_STRUCT_FROM_MEMBER(call, hangup, watched);
    atomic_store_explicit(&c->x.cancelled, true, memory_order_relaxed);
}

static call *create_call(rn__loop *loop, h2o_req_t *req)
{
    const bool http2 = req->version >= 0x200, copies_body = http2;
    const size_t bytes = headers_bytes(&req->headers) + req->method.len + 3 * req->path.len + (copies_body ? req->entity.len : 0);
    call *c = malloc(sizeof *c + bytes);
    if (!c) return NULL;
    memset(c, 0, sizeof *c);
    c->loop = loop;
    c->req = req;
    c->hangup = (rn__watched){.event = on_hangup, .fd = -1};
    char *memory = c->memory;
    rn_exchange *x = &c->x;
    x->service = loop->server->service;
    x->timings = RN_TIMINGS_NONE;
    x->begin_us = rn_clock_us();
    rn_json_writer_init(&x->answer);
    x->content_type = "application/json";
    keep_headers(x, &memory, &req->headers);
    x->method = keep(&memory, req->method.base, req->method.len);
    x->path = keep(&memory, req->path.base, req->path.len);
    char *decoded = memory;
    memory += 2 * req->path.len;
    x->body = copies_body ? keep(&memory, req->entity.base, req->entity.len) : (rn_text){req->entity.base, req->entity.len};
    read_headers(x);
    loop->in_flight++;
    rn_gauge_add(&x->service->metrics->in_flight[RN_PROTOCOL_HTTP], 1);
    c->http2 = http2;
    c->connection = rn__connection_of(req);
    c->copied_bytes = copies_body ? x->body.bytes : 0;
    rn_gauge_add(&x->service->metrics->body_bytes, (int64_t)c->copied_bytes);
    call **slot = h2o_mem_alloc_shared(&req->pool, sizeof *slot, on_request_gone);
    *slot = c;

    x->route = rn_route_find(x->method, x->path, loop->server->serves, x->service->metrics_path, decoded, &x->target);
    c->on_loop = x->route->runs_on == RN_RUNS_ON_LOOP || x->target.version_overflow;
    return c;
}

static void run_handler(rn_job *job)
{
    rn_exchange *x = H2O_STRUCT_FROM_MEMBER(rn_exchange, job, job);
    if (atomic_load_explicit(&x->cancelled, memory_order_relaxed))
        rn_exchange_fail(x, RN_STATUS_CANCELLED, "the client went away");
    else
        x->route->handler(x);
}

/* Why this call may not be worked on; NULL: it may. */
static const char *refusal(const call *c)
{
    if (!rn__connection_begin_call(c->connection, c->http2, c->x.body.bytes)) return "Too many requests of this connection are under way.";
    return c->x.body.bytes > 0 && rn__intake_is_full(c->loop) ? RN__INTAKE_FULL : NULL;
}

int rn__on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    (void)handler;
    rn__loop *loop = rn__loop_of(req);
    loop->request_count++;
    call *c = create_call(loop, req);
    if (!c) {
        h2o_send_error_503(req, "Service Unavailable", "out of memory", 0);
        return 0;
    }
    rn_exchange *x = &c->x;
    const char *refused = refusal(c);
    if (refused) {
        c->on_loop = true;
        rn_exchange_fail_code(x, 503, "%s", refused);
        return 0;
    }
    if (x->target.version_overflow) {
        rn_exchange_answer_empty(x, 400); /* TensorFlow Serving writes no body here */
        return 0;
    }
    if (c->on_loop) {
        x->route->handler(x);
        return 0;
    }
    if (req->version < 0x200 && !atomic_load(&loop->draining)) /* draining ends the reading side of idle connections itself */
        rn__watch_add(&loop->watch, &c->hangup, h2o_socket_get_fd(req->conn->callbacks->get_socket(req->conn)), EPOLLRDHUP | EPOLLONESHOT);
    x->job.run = run_handler;
    rn_error err;
    if (rn_workers_submit(x->service->workers, &x->job, &err) == RN_STATUS_OK) return 0;
    c->on_loop = true;
    rn_exchange_fail(x, err.status, "%s", err.message);
    return 0;
}

/* ---- the answer, on the loop ---- */

static void add_header(h2o_req_t *req, const char *name, const char *value, size_t bytes)
{
    const h2o_iovec_t kept = h2o_strdup(&req->pool, value, bytes);
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 0, NULL, kept.base, kept.len);
}

/* Server-Timing: milliseconds of each stage (W3C). */
static void add_timings(h2o_req_t *req, const rn_timings *t)
{
    const struct {
        const char *name;
        int64_t us;
    } stages[] = {{"parse", t->parse}, {"decode", t->decode}, {"queue", t->queue}, {"run", t->run}, {"write", t->write}};
    char text[256];
    size_t used = 0;
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++)
        if (stages[i].us >= 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s;dur=%.3f", used ? ", " : "", stages[i].name,
                                     1e-3 * (double)stages[i].us);
    if (t->batch_rows > 0) used += (size_t)snprintf(text + used, sizeof text - used, ", batch;desc=\"%d\"", t->batch_rows);
    if (used) add_header(req, "server-timing", text, used);
}

static void add_headers(const rn_exchange *x, h2o_req_t *req)
{
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, x->content_type, strlen(x->content_type));
    for (int32_t i = 0; i < x->answer_header_count; i++)
        add_header(req, x->answer_headers[i].name, x->answer_headers[i].value, strlen(x->answer_headers[i].value));
    if (x->trace.parent.bytes) add_header(req, "traceparent", x->trace.parent.at, x->trace.parent.bytes);
    if (x->trace.request_id.bytes) add_header(req, "x-request-id", x->trace.request_id.at, x->trace.request_id.bytes);
    if (x->device[0]) add_header(req, "x-resnetd-device", x->device, strlen(x->device));
    if (x->code == 503) add_header(req, "retry-after", "1", 1);
    if (x->service->cors) {
        add_header(req, "access-control-allow-origin", "*", 1);
        add_header(req, "access-control-allow-methods", "POST, GET", 9);
        add_header(req, "access-control-allow-headers", "Content-Type", 12);
    }
    add_timings(req, &x->timings);
}

static void deliver(call *c)
{
    static h2o_generator_t generator; /* no callbacks: the body is one piece */
    h2o_req_t *req = c->req;
    rn__watch_remove(&c->loop->watch, &c->hangup);
    c->delivered = true;
    if (atomic_load(&c->loop->draining)) req->http1_is_persistent = 0;
    req->res.status = c->x.code;
    req->res.reason = rn_http_reason(c->x.code);
    req->res.content_length = c->x.answer.bytes;
    add_headers(&c->x, req);
    h2o_iovec_t body = h2o_iovec_init(c->x.answer.text, c->x.answer.bytes);
    const bool has_body = body.len > 0 && !h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    h2o_start_response(req, &generator);
    h2o_send(req, &body, has_body, H2O_SEND_STATE_FINAL);
}

void rn__on_answers(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    (void)receiver;
    while (!h2o_linklist_is_empty(messages)) {
        call *c = H2O_STRUCT_FROM_MEMBER(call, message.link, messages->next);
        h2o_linklist_unlink(&c->message.link);
        if (c->req)
            deliver(c);
        else
            free_call(c);
    }
}

/* ---- the answer, from any thread ---- */

static void count(const rn_exchange *x)
{
    const rn_finished_call finished = {
        .protocol = RN_PROTOCOL_HTTP,
        .counted_as = x->route->counted_as,
        .verb = x->method,
        .path = x->path,
        .code = x->code,
        .begin_us = x->begin_us,
        .request_bytes = x->body.bytes,
        .answer_bytes = x->answer.bytes,
        .timings = &x->timings,
        .model = x->asked_model,
        .trace = x->trace,
    };
    rn_call_finished(x->service, &finished);
}

/* Every call comes by here, once. */
static void send_back(rn_exchange *x, int32_t code)
{
    call *c = (call *)x;
    x->code = code;
    count(x);
    if (c->on_loop)
        deliver(c);
    else
        h2o_multithread_send_message(&c->loop->answers, &c->message);
}

void rn__write_error(rn_json_writer *out, const char *message)
{
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("error"));
    rn_json_string_value(out, rn_text_of(message));
    rn_json_end_object(out);
}

static void send_error(rn_exchange *x, int32_t code, const char *message)
{
    rn_json_writer_deinit(&x->answer);
    rn_json_writer_init(&x->answer);
    x->content_type = "application/json";
    rn__write_error(&x->answer, message);
    if (x->answer.failed) x->answer.bytes = 0;
    send_back(x, code);
}

rn_text rn_exchange_header(const rn_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->header_count; i++)
        if (rn_text_equals(x->headers[i].name, name)) return x->headers[i].value;
    return (rn_text){NULL, 0};
}

void rn_exchange_add_header(rn_exchange *x, const char *name, const char *format, ...)
{
    assert(x->answer_header_count < RN_ANSWER_HEADERS);
    va_list args;
    va_start(args, format);
    vsnprintf(x->answer_headers[x->answer_header_count].value, RN_ANSWER_HEADER_BYTES, format, args);
    va_end(args);
    x->answer_headers[x->answer_header_count++].name = name;
}

void rn_exchange_note_request(rn_exchange *x, const rn_request *request)
{
    rn_timings_of_request(request, &x->timings);
    snprintf(x->device, sizeof x->device, "%s", rn_model_device(request->model));
}

void rn_exchange_submit(rn_exchange *x, rn_request *request, void *context, void (*done)(rn_request *request), int64_t begin_us,
                        int64_t timeout_us)
{
    x->timings.parse = rn_clock_us() - begin_us;
    request->context = context;
    request->done = done;
    request->cancelled = &x->cancelled;
    request->begun_us = begin_us;
    if (timeout_us) request->deadline_us = begin_us + timeout_us;
    rn_request_submit(request);
}

void rn_exchange_answer_code(rn_exchange *x, int32_t code)
{
    rn_error err;
    if (rn_json_writer_finish(&x->answer, &err) == RN_STATUS_OK)
        send_back(x, code);
    else
        rn_exchange_fail(x, err.status, "%s", err.message);
}

void rn_exchange_answer(rn_exchange *x)
{
    rn_exchange_answer_code(x, 200);
}

void rn_exchange_answer_empty(rn_exchange *x, int32_t code)
{
    x->answer.bytes = 0;
    send_back(x, code);
}

void rn_exchange_fail(rn_exchange *x, rn_status status, const char *format, ...)
{
    char message[RN_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    send_error(x, rn_status_http_code(status), message);
}

void rn_exchange_fail_code(rn_exchange *x, int32_t code, const char *format, ...)
{
    char message[RN_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    send_error(x, code, message);
}
