/* A checkpoint of one shard: two bytes that say how long the index is, the index, the shard. Whatever opens is read, every tensor of it. */
#include "loader/checkpoint_data.h"
#include "tests/fuzz/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const size_t wanted = (size_t)data[0] | (size_t)data[1] << 8, index_bytes = wanted < size - 2 ? wanted : size - 2;
    char prefix[128];
    rn__checkpoint *checkpoint;
    rn_error err;
    scratch_write("variables/variables.index", data + 2, index_bytes);
    scratch_write("variables/variables.data-00000-of-00001", data + 2 + index_bytes, size - 2 - index_bytes);
    snprintf(prefix, sizeof prefix, "%s/variables/variables", scratch());
    if (rn__checkpoint_open(prefix, NULL, &checkpoint, &err) != RN_STATUS_OK) return 0;

    rn__file_bytes file = {data + 2, index_bytes};
    rn__checkpoint_index index;
    rn__arena *arena = rn__arena_create((size_t)16 << 20);
    assert(arena);
    assert(rn__checkpoint_index_read("f", &file, arena, &index, &err) == RN_STATUS_OK);
    for (int64_t i = 0; i < index.entry_count; i++) {
        const rn__checkpoint_entry *entry = rn__checkpoint_find(checkpoint, index.entries[i].key);
        rn__constant value;
        if (entry && rn__checkpoint_read(checkpoint, entry, arena, &value, &err) == RN_STATUS_OK)
            assert(value.count == entry->element_count);
    }
    rn__arena_destroy(arena);
    rn__checkpoint_close(checkpoint);
    return 0;
}
