/* variables.index: which tensor of a TensorFlow checkpoint lies where.
 *
 * The file is a LevelDB table (github.com/google/leveldb, doc/table_format.md); its values are BundleHeaderProto under the empty key and
 * BundleEntryProto under all others (tensorflow/core/util/tensor_bundle).
 */
#ifndef RN_LOADER_CHECKPOINT_INDEX_H
#define RN_LOADER_CHECKPOINT_INDEX_H

#include "loader/arena.h"
#include "loader/file_bytes.h"
#include "loader/proto/checkpoint.pb-c.h"

enum { RN__CHECKPOINT_MAX_RANK = 8 };

/* What the index says about one key; checked against itself, not yet against the shards. */
typedef struct rn__checkpoint_entry {
    const char *key; /* key_bytes bytes, then a NUL; keys of slices hold NULs inside */
    size_t key_bytes;
    int32_t dtype; /* TensorFlow's DataType */
    int32_t rank;
    int64_t dims[RN__CHECKPOINT_MAX_RANK]; /* none negative */
    int64_t element_count;                 /* product of dims */
    int32_t shard;                         /* 0 <= shard < shard_count */
    uint64_t offset, size_bytes;
    uint32_t masked_crc;
    const Sm__BundleEntry *message; /* for its slices */
} rn__checkpoint_entry;

typedef struct rn__checkpoint_index {
    int32_t shard_count;
    int64_t entry_count;
    rn__checkpoint_entry *entries; /* keys rising bytewise, each once */
} rn__checkpoint_index;

/* Reads the table `file`, named `path` in messages; everything it keeps lies in `arena`. DATA_LOSS names the file and the byte at which it
 * is damaged. */
rn_status rn__checkpoint_index_read(const char *path, const rn__file_bytes *file, rn__arena *arena, rn__checkpoint_index *out, rn_error *err);

/* The entry under a key, or NULL. */
const rn__checkpoint_entry *rn__checkpoint_index_find(const rn__checkpoint_index *index, const void *key, size_t key_bytes);

/* Key of one slice of `name`: 0x00, the name with 00 -> 00 FF and FF -> FF 00, 00 01, the rank, then start and length of each dimension as
 * ordered numbers (a whole dimension: 0, -1). Returns its length, or 0 when it does not fit in `room` bytes. Source:
 * tensorflow/core/util/saved_tensor_slice_util, lib/strings/ordered_code. */
size_t rn__slice_key(const char *name, int32_t rank, const int64_t *starts, const int64_t *lengths, uint8_t *out, size_t room);

#endif
