/* How outcomes appear on the wire. The only place that knows HTTP and gRPC codes. */
#ifndef RN_HTTP_STATUS_MAP_H
#define RN_HTTP_STATUS_MAP_H

#include <stdint.h>

#include "kernels/base/status.h"

int32_t rn_status_http_code(rn_status status);     /* as TensorFlow Serving maps its codes */
int32_t rn_status_grpc_code(rn_status status);     /* google.rpc.Code */
const char *rn_status_grpc_name(rn_status status); /* "INVALID_ARGUMENT": static */
const char *rn_http_reason(int32_t code);          /* "Bad Request": static, never NULL */

#endif
