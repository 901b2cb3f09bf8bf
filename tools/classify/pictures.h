/* The pictures that a command line names. */
#ifndef RN_TOOLS_CLASSIFY_PICTURES_H
#define RN_TOOLS_CLASSIFY_PICTURES_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

typedef struct picture_list {
    char **paths; /* "-": standard input */
    int32_t count, capacity;
} picture_list;

/* Files as they are named, and of directories, in their order, all files below that are named like pictures. NOT_FOUND when a name does not
 * exist, a directory holds none, or nothing is named at all. */
rn_status picture_list_make(char **names, int count, picture_list *out, rn_error *err);
void picture_list_deinit(picture_list *list);

/* The bytes of a file or of standard input: *out is the caller's. */
rn_status picture_read(const char *path, void **out, size_t *byte_count, rn_error *err);

#endif
