/* What storage.c (versions, cache, download) and the storages themselves (s3, gs, http) share. */
#ifndef RN_LOADER_STORAGE_PRIVATE_H
#define RN_LOADER_STORAGE_PRIVATE_H

#include <sys/types.h>

#include "loader/storage.h"
#include "loader/storage_check.h"
#include "loader/storage_http.h"

enum {
    RN__OBJECT_NAME_BYTES = 1024, /* S3's and GCS's limit, with the NUL */
    RN__MOST_OBJECTS = 100000,    /* under one base path: more is somebody's whole bucket */
    RN__MOST_LISTING_BYTES = 16 << 20,
};

/* ---- objects ---- */

typedef struct rn__object {
    char *name; /* below the listed path; no "." or ".." or empty part, no slash in front or at the end: safe as a file's */
    uint64_t size;
    char *tag; /* differs when the object has been written anew: a generation, an ETag, a hash */
    rn__check check;
    bool one_part; /* the server answers no ranges */
} rn__object;

typedef struct rn__objects {
    rn__object *at;
    int32_t count;
    bool file; /* only what has an empty name is taken, as RN_MODEL_FILE_NAME: the listed path is a file itself */
} rn__objects;

/* Appends a copy. What no file can be called is left out. check: NULL, none. UNAVAILABLE past RN__MOST_OBJECTS. */
rn_status rn__objects_add(rn__objects *objects, const char *name, uint64_t size, const char *tag, const rn__check *check, rn_error *err);
void rn__objects_deinit(rn__objects *objects);
/* Of one object, called `name`. */
uint64_t rn__object_stamp(const rn__object *object, const char *name);
/* Changes when any name, size or tag does; never 0. In any order. */
uint64_t rn__objects_stamp(const rn__objects *objects);

/* ---- places ---- */

typedef struct rn__store_kind rn__store_kind;

/* A URL taken apart. key: without slash in front or at the end; empty: the whole bucket. file: the key is one object, a model.safetensors.
 */
typedef struct rn__location {
    const rn__store_kind *kind;
    char bucket[512]; /* of http(s): scheme, host and port */
    char key[RN__OBJECT_NAME_BYTES];
    bool file;
} rn__location;

/* A bucket, and what it takes to talk to it. */
typedef struct rn__store rn__store;
struct rn__store {
    rn__store *next;
    const rn__store_kind *kind;
    rn__http_client *http;
    char bucket[512];
    rn__http_site site;
    void *private_part;
};

struct rn__store_kind {
    const char *scheme;
    rn_status (*open)(rn__store *store, rn_error *err);
    void (*close)(rn__store *store);
    /* A page of the objects whose names begin with `prefix`, named by what follows it. what: for messages. *token: NULL for the first page,
     * otherwise what the page before left there; the function frees it and leaves the next or NULL. */
    rn_status (*list_page)(rn__store *store, const char *prefix, const char *what, rn__objects *out, char **token, rn_error *err);
    /* Fills in what the listing does not tell. NULL: it tells all. */
    rn_status (*examine)(rn__store *store, const char *key, const char *what, rn__object *object, rn_error *err);
    /* URL, site and condition of a request for the object as it was listed; its range is set already. */
    rn_status (*get)(rn__store *store, const char *key, const rn__object *object, rn__http_request *out, rn_error *err);
};

extern const rn__store_kind rn__store_s3, rn__store_gs, rn__store_http, rn__store_https;

/* ---- downloading: storage_download.c ---- */

/* Brings objects of `location` into `folder`: in parts and side by side, resumed where an earlier call left off; the file that makes it a
 * version comes last. Files that are there with the right size (verify: and checksum) stay. */
rn_status rn__download(rn__store *store, const rn__location *location, rn__objects *objects, const char *folder, bool verify,
                       rn_error *err);

/* ---- the cache: storage_cache.c ---- */

typedef struct rn__cache {
    char directory[3000]; /* empty: not chosen yet */
    uint64_t most_bytes;
} rn__cache;

/* Chooses the directory and makes it. PERMISSION_DENIED and others: it cannot be written. */
rn_status rn__cache_open(rn__cache *cache, rn_error *err);
/* The entry `name`, locked against removal: *fd -1 when there is none. */
rn_status rn__cache_find(const rn__cache *cache, const char *name, int *fd, rn_error *err);
/* A directory in which the entry `name` can be made, locked for this process alone: the same one as last time, with what is in it. *fd -1:
 * somebody else is making it. */
rn_status rn__cache_begin(const rn__cache *cache, const char *name, int *fd, rn_error *err);
/* Removes entries used longest ago until `bytes` more fit, except `name` and what is locked. INVALID_ARGUMENT: they never will. */
rn_status rn__cache_make_room(const rn__cache *cache, const char *name, uint64_t bytes, rn_error *err);
/* Makes what rn__cache_begin gave an entry, all at once. It stays locked against removal. */
rn_status rn__cache_commit(const rn__cache *cache, const char *name, int fd, rn_error *err);
void rn__cache_path(const rn__cache *cache, const char *name, bool incoming, char *out, size_t out_bytes);
/* With the folders above it. It has to be writable in the end. */
rn_status rn__make_directory(const char *path, mode_t mode, rn_error *err);
/* Removes a directory and all in it; what cannot be removed stays. */
void rn__cache_remove_tree(const char *path);

/* "s3://bucket/key" or, with a name, the object below it. */
void rn__location_url(const rn__location *location, const char *name, char *out, size_t out_bytes);
/* The key of the object `name` below the location. INVALID_ARGUMENT: too long. */
rn_status rn__location_key(const rn__location *location, const char *name, char out[RN__OBJECT_NAME_BYTES], rn_error *err);

/* ---- credentials ---- */

/* Keys for SigV4. Texts may be NULL. */
typedef struct rn__aws_keys {
    char *id, *secret, *token; /* id NULL: ask without a signature */
    int64_t expires;           /* Unix time; 0: never */
    char identity[512];        /* "as role arn:... (web identity)" */
} rn__aws_keys;

typedef struct rn__aws_credentials rn__aws_credentials;
rn_status rn__aws_credentials_create(rn__http_client *http, rn__aws_credentials **out, rn_error *err);
void rn__aws_credentials_destroy(rn__aws_credentials *credentials);
/* Keys that are valid for a while: borrowed until the next call. */
rn_status rn__aws_credentials_get(rn__aws_credentials *credentials, const rn__aws_keys **out, rn_error *err);
/* They were refused as out of date. False: new ones would be no others. */
bool rn__aws_credentials_drop(rn__aws_credentials *credentials);
void rn__aws_credentials_identify(const rn__aws_credentials *credentials, char *out, size_t out_bytes);

/* Bodies with credentials -> keys. DATA_LOSS-like statuses never hold the body. */
rn_status rn__aws_parse_sts(const char *bytes, size_t count, rn__aws_keys *out, rn_error *err);
rn_status rn__aws_parse_keys_json(const char *bytes, size_t count, rn__aws_keys *out, rn_error *err);
void rn__aws_keys_deinit(rn__aws_keys *keys);

typedef struct rn__google_credentials rn__google_credentials;
rn_status rn__google_credentials_create(rn__http_client *http, rn__google_credentials **out, rn_error *err);
void rn__google_credentials_destroy(rn__google_credentials *credentials);
/* A bearer token, or NULL: ask without. Borrowed until the next call. */
rn_status rn__google_credentials_get(rn__google_credentials *credentials, const char **out, rn_error *err);
bool rn__google_credentials_drop(rn__google_credentials *credentials);
void rn__google_credentials_identify(const rn__google_credentials *credentials, char *out, size_t out_bytes);
rn_status rn__google_parse_token(const char *bytes, size_t count, char **token, int64_t *lifetime_s, rn_error *err);

/* ---- what parses bytes from the network ---- */

/* A page of ListObjectsV2; *next: the continuation token or NULL, the caller frees it. UNAVAILABLE: no such page. */
rn_status rn__s3_parse_page(const char *bytes, size_t count, const char *prefix, rn__objects *out, char **next, rn_error *err);
/* Code and message of an error document; empty where there are none. */
void rn__s3_parse_error(const char *bytes, size_t count, char *code, size_t code_bytes, char *message, size_t message_bytes);
/* A page of GCS's objects list. */
rn_status rn__gs_parse_page(const char *bytes, size_t count, const char *prefix, rn__objects *out, char **next, rn_error *err);
void rn__gs_parse_error(const char *bytes, size_t count, char *out, size_t out_bytes);
/* sha256sum's format; sizes are not known yet. */
rn_status rn__http_parse_sums(const char *bytes, size_t count, rn__objects *out, rn_error *err);

/* Copies what may be shown of a server's words: one line of printable characters, cut where it does not fit. */
void rn__put_words(const char *text, char *out, size_t out_bytes);

/* ---- SigV4: storage_s3_sign.c ---- */

typedef struct rn__aws_header {
    const char *name, *value; /* name in small letters */
} rn__aws_header;

typedef struct rn__aws_signing {
    const char *method, *path, *query; /* as sent, encoded; query without "?", or empty */
    const rn__aws_header *headers;     /* all that are to be signed, sorted by name */
    int32_t header_count;
    const char *payload_sha256; /* hex */
    const char *time;           /* "20130524T000000Z" */
    const char *region, *service, *id, *secret;
} rn__aws_signing;

/* The value of the Authorization header, from Signature Version 4 (docs.aws.amazon.com, "Create a signed AWS API request"). */
rn_status rn__aws_sign(const rn__aws_signing *signing, char **out, rn_error *err);

#endif
