/* S3's and STS's documents. Field names: docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and
 * docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/storage_private.h"
#include "loader/storage_time.h"
#include "loader/storage_xml.h"

/* ---- ListObjectsV2 ---- */

typedef struct {
    const char *prefix;
    rn__objects *out;
    char *next;
    bool listing, truncated;
    char *key, *tag; /* of the object that is being read */
    uint64_t size;
    bool sized;
} page;

static rn_status keep(char **to, const char *text, rn_error *err)
{
    free(*to);
    *to = strdup(text);
    return *to ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the storage's answer");
}

static rn_status damaged(const char *what, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "the storage answered with a listing that has %s", what);
}

/* An ETag that is an MD5 says nothing yet: whether it is one is known when the object has been examined. */
static rn_status add_object(page *p, rn_error *err)
{
    const size_t prefix = strlen(p->prefix);
    if (!p->key || !p->sized) return damaged("an object without name or size", err);
    if (!rn__url_decode(p->key)) return damaged("a name that is not well encoded", err);
    if (strncmp(p->key, p->prefix, prefix) != 0) return damaged("an object that was not asked for", err);
    RN_TRY(rn__objects_add(p->out, p->key + prefix, p->size, p->tag ? p->tag : "", NULL, err));
    free(p->key), free(p->tag);
    p->key = p->tag = NULL;
    p->sized = false;
    return RN_STATUS_OK;
}

static bool parse_size(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-' && *out <= INT64_MAX;
}

static rn_status on_element(void *context, const char *path, const char *text, rn_error *err)
{
    page *p = context;
    static const char root[] = "ListBucketResult", item[] = "Contents/";
    if (strncmp(path, root, sizeof root - 1) != 0) return RN_STATUS_OK;
    p->listing = true;
    if (!path[sizeof root - 1]) return RN_STATUS_OK;
    const char *name = path + sizeof root;
    if (strcmp(name, "NextContinuationToken") == 0) return keep(&p->next, text, err);
    if (strcmp(name, "IsTruncated") == 0) p->truncated = strcmp(text, "true") == 0;
    if (strcmp(name, "Contents") == 0) return add_object(p, err);
    if (strncmp(name, item, sizeof item - 1) != 0) return RN_STATUS_OK;
    name += sizeof item - 1;
    if (strcmp(name, "Key") == 0) return keep(&p->key, text, err);
    if (strcmp(name, "ETag") == 0) return keep(&p->tag, text, err);
    if (strcmp(name, "Size") == 0 && !(p->sized = parse_size(text, &p->size))) return damaged("a size that is no number", err);
    return RN_STATUS_OK;
}

rn_status rn__s3_parse_page(const char *bytes, size_t count, const char *prefix, rn__objects *out, char **next, rn_error *err)
{
    page p = {.prefix = prefix, .out = out};
    rn_status status = rn__xml_read(bytes, count, on_element, &p, err);
    if (status == RN_STATUS_OK && !p.listing)
        status = RN_FAIL(err, RN_STATUS_UNAVAILABLE, "the storage answered with XML that is no listing");
    if (status == RN_STATUS_OK && p.truncated && (!p.next || !*p.next)) status = damaged("more pages and no token for them", err);
    if (status != RN_STATUS_OK || !p.truncated) {
        free(p.next);
        p.next = NULL;
    }
    free(p.key);
    free(p.tag);
    *next = p.next;
    return status;
}

/* ---- errors ---- */

typedef struct {
    char *code, *message;
    size_t code_bytes, message_bytes;
} failure;

static bool ends_with(const char *path, const char *name)
{
    const size_t all = strlen(path), end = strlen(name);
    return all >= end && strcmp(path + all - end, name) == 0 && (all == end || path[all - end - 1] == '/');
}

/* Nothing else of them: S3 repeats an expired token in one element and what it signed in others. */
static rn_status on_failure(void *context, const char *path, const char *text, rn_error *err)
{
    failure *f = context;
    (void)err;
    if (ends_with(path, "Error/Code")) rn__put_words(text, f->code, f->code_bytes);
    if (ends_with(path, "Error/Message")) rn__put_words(text, f->message, f->message_bytes);
    return RN_STATUS_OK;
}

void rn__s3_parse_error(const char *bytes, size_t count, char *code, size_t code_bytes, char *message, size_t message_bytes)
{
    failure f = {code, message, code_bytes, message_bytes};
    code[0] = message[0] = '\0';
    if (count) rn__xml_read(bytes, count, on_failure, &f, NULL);
}

/* ---- STS ---- */

static rn_status on_keys(void *context, const char *path, const char *text, rn_error *err)
{
    rn__aws_keys *keys = context;
    const char *field = strstr(path, "/Credentials/");
    if (!field) return RN_STATUS_OK;
    field += strlen("/Credentials/");
    if (strcmp(field, "AccessKeyId") == 0) return keep(&keys->id, text, err);
    if (strcmp(field, "SecretAccessKey") == 0) return keep(&keys->secret, text, err);
    if (strcmp(field, "SessionToken") == 0) return keep(&keys->token, text, err);
    if (strcmp(field, "Expiration") == 0) keys->expires = rn__time_of_text(text);
    return RN_STATUS_OK;
}

rn_status rn__aws_parse_sts(const char *bytes, size_t count, rn__aws_keys *out, rn_error *err)
{
    *out = (rn__aws_keys){0};
    rn_status status = rn__xml_read(bytes, count, on_keys, out, err);
    if (status == RN_STATUS_OK && (!out->id || !out->secret || !out->token))
        status = RN_FAIL(err, RN_STATUS_UNAVAILABLE, "STS answered without AccessKeyId, SecretAccessKey or SessionToken");
    if (status != RN_STATUS_OK) rn__aws_keys_deinit(out);
    return status;
}
