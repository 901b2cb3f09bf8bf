/* Read to the end, not by size: a mounted ConfigMap may be exchanged between the two. */
#include "http/text_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BYTES = 1 << 20 };

static rn_status fail(const char *path, rn_error *err)
{
    const int reason = errno;
    const rn_status status = reason == ENOENT || reason == ENOTDIR ? RN_STATUS_NOT_FOUND
                             : reason == EACCES                    ? RN_STATUS_PERMISSION_DENIED
                                                                   : RN_STATUS_UNAVAILABLE;
    return RN_FAIL(err, status, "%s: %s", path, strerror(reason));
}

rn_status rn_text_file_read(const char *path, rn_text *out, rn_error *err)
{
    FILE *file = fopen(path, "re");
    if (!file) return fail(path, err);
    char *text = malloc(MAX_BYTES + 1);
    rn_status status = RN_STATUS_OK;
    errno = 0;
    const size_t bytes = text ? fread(text, 1, MAX_BYTES + 1, file) : 0;
    if (!text)
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory to read it", path);
    else if (ferror(file))
        status = fail(path, err);
    else if (bytes > MAX_BYTES)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: larger than %d bytes", path, MAX_BYTES);
    fclose(file);
    if (status != RN_STATUS_OK)
        free(text);
    else
        *out = (rn_text){text, bytes};
    return status;
}
