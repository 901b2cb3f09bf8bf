/* A BatchingParameters file, as TensorFlow Serving's --batching_parameters_file and a SavedModel's batching_params.pbtxt have it. */
#ifndef RN_HTTP_BATCHING_PARAMETERS_H
#define RN_HTTP_BATCHING_PARAMETERS_H

#include "engine/model.h"
#include "http/text.h"

/* Changes what the text says and leaves the rest of *options as it is:
 *   max_batch_size                rows of one run; also the most rows of one request, unless those may be split
 *   enable_large_batch_splitting  a larger request runs in parts
 *   max_execution_batch_size      with splitting: rows of one run
 *   batch_timeout_micros          how long even an idle device waits for a full batch
 *   max_enqueued_batches          batches that may wait
 * allowed_batch_sizes are checked; nothing is padded here, so that they, num_batch_threads, thread_pool_name and pad_variable_length_inputs
 * change nothing. INVALID_ARGUMENT begins with `source`. */
rn_status rn_batching_parameters_apply(rn_text text, const char *source, rn_model_options *options, rn_error *err);

#endif
