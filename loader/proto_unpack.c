/* protobuf-c with an arena under it: every byte it takes counts against the arena's limit, and nothing can leak, whatever path it takes
 * through a broken message. */
#include "loader/proto_unpack.h"

typedef struct bounded {
    rn__arena *arena;
    bool refused;
} bounded;

static void *take(void *context, size_t bytes)
{
    bounded *b = context;
    void *memory = rn__arena_take(b->arena, bytes);
    if (!memory) b->refused = true;
    return memory;
}

static void give_back(void *context, void *memory)
{
    (void)context, (void)memory; /* with the arena */
}

void *rn__proto_unpack(const ProtobufCMessageDescriptor *type, rn__arena *arena, const void *bytes, size_t size_bytes, bool *out_of_memory)
{
    bounded context = {.arena = arena};
    ProtobufCAllocator allocator = {.alloc = take, .free = give_back, .allocator_data = &context};
    void *message = protobuf_c_message_unpack(type, &allocator, size_bytes, bytes);
    *out_of_memory = context.refused;
    return message;
}
