/* Bodies of predict calls for a model that only its server knows. */
#ifndef RN_TOOLS_BENCH_PREDICT_BODY_H
#define RN_TOOLS_BENCH_PREDICT_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "tools/bench/sample_picture.h"

/* What a predict call of `rows` rows says, in row format. metadata: the server's answer to GET .../metadata. picture: what every row is;
 * NULL for rows of numbers in [0, 1). The first signature that takes such rows is asked. Fails when the model has none. The caller frees
 * it. */
char *bench_predict_body(const char *metadata, const bench_picture *picture, int32_t rows, size_t *bytes);

#endif
