/* One gRPC call and its answer, as handlers see them.
 *
 * A handler is called once for each call, on a loop (it must not block then) or on a worker, as grpc_list.def says. Somebody, on any
 * thread, then calls one of the two functions that answer, exactly once; the call and its request are gone afterwards. The handler of a
 * stream is called once for each message, on the loop, and has answered when it returns; a failure ends the stream. The handler of a watch
 * is called for the one message, and again several times a second while the client listens: it answers at first, then when there is news.
 */
#ifndef RN_HTTP_GRPC_CALL_H
#define RN_HTTP_GRPC_CALL_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "http/exchange.h"
#include "http/grpc_private.h"

typedef struct rn__grpc_method rn__grpc_method;

struct rn__grpc_call {
    const rn_service *service;
    const ProtobufCMessage *request; /* of the type that grpc_list.def names */
    int64_t deadline_us;             /* the client's, by rn_clock_us(); 0: none */
    atomic_bool cancelled;           /* the client does not want the answer any more: it is gone, or its deadline is over */
    int64_t begin_us;                /* when the message had been read */
    int32_t told;                    /* for the handler of a watch: what it has answered last; 0: nothing yet */

    /* For metrics, written by handlers. */
    rn_timings timings;
    int64_t write_begin_us;        /* when the answer began to be written: timings.write counts from here; 0: it is not counted */
    rn_model_metrics *asked_model; /* set by whoever looks the model up; NULL: none that exists */

    /* Private to grpc_call.c. */
    const rn__grpc_method *method;
    rn__grpc_calls *calls;
    grpc_call *call;
    grpc_byte_buffer *message, *answer;
    ProtobufCMessage *decoded; /* what `request` points to */
    rn_job job;                /* the call of the handler on a worker */
    size_t request_bytes;      /* of the message as sent */
    char traceparent[RN_TRACEPARENT_BYTES], request_id[RN_REQUEST_ID_BYTES];
    rn_trace trace; /* borrows from both */
    rn__grpc_event received, answered, closed;
    rn__grpc_watchers *watchers; /* of its loop */
    rn__grpc_call *next, **link; /* among them; NULL: not there */
    int32_t events_left;         /* that are still to come; only the loop's thread counts */
    int client_gone;
    /* Headers, and the status, have been sent. Written by whoever answers, read on the loop: what he has written before is seen there. */
    atomic_bool has_begun, has_ended;
};

/* OK with `message`, which is encoded before this returns. */
void rn__grpc_answer(rn__grpc_call *call, const ProtobufCMessage *message);
/* The status's gRPC code with its message, cut where TensorFlow Serving cuts. */
void rn__grpc_fail(rn__grpc_call *call, const rn_error *err);

#endif
