/* A whole file as read-only bytes. */
#ifndef RN_LOADER_FILE_MAP_H
#define RN_LOADER_FILE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

/* bytes: page-aligned mapping of size_bytes bytes, NULL for an empty file. Zeroed: nothing mapped. */
typedef struct rn__file_map {
    const uint8_t *bytes;
    size_t size_bytes;
} rn__file_map;

/* Maps the regular file `path`. NOT_FOUND, PERMISSION_DENIED, or UNAVAILABLE, naming it. */
rn_status rn__file_map_open(const char *path, rn__file_map *out, rn_error *err);
void rn__file_map_close(rn__file_map *map);

#endif
