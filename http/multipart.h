/* multipart/form-data (RFC 2046 section 5.1, RFC 7578), read in place: one part after the other, without memory of its own. */
#ifndef RN_HTTP_MULTIPART_H
#define RN_HTTP_MULTIPART_H

#include <stdint.h>

#include "http/text.h"
#include "kernels/base/error.h"

enum { RN_MULTIPART_BOUNDARY_BYTES = 70 }; /* the longest that RFC 2046 allows */

typedef struct rn_multipart {
    char delimiter[4 + RN_MULTIPART_BOUNDARY_BYTES]; /* CR LF - - boundary */
    size_t delimiter_bytes;
    rn_text rest;       /* from behind a delimiter on */
    int32_t part_count; /* that were read */
} rn_multipart;

/* What a part says about itself, as it stands between its quotes; `at` is NULL for what it does not say. */
typedef struct rn_part {
    rn_text name, filename, content_type;
    rn_text body;
} rn_part;

/* The value of a header's parameter, `name` in lower case: image/png; name="value". False when there is none. */
bool rn_header_parameter(rn_text header, const char *name, rn_text *out);

/* Finds the boundary in `content_type` and the first part in `body`, both borrowed. INVALID_ARGUMENT says what is missing. */
rn_status rn_multipart_begin(rn_multipart *reader, rn_text content_type, rn_text body, rn_error *err);
/* The next part, or *more false behind the last one. INVALID_ARGUMENT names the part that is malformed or cut short. */
rn_status rn_multipart_next(rn_multipart *reader, rn_part *part, bool *more, rn_error *err);

#endif
