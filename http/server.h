/* An HTTP/1.1 and HTTP/2 listener with its event loops. A process may have several: one for predict calls, one for probes. */
#ifndef RN_HTTP_SERVER_H
#define RN_HTTP_SERVER_H

#include "http/exchange.h"
#include "http/tls.h"

typedef struct rn_server rn_server;

/* What clients may take. */
typedef struct rn_server_limits {
    int32_t max_connections;
    size_t max_inflight_bytes;  /* of the bodies of all requests that have not been answered, over all servers of the service */
    int64_t request_timeout_us; /* for a request to arrive, with more time for more bytes: */
    int64_t min_request_rate;   /* bytes a second */
} rn_server_limits;

typedef struct rn_server_options {
    uint16_t port;             /* 0: the system picks one */
    const char *socket_path;   /* a Unix socket instead of a port; NULL: none */
    rn_tls *tls;               /* borrowed; NULL: plain text */
    rn_port serves;            /* which routes */
    int32_t loop_count;        /* threads, at least 1 */
    rn_server_limits limits;
    const rn_service *service; /* borrowed; must outlive the server */
} rn_server_options;

/* Binds the port on all addresses (IPv6 and IPv4 where the system has both), or the socket, and starts to serve. A socket that nobody
 * listens to any more is replaced. UNAVAILABLE: port or socket is in use. PERMISSION_DENIED: it may not be bound. */
rn_status rn_server_create(const rn_server_options *options, rn_server **out, rn_error *err);
uint16_t rn_server_port(const rn_server *server);

/* Takes no more connections, answers every request that has arrived or is on its way in, closes idle connections. True when all
 * connections were closed within the time. May be called again. NULL allowed: true. */
bool rn_server_drain(rn_server *server, int64_t timeout_us);

/* Drains for a moment and ends the loops. No request may be under way: drain first. NULL allowed. */
void rn_server_destroy(rn_server *server);

#endif
