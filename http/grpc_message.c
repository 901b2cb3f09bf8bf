/* protobuf-c with a budget. A few bytes on the wire can stand for many in memory (an empty element of a list takes two bytes and becomes a
 * struct) or for much work (a field that comes again and again is merged each time), so that all memory that is ever taken for a message is
 * charged to a budget that follows from its size. */
#include "http/grpc_message.h"

#include <stdbool.h>
#include <stdlib.h>

#include "http/gzip.h"

enum {
    /* The greediest list that clients have reason to send, floats that are not packed, takes 18 bytes a byte while it is decoded. */
    BUDGET_FACTOR = 20,
    BUDGET_BASE_BYTES = 64 << 10,
    PIECE_BYTES = 16, /* what the heap adds to each piece */
};

typedef struct {
    size_t left;
    bool refused;
} budget;

static void *take(void *context, size_t bytes)
{
    budget *b = context;
    const size_t charge = bytes + PIECE_BYTES;
    void *memory = charge <= b->left ? malloc(bytes) : NULL;
    if (memory)
        b->left -= charge;
    else
        b->refused = true;
    return memory;
}

static void give_back(void *context, void *memory)
{
    (void)context; /* what was taken once stays charged */
    free(memory);
}

/* What arrived, in one piece: into memory that the caller frees. */
static rn_status merge(const grpc_slice_buffer *slices, char **out, rn_error *err)
{
    char *at = *out = malloc(slices->length + 1);
    if (!at) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a message of %zu bytes", slices->length);
    for (size_t i = 0; i < slices->count; i++) {
        const size_t bytes = GRPC_SLICE_LENGTH(slices->slices[i]);
        memcpy(at, GRPC_SLICE_START_PTR(slices->slices[i]), bytes);
        at += bytes;
    }
    return RN_STATUS_OK;
}

/* libgrpc would inflate messages itself and look at their size afterwards: a small one could take all memory there is. */
static rn_status flatten(const grpc_byte_buffer *bytes, size_t max_bytes, char **out, size_t *out_bytes, rn_error *err)
{
    const grpc_slice_buffer *slices = &bytes->data.raw.slice_buffer;
    *out_bytes = slices->length;
    RN_TRY(merge(slices, out, err));
    if (bytes->data.raw.compression == GRPC_COMPRESS_NONE) return RN_STATUS_OK;
    char *compressed = *out;
    const rn_status status = rn_gzip_inflate((rn_text){compressed, slices->length}, max_bytes, out, out_bytes, err);
    free(compressed);
    return status;
}

rn_status rn__grpc_decode(const ProtobufCMessageDescriptor *type, const char *at, size_t bytes, ProtobufCMessage **out, rn_error *err)
{
    budget b = {.left = BUDGET_BASE_BYTES + BUDGET_FACTOR * bytes};
    ProtobufCAllocator allocator = {.alloc = take, .free = give_back, .allocator_data = &b};
    *out = protobuf_c_message_unpack(type, &allocator, bytes, (const uint8_t *)at);
    if (*out) return RN_STATUS_OK;
    if (b.refused)
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "Request message of %zu bytes takes more than %d times as much memory.", bytes,
                       BUDGET_FACTOR);
    return RN_FAIL(err, RN_STATUS_INTERNAL, "Error parsing request: %zu bytes are no valid message.", bytes);
}

rn_status rn__grpc_unpack(const ProtobufCMessageDescriptor *type, const grpc_byte_buffer *bytes, size_t max_bytes, ProtobufCMessage **out,
                          rn_error *err)
{
    char *flat;
    size_t flat_bytes;
    RN_TRY(flatten(bytes, max_bytes, &flat, &flat_bytes, err));
    const rn_status status = rn__grpc_decode(type, flat, flat_bytes, out, err);
    free(flat);
    return status;
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
