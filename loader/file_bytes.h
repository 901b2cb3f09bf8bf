/* A whole file as read-only bytes. */
#ifndef RN_LOADER_FILE_BYTES_H
#define RN_LOADER_FILE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

/* bytes: size_bytes bytes at a page's start, released with munmap; NULL for an empty file. Zeroed: nothing held. */
typedef struct rn__file_bytes {
    const uint8_t *bytes;
    size_t size_bytes;
} rn__file_bytes;

/* Reads the regular file `path`. NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, OUT_OF_MEMORY or DATA_LOSS, naming it. */
rn_status rn__file_bytes_open(const char *path, rn__file_bytes *out, rn_error *err);
/* The same of its first `most` bytes, or of all if it has fewer. */
rn_status rn__file_bytes_open_head(const char *path, size_t most, rn__file_bytes *out, rn_error *err);
/* The same of all of it, with a call of follow(context, bytes, done) whenever more of the file is there: its first `done` bytes, at the same place
 * in every call. *out is to be closed after a failure too, when nobody looks at these bytes any more. */
typedef void rn__file_follow_fn(void *context, const uint8_t *bytes, size_t done);
rn_status rn__file_bytes_open_followed(const char *path, rn__file_follow_fn *follow, void *context, rn__file_bytes *out, rn_error *err);
void rn__file_bytes_close(rn__file_bytes *map);

#endif
