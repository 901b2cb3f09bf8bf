/* Base64 (RFC 4648, standard alphabet) as TensorFlow Serving reads and writes it in {"b64": ...} values. */
#ifndef RN_HTTP_BASE64_H
#define RN_HTTP_BASE64_H

#include <stdint.h>

#include "http/text.h"

/* Most bytes that `text_bytes` of base64 can stand for. */
static inline size_t rn_base64_bound(size_t text_bytes)
{
    return text_bytes / 4 * 3 + 3;
}

/* Decodes into `out` (rn_base64_bound bytes; may begin where the text begins) and sets *out_bytes. The padding may be there or not, but it
 * must be right when it is; blanks are skipped; the URL-safe alphabet is refused. False when this is no base64. */
bool rn_base64_decode(rn_text text, uint8_t *out, size_t *out_bytes);

/* Encodes with padding and returns the size: 4 characters for every 3 bytes begun. */
size_t rn_base64_encode(rn_text bytes, char *out);

#endif
