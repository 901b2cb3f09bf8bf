/* Requests that a SavedModel brings along to be run before it serves: assets.extra/tf_serving_warmup_requests
 * (tensorflow_serving/g3doc/saved_model_warmup.md). */
#ifndef RN_HTTP_WARMUP_H
#define RN_HTTP_WARMUP_H

#include "engine/model.h"

typedef struct rn_warmup_options {
    int32_t iterations;      /* of each record; 0: one */
    size_t max_record_bytes; /* of one record, and of the tensor in it */
} rn_warmup_options;

/* Runs the records of the version at `path`, of which there may be 1000; *count is how many there were, 0 without such a file. Blocks.
 * Errors name the file and the record, counted from 1: DATA_LOSS for a file that is no TFRecord, INVALID_ARGUMENT for one record too many
 * or one that is no predict request, and whatever the request itself was answered with. */
rn_status rn_warmup_run(rn_model *model, const char *path, const rn_warmup_options *options, int32_t *count, rn_error *err);

#endif
