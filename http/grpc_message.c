/* protobuf-c with a budget. A few bytes on the wire can stand for many in memory (an empty element of a list takes two bytes and becomes a
 * struct), so that each piece of memory is charged to a budget that follows from the size of the message. Each piece remembers its size, for
 * what the decoder gives back while it works. */
#include "http/grpc_message.h"

#include <grpc/byte_buffer_reader.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    /* The greediest list that clients have reason to send, floats that are not packed, takes 18 bytes a byte while it is decoded. */
    BUDGET_FACTOR = 20,
    BUDGET_BASE_BYTES = 64 << 10,
};

typedef struct {
    size_t left;
    bool refused;
} budget;

typedef struct {
    alignas(max_align_t) size_t bytes;
} piece;

static void *take(void *context, size_t bytes)
{
    budget *b = context;
    piece *p = bytes + sizeof *p <= b->left ? malloc(bytes + sizeof *p) : NULL;
    if (!p) {
        b->refused = true;
        return NULL;
    }
    p->bytes = bytes + sizeof *p;
    b->left -= p->bytes;
    return p + 1;
}

static void give_back(void *context, void *memory)
{
    budget *b = context;
    if (!memory) return;
    piece *p = (piece *)memory - 1;
    if (b) b->left += p->bytes;
    free(p);
}

rn_status rn__grpc_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *bytes, ProtobufCMessage **out, rn_error *err)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes)) return RN_FAIL(err, RN_STATUS_INTERNAL, "Request message cannot be decompressed.");
    const grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    const size_t length = GRPC_SLICE_LENGTH(slice);
    budget b = {.left = BUDGET_BASE_BYTES + BUDGET_FACTOR * length};
    ProtobufCAllocator allocator = {.alloc = take, .free = give_back, .allocator_data = &b};
    *out = protobuf_c_message_unpack(type, &allocator, length, GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);
    if (*out) return RN_STATUS_OK;
    if (b.refused)
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "Request message of %zu bytes takes more than %d times as much memory.", length,
                       BUDGET_FACTOR);
    return RN_FAIL(err, RN_STATUS_INTERNAL, "Error parsing request: %zu bytes are no valid message.", length);
}

void rn__grpc_free_message(ProtobufCMessage *message)
{
    ProtobufCAllocator allocator = {.alloc = take, .free = give_back};
    if (message) protobuf_c_message_free_unpacked(message, &allocator);
}

grpc_byte_buffer *rn__grpc_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return bytes;
}
