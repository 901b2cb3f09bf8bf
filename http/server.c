/* Listeners and loops. Each loop is a thread with its own h2o context; all accept from one listening socket. */
#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "engine/clock.h"
#include "http/server_private.h"

enum {
    /* How long a connection may be idle or send its request. Load balancers keep idle connections for up to 600 s and must be the ones to
     * close them: a server that closes first loses requests that are on their way. */
    IDLE_TIMEOUT_MS = 620 * 1000,
    DRAIN_STEP_MS = 20,
    DESTROY_DRAIN_US = 500 * 1000, /* for idle connections to be closed */
};

/* ---- the listening socket ---- */

static int open_socket(int family)
{
    const int on = 1, off = 0;
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    return fd;
}

static int bind_socket(int fd, int family, uint16_t port)
{
    const struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    return family == AF_INET6 ? bind(fd, (const struct sockaddr *)&any6, sizeof any6)
                              : bind(fd, (const struct sockaddr *)&any4, sizeof any4);
}

static rn_status open_listener(uint16_t port, int *out, uint16_t *bound_port, rn_error *err)
{
    int family = AF_INET6, fd = open_socket(family);
    if (fd < 0) fd = open_socket(family = AF_INET); /* a kernel without IPv6 */
    if (fd < 0) return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "port %u: %s", port, strerror(errno));
    if (bind_socket(fd, family, port) != 0 || listen(fd, SOMAXCONN) != 0) {
        const int reason = errno;
        close(fd);
        const bool forbidden = reason == EACCES || reason == EPERM;
        return RN_FAIL(err, forbidden ? RN_STATUS_PERMISSION_DENIED : RN_STATUS_UNAVAILABLE, "port %u: %s", port, strerror(reason));
    }
    struct sockaddr_in6 address; /* the port lies at the same place in both families */
    socklen_t bytes = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &bytes);
    *bound_port = ntohs(address.sin6_port);
    *out = fd;
    return RN_STATUS_OK;
}

static void accept_waiting(rn__loop *loop)
{
    h2o_socket_t *connection;
    while ((connection = h2o_evloop_socket_accept(loop->listener)) != NULL) h2o_accept(&loop->accept, connection);
}

static void on_accept(h2o_socket_t *listener, const char *error)
{
    if (!error) accept_waiting(listener->data);
}

/* ---- draining: on the loop ---- */

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
        accept_waiting(loop); /* who has been let in by the kernel is served */
        h2o_socket_close(loop->listener);
        loop->listener = NULL;
        h2o_context_request_shutdown(context);
    }
    context->globalconf->http1.callbacks.foreach_request(context, close_if_idle, NULL);
    atomic_store(&loop->drained, !has_connections(context) && loop->in_flight == 0);
}

static void *run_loop(void *argument)
{
    rn__loop *loop = argument;
    while (!atomic_load(&loop->stopping)) {
        const bool draining = atomic_load(&loop->draining);
        h2o_evloop_run(loop->context.loop, draining ? DRAIN_STEP_MS : INT32_MAX); /* fails when interrupted: go on */
        if (draining) drain_step(loop);
    }
    return NULL;
}

static void wake(rn__loop *loop)
{
    h2o_multithread_send_message(&loop->answers, NULL);
}

/* ---- life ---- */

static void configure(rn_server *server)
{
    h2o_globalconf_t *config = &server->config;
    h2o_config_init(config);
    config->server_name = h2o_iovec_init(H2O_STRLIT("resnetd"));
    config->max_request_entity_size = server->service->max_request_bytes;
    config->http1.req_timeout = config->http2.idle_timeout = IDLE_TIMEOUT_MS;
    /* Bodies stay in memory: the limit above bounds them, and a container may have no disk to write to. */
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX;
    h2o_hostconf_t *host = h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_create_handler(&host->fallback_path, sizeof(h2o_handler_t))->on_req = rn__on_request;
    rn__refusal_register(&host->fallback_path);
}

static rn_status init_loop(rn__loop *loop, rn_server *server, int listen_fd, rn_error *err)
{
    const int fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "event loop: %s", strerror(errno));
    loop->server = server;
    h2o_context_init(&loop->context, h2o_evloop_create(), &server->config);
    loop->accept = (h2o_accept_ctx_t){.ctx = &loop->context, .hosts = server->config.hosts};
    loop->listener = h2o_evloop_socket_create(loop->context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->listener->data = loop;
    h2o_socket_read_start(loop->listener, on_accept);
    h2o_multithread_register_receiver(loop->context.queue, &loop->answers, rn__on_answers);
    RN_TRY(rn__watch_init(&loop->watch, loop->context.loop, err));
    if (pthread_create(&loop->thread, NULL, run_loop, loop) != 0) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "event loop: no thread");
    return RN_STATUS_OK;
}

rn_status rn_server_create(const rn_server_options *options, rn_server **out, rn_error *err)
{
    int fd = -1;
    uint16_t port = 0;
    RN_TRY(open_listener(options->port, &fd, &port, err));
    rn_server *server = calloc(1, sizeof *server + (size_t)options->loop_count * sizeof server->loops[0]);
    if (!server) {
        close(fd);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d event loops", options->loop_count);
    }
    server->service = options->service;
    server->serves = options->serves;
    server->port = port;
    configure(server);
    rn_status status = RN_STATUS_OK;
    while (status == RN_STATUS_OK && server->loop_count < options->loop_count) {
        status = init_loop(&server->loops[server->loop_count], server, fd, err);
        if (status == RN_STATUS_OK) server->loop_count++;
    }
    close(fd); /* the loops have their own copies */
    if (status != RN_STATUS_OK) {
        rn_server_destroy(server);
        return status;
    }
    *out = server;
    return RN_STATUS_OK;
}

uint16_t rn_server_port(const rn_server *server)
{
    return server->port;
}

static bool is_drained(rn_server *server)
{
    for (int32_t i = 0; i < server->loop_count; i++)
        if (!atomic_load(&server->loops[i].drained)) return false;
    return true;
}

bool rn_server_drain(rn_server *server, int64_t timeout_us)
{
    const int64_t deadline = rn_clock_us() + timeout_us;
    for (int32_t i = 0; i < server->loop_count; i++) {
        atomic_store(&server->loops[i].draining, true);
        wake(&server->loops[i]);
    }
    while (!is_drained(server)) {
        if (rn_clock_us() > deadline) return false;
        usleep(DRAIN_STEP_MS * 1000 / 2);
    }
    return true;
}

/* False when clients hold connections: h2o cannot close them from outside. */
static bool deinit_loop(rn__loop *loop)
{
    h2o_context_t *context = &loop->context;
    if (has_connections(context)) return false;
    if (loop->listener) h2o_socket_close(loop->listener);
    rn__watch_deinit(&loop->watch);
    h2o_multithread_unregister_receiver(context->queue, &loop->answers);
    if (h2o_timeout_is_linked(&context->http2._graceful_shutdown_timeout)) h2o_timeout_unlink(&context->http2._graceful_shutdown_timeout);
    h2o_evloop_run(context->loop, 0); /* frees the sockets that were closed */
    h2o_context_dispose(context);
    return true;
}

void rn_server_destroy(rn_server *server)
{
    if (!server) return;
    rn_server_drain(server, DESTROY_DRAIN_US);
    bool empty = true;
    for (int32_t i = 0; i < server->loop_count; i++) {
        atomic_store(&server->loops[i].stopping, true);
        wake(&server->loops[i]);
        pthread_join(server->loops[i].thread, NULL);
        empty = deinit_loop(&server->loops[i]) && empty;
    }
    if (!empty) return; /* the memory of connections that are still open goes with the process */
    h2o_config_dispose(&server->config);
    free(server);
}
