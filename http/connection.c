/* A record for each connection that was accepted, next to what h2o keeps of it: how many there may be, and how much work one of them may
 * cause. h2o frees its connection whenever it likes and tells by the socket's on_close; a record stays until the last call of its
 * connection has ended.
 *
 * A client that opens streams and resets them at once (HTTP/2 rapid reset) makes work that nobody waits for. It is told from one that gives
 * up now and then by the requests that it let be answered. */
#include <linux/tcp.h>
#include <sys/socket.h>

#include "http/server_private.h"

enum {
    MAX_CALLS = 128,     /* at once by one connection; h2o itself works on 100 streams, those that were reset come on top */
    MAX_ABANDONED = 100, /* requests taken back before their answer, less the ones that were answered */
};

static void release(rn__connection *connection)
{
    if (--connection->references == 0) free(connection);
}

static void on_close(void *argument)
{
    rn__connection *connection = argument;
    rn_server *server = connection->loop->server;
    rn__watch_remove(&connection->loop->watch, &connection->lingering);
    connection->socket = NULL;
    atomic_fetch_sub(&server->connection_count, 1);
    rn_gauge_add(&server->service->metrics->connections, -1);
    release(connection);
}

/* Too many: an answer for whoever reads it. There is no time to wait for a request. */
static void turn_away(rn__loop *loop, h2o_socket_t *socket)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const bool encrypted = loop->accept.ssl_ctx != NULL;
    if (!encrypted) (void)!send(h2o_socket_get_fd(socket), answer, sizeof answer - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    rn_counter_add(&loop->server->service->metrics->refused_connections, 1);
    h2o_socket_close(socket);
}

bool rn__connection_open(rn__loop *loop, h2o_socket_t *socket)
{
    rn_server *server = loop->server;
    rn__connection *connection = NULL;
    if (atomic_fetch_add(&server->connection_count, 1) < server->limits.max_connections) connection = calloc(1, sizeof *connection);
    if (!connection) {
        atomic_fetch_sub(&server->connection_count, 1);
        turn_away(loop, socket);
        return false;
    }
    connection->loop = loop;
    connection->socket = socket;
    connection->references = 1;
    connection->lingering.fd = -1;
    socket->on_close.cb = on_close;
    socket->on_close.data = connection;
    rn_gauge_add(&server->service->metrics->connections, 1);
    return true;
}

rn__connection *rn__connection_of(h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

void rn__connection_end(rn__connection *connection)
{
    if (connection->socket) shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR); /* h2o reads the end and closes */
    connection->ended = true;
}

/* ---- calls ---- */

/* The kernel counts what a TCP connection receives; 0 for other sockets. */
static uint64_t received_bytes(const rn__connection *connection)
{
    struct tcp_info info = {0};
    socklen_t bytes = sizeof info;
    if (getsockopt(h2o_socket_get_fd(connection->socket), IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) return 0;
    return info.tcpi_bytes_received;
}

size_t rn__connection_unsettled(rn__connection *connection)
{
    const uint64_t received = received_bytes(connection);
    return received > connection->settled ? (size_t)(received - connection->settled) : 0;
}

/* Frames and headers count too: a request that arrives alone takes along what they have added up to. */
static void settle(rn__connection *connection, size_t body_bytes)
{
    if (connection->arriving_us == 0)
        connection->settled = received_bytes(connection);
    else
        connection->settled += body_bytes;
}

bool rn__connection_begin_call(rn__connection *connection, bool http2, size_t body_bytes)
{
    connection->references++;
    connection->calls++;
    if (http2) settle(connection, body_bytes);
    connection->arriving_us = 0; /* a request has arrived: the next one has its own time */
    return !connection->ended && connection->calls <= MAX_CALLS;
}

void rn__connection_count_answer(rn__connection *connection, bool answered)
{
    if (answered)
        connection->abandoned -= connection->abandoned > 0;
    else if (++connection->abandoned > MAX_ABANDONED && !connection->ended)
        rn__connection_end(connection);
}

void rn__connection_end_call(rn__connection *connection)
{
    connection->calls--;
    release(connection);
}
