/* A gRPC listener with its threads, on libgrpc's core. The methods are in grpc_list.def. */
#ifndef RN_HTTP_GRPC_SERVER_H
#define RN_HTTP_GRPC_SERVER_H

#include "http/exchange.h"
#include "http/tls.h"

typedef struct rn_grpc_server rn_grpc_server;

typedef struct rn_grpc_server_options {
    uint16_t port;             /* 0: the system picks one */
    const char *socket_path;   /* a Unix socket besides the port; NULL: none */
    rn_tls *tls;               /* of the port, not of the socket; borrowed; NULL: plain text */
    int32_t loop_count;        /* threads, at least 1 */
    const rn_service *service; /* borrowed; must outlive the server */
} rn_grpc_server_options;

/* Binds the port on all addresses (IPv6 and IPv4 where the system has both) and starts to serve. UNAVAILABLE: the port is in use.
 * PERMISSION_DENIED: it may not be bound. */
rn_status rn_grpc_server_create(const rn_grpc_server_options *options, rn_grpc_server **out, rn_error *err);
uint16_t rn_grpc_server_port(const rn_grpc_server *server);

/* Takes no more connections and calls, tells clients so, and returns at once; calls that have arrived go on. A call that crosses with this
 * news is cancelled by libgrpc unread: --drain_delay gives clients time to leave before. Once. NULL allowed. */
void rn_grpc_server_refuse(rn_grpc_server *server);
/* Waits, after rn_grpc_server_refuse, until all calls have been answered and all connections closed: true when that took no longer than
 * timeout_us. NULL allowed: true. */
bool rn_grpc_server_drain(rn_grpc_server *server, int64_t timeout_us);

/* Cancels what is under way, waits for its end and frees everything. NULL allowed. */
void rn_grpc_server_destroy(rn_grpc_server *server);

#endif
