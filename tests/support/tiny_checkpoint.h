/* Checkpoints of a few tensors, written as TensorFlow writes them, for tests that need one with a certain flaw. */
#ifndef RN_TESTS_SUPPORT_TINY_CHECKPOINT_H
#define RN_TESTS_SUPPORT_TINY_CHECKPOINT_H

#include "loader/checkpoint_index.h"

enum { TINY_MAX_ENTRIES = 64, TINY_TABLE_ROOM = 1 << 16 };

typedef struct tiny_entry {
    uint8_t key[128];
    size_t key_bytes;
    uint8_t value[256];
    size_t value_bytes;
} tiny_entry;

/* Entries have to be added in rising order of key; the header comes first. */
typedef struct tiny_checkpoint {
    tiny_entry entries[TINY_MAX_ENTRIES];
    size_t entry_count;
    uint8_t table[TINY_TABLE_ROOM];
    size_t table_bytes;
    uint8_t data[4096];
    size_t data_bytes;
} tiny_checkpoint;

void tiny_checkpoint_init(tiny_checkpoint *checkpoint, int32_t shards);
/* An entry of `bytes` bytes that are appended to the data; slices: whole extents listed in `entry` before the call, or none. */
void tiny_checkpoint_add(tiny_checkpoint *checkpoint, const void *key, size_t key_bytes, Sm__BundleEntry *entry, int32_t rank,
                         const int64_t *dims, const void *data, size_t bytes);
/* Writes the table: `per_block` entries to a data block, a restart every `restart` of them. */
void tiny_checkpoint_finish(tiny_checkpoint *checkpoint, size_t per_block, size_t restart);
/* <folder>/variables.index and <folder>/variables.data-00000-of-00001. */
void tiny_checkpoint_write(const tiny_checkpoint *checkpoint, const char *folder);

#endif
