/* From an index entry to a constant: find the shard, check the extent, check the sum, widen or assemble.
 *
 * A string tensor is stored as varint lengths, a checksum of the lengths, and the bytes; its own checksum runs over the lengths as u32 and
 * all that follows. A sliced tensor has no bytes: its slices are entries of their own, under the keys that rn__slice_key spells.
 */
#include "loader/checkpoint_data.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/crc32c.h"
#include "loader/varint.h"

enum { PATH_ROOM = 4096 };

struct rn__checkpoint {
    char prefix[PATH_ROOM];
    rn__arena *arena; /* of the index */
    rn__checkpoint_index index;
    rn__file_bytes *shards; /* shard_count of them */
    bool *summed;         /* entries whose checksum was right */
    const rn_progress *progress;
    uint64_t bytes, bytes_done; /* of all shards; of the entries that were summed */
};

rn_status rn__checkpoint_open(const char *prefix, const rn_progress *progress, rn__checkpoint **out, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    rn__file_bytes file = {0};
    char path[PATH_ROOM + 32];
    rn__checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (!checkpoint) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for a checkpoint", prefix);
    checkpoint->progress = progress;
    if ((size_t)snprintf(checkpoint->prefix, sizeof checkpoint->prefix, "%s", prefix) >= sizeof checkpoint->prefix) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", prefix);
        goto cleanup;
    }
    snprintf(path, sizeof path, "%s.index", prefix);
    RN_TRY_CLEANUP(status, rn__file_bytes_open(path, &file, err));
    /* An entry takes 5 bytes at least and becomes some 300; 128 times the file covers every table that TensorFlow writes ten times over. */
    checkpoint->arena = rn__arena_create(((size_t)1 << 20) + 128 * file.size_bytes);
    if (!checkpoint->arena) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for the index", path);
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, rn__checkpoint_index_read(path, &file, checkpoint->arena, &checkpoint->index, err));
    const rn__checkpoint_index *index = &checkpoint->index;
    checkpoint->shards = calloc((size_t)index->shard_count, sizeof *checkpoint->shards);
    checkpoint->summed = calloc((size_t)index->entry_count + 1, sizeof *checkpoint->summed);
    if (!checkpoint->shards || !checkpoint->summed) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for %d shards", prefix, index->shard_count);
        goto cleanup;
    }
    for (int32_t i = 0; i < index->shard_count; i++) {
        snprintf(path, sizeof path, "%s.data-%05d-of-%05d", prefix, i, index->shard_count);
        RN_TRY_CLEANUP(status, rn__file_bytes_open(path, &checkpoint->shards[i], err));
        checkpoint->bytes += checkpoint->shards[i].size_bytes;
    }
cleanup:
    rn__file_bytes_close(&file);
    if (status == RN_STATUS_OK)
        *out = checkpoint;
    else
        rn__checkpoint_close(checkpoint);
    return status;
}

void rn__checkpoint_close(rn__checkpoint *checkpoint)
{
    if (!checkpoint) return;
    for (int32_t i = 0; checkpoint->shards && i < checkpoint->index.shard_count; i++) rn__file_bytes_close(&checkpoint->shards[i]);
    free(checkpoint->shards);
    free(checkpoint->summed);
    rn__arena_destroy(checkpoint->arena);
    free(checkpoint);
}

const rn__checkpoint_entry *rn__checkpoint_find(const rn__checkpoint *checkpoint, const char *key)
{
    return rn__checkpoint_index_find(&checkpoint->index, key, strlen(key));
}

uint64_t rn__checkpoint_bytes(const rn__checkpoint *checkpoint)
{
    return checkpoint->bytes;
}

/* ---- bytes of one entry ---- */

static rn_status fail_entry(const rn__checkpoint *checkpoint, const rn__checkpoint_entry *entry, int line, const char *what, rn_error *err)
{
    return rn_error_set(err, RN_STATUS_DATA_LOSS, __FILE__, line, "%s.data-%05d-of-%05d: %s: %s (%" PRIu64 " bytes at byte %" PRIu64 ")",
                        checkpoint->prefix, entry->shard, checkpoint->index.shard_count, entry->key[0] ? entry->key : "a slice", what,
                        entry->size_bytes, entry->offset);
}

#define FAIL_ENTRY(checkpoint, entry, what, err) fail_entry(checkpoint, entry, __LINE__, what, err)

static rn_status locate(const rn__checkpoint *checkpoint, const rn__checkpoint_entry *entry, const uint8_t **out, rn_error *err)
{
    const rn__file_bytes *shard = &checkpoint->shards[entry->shard];
    if (entry->size_bytes > shard->size_bytes || entry->offset > shard->size_bytes - entry->size_bytes) {
        return FAIL_ENTRY(checkpoint, entry, "lies outside the file", err);
    }
    *out = shard->bytes + entry->offset;
    return RN_STATUS_OK;
}

static void mark_summed(rn__checkpoint *checkpoint, const rn__checkpoint_entry *entry)
{
    checkpoint->summed[entry - checkpoint->index.entries] = true;
    checkpoint->bytes_done += entry->size_bytes;
    const rn_progress *progress = checkpoint->progress;
    if (progress && progress->report) progress->report(progress->context, "reading weights", checkpoint->bytes_done, checkpoint->bytes);
}

/* Stored bytes of a tensor of numbers, checked. */
static rn_status locate_numbers(rn__checkpoint *checkpoint, const rn__checkpoint_entry *entry, const uint8_t **out, rn_error *err)
{
    const size_t size = rn__dtype_stored_bytes(entry->dtype);
    if (size == 0 || entry->dtype > RN__DT_REF) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: %s: a variable of %s", checkpoint->prefix, entry->key,
                       rn__dtype_text(entry->dtype));
    }
    if ((uint64_t)entry->element_count != entry->size_bytes / size || entry->size_bytes % size) {
        return FAIL_ENTRY(checkpoint, entry, "size does not fit the shape", err);
    }
    RN_TRY(locate(checkpoint, entry, out, err));
    if (checkpoint->summed[entry - checkpoint->index.entries]) return RN_STATUS_OK;
    if (rn__crc32c_mask(rn__crc32c(0, *out, entry->size_bytes)) != entry->masked_crc)
        return FAIL_ENTRY(checkpoint, entry, "checksum mismatch", err);
    mark_summed(checkpoint, entry);
    return RN_STATUS_OK;
}

/* ---- strings ---- */

static rn_status read_strings(rn__checkpoint *checkpoint, const rn__checkpoint_entry *entry, rn__arena *arena, rn__constant *out,
                              rn_error *err)
{
    const uint8_t *at;
    RN_TRY(locate(checkpoint, entry, &at, err));
    const uint8_t *end = at + entry->size_bytes;
    if ((uint64_t)entry->element_count > entry->size_bytes) return FAIL_ENTRY(checkpoint, entry, "more strings than bytes", err);
    void *data;
    RN_TRY(rn__constant_room(arena, entry->key, out, &data, err));
    rn__string *strings = data;
    uint64_t total = 0;
    uint32_t crc = 0;
    for (int64_t i = 0; i < out->count; i++) {
        uint32_t length;
        if (!rn__varint_read_u32(&at, end, &length)) return FAIL_ENTRY(checkpoint, entry, "a string's length is cut short", err);
        const uint8_t little[4] = {(uint8_t)length, (uint8_t)(length >> 8), (uint8_t)(length >> 16), (uint8_t)(length >> 24)};
        crc = rn__crc32c(crc, little, sizeof little);
        strings[i].byte_count = length;
        total += length;
    }
    if (end - at < 4 || total != (uint64_t)(end - at) - 4) return FAIL_ENTRY(checkpoint, entry, "strings do not fill their extent", err);
    const uint32_t masked = rn__crc32c_mask(crc),
                   stored = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    if (masked != stored || rn__crc32c_mask(rn__crc32c(crc, at, (size_t)(end - at))) != entry->masked_crc) {
        return FAIL_ENTRY(checkpoint, entry, "checksum mismatch", err);
    }
    at += 4;
    for (int64_t i = 0; i < out->count; i++) {
        strings[i].bytes = (const char *)at;
        at += strings[i].byte_count;
    }
    return RN_STATUS_OK;
}

/* ---- slices ---- */

/* Start and length of a slice in every dimension, whole dimensions spelled out. */
typedef struct extent {
    int64_t start[RN__CHECKPOINT_MAX_RANK], length[RN__CHECKPOINT_MAX_RANK];
} extent;

static rn_status find_slice(const rn__checkpoint *checkpoint, const rn__checkpoint_entry *whole, const Sm__TensorSlice *slice, extent *out,
                            const rn__checkpoint_entry **entry, rn_error *err)
{
    if (slice->n_extent != (size_t)whole->rank) return FAIL_ENTRY(checkpoint, whole, "a slice of another rank", err);
    int64_t key_lengths[RN__CHECKPOINT_MAX_RANK];
    for (int32_t i = 0; i < whole->rank; i++) {
        const Sm__TensorSlice__Extent *e = slice->extent[i];
        const bool all = e->has_length_case != SM__TENSOR_SLICE__EXTENT__HAS_LENGTH_LENGTH;
        out->start[i] = e->start;
        out->length[i] = all ? whole->dims[i] : e->length;
        key_lengths[i] = all ? -1 : e->length;
        if (out->start[i] < 0 || out->length[i] < 0 || out->length[i] > whole->dims[i] || out->start[i] > whole->dims[i] - out->length[i]) {
            return FAIL_ENTRY(checkpoint, whole, "a slice outside the tensor", err);
        }
    }
    uint8_t key[2048];
    const size_t key_bytes = rn__slice_key(whole->key, whole->rank, out->start, key_lengths, key, sizeof key);
    *entry = key_bytes ? rn__checkpoint_index_find(&checkpoint->index, key, key_bytes) : NULL;
    if (!*entry) return FAIL_ENTRY(checkpoint, whole, "a slice is missing from the index", err);
    bool same = (*entry)->dtype == whole->dtype && (*entry)->rank == whole->rank;
    for (int32_t i = 0; same && i < whole->rank; i++) same = (*entry)->dims[i] == out->length[i];
    return same ? RN_STATUS_OK : FAIL_ENTRY(checkpoint, whole, "a slice has another shape than its extent", err);
}

/* Reads "start,length" or "-" of one dimension at *at, and the ':' or end after it. */
static bool read_extent(const char **at, int64_t dim, int64_t *start, int64_t *length)
{
    char *end;
    if (**at == '-') {
        *start = 0;
        *length = dim;
        end = (char *)*at + 1;
    } else {
        *start = strtoll(*at, &end, 10);
        if (end == *at || *end != ',') return false;
        const char *second = end + 1;
        *length = strtoll(second, &end, 10);
        if (end == second) return false;
    }
    *at = end + (*end == ':');
    return *end == ':' || *end == 0;
}

const rn__checkpoint_entry *rn__checkpoint_find_part(const rn__checkpoint *checkpoint, rn__string key, rn__string part)
{
    const rn__checkpoint_entry *whole = rn__checkpoint_index_find(&checkpoint->index, key.bytes, key.byte_count);
    char text[512];
    if (!whole || part.byte_count == 0) return whole;
    if (part.byte_count >= sizeof text) return NULL;
    memcpy(text, part.bytes, part.byte_count);
    text[part.byte_count] = 0;
    const char *spec = strrchr(text, ' ');
    if (!spec || whole->rank == 0) return NULL;
    spec++;
    int64_t start[RN__CHECKPOINT_MAX_RANK], length[RN__CHECKPOINT_MAX_RANK];
    for (int32_t i = 0; i < whole->rank; i++) {
        if (!read_extent(&spec, whole->dims[i], &start[i], &length[i])) return NULL;
    }
    for (size_t s = 0; *spec == 0 && s < whole->message->n_slices; s++) {
        extent found;
        const rn__checkpoint_entry *entry = NULL;
        if (find_slice(checkpoint, whole, whole->message->slices[s], &found, &entry, NULL) != RN_STATUS_OK) continue;
        bool same = true;
        for (int32_t i = 0; same && i < whole->rank; i++) same = found.start[i] == start[i] && found.length[i] == length[i];
        if (same) return entry;
    }
    return NULL;
}

static bool overlap(int32_t rank, const extent *a, const extent *b)
{
    for (int32_t i = 0; i < rank; i++) {
        if (a->start[i] >= b->start[i] + b->length[i] || b->start[i] >= a->start[i] + a->length[i]) return false;
    }
    return true;
}

/* Copies a dense slice of elements of `size` bytes to its place in the dense whole, one run of the last dimension at a time. */
static void place_slice(const rn__checkpoint_entry *whole, const extent *e, size_t size, const uint8_t *from, uint8_t *to)
{
    int64_t at[RN__CHECKPOINT_MAX_RANK] = {0};
    const int32_t last = whole->rank - 1;
    const size_t run = last < 0 ? size : (size_t)e->length[last] * size;
    for (;;) {
        int64_t element = 0;
        for (int32_t i = 0; i < whole->rank; i++) element = element * whole->dims[i] + e->start[i] + at[i];
        memcpy(to + (size_t)element * size, from, run);
        from += run;
        int32_t i = last - 1;
        while (i >= 0 && ++at[i] == e->length[i]) at[i--] = 0;
        if (i < 0) return;
    }
}

static rn_status read_slices(rn__checkpoint *checkpoint, const rn__checkpoint_entry *whole, rn__arena *arena, const uint8_t **out,
                             rn_error *err)
{
    const size_t count = whole->message->n_slices, size = rn__dtype_stored_bytes(whole->dtype);
    uint8_t *bytes = rn__arena_raw_array(arena, (uint64_t)whole->element_count, size, whole->key, err);
    extent *extents = rn__arena_array(arena, count, sizeof *extents, whole->key, err);
    if (!bytes || !extents) return RN_STATUS_OUT_OF_MEMORY;
    int64_t covered = 0;
    for (size_t i = 0; i < count; i++) {
        const rn__checkpoint_entry *entry = NULL;
        const uint8_t *from = NULL;
        RN_TRY(find_slice(checkpoint, whole, whole->message->slices[i], &extents[i], &entry, err));
        if (entry->element_count == 0) continue;
        for (size_t j = 0; j < i; j++) {
            if (overlap(whole->rank, &extents[i], &extents[j])) return FAIL_ENTRY(checkpoint, whole, "slices overlap", err);
        }
        RN_TRY(locate_numbers(checkpoint, entry, &from, err));
        place_slice(whole, &extents[i], size, from, bytes);
        covered += entry->element_count;
    }
    if (covered != whole->element_count) return FAIL_ENTRY(checkpoint, whole, "slices do not cover the tensor", err);
    *out = bytes;
    return RN_STATUS_OK;
}

/* ---- tensors ---- */

rn_status rn__checkpoint_read(rn__checkpoint *checkpoint, const rn__checkpoint_entry *entry, rn__arena *arena, rn__constant *out,
                              rn_error *err)
{
    rn__element_class element_class;
    if (!rn__dtype_class(entry->dtype, &element_class)) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: %s: a variable of %s", checkpoint->prefix, entry->key,
                       rn__dtype_text(entry->dtype));
    }
    RN_TRY(rn__constant_shape(element_class, entry->rank, entry->dims, entry->key, out, err));
    const bool sliced = entry->message->n_slices > 0;
    if (element_class == RN__STRINGS && !sliced) return read_strings(checkpoint, entry, arena, out, err);
    if (element_class == RN__STRINGS) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: %s: sliced strings", checkpoint->prefix, entry->key);

    const uint8_t *bytes = NULL;
    RN_TRY(sliced ? read_slices(checkpoint, entry, arena, &bytes, err) : locate_numbers(checkpoint, entry, &bytes, err));
    if (entry->dtype == RN__DT_FLOAT && (uintptr_t)bytes % sizeof(float) == 0) {
        out->data.floats = (const float *)(const void *)bytes;
        out->lasting = true;
        return RN_STATUS_OK;
    }
    void *data;
    RN_TRY(rn__constant_room(arena, entry->key, out, &data, err));
    rn__widen(entry->dtype, bytes, out->count, data);
    return RN_STATUS_OK;
}

static void release_mapping(void *memory, size_t bytes)
{
    rn__file_bytes_close(&(rn__file_bytes){memory, bytes});
}

rn_status rn__checkpoint_give_shards(rn__checkpoint *checkpoint, rn_plan *plan, rn_error *err)
{
    for (int32_t i = 0; i < checkpoint->index.shard_count; i++) {
        rn__file_bytes *shard = &checkpoint->shards[i];
        if (!shard->bytes) continue;
        const rn__file_bytes given = *shard;
        *shard = (rn__file_bytes){0}; /* the plan unmaps it, even when it refuses it */
        RN_TRY(rn_plan_adopt(plan, (void *)given.bytes, given.size_bytes, release_mapping, err));
    }
    return RN_STATUS_OK;
}
