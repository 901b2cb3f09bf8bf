/* Requests that are arriving: how long they may take, and how much memory their bodies may hold together. h2o asks nobody while it reads a
 * body, so that every loop looks at its connections several times a second, more often when memory gets short.
 *
 * A request has --request_timeout_in_ms to arrive, and more for the bytes that have come: a second for every --min_request_rate of them.
 * When bodies hold more than --max_inflight_bytes, the largest that is still arriving has to go, one at each look.
 *
 * The streams of an HTTP/2 connection are not told apart, because h2o does not show what it holds of them: time begins again with each
 * request that has arrived, bytes are what the connection has received since, and who has to go is the connection. An HTTP/1 client gets a
 * last answer, past h2o, and is read for a moment so that it can read the answer: a connection that is closed with unread bytes is reset. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "engine/clock.h"
#include "http/server_private.h"

enum {
    LOOK_US = 100 * 1000,
    LOOK_CLOSELY_US = 5 * 1000,     /* while bodies hold more than a quarter of what they may */
    LINGER_US = 2 * 1000 * 1000,    /* for the client to read why */
    DISCARD_BYTES = 64 << 10,       /* at a time */
    MAX_DISMISSED = 64,             /* at one look: the others are found at the next */
};

typedef struct {
    rn__loop *loop;
    int64_t now_us;
    size_t held_bytes;
    h2o_req_t *late[MAX_DISMISSED];
    int32_t late_count;
    h2o_req_t *largest; /* of those that are arriving */
    size_t largest_bytes;
} look;

/* ---- dismissal ---- */

static void stop_lingering(rn__connection *connection)
{
    rn__watch_remove(&connection->loop->watch, &connection->lingering);
    rn__connection_end(connection);
    h2o_socket_read_start(connection->socket, connection->read_callback);
}

static void on_unwanted(rn__watched *watched)
{
    rn__connection *connection = H2O_STRUCT_FROM_MEMBER(rn__connection, lingering, watched);
    char unwanted[DISCARD_BYTES];
    const ssize_t got = recv(watched->fd, unwanted, sizeof unwanted, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) stop_lingering(connection);
}

/* HTTP/1: h2o is neither writing nor, from here on, reading. What it has read of the body is freed. */
static void dismiss_connection(rn__connection *connection, int64_t now_us, const char *answer)
{
    h2o_socket_t *socket = connection->socket;
    connection->read_callback = socket->_cb.read;
    connection->linger_until_us = now_us + LINGER_US;
    h2o_socket_read_stop(socket);
    h2o_buffer_dispose(&socket->input);
    h2o_buffer_init(&socket->input, &h2o_socket_buffer_prototype);
    const int fd = h2o_socket_get_fd(socket);
    if (!socket->ssl) (void)!send(fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    connection->lingering.event = on_unwanted;
    rn__watch_add(&connection->loop->watch, &connection->lingering, fd, EPOLLIN);
}

static bool is_http2(const h2o_req_t *req)
{
    return req->version >= 0x200;
}

static void dismiss(const look *l, h2o_req_t *req, const char *status, const char *message)
{
    char answer[512], body[256];
    if (is_http2(req)) {
        rn__connection_end(rn__connection_of(req));
        return;
    }
    const int body_bytes = snprintf(body, sizeof body, "{\n    \"error\": \"%s\"\n}", message);
    snprintf(answer, sizeof answer,
             "HTTP/1.1 %s\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status,
             body_bytes, body);
    dismiss_connection(rn__connection_of(req), l->now_us, answer);
}

static void dismiss_late(const look *l, h2o_req_t *req)
{
    rn_counter_add(&l->loop->server->service->metrics->slow_requests, 1);
    dismiss(l, req, "408 Request Timeout", "The request did not arrive in good time.");
}

static void dismiss_largest(const look *l)
{
    rn_counter_add(&l->loop->server->service->metrics->dropped_bodies, 1);
    dismiss(l, l->largest, "503 Service Unavailable", RN__INTAKE_FULL);
}

/* ---- looking ---- */

/* h2o chooses the pathconf of a request when it has arrived. */
static bool is_arriving(const h2o_req_t *req, const rn__connection *connection)
{
    if (is_http2(req)) return !req->pathconf;
    return connection->socket->input->size > 0 && h2o_socket_is_reading(connection->socket);
}

/* What the connection holds, added to the sum on the first visit of a look. */
static void count_held(look *l, const h2o_req_t *req, rn__connection *connection)
{
    if (connection->looked_us == l->now_us) return;
    connection->looked_us = l->now_us;
    connection->held_bytes = is_http2(req) ? rn__connection_unsettled(connection) : connection->socket->input->size;
    l->held_bytes += connection->held_bytes;
}

static bool is_late(const rn__connection *connection, int64_t now_us)
{
    const rn_server *server = connection->loop->server;
    const int64_t earned_us = (int64_t)((double)connection->held_bytes * 1e6 / (double)server->limits.min_request_rate);
    return now_us - connection->arriving_us > server->limits.request_timeout_us + earned_us;
}

static int look_at(h2o_req_t *req, void *argument)
{
    look *l = argument;
    rn__connection *connection = rn__connection_of(req);
    const bool arriving = is_arriving(req, connection);
    if (arriving || !is_http2(req)) count_held(l, req, connection);
    if (connection->linger_until_us && l->now_us > connection->linger_until_us && !connection->ended) stop_lingering(connection);
    if (!arriving || connection->ended) return 0;
    if (connection->arriving_us == 0) connection->arriving_us = l->now_us;
    if (is_late(connection, l->now_us) && l->late_count < MAX_DISMISSED) {
        l->late[l->late_count++] = req;
    } else if (connection->held_bytes > l->largest_bytes) {
        l->largest = req;
        l->largest_bytes = connection->held_bytes;
    }
    return 0;
}

void rn__intake_look(rn__loop *loop)
{
    const rn_server *server = loop->server;
    rn_gauge *body_bytes = &server->service->metrics->body_bytes;
    look l = {.loop = loop, .now_us = rn_clock_us()};
    const int64_t limit = (int64_t)server->limits.max_inflight_bytes;
    const int64_t pause_us = rn_gauge_get(body_bytes) > limit / 4 ? LOOK_CLOSELY_US : LOOK_US;
    if (l.now_us < loop->looked_us + pause_us) return;
    loop->looked_us = l.now_us;
    h2o_globalconf_t *config = loop->context.globalconf;
    config->http1.callbacks.foreach_request(&loop->context, look_at, &l);
    config->http2.callbacks.foreach_request(&loop->context, look_at, &l);
    rn_gauge_add(body_bytes, (int64_t)l.held_bytes - (int64_t)loop->held_bytes);
    loop->held_bytes = l.held_bytes;
    for (int32_t i = 0; i < l.late_count; i++) dismiss_late(&l, l.late[i]);
    if (l.largest && rn__intake_is_full(loop)) dismiss_largest(&l);
}

bool rn__intake_is_full(const rn__loop *loop)
{
    return rn_gauge_get(&loop->server->service->metrics->body_bytes) > (int64_t)loop->server->limits.max_inflight_bytes;
}
