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
    X(UNKNOWN,             UNKNOWN,             2,   500)   \
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

const char *rn_grpc_code_name(int32_t code)
{
    for (int32_t i = 0; i < RN_STATUS_COUNT; i++)
        if (codes[i].grpc == code) return codes[i].grpc_name;
    return "UNKNOWN";
}

/* What is answered to HTTP clients, with the gRPC name that TensorFlow Serving counts it under. */
static const struct {
    int32_t code;
    const char *reason, *grpc_name;
} http_codes[] = {
    {200, "OK", "OK"},
    {400, "Bad Request", "INVALID_ARGUMENT"},
    {403, "Forbidden", "PERMISSION_DENIED"},
    {404, "Not Found", "NOT_FOUND"},
    {405, "Method Not Allowed", "UNIMPLEMENTED"},
    {408, "Request Timeout", "DEADLINE_EXCEEDED"},
    {413, "Request Entity Too Large", "RESOURCE_EXHAUSTED"},
    {415, "Unsupported Media Type", "INVALID_ARGUMENT"},
    {429, "Too Many Requests", "RESOURCE_EXHAUSTED"},
    {499, "Client Closed Request", "CANCELLED"},
    {501, "Not Implemented", "UNIMPLEMENTED"},
    {503, "Service Unavailable", "UNAVAILABLE"},
    {504, "Gateway Timeout", "DEADLINE_EXCEEDED"},
    {500, "Internal Server Error", "INTERNAL"}, /* last: what is not in the list is counted here */
};

enum { HTTP_CODE_COUNT = sizeof http_codes / sizeof http_codes[0] };

int32_t rn_http_code_index(int32_t code)
{
    int32_t i = 0;
    while (i < HTTP_CODE_COUNT - 1 && http_codes[i].code != code) i++;
    return i;
}

int32_t rn_http_code_at(int32_t index, const char **grpc_name)
{
    if (index >= HTTP_CODE_COUNT) return 0;
    *grpc_name = http_codes[index].grpc_name;
    return http_codes[index].code;
}

const char *rn_http_reason(int32_t code)
{
    const int32_t i = rn_http_code_index(code);
    return http_codes[i].code == code ? http_codes[i].reason : "Unknown";
}
