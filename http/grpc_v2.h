/* What the handlers of inference.GRPCInferenceService (grpc_v2_*.c) share. The protocol itself is in http/v2.h. */
#ifndef RN_HTTP_GRPC_V2_H
#define RN_HTTP_GRPC_V2_H

#include "http/grpc_call.h"
#include "http/grpc_message.h"
#include "http/proto/v2.pb-c.h"
#include "http/v2.h"

#define RN__GRPC_V2_SERVICE "inference.GRPCInferenceService"

/* grpc_v2_model.c: an empty version is RN_LATEST_VERSION. */
rn_status rn__grpc_v2_version(ProtobufCBinaryData text, int64_t *out, rn_error *err);
/* The model that a message names, with a reference for the caller. */
rn_status rn__grpc_v2_acquire(rn__grpc_call *call, ProtobufCBinaryData name, ProtobufCBinaryData version, rn_model **out, int64_t *found,
                              rn_error *err);

/* grpc_v2_infer.c: what the message asks for. It points into the message. */
rn_status rn__grpc_v2_parse(const V2__ModelInferRequest *message, rn__v2_query *query, rn_error *err);

#endif
