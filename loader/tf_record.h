/* TFRecord files: byte strings one after the other, each with checksums (tensorflow/core/lib/io/record_reader.cc).
 *
 *   u64 length | u32 masked CRC-32C of those 8 bytes | length bytes | u32 masked CRC-32C of these      (little-endian)
 */
#ifndef RN_LOADER_TF_RECORD_H
#define RN_LOADER_TF_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

typedef struct rn_tf_records rn_tf_records;

/* Opens the file `path`. max_bytes: of one record. NOT_FOUND, PERMISSION_DENIED or UNAVAILABLE, naming it. */
rn_status rn_tf_records_open(const char *path, size_t max_bytes, rn_tf_records **out, rn_error *err);
void rn_tf_records_close(rn_tf_records *records); /* NULL allowed */

/* The next record, valid until the next call; *bytes is NULL behind the last one. DATA_LOSS names the record, counted from 1, and its
 * place: cut short, a checksum that does not fit, longer than max_bytes. */
rn_status rn_tf_records_next(rn_tf_records *records, const uint8_t **bytes, size_t *count, rn_error *err);

#endif
