/* A listening socket and the loops that accept from it. */
#include "http/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "engine/clock.h"
#include "http/server_private.h"

enum {
    /* How long a connection may be idle or send its request. Load balancers keep idle connections for up to 600 s and must be the ones to
     * close them: a server that closes first loses requests that are on their way. */
    IDLE_TIMEOUT_MS = 620 * 1000,
    DRAIN_POLL_US = 10 * 1000,
    DESTROY_DRAIN_US = 2 * 1000 * 1000, /* for idle connections to be closed */
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

/* Whether somebody listens at the address. */
static bool is_answered(const struct sockaddr_un *address)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool answered = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    if (fd >= 0) close(fd);
    return answered;
}

static rn_status open_socket_path(const char *path, int *out, rn_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat info;
    if (strlen(path) >= sizeof address.sun_path)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "socket %s: expected a path of less than %zu bytes", path, sizeof address.sun_path);
    strcpy(address.sun_path, path);
    if (stat(path, &info) == 0 && S_ISSOCK(info.st_mode) && !is_answered(&address)) unlink(path);
    const int fd = open_socket(AF_UNIX);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, SOMAXCONN) == 0) {
        *out = fd;
        return RN_STATUS_OK;
    }
    const int reason = errno;
    if (fd >= 0) close(fd);
    const bool forbidden = reason == EACCES || reason == EPERM || reason == EROFS;
    return RN_FAIL(err, forbidden ? RN_STATUS_PERMISSION_DENIED : RN_STATUS_UNAVAILABLE, "socket %s: %s", path, strerror(reason));
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

rn_status rn_server_create(const rn_server_options *options, rn_server **out, rn_error *err)
{
    int fd = -1;
    uint16_t port = 0;
    if (options->socket_path)
        RN_TRY(open_socket_path(options->socket_path, &fd, err));
    else
        RN_TRY(open_listener(options->port, &fd, &port, err));
    rn_server *server = calloc(1, sizeof *server + (size_t)options->loop_count * sizeof server->loops[0]);
    if (!server) {
        close(fd);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d event loops", options->loop_count);
    }
    server->service = options->service;
    server->serves = options->serves;
    server->limits = options->limits;
    server->tls = options->tls;
    server->socket_path = options->socket_path ? strdup(options->socket_path) : NULL;
    server->port = port;
    configure(server);
    rn_status status = RN_STATUS_OK;
    while (status == RN_STATUS_OK && server->loop_count < options->loop_count) {
        status = rn__loop_start(&server->loops[server->loop_count], server, fd, err);
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
    if (!server) return true;
    const int64_t deadline = rn_clock_us() + timeout_us;
    for (int32_t i = 0; i < server->loop_count; i++) rn__loop_drain(&server->loops[i]);
    while (!is_drained(server)) {
        if (rn_clock_us() > deadline) return false;
        usleep(DRAIN_POLL_US);
    }
    return true;
}

void rn_server_destroy(rn_server *server)
{
    if (!server) return;
    rn_server_drain(server, DESTROY_DRAIN_US);
    if (server->socket_path) unlink(server->socket_path);
    bool closed = true;
    for (int32_t i = 0; i < server->loop_count; i++) closed = rn__loop_stop(&server->loops[i]) && closed;
    if (!closed) return; /* connections that are still open point into the server */
    h2o_config_dispose(&server->config);
    free(server->socket_path);
    free(server);
}
