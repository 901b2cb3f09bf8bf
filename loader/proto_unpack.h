/* Decoding protocol buffers from files that nobody vouches for. */
#ifndef RN_LOADER_PROTO_UNPACK_H
#define RN_LOADER_PROTO_UNPACK_H

#include <protobuf-c/protobuf-c.h>

#include "loader/arena.h"

/* Decodes `size_bytes` bytes as `type` into `arena`, where the message lives: it is not freed on its own. NULL when the bytes are no such
 * message
 * (*out_of_memory false) or it would not fit (true). Needs a schema whose messages do not contain themselves: the decoder recurses. */
void *rn__proto_unpack(const ProtobufCMessageDescriptor *type, rn__arena *arena, const void *bytes, size_t size_bytes, bool *out_of_memory);

#endif
