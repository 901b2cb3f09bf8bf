/* What serving.c (the table), serving_keeper.c (the thread and its changes) and serving_sync.c (one model made as it is wanted) share. */
#ifndef RN_HTTP_SERVING_PRIVATE_H
#define RN_HTTP_SERVING_PRIVATE_H

#include <pthread.h>

#include "http/serving.h"

/* Where a version is on its way from files to a model that answers. */
typedef enum {
    RN__LOAD_NONE,    /* nothing to do: it is loaded, or not wanted */
    RN__LOAD_DUE,     /* to be loaded as soon as the keeper gets to it */
    RN__LOAD_WAITS,   /* its files were no model: at try_us they are either still changing or wrong */
    RN__LOAD_RETRIES, /* it failed for another reason: once more at try_us */
    RN__LOAD_FAILED,  /* given up until its files change */
} rn__load_step;

/* The keeper writes; it holds the lock for what stands above the line, which others read. */
typedef struct rn__version rn__version;
struct rn__version {
    rn__version *next; /* falling numbers */
    int64_t number;
    rn_version_state state;
    rn_model *model;   /* what new requests get: not NULL just when AVAILABLE */
    rn_status failure; /* with END: why it could not be loaded, or OK */
    char *message;     /* of the failure; NULL: none */
    /* ---- */
    bool wanted;
    rn__load_step step;
    char *path;        /* where the latest look found it; NULL: nowhere yet */
    uint64_t stamp;    /* of its files, just before the latest try */
    int32_t retries;
    int64_t try_us;
};

/* Models are never taken out of the table: what was served once stays listed. */
typedef struct rn__served rn__served;
struct rn__served {
    rn__served *next;       /* order of configuration */
    rn_model_config config; /* its name never changes */
    bool configured;        /* false: left out of the latest configuration */
    rn_version_label *labels; /* assigned: [label_count] */
    int32_t label_count;
    rn__version *versions;
    int64_t *idle; /* numbers under the base path that are not wanted: [idle_count], falling */
    int32_t idle_count;
    /* ---- */
    bool suspended; /* unloaded by a change */
    bool look_due;  /* at the base path */
    bool again;     /* load what has changed although its number has not */
    rn_status look; /* outcome of the latest look at the base path */
    char *look_message;
    int32_t look_retries; /* of a look at a storage that did not answer */
    int64_t look_at_us;   /* when to look again for that reason; 0: not */
};

/* A model that new requests cannot get any more. */
typedef struct rn__retired rn__retired;
struct rn__retired {
    rn__retired *next;
    rn_model *model;
    rn__version *version; /* becomes END with it; NULL: another model took its place */
};

struct rn_serving {
    rn_serving_options options;
    atomic_bool ready, was_ready; /* as set last; ever set */
    pthread_t keeper;

    pthread_mutex_t lock; /* guards what follows, and of the table what is said above */
    pthread_cond_t wake;  /* of the keeper, on CLOCK_MONOTONIC */
    bool stopping;
    rn_change *submitted; /* newest first */
    rn__served *models;
    int32_t available; /* versions */

    /* The keeper's own. */
    rn_change *pending; /* oldest first */
    rn__retired *retired;
    int64_t poll_us; /* when to look at the base paths next; INT64_MAX: never */
};

/* serving.c */
rn__served *rn__serving_find(const rn_serving *serving, rn_text name); /* NULL: none. By the keeper, or with the lock held */
rn__version *rn__served_version(const rn__served *model, int64_t number);

/* serving_keeper.c */
rn_status rn__keeper_start(rn_serving *serving, rn_error *err);
void rn__keeper_stop(rn_serving *serving);
void rn__keeper_log(const rn_serving *serving, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* serving_sync.c: on the keeper's thread, without the lock. */

/* Looks at the base path and decides which versions are wanted. */
void rn__sync_look(rn_serving *serving, rn__served *model);
/* Ends what waits for object storage, on any thread. */
void rn__sync_cancel(rn_serving *serving);
/* Takes the next step towards what is wanted: unloads, or loads one version. False: there is nothing to do now. *next_us is lowered to the
 * time when there will be. */
bool rn__sync_step(rn_serving *serving, rn__served *model, int64_t *next_us);
/* Frees retired models that no request uses any more. */
void rn__sync_free_retired(rn_serving *serving);
/* Whether every wanted version has become AVAILABLE or has been given up. */
bool rn__sync_is_settled(const rn__served *model);
bool rn__sync_is_unloaded(const rn__served *model);
/* Assigns the labels of the configuration, all or none: FAILED_PRECONDITION. */
rn_status rn__sync_labels(rn_serving *serving, rn__served *model, rn_error *err);

#endif
