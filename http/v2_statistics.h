/* What has been counted of a version, in the terms of Triton's statistics (docs/protocol/extension_statistics.md). Times are nanoseconds
 * there, but are measured in microseconds. Predict calls of TensorFlow Serving's API count like infer calls: both run the model. */
#ifndef RN_HTTP_V2_STATISTICS_H
#define RN_HTTP_V2_STATISTICS_H

#include "engine/metrics.h"
#include "http/text.h"

/*    name             what */
#define RN__V2_DURATION_LIST(X)                                                         \
    X(success)        /* calls that were answered */                                    \
    X(fail)           /* calls that were not */                                         \
    X(queue)          /* waiting for the device */                                      \
    X(compute_input)  /* reading bodies, decoding pictures */                           \
    X(compute_infer)  /* on the device, together with whatever ran in the same batch */ \
    X(compute_output) /* writing answers */

typedef struct rn__v2_duration {
    uint64_t count, ns;
} rn__v2_duration;

typedef struct rn__v2_statistics rn__v2_statistics;
struct rn__v2_statistics {
    char *name;
    int64_t version;
    uint64_t last_inference_ms; /* since 1970; 0: none */
    uint64_t inference_count;   /* rows */
    uint64_t execution_count;   /* runs of the device */
#define RN__V2_DURATION_MEMBER(name) rn__v2_duration name;
    RN__V2_DURATION_LIST(RN__V2_DURATION_MEMBER)
#undef RN__V2_DURATION_MEMBER
    rn__v2_duration batches[RN_HISTOGRAM_BOUNDS]; /* runs of at most rn_histogram_rows[i] rows, and more than the one before */
};

/* The loaded versions of `name` (at NULL: of all models), only `version` unless it is RN_LATEST_VERSION. *out is one allocation that the
 * caller frees. NOT_FOUND when a name is given and there is none. */
rn_status rn__v2_statistics_list(rn_metrics *metrics, rn_text name, int64_t version, rn__v2_statistics **out, int32_t *count,
                                 rn_error *err);

#endif
