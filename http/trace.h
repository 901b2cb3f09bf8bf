/* What a request says about the trace that it belongs to: the W3C header traceparent and the customary x-request-id. */
#ifndef RN_HTTP_TRACE_H
#define RN_HTTP_TRACE_H

#include "http/text.h"

/* Borrowed from the headers that were read. */
typedef struct rn_trace {
    rn_text parent;     /* the whole of traceparent when it is well-formed; else empty, as id and span are */
    rn_text id, span;   /* 32 and 16 hex digits */
    rn_text request_id; /* empty when there is none, or one that is longer than RN_REQUEST_ID_BYTES or no visible ASCII */
} rn_trace;

enum { RN_TRACEPARENT_BYTES = 55, RN_REQUEST_ID_BYTES = 64 };

rn_trace rn_trace_read(rn_text traceparent, rn_text request_id);

#endif
