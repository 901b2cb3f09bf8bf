/* The certificate of this server, its key, and the authority whose clients are let in, from PEM files, or from TensorFlow Serving's
 * SSLConfig file that holds the text of all three. They are read again when they change. Both the REST and the gRPC port take what they
 * need from here. All functions are thread-safe once it is created.
 */
#ifndef RN_HTTP_TLS_H
#define RN_HTTP_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/error.h"

typedef struct rn_tls rn_tls;

typedef struct rn_tls_options {
    const char *config;      /* SSLConfig file, which stands for the next three; empty: there is none */
    const char *certificate; /* file with the certificate and those between it and the authority, in this order */
    const char *key;
    const char *client_ca;         /* file with authorities: every client must show a certificate of theirs; empty: none needs one */
    void (*log)(const char *line); /* what operators want to read: a reload, or why there was none */
} rn_tls_options;

/* NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT: the message names the file. Texts of options are borrowed. */
rn_status rn_tls_create(const rn_tls_options *options, rn_tls **out, rn_error *err);
void rn_tls_destroy(rn_tls *tls); /* when no connection is left that uses it; NULL allowed */

/* For new connections: the context of the files as they are now, looked at once a second at most. Files that cannot be used leave the
 * former context in place. It lives as long as *tls. */
SSL_CTX *rn_tls_context(rn_tls *tls);

/* The same files as text for libgrpc: calls `use` with them when they are newer than *generation, which is set. Returns whether they were.
 */
typedef void rn_tls_pem_fn(void *context, const char *certificate, const char *key, const char *client_ca); /* client_ca: NULL for none */
bool rn_tls_pem(rn_tls *tls, uint64_t *generation, rn_tls_pem_fn *use, void *context);

bool rn_tls_asks_clients(const rn_tls *tls); /* for certificates */

#endif
