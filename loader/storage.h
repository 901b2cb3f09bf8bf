/* Models in object storage: gs://bucket/path, s3://bucket/path, http(s)://host/path.
 *
 * A URL stands where a base path stands: <URL>/<version>/ holds a SavedModel or a converted model.safetensors, a URL that holds one itself
 * is version 1, and so is a URL that ends in .safetensors. Versions are brought into a cache directory and loaded from there. What a plain
 * web server offers it says in <URL>/SHA256SUMS, a file in the format of sha256sum.
 *
 * Credentials come from the environment and the platform; docs/storage.md has the order in which they are tried. Neither they nor tokens
 * appear in a message.
 *
 * Every function that takes a path or base takes local ones too and hands them to loader/repository, for which `storage` may be NULL. One
 * thread at a time may use an rn_storage, except for rn_storage_cancel.
 *
 * Statuses: NOT_FOUND no such bucket, object or version. PERMISSION_DENIED names the identity that was used. UNAVAILABLE the storage did
 * not answer, or not usefully, after all retries. DATA_LOSS names the object whose checksum is wrong. FAILED_PRECONDITION it changed while
 * it was being read. CANCELLED.
 */
#ifndef RN_LOADER_STORAGE_H
#define RN_LOADER_STORAGE_H

#include "loader/repository.h"

typedef struct rn_storage rn_storage;

typedef struct rn_storage_options {
    const char *cache_directory; /* empty: /var/cache/resnetd where that can be written, else resnetd-cache-UID in $TMPDIR or /tmp */
    uint64_t cache_max_bytes;    /* the versions used longest ago are removed beyond that */
    int32_t max_retries;         /* of one request that failed in a way that may pass */
    int64_t timeout_ms;          /* without one byte, until a request counts as failed */
    void (*log)(const char *line);
} rn_storage_options;

/* Whether it is a URL, of any scheme. */
bool rn_storage_is_url(const char *path);

/* INVALID_ARGUMENT: a URL that cannot be served, and why. Does not ask the storage. */
rn_status rn_storage_check_url(const char *url, rn_error *err);

/* Touches neither network nor disk yet. The texts in options are copied. */
rn_status rn_storage_create(const rn_storage_options *options, rn_storage **out, rn_error *err);
void rn_storage_destroy(rn_storage *storage); /* NULL allowed */

/* Makes what is under way, and whatever is begun later, end with CANCELLED. May be called on any thread; NULL allowed. */
void rn_storage_cancel(rn_storage *storage);

/* As rn_repository_versions. */
rn_status rn_storage_versions(rn_storage *storage, const char *base, rn_repository_version **out, int32_t *count, rn_error *err);

/* As rn_repository_stamp; 0 when the storage does not answer. */
uint64_t rn_storage_stamp(rn_storage *storage, const char *path);

/* The files of a version on this machine. */
typedef struct rn_storage_files {
    char path[4096];
    int lock_fd; /* keeps the cache from removing them; -1: they are not the cache's */
} rn_storage_files;

/* Brings the version at `path` here, unless it is here already, and keeps it until it is released. FAILED_PRECONDITION: its objects changed
 * meanwhile, somebody is still uploading. */
rn_status rn_storage_fetch(rn_storage *storage, const char *path, rn_storage_files *out, rn_error *err);
/* damaged: what lies here is not what was checked after downloading, so that it must not be used again. */
void rn_storage_release(rn_storage_files *files, bool damaged);

typedef struct rn_storage_summary {
    int32_t objects, unchecked; /* unchecked: those of which only the size is known */
    uint64_t bytes;
} rn_storage_summary;

/* What the version at URL `path` consists of. */
rn_status rn_storage_describe(rn_storage *storage, const char *path, rn_storage_summary *out, rn_error *err);

/* Brings the version at URL `path` into `folder`, which is made where it is missing. Files that are there with the right checksum stay;
 * others are replaced one by one, the file that makes it a version last. */
rn_status rn_storage_copy(rn_storage *storage, const char *path, const char *folder, rn_storage_summary *out, rn_error *err);

#endif
