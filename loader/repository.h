/* Finds versions under a base path and loads one, whatever form it is stored in.
 *
 * <base>/<version>/ holds a SavedModel (saved_model.pb) or a converted model.safetensors; version is a decimal number without sign. A
 * directory that holds neither is being written and does not count. A base path that is a model itself is version 1.
 */
#ifndef RN_LOADER_REPOSITORY_H
#define RN_LOADER_REPOSITORY_H

#include "loader/saved_model.h"

typedef struct rn_repository_version {
    int64_t number;
    char name[32]; /* of its directory: the number, perhaps with leading zeros; empty: the base path itself */
} rn_repository_version;

/* Whether `path` is one version of a model: a directory that holds one in any form, or a converted file. What may not be looked at is taken
 * for a model: loading it says why it cannot be used. */
bool rn_repository_is_model(const char *path);

/* Versions under `base`, highest first, in *out (the caller frees it). NOT_FOUND when base is not a directory or has no version;
 * INVALID_ARGUMENT when two directories are the same version; UNSUPPORTED for a URL, which loader/storage.h is for. */
rn_status rn_repository_versions(const char *base, rn_repository_version **out, int32_t *count, rn_error *err);

/* A growing list of them, sorted when it is complete. */
typedef struct rn_repository_list {
    rn_repository_version *at; /* released with free */
    int32_t count;
} rn_repository_list;

/* Whether a directory of that name may be a version: all digits. */
bool rn_repository_parse_version(const char *name, rn_repository_version *out);
/* Whether a file of that name makes its directory a version. */
bool rn_repository_is_model_name(const char *name);
rn_status rn_repository_list_add(rn_repository_list *list, const rn_repository_version *version, rn_error *err);
/* Highest first. INVALID_ARGUMENT: two spellings of one number. */
rn_status rn_repository_list_sort(const char *base, rn_repository_list *list, rn_error *err);

/* The path of one of them. INVALID_ARGUMENT: longer than `out`. */
rn_status rn_repository_version_path(const char *base, const rn_repository_version *version, char *out, size_t out_bytes, rn_error *err);

/* A number that changes when any file of the version at `path` is written, added or taken away: its names, sizes and times, not its bytes. */
uint64_t rn_repository_stamp(const char *path);

/* Loads a SavedModel directory, a directory holding model.safetensors (which goes first when both are there), or such a file, and checks all
 * checksums. Failures name the path. */
rn_status rn_repository_load(const char *path, const rn_progress *progress, rn_plan **out, rn_error *err);

/* The same, but that the hash of a converted file may still be under way: rn_plan_await has the verdict. */
rn_status rn_repository_load_ahead(const char *path, const rn_progress *progress, rn_plan **out, rn_error *err);

/* The SHA-256 of the data that a converted file at `path` says of itself, in hexadecimal; empty for a SavedModel and for what is no model. */
enum { RN_SHA256_TEXT_BYTES = 65 };
void rn_repository_sha256(const char *path, char out[RN_SHA256_TEXT_BYTES]);

#endif
