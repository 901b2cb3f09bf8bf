/* Compressed request bodies. */
#ifndef RN_HTTP_GZIP_H
#define RN_HTTP_GZIP_H

#include "http/text.h"
#include "kernels/base/error.h"

/* Inflates a gzip body (RFC 1952) into memory that the caller frees. INVALID_ARGUMENT: not gzip, cut short, or more than max_bytes. */
rn_status rn_gzip_inflate(rn_text body, size_t max_bytes, char **out, size_t *out_bytes, rn_error *err);

#endif
