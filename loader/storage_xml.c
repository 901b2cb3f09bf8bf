/* libexpat reads; depth, paths and texts are bounded here. */
#include "loader/storage_xml.h"

#include <expat.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH = 8, PATH_BYTES = 256, TEXT_BYTES = 8192 };

typedef struct {
    XML_Parser parser;
    rn__xml_visit visit;
    void *context;
    rn_error *err;
    rn_status status;
    int depth;
    size_t path_ends[DEPTH + 1]; /* of the path at each depth */
    char path[PATH_BYTES];
    size_t text_bytes;
    char text[TEXT_BYTES];
} reader;

static void stop(reader *r, rn_status status)
{
    if (r->status == RN_STATUS_OK) r->status = status;
    XML_StopParser(r->parser, XML_FALSE);
}

static void refuse(reader *r, const char *what)
{
    stop(r, RN_FAIL(r->err, RN_STATUS_UNAVAILABLE, "the storage answered with XML that has %s", what));
}

static void on_start(void *context, const XML_Char *name, const XML_Char **attributes)
{
    (void)attributes;
    reader *r = context;
    const size_t at = r->path_ends[r->depth], length = strlen(name);
    if (r->depth == DEPTH || at + length + 2 > PATH_BYTES) {
        refuse(r, "more levels than any of its documents");
        return;
    }
    r->path_ends[++r->depth] = at + (size_t)snprintf(r->path + at, PATH_BYTES - at, "%s%s", at ? "/" : "", name);
    r->text_bytes = 0;
}

static void on_end(void *context, const XML_Char *name)
{
    (void)name;
    reader *r = context;
    r->text[r->text_bytes] = '\0';
    r->path[r->path_ends[r->depth]] = '\0';
    const rn_status status = r->visit(r->context, r->path, r->text, r->err);
    if (status != RN_STATUS_OK) stop(r, status);
    r->depth--;
    r->path[r->path_ends[r->depth]] = '\0';
    r->text_bytes = 0;
}

static void on_text(void *context, const XML_Char *text, int length)
{
    reader *r = context;
    if (r->text_bytes + (size_t)length >= TEXT_BYTES) {
        refuse(r, "a longer text than any of its documents");
        return;
    }
    memcpy(r->text + r->text_bytes, text, (size_t)length);
    r->text_bytes += (size_t)length;
}

static void on_doctype(void *context, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    refuse(context, "a document type");
}

rn_status rn__xml_read(const char *bytes, size_t count, rn__xml_visit visit, void *context, rn_error *err)
{
    reader r = {.visit = visit, .context = context, .err = err};
    if (count > INT_MAX) return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "the storage answered with XML of %zu bytes", count);
    r.parser = XML_ParserCreate(NULL);
    if (!r.parser) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the storage's answer");
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    if (XML_Parse(r.parser, bytes, (int)count, XML_TRUE) != XML_STATUS_OK && r.status == RN_STATUS_OK)
        r.status = RN_FAIL(err, RN_STATUS_UNAVAILABLE, "the storage answered with XML that is damaged in line %lu: %s",
                           (unsigned long)XML_GetCurrentLineNumber(r.parser), XML_ErrorString(XML_GetErrorCode(r.parser)));
    XML_ParserFree(r.parser);
    return r.status;
}
