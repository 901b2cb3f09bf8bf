/* Read from a stream, record by record: the file as a whole may be much larger than any record. */
#include "loader/tf_record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/crc32c.h"
#include "loader/io_error.h"

struct rn_tf_records {
    FILE *file;
    char *path;
    size_t max_bytes;
    uint8_t *bytes;  /* of the latest record, and its checksum */
    uint64_t offset; /* of the next record */
    int64_t number;  /* of the latest record */
};

rn_status rn_tf_records_open(const char *path, size_t max_bytes, rn_tf_records **out, rn_error *err)
{
    FILE *file = fopen(path, "rbe");
    if (!file) return rn__io_error(path, err);
    rn_tf_records *records = calloc(1, sizeof *records);
    char *copy = strdup(path);
    if (!records || !copy) {
        fclose(file);
        free(records);
        free(copy);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory to read it", path);
    }
    *records = (rn_tf_records){.file = file, .path = copy, .max_bytes = max_bytes};
    *out = records;
    return RN_STATUS_OK;
}

void rn_tf_records_close(rn_tf_records *records)
{
    if (!records) return;
    fclose(records->file);
    free(records->bytes);
    free(records->path);
    free(records);
}

static uint64_t little_endian(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

static bool checksum_fits(const uint8_t *bytes, size_t count)
{
    return rn__crc32c_mask(rn__crc32c(0, bytes, count)) == little_endian(bytes + count, 4);
}

static rn_status damaged(const rn_tf_records *r, const char *what, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: record %" PRId64 " at byte %" PRIu64 ": %s", r->path, r->number, r->offset, what);
}

/* Exactly `count` bytes, or none at the end of the file (*end). */
static rn_status take(const rn_tf_records *r, uint8_t *out, size_t count, bool *end, rn_error *err)
{
    errno = 0;
    const size_t got = fread(out, 1, count, r->file);
    *end = got == 0;
    if (ferror(r->file)) return rn__io_error(r->path, err);
    return got == count || got == 0 ? RN_STATUS_OK : damaged(r, "the file is cut short", err);
}

rn_status rn_tf_records_next(rn_tf_records *r, const uint8_t **bytes, size_t *count, rn_error *err)
{
    enum { HEADER_BYTES = 12, CHECKSUM_BYTES = 4 };
    uint8_t header[HEADER_BYTES];
    bool end;
    *bytes = NULL;
    r->number++;
    RN_TRY(take(r, header, sizeof header, &end, err));
    if (end) return RN_STATUS_OK;
    if (!checksum_fits(header, 8)) return damaged(r, "the checksum of its length does not fit", err);
    const uint64_t length = little_endian(header, 8);
    if (length > r->max_bytes) return damaged(r, "it is longer than any request may be", err);
    uint8_t *grown = realloc(r->bytes, (size_t)length + CHECKSUM_BYTES);
    if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for a record of %" PRIu64 " bytes", r->path, length);
    r->bytes = grown;
    RN_TRY(take(r, grown, (size_t)length + CHECKSUM_BYTES, &end, err));
    if (end) return damaged(r, "the file is cut short", err);
    if (!checksum_fits(grown, (size_t)length)) return damaged(r, "its checksum does not fit", err);
    r->offset += HEADER_BYTES + length + CHECKSUM_BYTES;
    *bytes = grown;
    *count = (size_t)length;
    return RN_STATUS_OK;
}
