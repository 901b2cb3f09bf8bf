/* TensorFlow SavedModel directories -> plans. Format: docs in tensorflow/core/protobuf and tensorflow/core/util/tensor_bundle. */
#ifndef RN_LOADER_SAVED_MODEL_H
#define RN_LOADER_SAVED_MODEL_H

#include "engine/plan.h"

/* Called from time to time during long work; `done` and `total` are bytes or steps of `stage`. */
typedef struct rn_progress {
    void (*report)(void *context, const char *stage, uint64_t done, uint64_t total);
    void *context;
} rn_progress;

/* Reads directory `path`, imports every signature that belongs to a ResNet, checks all checksums, and returns an optimised, finished plan.
 * progress may be NULL. NOT_FOUND: no saved_model.pb there. DATA_LOSS: truncated or corrupt, naming file and offset. UNSUPPORTED: names
 * signature, node and operation that has no counterpart. The caller owns *out. */
rn_status rn_saved_model_load(const char *path, const rn_progress *progress, rn_plan **out, rn_error *err);

#endif
