/* The converted model file: safetensors with the plan as JSON in its metadata.
 *
 *   u64 little-endian: length of the header     (header padded with spaces: data starts on a 64-byte boundary)
 *   header: JSON object, one entry a weight tensor { dtype, shape, data_offsets } and "__metadata__": string -> string
 *   data: the tensors, each aligned to 64 bytes, little-endian
 *
 * __metadata__: "format" = "resnetd", "format_version" = "1", "plan" (JSON), "weights" (JSON array: the tensor of each of the plan's weights),
 * "labels" (JSON array), "golden" (JSON array, optional: recorded inputs and outputs), "sha256" of the data, "converter", "source" (what it
 * was made from). Opens with Python's safetensors package.
 */
#ifndef RN_LOADER_MODEL_FILE_H
#define RN_LOADER_MODEL_FILE_H

#include "engine/plan.h"

/* What such a file is called in a version's directory. */
#define RN_MODEL_FILE_NAME "model.safetensors"

/* Writes `path` atomically: a temporary file beside it, flushed, renamed. `source` names what the plan came from. The same plan gives the same
 * bytes. */
rn_status rn_model_file_write(const rn_plan *plan, const char *source, const char *path, rn_error *err);

/* The same with filters and dense weights stored as F32, F16 or BF16, rounded to nearest: half the bytes. They are floats again when loaded. */
rn_status rn_model_file_write_as(const rn_plan *plan, const char *source, rn_dtype filters, const char *path, rn_error *err);

/* Reads `path` and builds its plan on the bytes, no second copy of the weights. Every extent is checked before use; verify_hash also compares the data
 * with its SHA-256. DATA_LOSS says what does not fit and at which byte. The caller owns *out. While it lives the file must not be
 * changed in place; replacing it by rename, as rn_model_file_write does, is safe. */
rn_status rn_model_file_load(const char *path, bool verify_hash, rn_plan **out, rn_error *err);

/* The same without waiting for the SHA-256, which goes on on a thread of its own: rn_plan_await has the verdict. */
rn_status rn_model_file_load_ahead(const char *path, rn_plan **out, rn_error *err);

/* What a model file says of itself, cut where it does not fit. */
typedef struct rn_model_file_origin {
    char source[1024], converter[64], sha256[65];
} rn_model_file_origin;

/* Reads the header of `path` alone. Fails as loading does for what is no model file. */
rn_status rn_model_file_read_origin(const char *path, rn_model_file_origin *out, rn_error *err);

#endif
