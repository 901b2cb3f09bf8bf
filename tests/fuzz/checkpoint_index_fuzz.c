/* variables.index: once as it comes, and once as the content of a table's two blocks, which the target puts into a file with the checksums
 * and the footer that a fuzzer would hardly find. Every entry that is read has to be found again by its key. */
#include "loader/checkpoint_index.h"
#include "loader/crc32c.h"
#include "tests/fuzz/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_table(const uint8_t *data, size_t size)
{
    rn__arena *arena = rn__arena_create((size_t)16 << 20);
    rn__checkpoint_index index = {0};
    rn_error err;
    assert(arena);
    if (rn__checkpoint_index_read("f", &(rn__file_bytes){data, size}, arena, &index, &err) == RN_STATUS_OK) {
        for (int64_t i = 0; i < index.entry_count; i++) {
            const rn__checkpoint_entry *entry = &index.entries[i];
            assert(rn__checkpoint_index_find(&index, entry->key, entry->key_bytes) == entry);
            assert(entry->shard >= 0 && entry->shard < index.shard_count && entry->element_count >= 0);
        }
    } else {
        assert(strncmp(err.message, "f", 1) == 0);
    }
    rn__arena_destroy(arena);
}

static size_t put_block(uint8_t *out, const uint8_t *content, size_t size)
{
    memcpy(out, content, size);
    out[size] = 0; /* not compressed */
    const uint32_t crc = rn__crc32c_mask(rn__crc32c(0, out, size + 1));
    memcpy(out + size + 1, &crc, sizeof crc);
    return size + 5;
}

static uint8_t *put_varint(uint8_t *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

/* Two bytes that say how long the data block is, the data block, the index block. */
static void read_blocks(const uint8_t *data, size_t size)
{
    enum { FOOTER = 48 };
    static const uint8_t empty[] = {0, 0, 0, 0, 1, 0, 0, 0}, magic[] = {0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb};
    if (size < 2) return;
    const size_t wanted = (size_t)data[0] | (size_t)data[1] << 8, first = wanted < size - 2 ? wanted : size - 2;
    uint8_t *file = calloc(1, size + 256), *at = file;
    assert(file);
    at += put_block(at, data + 2, first);
    const size_t index_at = (size_t)(at - file), index_bytes = size - 2 - first;
    at += put_block(at, data + 2 + first, index_bytes);
    const size_t meta_at = (size_t)(at - file);
    at += put_block(at, empty, sizeof empty);
    uint8_t *footer = at, *handle = put_varint(put_varint(footer, meta_at), sizeof empty);
    put_varint(put_varint(handle, index_at), index_bytes);
    memcpy(footer + FOOTER - sizeof magic, magic, sizeof magic);
    const size_t file_bytes = (size_t)(footer - file) + FOOTER;
    uint8_t *exact = malloc(file_bytes); /* so that the first byte too many is seen */
    assert(exact);
    memcpy(exact, file, file_bytes);
    read_table(exact, file_bytes);
    free(exact);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_table(data, size);
    read_blocks(data, size);
    return 0;
}
