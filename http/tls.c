/* Files are read into memory first, so that the context and the texts are of the same moment. A context is kept until the end: h2o makes a
 * connection's TLS state from it some time after the connection was accepted. */
#include "http/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/clock.h"
#include "http/proto/config.pb-c.h"
#include "http/text_file.h"
#include "http/text_proto.h"

enum {
    CERTIFICATE,
    KEY,
    CLIENT_CA,
    FILES,
    LOOK_US = 1000 * 1000,
};

typedef struct {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec changed;
} file_state;

/* One reading of the files. */
typedef struct generation {
    struct generation *older;
    SSL_CTX *context;
    char *texts[FILES]; /* CLIENT_CA: NULL for none */
} generation;

struct rn_tls {
    const char *paths[FILES]; /* CLIENT_CA: NULL for none; all three are the same file when it is an SSLConfig */
    bool is_config;
    bool asks_clients;
    void (*log)(const char *line);

    pthread_mutex_t lock; /* guards what follows */
    generation *newest;
    uint64_t number; /* of the newest, from 1 */
    int64_t looked_us;
    file_state seen[FILES]; /* what was read, or tried, last */
};

/* ---- reading ---- */

static rn_status keep_text(const char *at, size_t bytes, const char *path, char **out, rn_error *err)
{
    *out = strndup(at, bytes);
    return *out ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory", path);
}

static rn_status read_file(const char *path, char **out, rn_error *err)
{
    rn_text text;
    RN_TRY(rn_text_file_read(path, &text, err));
    const rn_status status = keep_text(text.at, text.bytes, path, out, err);
    free((char *)text.at);
    return status;
}

static rn_status take_texts(const Config__SslConfig *config, const char *path, char **texts, rn_error *err)
{
    const ProtobufCBinaryData fields[FILES] = {config->server_cert, config->server_key, config->custom_ca};
    static const char *const names[FILES] = {"server_cert", "server_key", "custom_ca"};
    for (int i = 0; i < FILES; i++) {
        if (i == CLIENT_CA && !config->client_verify) return RN_STATUS_OK; /* as in TensorFlow Serving: clients are asked for nothing */
        if (fields[i].len == 0)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: %s is missing%s", path, names[i],
                           i == CLIENT_CA ? ", which client_verify needs" : "");
        RN_TRY(keep_text((const char *)fields[i].data, fields[i].len, path, &texts[i], err));
    }
    return RN_STATUS_OK;
}

static rn_status read_config(const char *path, char **texts, rn_error *err)
{
    rn_text text;
    ProtobufCMessage *message;
    RN_TRY(rn_text_file_read(path, &text, err));
    rn_status status = rn_text_proto_parse(text, path, &config__ssl_config__descriptor, &message, err);
    free((char *)text.at);
    RN_TRY(status);
    status = take_texts((const Config__SslConfig *)message, path, texts, err);
    protobuf_c_message_free_unpacked(message, NULL);
    return status;
}

static rn_status read_texts(const rn_tls *tls, char **texts, rn_error *err)
{
    if (tls->is_config) return read_config(tls->paths[CERTIFICATE], texts, err);
    for (int i = 0; i < FILES; i++)
        if (tls->paths[i]) RN_TRY(read_file(tls->paths[i], &texts[i], err));
    return RN_STATUS_OK;
}

static file_state look_at(const char *path)
{
    struct stat info;
    if (!path || stat(path, &info) != 0) return (file_state){0};
    return (file_state){info.st_dev, info.st_ino, info.st_size, info.st_mtim};
}

static bool same(const file_state *a, const file_state *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* ---- contexts ---- */

static rn_status refuse(const char *path, const char *expected, rn_error *err)
{
    char reason[256] = "";
    const unsigned long code = ERR_peek_last_error();
    if (code) ERR_error_string_n(code, reason, sizeof reason);
    ERR_clear_error();
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: expected %s%s%s", path, expected, code ? "; " : "", reason);
}

/* The first certificate is ours, those behind it lead to the authority. */
static bool use_certificates(SSL_CTX *context, BIO *text)
{
    X509 *certificate = PEM_read_bio_X509_AUX(text, NULL, NULL, NULL);
    const bool used = certificate && SSL_CTX_use_certificate(context, certificate) == 1;
    X509_free(certificate);
    while (used && (certificate = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL) SSL_CTX_add0_chain_cert(context, certificate);
    if (used) ERR_clear_error(); /* the end of the file is reported as an error */
    return used;
}

static bool use_key(SSL_CTX *context, BIO *text)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);
    const bool used = key && SSL_CTX_use_PrivateKey(context, key) == 1;
    EVP_PKEY_free(key);
    return used;
}

static bool use_client_ca(SSL_CTX *context, BIO *text)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    int32_t count = 0;
    for (X509 *ca; (ca = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL; count++) {
        X509_STORE_add_cert(store, ca);
        SSL_CTX_add_client_CA(context, ca);
        X509_free(ca);
    }
    if (count > 0) ERR_clear_error();
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return count > 0;
}

/* "h2" where the client offers it, else "http/1.1". */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_bytes, const unsigned char *offered, unsigned bytes,
                           void *unused)
{
    static const unsigned char known[] = "\x02h2\x08http/1.1";
    (void)ssl;
    (void)unused;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_bytes, known, sizeof known - 1, offered, bytes) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static rn_status fill_context(const rn_tls *tls, generation *g, rn_error *err)
{
    static bool (*const use[FILES])(SSL_CTX * context, BIO * text) = {use_certificates, use_key, use_client_ca};
    static const char *const expected[FILES] = {"a certificate in PEM", "the private key of the certificate in PEM", "certificates in PEM"};
    SSL_CTX_set_min_proto_version(g->context, TLS1_2_VERSION);
    SSL_CTX_set_options(g->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_id_context(g->context, (const unsigned char *)"resnetd", 7); /* sessions of clients with certificates need one */
    SSL_CTX_set_alpn_select_cb(g->context, choose_protocol, NULL);
    for (int i = 0; i < FILES; i++) {
        if (!g->texts[i]) continue;
        BIO *text = BIO_new_mem_buf(g->texts[i], -1);
        const bool used = text && use[i](g->context, text);
        BIO_free(text);
        if (!used) return refuse(tls->paths[i], expected[i], err);
    }
    return SSL_CTX_check_private_key(g->context) == 1 ? RN_STATUS_OK : refuse(tls->paths[KEY], expected[KEY], err);
}

static void free_generation(generation *g)
{
    for (int i = 0; i < FILES; i++) free(g->texts[i]);
    SSL_CTX_free(g->context);
    free(g);
}

static rn_status read_generation(const rn_tls *tls, generation **out, rn_error *err)
{
    generation *g = calloc(1, sizeof *g);
    if (!g) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for certificates");
    rn_status status;
    g->context = SSL_CTX_new(TLS_server_method());
    if (!g->context) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for certificates");
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, read_texts(tls, g->texts, err));
    RN_TRY_CLEANUP(status, fill_context(tls, g, err));
    *out = g;
    return RN_STATUS_OK;
cleanup:
    free_generation(g);
    return status;
}

/* ---- life ---- */

static void take_up(rn_tls *tls, generation *g)
{
    g->older = tls->newest;
    tls->newest = g;
    tls->number++;
}

rn_status rn_tls_create(const rn_tls_options *options, rn_tls **out, rn_error *err)
{
    rn_tls *tls = calloc(1, sizeof *tls);
    if (!tls) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for certificates");
    generation *g;
    tls->is_config = *options->config;
    tls->paths[CERTIFICATE] = tls->is_config ? options->config : options->certificate;
    tls->paths[KEY] = tls->is_config ? options->config : options->key;
    tls->paths[CLIENT_CA] = tls->is_config ? options->config : *options->client_ca ? options->client_ca : NULL;
    tls->log = options->log;
    for (int i = 0; i < FILES; i++) tls->seen[i] = look_at(tls->paths[i]);
    const rn_status status = read_generation(tls, &g, err);
    if (status != RN_STATUS_OK) {
        free(tls);
        return status;
    }
    tls->asks_clients = g->texts[CLIENT_CA] != NULL;
    pthread_mutex_init(&tls->lock, NULL);
    take_up(tls, g);
    *out = tls;
    return RN_STATUS_OK;
}

void rn_tls_destroy(rn_tls *tls)
{
    if (!tls) return;
    for (generation *g = tls->newest, *older; g; g = older) {
        older = g->older;
        free_generation(g);
    }
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

/* With the lock held. */
static void refresh(rn_tls *tls)
{
    const int64_t now = rn_clock_us();
    if (now < tls->looked_us + LOOK_US) return;
    tls->looked_us = now;
    bool changed = false;
    for (int i = 0; i < FILES; i++) {
        const file_state state = look_at(tls->paths[i]);
        changed = changed || !same(&state, &tls->seen[i]);
        tls->seen[i] = state;
    }
    if (!changed) return;
    generation *g;
    rn_error err;
    rn_status status = read_generation(tls, &g, &err);
    if (status == RN_STATUS_OK && (g->texts[CLIENT_CA] != NULL) != tls->asks_clients) {
        free_generation(g);
        status = RN_FAIL(&err, RN_STATUS_INVALID_ARGUMENT, "%s: client_verify is not what it was at the start", tls->paths[CLIENT_CA]);
    }
    if (status == RN_STATUS_OK) {
        take_up(tls, g);
        tls->log("certificates were read again");
    } else {
        rn_error_prefix(&err, "certificates that have changed are not used");
        tls->log(err.message);
    }
}

SSL_CTX *rn_tls_context(rn_tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    refresh(tls);
    SSL_CTX *context = tls->newest->context;
    pthread_mutex_unlock(&tls->lock);
    return context;
}

bool rn_tls_pem(rn_tls *tls, uint64_t *generation_number, rn_tls_pem_fn *use, void *context)
{
    pthread_mutex_lock(&tls->lock);
    refresh(tls);
    const bool newer = tls->number != *generation_number;
    if (newer) use(context, tls->newest->texts[CERTIFICATE], tls->newest->texts[KEY], tls->newest->texts[CLIENT_CA]);
    *generation_number = tls->number;
    pthread_mutex_unlock(&tls->lock);
    return newer;
}

bool rn_tls_asks_clients(const rn_tls *tls)
{
    return tls->asks_clients;
}
