/* The models of this process, by name and version. All functions are thread-safe. */
#ifndef RN_HTTP_SERVING_H
#define RN_HTTP_SERVING_H

#include "engine/model.h"
#include "http/text.h"

enum { RN_LATEST_VERSION = -1 };

typedef struct rn_serving rn_serving;

rn_status rn_serving_create(rn_serving **out, rn_error *err);
/* Releases all models; requests that are under way keep theirs until they end. NULL allowed. */
void rn_serving_destroy(rn_serving *serving);

typedef struct rn_serving_source {
    const char *name;      /* of the model, for clients */
    const char *base_path; /* holds version directories, or is a model directory itself (version 1) */
    const rn_backend *backend;
    rn_model_options options;
    rn_workers *workers; /* must outlive the serving */
    rn_metrics *metrics; /* likewise */
} rn_serving_source;

/* Loads, tests and publishes the highest version. Blocks. The error says what is wrong with which path. */
rn_status rn_serving_load(rn_serving *serving, const rn_serving_source *source, rn_error *err);

/* The model, with a reference for the caller, and its version in *found; NULL when there is none. */
rn_model *rn_serving_acquire(rn_serving *serving, rn_text name, int64_t version, int64_t *found);

/* Versions of a model in falling order: writes up to `capacity` and returns how many there are; 0 for an unknown model. */
int32_t rn_serving_versions(rn_serving *serving, rn_text name, int64_t *out, int32_t capacity);

/* Whether predict calls will be answered: false until told otherwise, and again when the process drains. */
bool rn_serving_is_ready(const rn_serving *serving);
void rn_serving_set_ready(rn_serving *serving, bool ready);

#endif
