/* The small files that operators write, in memory. */
#ifndef RN_HTTP_TEXT_FILE_H
#define RN_HTTP_TEXT_FILE_H

#include "http/text.h"
#include "kernels/base/error.h"

/* The bytes of the file `path`, into memory that the caller frees (free((char *)out->at)). NOT_FOUND, PERMISSION_DENIED or UNAVAILABLE,
 * naming it; INVALID_ARGUMENT: larger than a megabyte. */
rn_status rn_text_file_read(const char *path, rn_text *out, rn_error *err);

#endif
