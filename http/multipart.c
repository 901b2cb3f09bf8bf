/* A body is text between delimiters, so that reading it is searching: every byte is looked at twice at most, once for a delimiter and, in
 * the head of a part, once for the end of a line. */
#include "http/multipart.h"

#include <stdio.h>
#include <strings.h>

static rn_text after(rn_text text, size_t bytes)
{
    return (rn_text){text.at + bytes, text.bytes - bytes};
}

/* Where `what` begins in `text`; text.bytes when it does not. */
static size_t find(rn_text text, const char *what, size_t what_bytes)
{
    const char *at = text.bytes ? memmem(text.at, text.bytes, what, what_bytes) : NULL;
    return at ? (size_t)(at - text.at) : text.bytes;
}

static bool begins_with(rn_text text, const char *prefix)
{
    return text.bytes >= strlen(prefix) && memcmp(text.at, prefix, strlen(prefix)) == 0;
}

static rn_text trim(rn_text text)
{
    while (text.bytes > 0 && (*text.at == ' ' || *text.at == '\t')) text = after(text, 1);
    while (text.bytes > 0 && (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t')) text.bytes--;
    return text;
}

/* ---- headers ---- */

/* The bytes up to `stop` that stand outside of quotes. */
static size_t until(rn_text text, char stop)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < text.bytes && (quoted || text.at[i] != stop); i++) {
        if (text.at[i] == '"') quoted = !quoted;
        if (quoted && text.at[i] == '\\' && i + 1 < text.bytes) i++;
    }
    return i < text.bytes ? i : text.bytes;
}

bool rn_header_parameter(rn_text header, const char *name, rn_text *out)
{
    for (rn_text rest = after(header, until(header, ';')); rest.bytes > 0;) {
        rest = after(rest, 1);
        const size_t bytes = until(rest, ';');
        const rn_text parameter = trim((rn_text){rest.at, bytes});
        const size_t equals = find(parameter, "=", 1);
        const rn_text key = trim((rn_text){parameter.at, equals});
        rest = after(rest, bytes);
        if (equals == parameter.bytes || key.bytes != strlen(name) || strncasecmp(key.at, name, key.bytes) != 0) continue;
        *out = trim(after(parameter, equals + 1));
        const bool quoted = out->bytes >= 2 && out->at[0] == '"' && out->at[out->bytes - 1] == '"';
        if (quoted) *out = (rn_text){out->at + 1, out->bytes - 2};
        return true;
    }
    return false;
}

static bool is_header(rn_text line, const char *name, rn_text *value)
{
    const size_t bytes = strlen(name);
    if (line.bytes <= bytes || line.at[bytes] != ':' || strncasecmp(line.at, name, bytes) != 0) return false;
    *value = trim(after(line, bytes + 1));
    return true;
}

/* ---- parts ---- */

static rn_status malformed(const rn_multipart *reader, const char *what, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "multipart/form-data, part %d: %s", reader->part_count, what);
}

rn_status rn_multipart_begin(rn_multipart *reader, rn_text content_type, rn_text body, rn_error *err)
{
    rn_text boundary;
    if (!rn_header_parameter(content_type, "boundary", &boundary) || boundary.bytes == 0 || boundary.bytes > RN_MULTIPART_BOUNDARY_BYTES)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "multipart/form-data: Content-Type names no boundary of 1 to %d bytes",
                       RN_MULTIPART_BOUNDARY_BYTES);
    memcpy(reader->delimiter, "\r\n--", 4);
    memcpy(reader->delimiter + 4, boundary.at, boundary.bytes);
    reader->delimiter_bytes = 4 + boundary.bytes;
    reader->part_count = 0;
    const char *first = reader->delimiter + 2; /* without the line break, when nothing stands before it */
    const size_t first_bytes = reader->delimiter_bytes - 2;
    size_t begin = 0, skipped = first_bytes;
    if (body.bytes < first_bytes || memcmp(body.at, first, first_bytes) != 0) {
        begin = find(body, reader->delimiter, reader->delimiter_bytes);
        skipped = reader->delimiter_bytes;
    }
    if (begin + skipped > body.bytes)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "multipart/form-data: the boundary that Content-Type names is not in the body");
    reader->rest = after(body, begin + skipped);
    return RN_STATUS_OK;
}

/* The lines up to an empty one; *text begins behind it then. */
static rn_status read_head(const rn_multipart *reader, rn_text *text, rn_part *part, rn_error *err)
{
    for (;;) {
        const size_t bytes = find(*text, "\r\n", 2);
        const rn_text line = {text->at, bytes};
        rn_text value;
        if (bytes == text->bytes) return malformed(reader, "its headers do not end with an empty line", err);
        *text = after(*text, bytes + 2);
        if (line.bytes == 0) return RN_STATUS_OK;
        if (is_header(line, "content-type", &value)) {
            part->content_type = value;
        } else if (is_header(line, "content-disposition", &value)) {
            rn_header_parameter(value, "name", &part->name);
            rn_header_parameter(value, "filename", &part->filename);
        }
    }
}

rn_status rn_multipart_next(rn_multipart *reader, rn_part *part, bool *more, rn_error *err)
{
    *part = (rn_part){.name.at = NULL};
    *more = !begins_with(reader->rest, "--");
    if (!*more) return RN_STATUS_OK;
    rn_text text = trim(reader->rest); /* blanks may follow the boundary */
    if (!begins_with(text, "\r\n")) return malformed(reader, "no line break behind its boundary", err);
    text = after(text, 2);
    RN_TRY(read_head(reader, &text, part, err));
    const size_t bytes = find(text, reader->delimiter, reader->delimiter_bytes);
    if (bytes == text.bytes) return malformed(reader, "no boundary behind it: the body is cut short", err);
    part->body = (rn_text){text.at, bytes};
    reader->rest = after(text, bytes + reader->delimiter_bytes);
    reader->part_count++;
    return RN_STATUS_OK;
}
