/* How outcomes appear on the wire. The only place that knows HTTP and gRPC codes. */
#ifndef RN_HTTP_STATUS_MAP_H
#define RN_HTTP_STATUS_MAP_H

#include <stdint.h>

#include "kernels/base/status.h"

int32_t rn_status_http_code(rn_status status);     /* as TensorFlow Serving maps its codes */
int32_t rn_status_grpc_code(rn_status status);     /* google.rpc.Code */
const char *rn_status_grpc_name(rn_status status); /* "INVALID_ARGUMENT": static */
const char *rn_grpc_code_name(int32_t code);       /* of a google.rpc.Code: static, "UNKNOWN" for what is never sent */
const char *rn_http_reason(int32_t code);          /* "Bad Request": static, never NULL */

/* HTTP codes as indexes below RN_METRICS_CODES; a code that is not known counts as 500. rn_http_code_at returns 0 past the last one, and
 * else sets the gRPC name that TensorFlow Serving counts the code under. */
int32_t rn_http_code_index(int32_t code);
int32_t rn_http_code_at(int32_t index, const char **grpc_name);

#endif
