/* One event loop: a thread with its own h2o context, opened, run and closed on that thread because h2o keeps its buffers by thread. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include "engine/clock.h"
#include "http/server_private.h"

enum {
    LOOK_MS = 200, /* between two looks at connections on which nothing happens */
    DRAIN_STEP_MS = 20,
    AWAKE_US = 40,
    /* While draining, a connection that is in use brings its next request within this time and is told with the answer that it ends; one
     * that has been silent for so long is closed. Closed at once, it could cross with a request on its way. */
    IDLE_GRACE_US = 1000 * 1000,
};

/* False when nobody waits. */
static bool accept_next(rn__loop *loop)
{
    if (loop->server->tls) loop->accept.ssl_ctx = rn_tls_context(loop->server->tls);
    h2o_socket_t *connection = h2o_evloop_socket_accept(loop->listener);
    if (!connection) return false;
    if (rn__connection_open(loop, connection)) h2o_accept(&loop->accept, connection);
    return true;
}

/* One at a time: of many that come together every loop shall have some, and the first to wake would take them all. The others wake this
 * loop again. */
static void on_accept(h2o_socket_t *listener, const char *error)
{
    if (!error) accept_next(listener->data);
}

/* ---- draining ---- */

/* Ends the reading side of a connection that has sent nothing since its last answer; h2o closes it then. What the client has begun to send
 * is read and answered. */
static int close_if_idle(h2o_req_t *req, void *unused)
{
    (void)unused;
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    const bool idle = req->version == 0 && socket->input->size == 0;
    if (idle) shutdown(h2o_socket_get_fd(socket), SHUT_RD);
    return 0;
}

static bool has_connections(h2o_context_t *context)
{
    return !h2o_linklist_is_empty(&context->http1._conns) || !h2o_linklist_is_empty(&context->http2._conns);
}

static void drain_step(rn__loop *loop)
{
    h2o_context_t *context = &loop->context;
    if (loop->listener) {
        while (accept_next(loop)) continue; /* who has been let in by the kernel is served */
        h2o_socket_close(loop->listener);
        loop->listener = NULL;
        h2o_context_request_shutdown(context);
        loop->drain_begin_us = rn_clock_us();
    }
    if (rn_clock_us() > loop->drain_begin_us + IDLE_GRACE_US)
        context->globalconf->http1.callbacks.foreach_request(context, close_if_idle, NULL);
    atomic_store(&loop->drained, !has_connections(context) && loop->in_flight == 0);
}

/* ---- the thread ---- */

static rn_status open_loop(rn__loop *loop, rn_error *err)
{
    h2o_context_init(&loop->context, h2o_evloop_create(), &loop->server->config);
    loop->accept = (h2o_accept_ctx_t){.ctx = &loop->context, .hosts = loop->server->config.hosts};
    h2o_multithread_register_receiver(loop->context.queue, &loop->answers, rn__on_answers);
    loop->listener = h2o_evloop_socket_create(loop->context.loop, loop->listen_fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->listener->data = loop;
    h2o_socket_read_start(loop->listener, on_accept);
    return rn__watch_init(&loop->watch, loop->context.loop, err);
}

static void close_loop(rn__loop *loop)
{
    h2o_context_t *context = &loop->context;
    h2o_loop_t *evloop = context->loop;
    if (has_connections(context)) return; /* h2o cannot close them from outside: their memory goes with the process */
    if (loop->listener) h2o_socket_close(loop->listener);
    rn__watch_deinit(&loop->watch);
    h2o_multithread_unregister_receiver(context->queue, &loop->answers);
    if (h2o_timeout_is_linked(&context->http2._graceful_shutdown_timeout)) h2o_timeout_unlink(&context->http2._graceful_shutdown_timeout);
    h2o_evloop_run(evloop, 0); /* frees the sockets that were closed */
    h2o_context_dispose(context);
    h2o_evloop_destroy(evloop);
    loop->closed = true;
}

/* How long to wait for events. Right after a request the next one is often near: a client that finds the loop awake need not wake it, which
 * costs both sides more than looking a few times more. */
static int32_t patience_ms(rn__loop *loop, bool draining)
{
    if (loop->request_count != loop->counted) {
        loop->counted = loop->request_count;
        loop->active_us = rn_clock_us();
    }
    if (rn_clock_us() < loop->active_us + AWAKE_US) {
        sched_yield(); /* whoever has something to do goes first */
        return 0;
    }
    if (draining) return DRAIN_STEP_MS;
    return has_connections(&loop->context) || loop->held_bytes > 0 ? LOOK_MS : INT32_MAX;
}

static void *run(void *argument)
{
    rn__loop *loop = argument;
    loop->status = open_loop(loop, &loop->error);
    sem_post(&loop->opened);
    if (loop->status != RN_STATUS_OK) return NULL;
    while (!atomic_load(&loop->stopping)) {
        const bool draining = atomic_load(&loop->draining);
        h2o_evloop_run(loop->context.loop, patience_ms(loop, draining)); /* fails when interrupted: go on */
        rn__intake_look(loop);
        if (draining) drain_step(loop);
    }
    while (sem_wait(&loop->told) != 0) continue;
    close_loop(loop);
    return NULL;
}

rn_status rn__loop_start(rn__loop *loop, rn_server *server, int listen_fd, rn_error *err)
{
    loop->server = server;
    loop->listen_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 0);
    if (loop->listen_fd < 0) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "event loop: %s", strerror(errno));
    sem_init(&loop->opened, 0, 0);
    sem_init(&loop->told, 0, 0);
    if (pthread_create(&loop->thread, NULL, run, loop) != 0) {
        close(loop->listen_fd);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "event loop: no thread");
    }
    while (sem_wait(&loop->opened) != 0) continue;
    if (loop->status == RN_STATUS_OK) return RN_STATUS_OK;
    pthread_join(loop->thread, NULL);
    if (err) *err = loop->error;
    return loop->status;
}

/* An empty message: the loop looks at its flags. */
static void wake(rn__loop *loop)
{
    h2o_multithread_send_message(&loop->answers, NULL);
}

void rn__loop_drain(rn__loop *loop)
{
    atomic_store(&loop->draining, true);
    wake(loop);
}

bool rn__loop_stop(rn__loop *loop)
{
    atomic_store(&loop->stopping, true);
    wake(loop); /* the loop may have seen it before: it waits for the end of this */
    sem_post(&loop->told);
    pthread_join(loop->thread, NULL);
    return loop->closed;
}
