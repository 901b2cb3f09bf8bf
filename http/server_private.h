/* What server.c, loop.c, exchange.c, watch.c and refusal.c share: the loops. Everything here belongs to one loop's thread unless it says
 * otherwise.
 */
#ifndef RN_HTTP_SERVER_PRIVATE_H
#define RN_HTTP_SERVER_PRIVATE_H

#include <h2o.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "http/server.h"

/* A file descriptor that the loop is told about although h2o does not read from it. */
typedef struct rn__watched rn__watched;
struct rn__watched {
    void (*event)(rn__watched *watched);
    int fd; /* -1: not watched */
};

typedef struct rn__watch {
    int epoll_fd;
    h2o_socket_t *socket; /* the epoll instance as a member of the loop */
} rn__watch;

typedef struct rn__loop rn__loop;

/* What is known of a connection besides what h2o keeps. */
typedef struct rn__connection {
    rn__loop *loop;
    h2o_socket_t *socket; /* NULL once it is closed */
    int32_t references;   /* the open socket and every call */
    int32_t calls;        /* that exist, also those whose stream was reset */
    int32_t abandoned;    /* see connection.c */
    bool ended;           /* it has been shut down: h2o will notice */
    int64_t arriving_us;  /* when a request was first seen arriving; 0: since the last one arrived, none was */
    int64_t looked_us;    /* when intake.c counted its bytes last */
    size_t held_bytes;    /* what it found then */
    uint64_t settled;     /* HTTP/2: received bytes that belong to requests that have arrived */

    /* After its dismissal by intake.c. */
    rn__watched lingering;
    int64_t linger_until_us; /* 0: not dismissed */
    h2o_socket_cb read_callback;
} rn__connection;

struct rn__loop {
    rn_server *server;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    h2o_socket_t *listener;             /* NULL once the server takes no more connections */
    h2o_multithread_receiver_t answers; /* finished calls, from any thread */
    rn__watch watch;
    pthread_t thread;
    int listen_fd;    /* its own copy */
    rn_status status; /* of opening, written before `opened` is posted */
    rn_error error;
    sem_t opened;
    sem_t told; /* posted when nobody will wake the loop any more, so that it may be closed */
    bool closed; /* everything has been freed; valid once the thread has ended */
    int64_t drain_begin_us;
    uint64_t request_count, counted; /* that have arrived; when active_us was set */
    int64_t active_us;               /* when the latest ones had arrived */
    int64_t looked_us;                       /* when intake.c looked last */
    size_t held_bytes;                       /* what it found then */
    int32_t in_flight;                       /* calls that exist */
    atomic_bool draining, drained, stopping; /* any thread */
};

struct rn_server {
    h2o_globalconf_t config;
    const rn_service *service;
    rn_port serves;
    rn_server_limits limits;
    rn_tls *tls;                 /* NULL: plain text */
    char *socket_path;           /* to be removed at the end; NULL: a port */
    atomic_int connection_count; /* of all loops */
    uint16_t port;
    int32_t loop_count;
    rn__loop loops[];
};

static inline rn__loop *rn__loop_of(h2o_req_t *req)
{
    return H2O_STRUCT_FROM_MEMBER(rn__loop, context, req->conn->ctx);
}

/* loop.c: called by the thread that owns the server. */
rn_status rn__loop_start(rn__loop *loop, rn_server *server, int listen_fd, rn_error *err); /* listen_fd is borrowed */
void rn__loop_drain(rn__loop *loop);
bool rn__loop_stop(rn__loop *loop); /* false when connections are open still: the loop's memory must stay then */

/* connection.c */
bool rn__connection_open(rn__loop *loop, h2o_socket_t *socket); /* false: there are too many; the socket is closed then */
rn__connection *rn__connection_of(h2o_req_t *req);
void rn__connection_end(rn__connection *connection);
size_t rn__connection_unsettled(rn__connection *connection); /* HTTP/2: received bytes of requests that are arriving, about */
/* False: the call is to be refused. To be ended in either case. */
bool rn__connection_begin_call(rn__connection *connection, bool http2, size_t body_bytes);
void rn__connection_count_answer(rn__connection *connection, bool answered); /* false: the client took the request back */
void rn__connection_end_call(rn__connection *connection);

/* intake.c */
#define RN__INTAKE_FULL "Requests under way hold as much memory as they may: try again."
void rn__intake_look(rn__loop *loop); /* to be called after every turn of the loop */
bool rn__intake_is_full(const rn__loop *loop);

/* exchange.c */
int rn__on_request(h2o_handler_t *handler, h2o_req_t *req);
void rn__on_answers(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages);

/* watch.c */
rn_status rn__watch_init(rn__watch *watch, h2o_loop_t *loop, rn_error *err);
void rn__watch_deinit(rn__watch *watch);
/* `events` as for epoll_ctl. A failure to watch is not one to serve: it is ignored. */
void rn__watch_add(rn__watch *watch, rn__watched *watched, int fd, uint32_t events);
void rn__watch_remove(rn__watch *watch, rn__watched *watched); /* no effect when it is not watched */

/* refusal.c */
void rn__refusal_register(h2o_pathconf_t *path);

#endif
