/* The size is not known in advance (the trailer can lie), so that the buffer doubles until the stream ends or the limit is reached. */
#include "http/gzip.h"

#include <stdlib.h>
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 32 }; /* zlib: the largest window, gzip or zlib framing */

/* Inflates what fits; Z_STREAM_END, Z_OK when the output is full, or an error. */
static int inflate_step(z_stream *stream, char *out, size_t used, size_t capacity)
{
    stream->next_out = (Bytef *)out + used;
    stream->avail_out = (uInt)(capacity - used);
    const int result = inflate(stream, Z_NO_FLUSH);
    return result == Z_OK && stream->avail_out > 0 ? Z_DATA_ERROR : result; /* the input ended first */
}

rn_status rn_gzip_inflate(rn_text body, size_t max_bytes, char **out, size_t *out_bytes, rn_error *err)
{
    z_stream stream = {.next_in = (Bytef *)body.at, .avail_in = (uInt)body.bytes};
    if (inflateInit2(&stream, GZIP_WINDOW) != Z_OK) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to inflate a request body");
    rn_status status = RN_STATUS_OK;
    char *text = NULL;
    size_t capacity = 0;
    int result = Z_OK;
    while (result == Z_OK && capacity < max_bytes) {
        const size_t used = stream.total_out;
        capacity = capacity ? 2 * capacity : 4 * body.bytes + 64;
        if (capacity > max_bytes) capacity = max_bytes;
        char *grown = realloc(text, capacity);
        if (!grown) {
            status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a request body of %zu bytes", capacity);
            goto cleanup;
        }
        text = grown;
        result = inflate_step(&stream, text, used, capacity);
    }
    if (result == Z_OK)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                         "Request body is larger than %zu bytes once inflated. The limit is set by --max_request_bytes.", max_bytes);
    else if (result != Z_STREAM_END)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Request body is not gzip, as its Content-Encoding says");
cleanup:
    *out_bytes = stream.total_out;
    inflateEnd(&stream);
    if (status != RN_STATUS_OK) {
        free(text);
        text = NULL;
    }
    *out = text;
    return status;
}
