/* What is counted and logged of a call when it is answered, whichever protocol it came by. */
#ifndef RN_HTTP_FINISHED_CALL_H
#define RN_HTTP_FINISHED_CALL_H

#include "engine/model.h"
#include "http/trace.h"

typedef struct rn_service rn_service;

/* Where the time of a call went, in microseconds; -1: not measured. */
typedef struct rn_timings {
    int64_t parse, decode, queue, run, write;
    int32_t batch_rows;
} rn_timings;

#define RN_TIMINGS_NONE ((rn_timings){-1, -1, -1, -1, -1, 0})

/* What the engine has measured of a request that ended well. */
void rn_timings_of_request(const rn_request *request, rn_timings *out);

typedef struct rn_finished_call {
    rn_protocol protocol;
    rn_method counted_as;
    rn_text verb, path; /* gRPC: the verb is empty, the path is the method's */
    int32_t code;       /* HTTP's or gRPC's */
    int64_t begin_us;   /* rn_clock_us() */
    size_t request_bytes, answer_bytes;
    const rn_timings *timings;
    rn_model_metrics *model; /* that was asked; NULL: none that exists */
    rn_trace trace;
} rn_finished_call;

/* Thread-safe; neither blocks nor allocates. */
void rn_call_finished(const rn_service *service, const rn_finished_call *call);

#endif
