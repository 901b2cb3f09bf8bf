/* multipart/form-data: the first line of the input is the Content-Type, the rest the body. Parts lie within it, one behind the other. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(rn_text inner, rn_text outer)
{
    assert(!inner.at || (inner.at >= outer.at && inner.at + inner.bytes <= outer.at + outer.bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    if (!line) return 0;
    const rn_text type = {(const char *)data, (size_t)(line - data)};
    const size_t bytes = size - type.bytes - 1;
    char *copy = malloc(bytes ? bytes : 1);
    if (!copy) return 0;
    memcpy(copy, line + 1, bytes);
    const rn_text body = {copy, bytes};
    rn_multipart reader;
    rn_part part;
    rn_error err;
    bool more = true;
    rn_status status = rn_multipart_begin(&reader, type, body, &err);
    const char *last = body.at;
    while (status == RN_STATUS_OK && more) {
        status = rn_multipart_next(&reader, &part, &more, &err);
        if (status != RN_STATUS_OK || !more) break;
        assert(part.body.at && part.body.at > last);
        last = part.body.at + part.body.bytes;
        check_text(part.body, body);
        check_text(part.name, body);
        check_text(part.filename, body);
        check_text(part.content_type, body);
    }
    if (status != RN_STATUS_OK) assert(strlen(err.message) > 0);
    free(copy);
    return 0;
}
