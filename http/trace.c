/* Trace Context (W3C), section 3.2: version "-" trace-id "-" parent-id "-" flags, all in lower-case hex; identifiers of zeros are invalid. */
#include "http/trace.h"

static bool is_identifier(const char *at, size_t bytes)
{
    bool nonzero = false;
    for (size_t i = 0; i < bytes; i++) {
        if (!((at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f'))) return false;
        nonzero = nonzero || at[i] != '0';
    }
    return nonzero;
}

static bool is_visible(rn_text text)
{
    for (size_t i = 0; i < text.bytes; i++)
        if (text.at[i] <= ' ' || text.at[i] > '~') return false;
    return true;
}

rn_trace rn_trace_read(rn_text traceparent, rn_text request_id)
{
    rn_trace trace = {0};
    const char *at = traceparent.at;
    /* Only version 00 is defined. */
    if (traceparent.bytes == RN_TRACEPARENT_BYTES && memcmp(at, "00-", 3) == 0 && at[35] == '-' && at[52] == '-' &&
        is_identifier(at + 3, 32) && is_identifier(at + 36, 16)) {
        trace.parent = traceparent;
        trace.id = (rn_text){at + 3, 32};
        trace.span = (rn_text){at + 36, 16};
    }
    if (request_id.bytes <= RN_REQUEST_ID_BYTES && is_visible(request_id)) trace.request_id = request_id;
    return trace;
}
