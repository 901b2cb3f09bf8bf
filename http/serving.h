/* The models of this process, by name, version and label. All functions are thread-safe.
 *
 * One thread of the serving's own, the keeper, does everything that takes time: it looks at the base paths, loads, tests and warms
 * versions, publishes them and frees those that nobody wants any more. A version that replaces another is loaded first (unless the options
 * say otherwise), so that there is no moment without an answer; requests that are under way keep the model that they began with.
 */
#ifndef RN_HTTP_SERVING_H
#define RN_HTTP_SERVING_H

#include "engine/model.h"
#include "http/model_config.h"
#include "http/text.h"
#include "http/warmup.h"

enum { RN_LATEST_VERSION = -1 };

typedef struct rn_serving rn_serving;
typedef struct rn_storage rn_storage; /* loader/storage.h */

typedef struct rn_serving_options {
    const rn_backend *backend;
    rn_workers *workers;    /* must outlive the serving */
    rn_model_options model; /* of every version; its metrics are not used */
    rn_metrics *metrics;    /* gets a record for each version; must outlive the serving */
    rn_storage *storage;    /* for base paths that are URLs; NULL: they are refused. Used by the keeper alone; must outlive the serving */
    int64_t poll_us;        /* between two looks at the base paths; 0 or less: only when a change asks */
    int32_t max_retries;    /* of a load that failed for another reason than its files */
    int64_t retry_us;       /* between two of them */
    bool unload_first;      /* frees the old version before the new one is loaded: less memory, but a gap */
    bool warm_up;           /* runs the requests that a version brings along before it serves */
    rn_warmup_options warmup;
    bool per_model_batching;       /* a version's batching_params.pbtxt changes `model` for it */
    bool allow_early_labels;       /* a new label may name a version that is not available (yet) */
    void (*log)(const char *line); /* what operators want to read; called on the keeper's thread */
} rn_serving_options;

rn_status rn_serving_create(const rn_serving_options *options, rn_serving **out, rn_error *err);
/* Ends the keeper and releases all models; requests that are under way keep theirs until they end. Changes that are pending end CANCELLED.
 * NULL allowed. */
void rn_serving_destroy(rn_serving *serving);

/* ---- looking up ---- */

/* The model that a call names, with a reference for the caller, and its version. `version` counts when `label` is not there (at: NULL).
 * NOT_FOUND and INVALID_ARGUMENT (an unknown label) in TensorFlow Serving's words. */
rn_status rn_serving_acquire(rn_serving *serving, rn_text name, int64_t version, rn_text label, rn_model **out, int64_t *found,
                             rn_error *err);

/* Numbers and meanings of tensorflow.serving.ModelVersionStatus.State. */
typedef enum {
    RN_VERSION_UNKNOWN = 0, /* it is there and nobody has asked for it */
    RN_VERSION_START = 10,
    RN_VERSION_LOADING = 20,
    RN_VERSION_AVAILABLE = 30,
    RN_VERSION_UNLOADING = 40,
    RN_VERSION_END = 50, /* unloaded, or it could not be loaded */
} rn_version_state;

const char *rn_version_state_name(rn_version_state state); /* "AVAILABLE": static */

typedef struct rn_version_info {
    const char *model;
    int64_t version;
    rn_version_state state;
    rn_status status;    /* OK, or why it could not be loaded */
    const char *message; /* empty with OK */
} rn_version_info;

/* The versions of `name` (at NULL: of all models, in the order of the configuration), falling numbers: those that were ever asked for; with
 * `idle` also those that lie under the base path and are UNKNOWN. *out: one allocation that the caller frees, NULL when *count is 0. */
rn_status rn_serving_list(rn_serving *serving, rn_text name, bool idle, rn_version_info **out, int32_t *count, rn_error *err);

/* Whether the configuration has a model of that name. */
bool rn_serving_knows(rn_serving *serving, rn_text name);

/* A copy of the configuration of model `name`, which the caller deinits. NOT_FOUND: it has none. */
rn_status rn_serving_config_of(rn_serving *serving, rn_text name, rn_model_config *out, rn_error *err);

/* Whether predict calls will be answered: set_ready was called with true, and a version is available. */
bool rn_serving_is_ready(rn_serving *serving);
const char *rn_serving_why_not_ready(rn_serving *serving); /* a few words, for people; NULL when it is: static */
void rn_serving_set_ready(rn_serving *serving, bool ready);

/* ---- changing ---- */

typedef enum {
    RN_CHANGE_CONFIGURE, /* `configs` takes the place of what was configured: models that it leaves out are unloaded */
    RN_CHANGE_LOAD,      /* looks for new versions of model `name`, and loads the wanted ones whose files have changed anew */
    RN_CHANGE_UNLOAD,    /* unloads all versions of model `name` until it is loaded or configured again */
} rn_change_kind;

typedef struct rn_change rn_change;
struct rn_change {
    rn_change_kind kind;
    const rn_model_configs *configs; /* borrowed until `done` */
    rn_text name;                    /* borrowed until `done` */
    /* Once, on the keeper's thread (or, CANCELLED, on the one that destroys the serving); must not block. err: NULL when everything that
     * was wanted is AVAILABLE (or unloaded). NOT_FOUND: no such model. FAILED_PRECONDITION: a label for a version that is not available.
     * CANCELLED: a later configuration took its place. Otherwise the status of the first version that could not be loaded, with the list of
     * all such models as message; the keeper goes on as configured. */
    void (*done)(rn_change *change, const rn_error *err);

    /* Private to the keeper. */
    rn_change *next;
};

/* Returns at once. The change is borrowed until `done`. */
void rn_serving_submit(rn_serving *serving, rn_change *change);

#endif
