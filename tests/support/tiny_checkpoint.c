/* A LevelDB table writer of the simplest kind: prefix compression, restarts, masked checksums, no compression. */
#include "tests/support/tiny_checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/crc32c.h"
#include "tests/support/test_file.h"

static void put_fixed(uint8_t **at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) *(*at)++ = (uint8_t)(value >> 8 * i);
}

static void put_varint(uint8_t **at, uint64_t value)
{
    for (; value > 0x7f; value >>= 7) *(*at)++ = (uint8_t)value | 0x80;
    *(*at)++ = (uint8_t)value;
}

static void put_entry(uint8_t **at, const tiny_entry *entry, size_t shared)
{
    put_varint(at, shared);
    put_varint(at, entry->key_bytes - shared);
    put_varint(at, entry->value_bytes);
    memcpy(*at, entry->key + shared, entry->key_bytes - shared);
    *at += entry->key_bytes - shared;
    memcpy(*at, entry->value, entry->value_bytes);
    *at += entry->value_bytes;
}

/* One block with its trailer; returns its size without it. */
static size_t put_block(uint8_t **at, const tiny_entry *entries, size_t count, size_t restart)
{
    uint8_t *start = *at;
    uint32_t restarts[TINY_MAX_ENTRIES + 1] = {0};
    size_t restart_count = count ? 0 : 1;
    for (size_t i = 0; i < count; i++) {
        size_t shared = 0;
        if (i % restart == 0) {
            restarts[restart_count++] = (uint32_t)(*at - start);
        } else {
            const tiny_entry *before = &entries[i - 1];
            while (shared < before->key_bytes && shared < entries[i].key_bytes && before->key[shared] == entries[i].key[shared]) shared++;
        }
        put_entry(at, &entries[i], shared);
    }
    for (size_t i = 0; i < restart_count; i++) put_fixed(at, restarts[i], 4);
    put_fixed(at, restart_count, 4);
    const size_t size = (size_t)(*at - start);
    *(*at)++ = 0;
    put_fixed(at, rn__crc32c_mask(rn__crc32c(0, start, size + 1)), 4);
    return size;
}

void tiny_checkpoint_init(tiny_checkpoint *checkpoint, int32_t shards)
{
    Sm__BundleHeader header = SM__BUNDLE_HEADER__INIT;
    header.num_shards = shards;
    memset(checkpoint, 0, sizeof *checkpoint);
    checkpoint->entries[0].value_bytes = sm__bundle_header__pack(&header, checkpoint->entries[0].value);
    checkpoint->entry_count = 1;
}

void tiny_checkpoint_add(tiny_checkpoint *checkpoint, const void *key, size_t key_bytes, Sm__BundleEntry *message, int32_t rank,
                         const int64_t *dims, const void *data, size_t bytes)
{
    tiny_entry *entry = &checkpoint->entries[checkpoint->entry_count++];
    Sm__TensorShape shape = SM__TENSOR_SHAPE__INIT;
    Sm__TensorShape__Dim dim[RN__CHECKPOINT_MAX_RANK], *list[RN__CHECKPOINT_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        sm__tensor_shape__dim__init(&dim[i]);
        dim[i].size = dims[i];
        list[i] = &dim[i];
    }
    shape.n_dim = (size_t)rank;
    shape.dim = list;
    message->shape = &shape;
    message->offset = (int64_t)checkpoint->data_bytes;
    message->size = (int64_t)bytes;
    if (message->crc32c == 0) message->crc32c = rn__crc32c_mask(rn__crc32c(0, data, bytes));
    if (bytes) memcpy(checkpoint->data + checkpoint->data_bytes, data, bytes);
    checkpoint->data_bytes += bytes;
    memcpy(entry->key, key, key_bytes);
    entry->key_bytes = key_bytes;
    entry->value_bytes = sm__bundle_entry__pack(message, entry->value);
}

void tiny_checkpoint_finish(tiny_checkpoint *checkpoint, size_t per_block, size_t restart)
{
    uint8_t *at = checkpoint->table;
    static tiny_entry handles[TINY_MAX_ENTRIES];
    size_t handle_count = 0;
    for (size_t i = 0; i < checkpoint->entry_count; i += per_block) {
        const size_t left = checkpoint->entry_count - i, count = left < per_block ? left : per_block;
        tiny_entry *handle = &handles[handle_count++];
        *handle = checkpoint->entries[i + count - 1];
        uint8_t *value = handle->value;
        put_varint(&value, (uint64_t)(at - checkpoint->table));
        put_varint(&value, put_block(&at, &checkpoint->entries[i], count, restart));
        handle->value_bytes = (size_t)(value - handle->value);
    }
    uint8_t footer[48] = {0}, *f = footer;
    put_varint(&f, (uint64_t)(at - checkpoint->table));
    put_varint(&f, put_block(&at, NULL, 0, 1));
    put_varint(&f, (uint64_t)(at - checkpoint->table));
    put_varint(&f, put_block(&at, handles, handle_count, 1));
    f = footer + 40;
    put_fixed(&f, 0xdb4775248b80fb57u, 8);
    memcpy(at, footer, sizeof footer);
    checkpoint->table_bytes = (size_t)(at + sizeof footer - checkpoint->table);
}

static void write_file(const char *folder, const char *name, const void *bytes, size_t count)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    rn_test_write_file(path, bytes, count);
}

void tiny_checkpoint_write(const tiny_checkpoint *checkpoint, const char *folder)
{
    write_file(folder, "variables.index", checkpoint->table, checkpoint->table_bytes);
    write_file(folder, "variables.data-00000-of-00001", checkpoint->data, checkpoint->data_bytes);
}
