/* From method and path to handler. The list is routes.def. */
#ifndef RN_HTTP_ROUTES_H
#define RN_HTTP_ROUTES_H

#include <stdint.h>

#include "engine/metrics.h"
#include "http/text.h"

typedef struct rn_exchange rn_exchange;
typedef void (*rn_handler)(rn_exchange *exchange);

/* What {target} stands for: NAME, NAME/versions/N or NAME/labels/LABEL. */
typedef struct rn_target {
    rn_text model;         /* percent-decoded */
    rn_text label;         /* percent-decoded; at is NULL without one */
    int64_t version;       /* RN_LATEST_VERSION without one */
    bool version_overflow; /* the number does not fit */
    rn_text rest;          /* of the path behind the target, as sent */
} rn_target;

typedef enum { RN_RUNS_ON_LOOP, RN_RUNS_ON_WORKERS } rn_runs_on;

/* Ports, as bits: what a listener serves. */
typedef enum { RN_PORT_REST = 1, RN_PORT_MONITORING = 2, RN_PORT_ANY = 3 } rn_port;

typedef struct rn_route {
    const char *method; /* "*": any */
    const char *path;   /* pattern */
    rn_handler handler;
    rn_method counted_as;
    rn_runs_on runs_on;
    rn_port port;
} rn_route;

/* The first route that fits, never NULL: the last one takes everything. metrics: the path that {metrics} stands for, NULL for none.
 * `decoded` (2 * path.bytes) receives the decoded parts of *target. */
const rn_route *rn_route_find(rn_text method, rn_text path, rn_port port, const char *metrics, char *decoded, rn_target *target);

#endif
