/* Text form of protocol buffers: whatever a file holds, it is refused with a place in it, or gives a message whose wire form gives it
 * again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/proto/config.pb-c.h"
#include "http/text_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(rn_text text, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message;
    rn_error err;
    if (rn_text_proto_parse(text, "f", type, &message, &err) != RN_STATUS_OK) {
        assert(strncmp(err.message, "f:", 2) == 0);
        return;
    }
    uint8_t *wire = malloc(protobuf_c_message_get_packed_size(message) + 1);
    assert(wire);
    const size_t bytes = protobuf_c_message_pack(message, wire);
    ProtobufCMessage *again = protobuf_c_message_unpack(type, NULL, bytes, wire);
    assert(again && protobuf_c_message_get_packed_size(again) == bytes);
    protobuf_c_message_free_unpacked(again, NULL);
    protobuf_c_message_free_unpacked(message, NULL);
    free(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const rn_text text = {(const char *)data, size};
    check(text, &config__model_server_config__descriptor);
    check(text, &config__batching_parameters__descriptor);
    return 0;
}
