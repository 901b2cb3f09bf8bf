/* The table reader. It reads every block once from front to back and keeps all entries sorted, as the table has them; lookups are binary
 * searches. Nothing is believed: block checksums, handles, prefix lengths, key order and every entry are checked before use.
 *
 *   block: entries { varint shared, varint fresh, varint value length, fresh key bytes, value }, restart offsets (fixed32 each), their
 * count trailer of a block: type (0 raw), masked CRC-32C of block and type footer: handles of the metaindex and the index block, zeros up
 * to byte 40, magic
 */
#include "loader/checkpoint_index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loader/crc32c.h"
#include "loader/proto_unpack.h"
#include "loader/varint.h"

enum { FOOTER_BYTES = 48, MAGIC_AT = 40, TRAILER_BYTES = 5, SLICES_MAX = 4096 };
static const uint64_t magic = 0xdb4775248b80fb57u;

typedef struct reader {
    const char *path;
    const rn__file_bytes *file;
    rn__arena *arena;
    rn__checkpoint_index *index;
    int64_t capacity;
    bool have_header;
    rn_error *err;
} reader;

typedef struct span {
    const uint8_t *at, *end;
} span;

#define DAMAGED(r, at_byte, ...) damaged(r, __LINE__, (uint64_t)(at_byte), __VA_ARGS__)

static rn_status damaged(reader *r, int line, uint64_t at, const char *what)
{
    return rn_error_set(r->err, RN_STATUS_DATA_LOSS, __FILE__, line, "%s: %s at byte %" PRIu64 " of %zu", r->path, what, at,
                        r->file->size_bytes);
}

static uint64_t position(const reader *r, const uint8_t *at)
{
    return (uint64_t)(at - r->file->bytes);
}

static uint64_t fixed(const uint8_t *p, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)p[i] << 8 * i;
    return value;
}

/* ---- blocks ---- */

/* The entries of the block whose handle is at *at: offset and size. No block may begin before `floor`. */
static rn_status open_block(reader *r, const uint8_t **at, const uint8_t *end, uint64_t floor, span *out)
{
    const uint64_t where = position(r, *at), data_bytes = r->file->size_bytes - FOOTER_BYTES;
    uint64_t offset, size;
    if (!rn__varint_read(at, end, &offset) || !rn__varint_read(at, end, &size)) return DAMAGED(r, where, "a block handle is cut short");
    if (offset < floor || size > data_bytes || offset > data_bytes - size || data_bytes - size - offset < TRAILER_BYTES || size < 4) {
        return DAMAGED(r, where, "a block handle points outside the file or backwards");
    }
    const uint8_t *block = r->file->bytes + offset;
    const uint32_t stored = (uint32_t)fixed(block + size + 1, 4);
    if (rn__crc32c_mask(rn__crc32c(0, block, size + 1)) != stored) return DAMAGED(r, offset, "checksum mismatch in the block");
    if (block[size] != 0) {
        return RN_FAIL(r->err, RN_STATUS_UNSUPPORTED, "%s: block at byte %" PRIu64 " is compressed (type %d)", r->path, offset,
                       block[size]);
    }
    const uint64_t restarts = fixed(block + size - 4, 4);
    if (restarts > (size - 4) / 4) return DAMAGED(r, offset + size - 4, "too many restart points");
    *out = (span){block, block + size - 4 - 4 * restarts};
    return RN_STATUS_OK;
}

/* One entry of a block: how many bytes of the key before it stay, the rest of its key, its value. */
static rn_status next_entry(reader *r, span *block, size_t previous_key_bytes, uint32_t *shared, span *key, span *value)
{
    const uint64_t where = position(r, block->at);
    uint32_t fresh, value_bytes;
    if (!rn__varint_read_u32(&block->at, block->end, shared) || !rn__varint_read_u32(&block->at, block->end, &fresh) ||
        !rn__varint_read_u32(&block->at, block->end, &value_bytes)) {
        return DAMAGED(r, where, "an entry is cut short");
    }
    if (*shared > previous_key_bytes || (uint64_t)fresh + value_bytes > (uint64_t)(block->end - block->at)) {
        return DAMAGED(r, where, "an entry is longer than its block");
    }
    *key = (span){block->at, block->at + fresh};
    *value = (span){key->end, key->end + value_bytes};
    block->at = value->end;
    return RN_STATUS_OK;
}

/* ---- values ---- */

static rn_status unpack(reader *r, const ProtobufCMessageDescriptor *type, span value, void *out_pointer)
{
    bool out_of_memory;
    void *message = rn__proto_unpack(type, r->arena, value.at, (size_t)(value.end - value.at), &out_of_memory);
    if (out_of_memory) return RN_FAIL(r->err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for its entries within their limit", r->path);
    if (!message) return DAMAGED(r, position(r, value.at), "an entry's value is no valid message");
    memcpy(out_pointer, &message, sizeof message);
    return RN_STATUS_OK;
}

static rn_status read_header(reader *r, span value)
{
    const Sm__BundleHeader *header = NULL;
    RN_TRY(unpack(r, &sm__bundle_header__descriptor, value, &header));
    if (header->endianness != 0) return RN_FAIL(r->err, RN_STATUS_UNSUPPORTED, "%s: tensors are stored big-endian", r->path);
    if (header->num_shards < 1 || header->num_shards > 99999) return DAMAGED(r, position(r, value.at), "impossible number of shards");
    r->index->shard_count = header->num_shards;
    r->have_header = true;
    return RN_STATUS_OK;
}

static rn_status read_shape(reader *r, const Sm__TensorShape *shape, uint64_t where, rn__checkpoint_entry *entry)
{
    entry->element_count = 1;
    if (!shape) return RN_STATUS_OK; /* a scalar */
    if (shape->unknown_rank || shape->n_dim > RN__CHECKPOINT_MAX_RANK) return DAMAGED(r, where, "a tensor of unknown or impossible rank");
    entry->rank = (int32_t)shape->n_dim;
    for (int32_t i = 0; i < entry->rank; i++) {
        entry->dims[i] = shape->dim[i]->size;
        if (entry->dims[i] < 0 || __builtin_mul_overflow(entry->element_count, entry->dims[i], &entry->element_count)) {
            return DAMAGED(r, where, "a tensor with an impossible dimension");
        }
    }
    return RN_STATUS_OK;
}

static rn_status add_entry(reader *r, const uint8_t *key, size_t key_bytes, span value)
{
    rn__checkpoint_index *index = r->index;
    const uint64_t where = position(r, value.at);
    if (index->entry_count == r->capacity) {
        const int64_t wanted = r->capacity ? 2 * r->capacity : 256;
        rn__checkpoint_entry *grown = rn__arena_array(r->arena, (uint64_t)wanted, sizeof *grown, "the checkpoint's entries", r->err);
        if (!grown) return RN_STATUS_OUT_OF_MEMORY;
        if (index->entry_count) memcpy(grown, index->entries, (size_t)index->entry_count * sizeof *grown);
        index->entries = grown;
        r->capacity = wanted;
    }
    rn__checkpoint_entry *entry = &index->entries[index->entry_count];
    char *copy = rn__arena_raw_array(r->arena, key_bytes + 1, 1, "a checkpoint key", r->err);
    if (!copy) return RN_STATUS_OUT_OF_MEMORY;
    memcpy(copy, key, key_bytes);
    copy[key_bytes] = 0;
    const Sm__BundleEntry *message = NULL;
    RN_TRY(unpack(r, &sm__bundle_entry__descriptor, value, &message));
    *entry = (rn__checkpoint_entry){.key = copy,
                                    .key_bytes = key_bytes,
                                    .dtype = message->dtype,
                                    .shard = message->shard_id,
                                    .offset = (uint64_t)message->offset,
                                    .size_bytes = (uint64_t)message->size,
                                    .masked_crc = message->crc32c,
                                    .message = message};
    if (message->shard_id < 0 || message->shard_id >= index->shard_count || message->offset < 0 || message->size < 0) {
        return DAMAGED(r, where, "an entry outside the shards");
    }
    if (message->n_slices > SLICES_MAX)
        return RN_FAIL(r->err, RN_STATUS_UNSUPPORTED, "%s: %s is cut into %zu slices", r->path, copy, message->n_slices);
    RN_TRY(read_shape(r, message->shape, where, entry));
    index->entry_count++;
    return RN_STATUS_OK;
}

static int compare_keys(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    const int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static rn_status read_data_block(reader *r, span block, uint8_t *key, size_t key_room)
{
    size_t key_bytes = 0;
    while (block.at < block.end) {
        const uint64_t where = position(r, block.at);
        uint32_t shared;
        span fresh, value;
        RN_TRY(next_entry(r, &block, key_bytes, &shared, &fresh, &value));
        key_bytes = shared + (size_t)(fresh.end - fresh.at);
        if (key_bytes > key_room) return DAMAGED(r, where, "a key longer than the file");
        memcpy(key + shared, fresh.at, (size_t)(fresh.end - fresh.at));
        if (!r->have_header) {
            if (key_bytes != 0) return DAMAGED(r, where, "the header's entry is missing");
            RN_TRY(read_header(r, value));
            continue;
        }
        const rn__checkpoint_entry *last = r->index->entry_count ? &r->index->entries[r->index->entry_count - 1] : NULL;
        if (key_bytes == 0 || (last && compare_keys(last->key, last->key_bytes, key, key_bytes) >= 0))
            return DAMAGED(r, where, "keys out of order");
        RN_TRY(add_entry(r, key, key_bytes, value));
    }
    return RN_STATUS_OK;
}

rn_status rn__checkpoint_index_read(const char *path, const rn__file_bytes *file, rn__arena *arena, rn__checkpoint_index *out, rn_error *err)
{
    *out = (rn__checkpoint_index){0};
    reader *r = &(reader){.path = path, .file = file, .arena = arena, .index = out, .err = err};
    if (file->size_bytes < FOOTER_BYTES) return DAMAGED(r, 0, "no room for a footer: the file is cut short");
    const uint8_t *footer = file->bytes + file->size_bytes - FOOTER_BYTES;
    if (fixed(footer + MAGIC_AT, 8) != magic) return DAMAGED(r, position(r, footer) + MAGIC_AT, "the table's magic number is missing");

    const uint8_t *at = footer;
    span metaindex, handles; /* the metaindex is empty in TensorFlow's tables, but it has to be whole */
    RN_TRY(open_block(r, &at, footer + MAGIC_AT, 0, &metaindex));
    RN_TRY(open_block(r, &at, footer + MAGIC_AT, 0, &handles));
    for (; at < footer + MAGIC_AT; at++) {
        if (*at != 0) return DAMAGED(r, position(r, at), "padding of the footer is not zero");
    }
    uint8_t *key = rn__arena_raw_array(arena, file->size_bytes, 1, "a checkpoint key", err);
    if (!key) return RN_STATUS_OUT_OF_MEMORY;
    size_t separator_bytes = 0;
    uint64_t floor = 0; /* blocks lie one after the other: none can be read twice */
    while (handles.at < handles.end) {
        uint32_t shared;
        span separator, handle, block;
        RN_TRY(next_entry(r, &handles, separator_bytes, &shared, &separator, &handle));
        separator_bytes = shared + (size_t)(separator.end - separator.at);
        RN_TRY(open_block(r, &handle.at, handle.end, floor, &block));
        floor = position(r, block.end);
        RN_TRY(read_data_block(r, block, key, file->size_bytes));
    }
    if (!r->have_header) return DAMAGED(r, 0, "the header's entry is missing");
    return RN_STATUS_OK;
}

/* ---- lookups ---- */

const rn__checkpoint_entry *rn__checkpoint_index_find(const rn__checkpoint_index *index, const void *key, size_t key_bytes)
{
    int64_t low = 0, high = index->entry_count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const rn__checkpoint_entry *entry = &index->entries[middle];
        const int order = compare_keys(entry->key, entry->key_bytes, key, key_bytes);
        if (order == 0) return entry;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Bytes of a key under construction; used > room once they did not fit. */
typedef struct key_writer {
    uint8_t *out;
    size_t used, room;
} key_writer;

static void put(key_writer *w, int byte)
{
    if (w->used < w->room) w->out[w->used] = (uint8_t)byte;
    w->used++;
}

/* An ordered signed number: the fewest bytes n whose 7n-1 bits hold it, big-endian, with the first n bits flipped to a header. */
static void put_ordered(key_writer *w, int64_t value)
{
    const uint64_t magnitude = value < 0 ? ~(uint64_t)value : (uint64_t)value;
    int n = 1;
    while (n < 10 && 7 * n - 1 < 64 && magnitude >> (7 * n - 1) != 0) n++;
    uint8_t bytes[10];
    for (int i = 0; i < 10; i++) bytes[i] = i < 2 ? (value < 0 ? 0xff : 0) : (uint8_t)((uint64_t)value >> 8 * (9 - i));
    uint8_t *first = bytes + 10 - n;
    for (int bit = 0; bit < n; bit++) first[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    for (int i = 0; i < n; i++) put(w, first[i]);
}

size_t rn__slice_key(const char *name, int32_t rank, const int64_t *starts, const int64_t *lengths, uint8_t *out, size_t room)
{
    key_writer w = {.out = out, .room = room};
    put(&w, 0);
    for (const uint8_t *p = (const uint8_t *)name; *p; p++) {
        put(&w, *p);
        if (*p == 0xff) put(&w, 0);
    }
    put(&w, 0), put(&w, 1);
    if (rank > 0)
        put(&w, 1), put(&w, rank);
    else
        put(&w, 0);
    for (int32_t i = 0; i < rank; i++) {
        put_ordered(&w, starts[i]);
        put_ordered(&w, lengths[i]);
    }
    return w.used <= w.room ? w.used : 0;
}
