/* Sources: tensorflow_serving/model_servers/http_server.cc (ToHTTPStatusCode), google/rpc/code.proto. A full queue is UNAVAILABLE there,
 * not RESOURCE_EXHAUSTED; a device that fails is this server's defect as far as a client can tell; one that is lost will be another server's
 * work when the client tries again. */
#include "http/status_map.h"

/* clang-format off */
/*    status               gRPC                    HTTP */
#define MAP(X)                                              \
    X(OK,                  OK,                  0,   200)   \
    X(INVALID_ARGUMENT,    INVALID_ARGUMENT,    3,   400)   \
    X(FAILED_PRECONDITION, FAILED_PRECONDITION, 9,   400)   \
    X(NOT_FOUND,           NOT_FOUND,           5,   404)   \
    X(PERMISSION_DENIED,   PERMISSION_DENIED,   7,   403)   \
    X(UNSUPPORTED,         UNIMPLEMENTED,       12,  501)   \
    X(OUT_OF_MEMORY,       RESOURCE_EXHAUSTED,  8,   429)   \
    X(DEVICE_FAILED,       INTERNAL,            13,  500)   \
    X(DEVICE_LOST,         UNAVAILABLE,         14,  503)   \
    X(OVERLOADED,          UNAVAILABLE,         14,  503)   \
    X(DEADLINE_EXCEEDED,   DEADLINE_EXCEEDED,   4,   504)   \
    X(CANCELLED,           CANCELLED,           1,   499)   \
    X(DATA_LOSS,           DATA_LOSS,           15,  500)   \
    X(UNAVAILABLE,         UNAVAILABLE,         14,  503)   \
    X(INTERNAL,            INTERNAL,            13,  500)
/* clang-format on */

static const struct {
    const char *grpc_name;
    int32_t grpc, http;
} codes[RN_STATUS_COUNT] = {
#define ENTRY(status, name, grpc, http) [RN_STATUS_##status] = {#name, grpc, http},
    MAP(ENTRY)
#undef ENTRY
};

int32_t rn_status_http_code(rn_status status)
{
    return codes[status].http;
}

int32_t rn_status_grpc_code(rn_status status)
{
    return codes[status].grpc;
}

const char *rn_status_grpc_name(rn_status status)
{
    return codes[status].grpc_name;
}

const char *rn_http_reason(int32_t code)
{
    switch (code) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 413:
        return "Request Entity Too Large";
    case 429:
        return "Too Many Requests";
    case 499:
        return "Client Closed Request";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default:
        return "Unknown";
    }
}
