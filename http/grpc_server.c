/* Listener, completion queues and their threads.
 *
 * A loop is one completion queue with one thread. It always has one slot open for the next call of any method; a call keeps the queue on
 * which it arrived, so that everything that happens to it happens on one thread. The loops only pass things on: messages are decoded and
 * handlers run on the workers.
 *
 * The largest message that is accepted follows --max_request_bytes, as for REST: TensorFlow Serving's limit of 2^31 - 1 is the largest
 * value of the flag. There is no limit on what is sent. */
#include "http/grpc_server.h"

#include <errno.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/clock.h"
#include "http/grpc_private.h"

enum {
    MAX_STREAMS = 256, /* of a connection at once: its other calls wait at the client */
    MAX_METADATA_BYTES = 16 << 10,
    KEEPALIVE_MS = 60 * 1000,  /* a client that has been silent for so long is asked whether it is there */
    PING_PAUSE_MS = 10 * 1000, /* clients that ask more often, three times, are sent away: keep-alives of 10 s and more are common */
    LOOK_MS = 100,             /* so much later at most do watchers hear of news */
    DRAIN_STEP_US = 5 * 1000,
    /* While draining, libgrpc gives a silent connection 20 s to take notice. One that has had no call for so long is closed. */
    IDLE_GRACE_US = 1000 * 1000,
};

typedef struct {
    rn_grpc_server *owner;
    grpc_completion_queue *queue;
    pthread_t thread;
    rn__grpc_watchers watchers;
    gpr_timespec next_look; /* for their news */
    /* The slot for the next call. */
    rn__grpc_event arrived;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
} loop;

struct rn_grpc_server {
    grpc_server *server;
    rn__grpc_calls calls;
    uint16_t port;
    rn_tls *tls;              /* NULL: plain text */
    pthread_mutex_t tls_lock; /* guards the next one: handshakes run on libgrpc's threads */
    uint64_t tls_generation;  /* that libgrpc has */
    bool refusing;
    rn__grpc_event stopped;
    atomic_bool has_stopped;
    int32_t loop_count, thread_count; /* thread_count <= loop_count: threads that run */
    loop loops[];
};

/* ---- loops ---- */

static void open_slot(loop *l)
{
    grpc_call_details_init(&l->details);
    grpc_metadata_array_init(&l->metadata);
    grpc_server_request_call(l->owner->server, &l->call, &l->details, &l->metadata, l->queue, l->queue, &l->arrived);
}

/* Not ok: the server takes no more calls. */
static void on_arrived(rn__grpc_event *event, bool ok)
{
    loop *l = (loop *)((char *)event - offsetof(loop, arrived));
    if (ok) rn__grpc_begin(&l->owner->calls, &l->watchers, l->call, &l->details, &l->metadata);
    grpc_call_details_destroy(&l->details);
    grpc_metadata_array_destroy(&l->metadata);
    if (ok) open_slot(l);
}

static void on_stopped(rn__grpc_event *event, bool ok)
{
    (void)ok;
    rn_grpc_server *server = (rn_grpc_server *)((char *)event - offsetof(rn_grpc_server, stopped));
    atomic_store(&server->has_stopped, true);
}

static void look_for_news(loop *l)
{
    const gpr_timespec now = gpr_now(GPR_CLOCK_MONOTONIC);
    if (gpr_time_cmp(now, l->next_look) < 0) return;
    rn__grpc_look(&l->watchers);
    l->next_look = gpr_time_add(now, gpr_time_from_millis(LOOK_MS, GPR_TIMESPAN));
}

static void *run_loop(void *argument)
{
    loop *l = argument;
    for (;;) {
        const gpr_timespec until = l->watchers.first ? l->next_look : gpr_inf_future(GPR_CLOCK_MONOTONIC);
        const grpc_event happening = grpc_completion_queue_next(l->queue, until, NULL);
        if (happening.type == GRPC_QUEUE_SHUTDOWN) return NULL;
        if (happening.type == GRPC_OP_COMPLETE) {
            rn__grpc_event *event = happening.tag;
            event->happened(event, happening.success);
        }
        if (l->watchers.first) look_for_news(l);
    }
}

/* ---- life ---- */

/* Libraries do not log here, libgrpc included: what matters is reported by status. */
static void drop_log_line(gpr_log_func_args *line)
{
    (void)line;
}

static grpc_server *create_grpc(const rn_service *service)
{
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ALLOW_REUSEPORT},                  /* 0: a port that is in use is an error */
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION}, /* 0: grpc_message.c does it within bounds */
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = (int)service->max_request_bytes},
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_MAX_CONCURRENT_STREAMS, .value.integer = MAX_STREAMS},
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_MAX_METADATA_SIZE, .value.integer = MAX_METADATA_BYTES},
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_KEEPALIVE_TIME_MS, .value.integer = KEEPALIVE_MS},
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, .value.integer = PING_PAUSE_MS},
    };
    const grpc_channel_args all = {.num_args = sizeof args / sizeof args[0], .args = args};
    return grpc_server_create(&all, NULL);
}

/* libgrpc does not say why it could not bind a port: try it once more by hand. */
static rn_status explain_port(uint16_t port, rn_error *err)
{
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int reason = fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof any) == 0 ? EADDRINUSE : errno;
    if (fd >= 0) close(fd);
    const bool forbidden = reason == EACCES || reason == EPERM;
    return RN_FAIL(err, forbidden ? RN_STATUS_PERMISSION_DENIED : RN_STATUS_UNAVAILABLE, "port %u: %s", port, strerror(reason));
}

/* libgrpc 1.51 aborts without authorities, also where it asks clients for nothing: it gets the server's own certificate then. */
static void make_certificate_config(void *context, const char *certificate, const char *key, const char *client_ca)
{
    const grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = certificate};
    *(grpc_ssl_server_certificate_config **)context =
        grpc_ssl_server_certificate_config_create(client_ca ? client_ca : certificate, &pair, 1);
}

/* libgrpc asks at every handshake. */
static grpc_ssl_certificate_config_reload_status reload_certificates(void *user_data, grpc_ssl_server_certificate_config **config)
{
    rn_grpc_server *server = user_data;
    pthread_mutex_lock(&server->tls_lock);
    const bool newer = rn_tls_pem(server->tls, &server->tls_generation, make_certificate_config, config);
    pthread_mutex_unlock(&server->tls_lock);
    return newer ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
}

static grpc_server_credentials *create_credentials(rn_grpc_server *server)
{
    if (!server->tls) return grpc_insecure_server_credentials_create();
    const grpc_ssl_client_certificate_request_type asks = rn_tls_asks_clients(server->tls)
                                                              ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                              : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(asks, reload_certificates, server));
}

static rn_status bind_port(rn_grpc_server *server, uint16_t port, rn_error *err)
{
    char address[32];
    snprintf(address, sizeof address, "[::]:%u", port); /* libgrpc falls back to IPv4 where there is no IPv6 */
    grpc_server_credentials *credentials = create_credentials(server);
    const int bound = grpc_server_add_http2_port(server->server, address, credentials);
    grpc_server_credentials_release(credentials);
    if (bound <= 0) return explain_port(port, err);
    server->port = (uint16_t)bound;
    return RN_STATUS_OK;
}

static rn_status bind_socket_path(rn_grpc_server *server, const char *path, rn_error *err)
{
    char address[256];
    snprintf(address, sizeof address, "unix:%s", path);
    grpc_server_credentials *plaintext = grpc_insecure_server_credentials_create();
    const int bound = grpc_server_add_http2_port(server->server, address, plaintext);
    grpc_server_credentials_release(plaintext);
    if (bound <= 0) return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "socket %s: libgrpc cannot listen there", path);
    return RN_STATUS_OK;
}

static void init_loop(rn_grpc_server *server, loop *l)
{
    l->owner = server;
    l->arrived.happened = on_arrived;
    l->next_look = gpr_now(GPR_CLOCK_MONOTONIC);
    l->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->server, l->queue, NULL);
}

static rn_status start_threads(rn_grpc_server *server, rn_error *err)
{
    grpc_server_start(server->server);
    for (; server->thread_count < server->loop_count; server->thread_count++) {
        loop *l = &server->loops[server->thread_count];
        if (pthread_create(&l->thread, NULL, run_loop, l) != 0)
            return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "gRPC: the system allows %d of %d threads", server->thread_count,
                           server->loop_count);
        open_slot(l);
    }
    return RN_STATUS_OK;
}

rn_status rn_grpc_server_create(const rn_grpc_server_options *options, rn_grpc_server **out, rn_error *err)
{
    rn_grpc_server *server = calloc(1, sizeof *server + (size_t)options->loop_count * sizeof server->loops[0]);
    if (!server) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d gRPC loops", options->loop_count);
    gpr_set_log_function(drop_log_line);
    grpc_init();
    server->calls.service = options->service;
    server->tls = options->tls;
    pthread_mutex_init(&server->tls_lock, NULL);
    server->stopped.happened = on_stopped;
    server->server = create_grpc(options->service);
    server->loop_count = options->loop_count;
    for (int32_t i = 0; i < server->loop_count; i++) init_loop(server, &server->loops[i]);
    rn_status status = bind_port(server, options->port, err);
    if (status == RN_STATUS_OK && options->socket_path) status = bind_socket_path(server, options->socket_path, err);
    if (status == RN_STATUS_OK) status = start_threads(server, err);
    if (status != RN_STATUS_OK) {
        rn_grpc_server_destroy(server);
        return status;
    }
    *out = server;
    return RN_STATUS_OK;
}

uint16_t rn_grpc_server_port(const rn_grpc_server *server)
{
    return server->port;
}

void rn_grpc_server_refuse(rn_grpc_server *server)
{
    if (!server) return;
    server->refusing = true;
    grpc_server_shutdown_and_notify(server->server, server->loops[0].queue, &server->stopped);
}

bool rn_grpc_server_drain(rn_grpc_server *server, int64_t timeout_us)
{
    if (!server) return true;
    const int64_t deadline = rn_clock_us() + timeout_us;
    int64_t last_call_us = rn_clock_us();
    while (!atomic_load(&server->has_stopped)) {
        const int64_t now = rn_clock_us();
        if (now > deadline) return false;
        if (atomic_load(&server->calls.count) > 0) last_call_us = now;
        if (now > last_call_us + IDLE_GRACE_US) grpc_server_cancel_all_calls(server->server); /* there are none: closes connections */
        usleep(DRAIN_STEP_US);
    }
    return true;
}

void rn_grpc_server_destroy(rn_grpc_server *server)
{
    if (!server) return;
    if (!server->refusing) rn_grpc_server_refuse(server);
    grpc_server_cancel_all_calls(server->server);
    if (server->thread_count > 0) rn_grpc_server_drain(server, INT64_MAX / 2);
    while (atomic_load(&server->calls.open) > 0)
        usleep(DRAIN_STEP_US); /* a stream may still ask its queue for something: libgrpc aborts if that is shut down */
    for (int32_t i = 0; i < server->loop_count; i++) {
        loop *l = &server->loops[i];
        grpc_completion_queue_shutdown(l->queue);
        if (i < server->thread_count)
            pthread_join(l->thread, NULL);
        else
            run_loop(l); /* takes out what is left, as it has to be */
        grpc_completion_queue_destroy(l->queue);
    }
    grpc_server_destroy(server->server);
    pthread_mutex_destroy(&server->tls_lock);
    grpc_shutdown();
    free(server);
}
