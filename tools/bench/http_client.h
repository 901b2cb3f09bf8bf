/* An HTTP/1.1 client for load tests: one keep-alive connection, one request at a time, blocking. */
#ifndef RN_TOOLS_BENCH_HTTP_CLIENT_H
#define RN_TOOLS_BENCH_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

/* Where a server is. */
typedef struct bench_address {
    char host[256], port[8];
} bench_address;

/* "http://host:port", the port 80 when it is left out. False when it is something else. */
bool bench_address_parse(const char *url, bench_address *out);

typedef struct bench_connection {
    const bench_address *address; /* borrowed */
    int socket;                   /* -1: not open */
    char *answer;                 /* the last one, head and body, with a NUL behind; bytes of capacity */
    size_t bytes, capacity;
    char *body;                   /* in answer */
} bench_connection;

void bench_connection_init(bench_connection *c, const bench_address *address);
void bench_connection_deinit(bench_connection *c);

/* The whole request as bytes; the caller frees it. body_bytes 0: none. */
char *bench_request_create(const bench_address *address, const char *method, const char *path, const char *body, size_t body_bytes,
                           size_t *bytes);

/* Sends a whole request and reads the answer, whose status it returns. 0: the connection failed or the answer was not understood; it is
 * closed, and the next call opens it again. */
int bench_connection_call(bench_connection *c, const char *request, size_t bytes);

#endif
