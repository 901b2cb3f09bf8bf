/* Finds versions under a base path and loads one, whatever form it is stored in.
 *
 * <base>/<version>/ holds a SavedModel (saved_model.pb) or a converted model.safetensors; version is a decimal number without sign or leading
 * zeros. A directory that holds neither is being written and does not count.
 */
#ifndef RN_LOADER_REPOSITORY_H
#define RN_LOADER_REPOSITORY_H

#include "loader/saved_model.h"

/* Versions under `base`, highest first, in *out (the caller frees it). NOT_FOUND when base is not a directory or has no version. */
rn_status rn_repository_versions(const char *base, int64_t **out, int32_t *count, rn_error *err);

/* Loads a SavedModel directory, a directory holding model.safetensors (which goes first when both are there), or such a file, and checks all
 * checksums. Failures name the path. */
rn_status rn_repository_load(const char *path, const rn_progress *progress, rn_plan **out, rn_error *err);

#endif
