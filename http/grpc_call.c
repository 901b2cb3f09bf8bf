/* The life of one call: made on the loop on which it arrived, read there, handed to a worker, answered from any thread, freed on the loop.
 *
 * Three things are asked of libgrpc for a call: its message, word of its end, and the sending of an answer. Each is reported once on the
 * loop's thread, in any order, and the last report frees the call.
 *
 * A stream asks for the next message when the answer to the one before has been sent, and ends when the client has no more. A watch takes
 * one message; whenever its last answer has been sent, it is among its loop's watchers, until the client is gone. All of that happens on
 * the loop. Both may stay open for days while nothing happens: they are not counted as calls under way, and do not hold up the end. */
#include "http/grpc_call.h"

#include <assert.h>
#include <grpc/support/time.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "http/grpc_message.h"
#include "http/proto/health.pb-c.h"
#include "http/proto/reflection.pb-c.h"
#include "http/proto/tfs.pb-c.h"
#include "http/proto/v2.pb-c.h"
#include "http/status_map.h"

struct rn__grpc_method {
    const char *path;
    const ProtobufCMessageDescriptor *request;
    void (*handler)(rn__grpc_call *call);
    rn_method counted_as;
    rn_runs_on runs_on;
    enum { UNARY, STREAM, WATCH } kind;
};

#define RN_GRPC(path, request, handler, counted_as, runs_on) void handler(rn__grpc_call *call);
#define RN_GRPC_STREAM(path, request, handler, counted_as) void handler(rn__grpc_call *call);
#define RN_GRPC_WATCH(path, request, handler, counted_as) void handler(rn__grpc_call *call);
#include "http/grpc_list.def"
#undef RN_GRPC
#undef RN_GRPC_STREAM
#undef RN_GRPC_WATCH

static const rn__grpc_method methods[] = {
#define RN_GRPC(path, request, handler, counted_as, where) \
    {path, &request##__descriptor, handler, RN_METHOD_##counted_as, RN_RUNS_ON_##where, UNARY},
#define RN_GRPC_STREAM(path, request, handler, counted_as) \
    {path, &request##__descriptor, handler, RN_METHOD_##counted_as, RN_RUNS_ON_LOOP, STREAM},
#define RN_GRPC_WATCH(path, request, handler, counted_as) \
    {path, &request##__descriptor, handler, RN_METHOD_##counted_as, RN_RUNS_ON_LOOP, WATCH},
#include "http/grpc_list.def"
#undef RN_GRPC
#undef RN_GRPC_STREAM
#undef RN_GRPC_WATCH
};

enum {
    SMALL_MESSAGE_BYTES = 16 << 10, /* what a loop decodes itself */
    MAX_TEXT_BYTES = 1024,          /* of an error: grpc_status_util.cc */
};

#define CALL_OF(event, member) ((rn__grpc_call *)((char *)(event)-offsetof(rn__grpc_call, member)))

static void start(rn__grpc_call *call, const grpc_op *ops, size_t count, rn__grpc_event *event)
{
    const grpc_call_error error = grpc_call_start_batch(call->call, ops, count, event, NULL);
    assert(error == GRPC_CALL_OK);
    (void)error;
}

/* ---- the end ---- */

static bool stays_open(const rn__grpc_call *call)
{
    return call->method && call->method->kind != UNARY;
}

static void count_under_way(const rn__grpc_call *call, int32_t change)
{
    if (stays_open(call)) return;
    atomic_fetch_add(&call->calls->count, change);
    rn_gauge_add(&call->service->metrics->in_flight[RN_PROTOCOL_GRPC], change);
}

static void one_event_less(rn__grpc_call *call)
{
    if (--call->events_left > 0) return;
    grpc_byte_buffer_destroy(call->message);
    grpc_byte_buffer_destroy(call->answer);
    grpc_call_unref(call->call);
    count_under_way(call, -1);
    rn__grpc_calls *calls = call->calls;
    free(call);
    atomic_fetch_sub(&calls->open, 1);
}

/* ---- the answer, from any thread ---- */

static void drop_request(rn__grpc_call *call)
{
    rn__grpc_free_message(call->decoded);
    call->decoded = NULL;
}

static void count(const rn__grpc_call *call, int32_t code)
{
    const rn_finished_call finished = {
        .protocol = RN_PROTOCOL_GRPC,
        .counted_as = call->method ? call->method->counted_as : RN_METHOD_OTHER,
        .path = rn_text_of(call->method ? call->method->path : "?"),
        .code = code,
        .begin_us = call->begin_us,
        .request_bytes = call->request_bytes,
        .answer_bytes = call->answer ? grpc_byte_buffer_length(call->answer) : 0,
        .timings = &call->timings,
        .model = call->asked_model,
        .trace = call->trace,
    };
    rn_call_finished(call->service, &finished);
}

/* Every call comes by here, once. It may be gone when this returns. */
static void send_answer(rn__grpc_call *call, int32_t code, rn_text text)
{
    count(call, code);
    drop_request(call);
    atomic_store(&call->has_ended, true);
    grpc_slice details = grpc_slice_from_copied_buffer(text.at, text.bytes);
    grpc_op ops[3] = {{.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};
    size_t op_count = 1;
    ops[0].data.send_status_from_server.status = (grpc_status_code)code;
    ops[0].data.send_status_from_server.status_details = &details;
    if (!atomic_load(&call->has_begun)) ops[op_count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (call->answer) {
        ops[op_count].op = GRPC_OP_SEND_MESSAGE;
        ops[op_count++].data.send_message.send_message = call->answer;
    }
    start(call, ops, op_count, &call->answered);
    grpc_slice_unref(details);
}

/* One answer of a stream or a watch. */
static void send_part(rn__grpc_call *call)
{
    if (call->method->kind == STREAM) drop_request(call);
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_INITIAL_METADATA}};
    ops[0].data.send_message.send_message = call->answer;
    const size_t op_count = atomic_load(&call->has_begun) ? 1 : 2;
    atomic_store(&call->has_begun, true); /* now: the next message may be on its way as soon as this one is */
    start(call, ops, op_count, &call->answered);
}

void rn__grpc_answer(rn__grpc_call *call, const ProtobufCMessage *message)
{
    call->answer = rn__grpc_pack(message);
    if (call->write_begin_us) call->timings.write = rn_clock_us() - call->write_begin_us;
    if (stays_open(call))
        send_part(call);
    else
        send_answer(call, rn_status_grpc_code(RN_STATUS_OK), rn_text_of(""));
}

void rn__grpc_fail(rn__grpc_call *call, const rn_error *err)
{
    static const char mark[] = "...TRUNCATED";
    char text[MAX_TEXT_BYTES + sizeof mark];
    size_t bytes = strlen(err->message);
    if (bytes <= MAX_TEXT_BYTES) {
        memcpy(text, err->message, bytes);
    } else {
        memcpy(text, err->message, MAX_TEXT_BYTES);
        memcpy(text + MAX_TEXT_BYTES, mark, strlen(mark));
        bytes = MAX_TEXT_BYTES + strlen(mark);
    }
    send_answer(call, rn_status_grpc_code(err->status), (rn_text){text, bytes});
}

/* ---- a watch ---- */

static void join_watchers(rn__grpc_call *call)
{
    call->link = &call->watchers->first;
    call->next = call->watchers->first;
    if (call->next) call->next->link = &call->next;
    *call->link = call;
}

static void leave_watchers(rn__grpc_call *call)
{
    *call->link = call->next;
    if (call->next) call->next->link = call->link;
    call->link = NULL;
}

void rn__grpc_look(const rn__grpc_watchers *watchers)
{
    for (rn__grpc_call *call = watchers->first, *next; call; call = next) {
        next = call->next;
        call->method->handler(call);
        if (!call->answer) continue;
        call->events_left++;
        leave_watchers(call);
    }
}

/* Its client is gone. */
static void end_watch(rn__grpc_call *call)
{
    call->begin_us = rn_clock_us(); /* for how long it has listened is no latency */
    call->events_left++;
    send_answer(call, GRPC_STATUS_CANCELLED, rn_text_of(""));
}

/* ---- what libgrpc reports ---- */

static void receive_message(rn__grpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->message;
    start(call, &op, 1, &call->received);
    call->events_left++;
}

static void on_answered(rn__grpc_event *event, bool ok)
{
    (void)ok;
    rn__grpc_call *call = CALL_OF(event, answered);
    const bool was_part = atomic_load(&call->has_begun) && !atomic_load(&call->has_ended);
    if (was_part) {
        grpc_byte_buffer_destroy(call->answer);
        call->answer = NULL;
        if (call->method->kind == STREAM)
            receive_message(call);
        else if (call->cancelled)
            end_watch(call);
        else
            join_watchers(call);
    }
    one_event_less(call);
}

static void on_closed(rn__grpc_event *event, bool ok)
{
    (void)ok;
    rn__grpc_call *call = CALL_OF(event, closed);
    if (call->client_gone) atomic_store_explicit(&call->cancelled, true, memory_order_relaxed);
    if (call->link) {
        leave_watchers(call);
        end_watch(call);
    }
    one_event_less(call);
}

/* ---- the beginning ---- */

static void run_handler(rn_job *job)
{
    rn__grpc_call *call = CALL_OF(job, job);
    rn_error err;
    const size_t max_bytes = call->service->max_request_bytes;
    if (rn__grpc_unpack(call->method->request, call->message, max_bytes, &call->decoded, &err) != RN_STATUS_OK) {
        rn__grpc_fail(call, &err);
        return;
    }
    grpc_byte_buffer_destroy(call->message);
    call->message = NULL;
    call->request = call->decoded;
    call->method->handler(call);
}

static void hand_over(rn__grpc_call *call)
{
    rn_error err;
    call->job.run = run_handler;
    if (call->method->runs_on == RN_RUNS_ON_LOOP && grpc_byte_buffer_length(call->message) <= SMALL_MESSAGE_BYTES)
        run_handler(&call->job);
    else if (rn_workers_submit(call->service->workers, &call->job, &err) != RN_STATUS_OK)
        rn__grpc_fail(call, &err);
}

/* The message, or NULL when there will be none: the client has ended the call without one, or libgrpc has refused it for its size. */
static void on_received(rn__grpc_event *event, bool ok)
{
    (void)ok;
    rn__grpc_call *call = CALL_OF(event, received);
    call->begin_us = rn_clock_us();
    call->events_left++; /* the answer */
    if (call->message) {
        call->request_bytes = grpc_byte_buffer_length(call->message);
        hand_over(call);
    } else if (stays_open(call)) {
        send_answer(call, rn_status_grpc_code(RN_STATUS_OK), rn_text_of(""));
    } else {
        rn_error err;
        RN_FAIL(&err, RN_STATUS_UNSUPPORTED, "%s takes one message, none came.", call->method->path);
        rn__grpc_fail(call, &err);
    }
    one_event_less(call);
}

static const rn__grpc_method *find_method(rn_text path)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (rn_text_equals(path, methods[i].path)) return &methods[i];
    return NULL;
}

/* libgrpc's deadline on the clock of rn_clock_us. */
static int64_t deadline_us(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return 0;
    const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    return rn_clock_us() + left.tv_sec * 1000000 + left.tv_nsec / 1000;
}

static void await_close(rn__grpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->client_gone;
    start(call, &op, 1, &call->closed);
    call->events_left++;
}

/* Copies the first value of that name; longer ones than `capacity` are none that matter. */
static rn_text copy_header(const grpc_metadata_array *headers, const char *name, char *out, size_t capacity)
{
    for (size_t i = 0; i < headers->count; i++) {
        const grpc_slice value = headers->metadata[i].value;
        if (grpc_slice_str_cmp(headers->metadata[i].key, name) != 0 || GRPC_SLICE_LENGTH(value) > capacity) continue;
        memcpy(out, GRPC_SLICE_START_PTR(value), GRPC_SLICE_LENGTH(value));
        return (rn_text){out, GRPC_SLICE_LENGTH(value)};
    }
    return (rn_text){out, 0};
}

static void read_headers(rn__grpc_call *call, const grpc_metadata_array *headers)
{
    call->trace = rn_trace_read(copy_header(headers, "traceparent", call->traceparent, sizeof call->traceparent),
                                copy_header(headers, "x-request-id", call->request_id, sizeof call->request_id));
}

void rn__grpc_begin(rn__grpc_calls *calls, rn__grpc_watchers *watchers, grpc_call *accepted, const grpc_call_details *details,
                    const grpc_metadata_array *headers)
{
    rn__grpc_call *call = calloc(1, sizeof *call);
    if (!call) {
        grpc_call_unref(accepted); /* resets the stream */
        return;
    }
    const rn_text path = {(const char *)GRPC_SLICE_START_PTR(details->method), GRPC_SLICE_LENGTH(details->method)};
    call->calls = calls;
    call->watchers = watchers;
    call->service = calls->service;
    call->begin_us = rn_clock_us();
    call->timings = RN_TIMINGS_NONE;
    call->call = accepted;
    call->method = find_method(path);
    count_under_way(call, 1);
    atomic_fetch_add(&calls->open, 1);
    read_headers(call, headers);
    call->deadline_us = deadline_us(details->deadline);
    call->received.happened = on_received;
    call->answered.happened = on_answered;
    call->closed.happened = on_closed;
    await_close(call);
    if (call->method) {
        receive_message(call);
    } else { /* no message is asked for, as nobody would read it */
        rn_error err;
        call->events_left++;
        RN_FAIL(&err, RN_STATUS_UNSUPPORTED, "Method not found: %.*s", RN_TEXT_ARG(path));
        rn__grpc_fail(call, &err);
    }
}
