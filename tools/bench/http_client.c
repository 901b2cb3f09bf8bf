/* Answers are read as resnetd sends them: a head with Content-Length, then the body. */
#include "tools/bench/http_client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tools/bench/failure.h"

enum { FIRST_CAPACITY = 64 << 10, MAX_ANSWER_BYTES = 256 << 20, PATIENCE_S = 60 };

bool bench_address_parse(const char *url, bench_address *out)
{
    static const char scheme[] = "http://";
    int used = 0;
    if (strncmp(url, scheme, sizeof scheme - 1) != 0) return false;
    url += sizeof scheme - 1;
    strcpy(out->port, "80");
    if (sscanf(url, "%255[^:/]%n", out->host, &used) != 1) return false;
    url += used;
    used = 0;
    if (*url == ':' && sscanf(url, ":%5[0-9]%n", out->port, &used) != 1) return false;
    url += used;
    return *url == '\0' || strcmp(url, "/") == 0;
}

void bench_connection_init(bench_connection *c, const bench_address *address)
{
    *c = (bench_connection){.address = address, .socket = -1, .capacity = FIRST_CAPACITY};
    c->answer = bench_allocate(c->capacity);
}

static void hang_up(bench_connection *c)
{
    if (c->socket != -1) close(c->socket);
    c->socket = -1;
}

void bench_connection_deinit(bench_connection *c)
{
    hang_up(c);
    free(c->answer);
}

static bool dial(bench_connection *c)
{
    struct addrinfo *found;
    const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (c->socket != -1) return true;
    if (getaddrinfo(c->address->host, c->address->port, &wanted, &found) != 0) return false;
    for (const struct addrinfo *a = found; a && c->socket == -1; a = a->ai_next) {
        c->socket = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (c->socket != -1 && connect(c->socket, a->ai_addr, a->ai_addrlen) != 0) hang_up(c);
    }
    freeaddrinfo(found);
    if (c->socket == -1) return false;
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(c->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(c->socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return true;
}

char *bench_request_create(const bench_address *address, const char *method, const char *path, const char *body, size_t body_bytes,
                           size_t *bytes)
{
    static const char format[] = "%s %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n";
    char *request;
    const int head = asprintf(&request, format, method, path, address->host, address->port, body_bytes);
    *bytes = (size_t)head + body_bytes;
    if (head < 0 || !(request = realloc(request, *bytes + 1))) bench_fail("no memory for a request of %zu bytes", body_bytes);
    memcpy(request + head, body, body_bytes);
    return request;
}

static bool send_all(int socket, const char *from, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t sent = send(socket, from, bytes, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        from += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

/* Reads on until there are `wanted` bytes of the answer. False at the end of the stream. */
static bool read_to(bench_connection *c, size_t wanted)
{
    if (wanted > MAX_ANSWER_BYTES) return false;
    if (wanted + 1 > c->capacity) {
        c->capacity = 2 * wanted + 1;
        c->answer = realloc(c->answer, c->capacity);
        if (!c->answer) bench_fail("no memory for an answer of %zu bytes", wanted);
    }
    while (c->bytes < wanted) {
        const ssize_t got = recv(c->socket, c->answer + c->bytes, c->capacity - 1 - c->bytes, 0);
        if (got <= 0) return false;
        c->bytes += (size_t)got;
    }
    c->answer[c->bytes] = '\0';
    return true;
}

static int read_answer(bench_connection *c)
{
    const char *end, *length;
    int status;
    c->bytes = 0;
    do {
        if (!read_to(c, c->bytes + 1)) return 0;
    } while (!(end = strstr(c->answer, "\r\n\r\n")));
    if (sscanf(c->answer, "HTTP/1.1 %d", &status) != 1) return 0;
    if (!(length = strcasestr(c->answer, "\r\ncontent-length:")) || length > end) return 0;
    const size_t head = (size_t)(end - c->answer) + 4, body = strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
    if (body > MAX_ANSWER_BYTES || !read_to(c, head + body) || c->bytes != head + body) return 0;
    if (strcasestr(c->answer, "\r\nconnection: close")) hang_up(c);
    c->body = c->answer + head;
    return status;
}

int bench_connection_call(bench_connection *c, const char *request, size_t bytes)
{
    const int status = dial(c) && send_all(c->socket, request, bytes) ? read_answer(c) : 0;
    if (status == 0) hang_up(c);
    return status;
}
