/* What model.c and request.c share. */
#ifndef RN_ENGINE_MODEL_PRIVATE_H
#define RN_ENGINE_MODEL_PRIVATE_H

#include "engine/model.h"

struct rn_model {
    rn_plan *plan;         /* owned */
    rn_replicas *replicas; /* owned */
    rn_workers *workers;
    rn_model_metrics *metrics;
    bool loaded;      /* the metrics know of it */
    char *device;     /* owned: what each executor says of itself, which belongs to a batcher's thread */
    int32_t max_rows; /* of one request */
    int64_t max_image_pixels;
    size_t picture_bytes[RN_PLAN_MAX_SIGNATURES]; /* of a window that the devices resize; 0: they take rows */
    rn_model_scheduling scheduling;
    atomic_int references;
};

#endif
