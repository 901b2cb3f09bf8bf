/* Finds versions under a base path and loads one, whatever form it is stored in.
 *
 * <base>/<version>/ holds a SavedModel (saved_model.pb) or a converted model.safetensors; version is a decimal number without sign. A
 * directory that holds neither is being written and does not count.
 */
#ifndef RN_LOADER_REPOSITORY_H
#define RN_LOADER_REPOSITORY_H

#include "loader/saved_model.h"

typedef struct rn_repository_version {
    int64_t number;
    char name[32]; /* of its directory: the number, perhaps with leading zeros */
} rn_repository_version;

/* Versions under `base`, highest first, in *out (the caller frees it). NOT_FOUND when base is not a directory or has no version;
 * INVALID_ARGUMENT when two directories are the same version. */
rn_status rn_repository_versions(const char *base, rn_repository_version **out, int32_t *count, rn_error *err);

/* Loads a SavedModel directory, a directory holding model.safetensors (which goes first when both are there), or such a file, and checks all
 * checksums. Failures name the path. */
rn_status rn_repository_load(const char *path, const rn_progress *progress, rn_plan **out, rn_error *err);

#endif
