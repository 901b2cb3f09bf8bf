/* Warm-up requests that a SavedModel brings along. */
#ifndef RN_TOOLS_CONVERT_WARMUP_COPY_H
#define RN_TOOLS_CONVERT_WARMUP_COPY_H

#include "kernels/base/error.h"

/* Copies IN/assets.extra/tf_serving_warmup_requests to the folder of `model_file`, where servers look for it, after every record was found
 * whole. Nothing to do without such a file. */
rn_status rn_copy_warmup(const char *in, const char *model_file, rn_error *err);

#endif
