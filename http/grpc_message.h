/* Protocol buffers between bytes on the wire and structs in memory. */
#ifndef RN_HTTP_GRPC_MESSAGE_H
#define RN_HTTP_GRPC_MESSAGE_H

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>

#include "http/text.h"
#include "kernels/base/error.h"

/* Fields of bytes. */
static inline rn_text rn__grpc_text(ProtobufCBinaryData bytes)
{
    return bytes.len > 0 ? (rn_text){(const char *)bytes.data, bytes.len} : rn_text_of("");
}

static inline ProtobufCBinaryData rn__grpc_bytes(rn_text text)
{
    return (ProtobufCBinaryData){text.bytes, (uint8_t *)text.at};
}

/* For messages that are encoded only: protobuf-c's structs have no const. */
static inline char *rn__grpc_unconst(const char *text)
{
    return (char *)text;
}

/* Decodes `bytes`, which may be compressed, as a message of `type`, which must not be able to contain itself. The caller frees *out.
 * INTERNAL, as gRPC wants it, when the bytes are no such message; OUT_OF_MEMORY when it would take far more memory than its bytes;
 * INVALID_ARGUMENT when it cannot be inflated to at most max_bytes. */
rn_status rn__grpc_unpack(const ProtobufCMessageDescriptor *type, const grpc_byte_buffer *bytes, size_t max_bytes, ProtobufCMessage **out,
                          rn_error *err);
/* The same of plain bytes. */
rn_status rn__grpc_decode(const ProtobufCMessageDescriptor *type, const char *at, size_t bytes, ProtobufCMessage **out, rn_error *err);
void rn__grpc_free_message(ProtobufCMessage *message); /* NULL allowed */

/* The bytes of `message`. The caller destroys them. */
grpc_byte_buffer *rn__grpc_pack(const ProtobufCMessage *message);

#endif
