/* Protocol buffers in text form (protobuf.dev/reference/protobuf/textformat-spec), for the files that operators write. */
#ifndef RN_HTTP_TEXT_PROTO_H
#define RN_HTTP_TEXT_PROTO_H

#include <protobuf-c/protobuf-c.h>

#include "http/text.h"
#include "kernels/base/error.h"

/* Reads `text` as a message of `type`: fields of integer, bool, enum, string, bytes and message type. A field whose message type is called
 * Unread takes any content and ignores it. The caller frees *out with protobuf_c_message_free_unpacked(*out, NULL). INVALID_ARGUMENT begins
 * with `source` (the file's name), line and column, both from 1; OUT_OF_MEMORY. */
rn_status rn_text_proto_parse(rn_text text, const char *source, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
                              rn_error *err);

#endif
