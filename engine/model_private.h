/* What model.c and request.c share. */
#ifndef RN_ENGINE_MODEL_PRIVATE_H
#define RN_ENGINE_MODEL_PRIVATE_H

#include "engine/model.h"

struct rn_model {
    rn_plan *plan;       /* owned */
    rn_batcher *batcher; /* owned */
    rn_workers *workers;
    rn_model_metrics *metrics;
    char *device;     /* owned copy: the executor belongs to the batcher's thread */
    int32_t max_rows; /* of one request */
    atomic_int references;
};

#endif
