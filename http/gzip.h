/* Compressed request bodies and messages. */
#ifndef RN_HTTP_GZIP_H
#define RN_HTTP_GZIP_H

#include "http/text.h"
#include "kernels/base/error.h"

/* Inflates a body in gzip or zlib framing (RFC 1952, 1950) into memory that the caller frees. INVALID_ARGUMENT: neither, cut short, or more
 * than max_bytes. */
rn_status rn_gzip_inflate(rn_text body, size_t max_bytes, char **out, size_t *out_bytes, rn_error *err);

#endif
