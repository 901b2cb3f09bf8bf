/* The server process: flags, composition, signals. The only file that logs and exits.
 *
 * The monitoring port is bound first: alive, not ready. The port for predict calls is bound when the model has been loaded, tested and
 * warmed, so that a probe that only connects tells the truth. SIGTERM: not ready, full service for --drain_delay, then no new connections,
 * the end of what is under way, exit. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/clock.h"
#include "http/flags.h"
#include "http/grpc_server.h"
#include "http/server.h"
#include "kernels/base/cpu_features.h"
#include "kernels/base/version.h"

/* sysexits.h where it has a word for it. */
enum {
    EXIT_USAGE = 2,
    EXIT_BAD_MODEL = 65,
    EXIT_NO_MODEL = 66,
    EXIT_UNREACHABLE = 69, /* also: port in use */
    EXIT_DEVICE = 70,
    EXIT_MEMORY = 71,
    EXIT_FORBIDDEN = 77,
    EXIT_CUT_SHORT = 124, /* the time for draining was over, or somebody lost patience */
};

enum { MAX_LOOPS = 16, GRPC_LOOPS = 2 };

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "resnetd: %s\n", line);
}

static void say_line(const char *line)
{
    say("%s", line);
}

static void say_backend_line(void *context, const char *line)
{
    (void)context;
    say("%s", line);
}

static int exit_code(rn_status status)
{
    switch (status) {
    case RN_STATUS_OK:
        return EXIT_SUCCESS;
    case RN_STATUS_NOT_FOUND:
        return EXIT_NO_MODEL;
    case RN_STATUS_PERMISSION_DENIED:
        return EXIT_FORBIDDEN;
    case RN_STATUS_UNAVAILABLE:
        return EXIT_UNREACHABLE;
    case RN_STATUS_DEVICE_FAILED:
        return EXIT_DEVICE;
    case RN_STATUS_OUT_OF_MEMORY:
        return EXIT_MEMORY;
    default:
        return EXIT_BAD_MODEL;
    }
}

/* ---- signals ---- */

typedef enum { LOADING, SERVING, DRAINING } phase;

static struct {
    atomic_int phase;
    atomic_int number; /* of the latest signal */
    sem_t arrived;     /* posted by the handler: all that a handler may do */
    sem_t stop;        /* posted by the first signal while serving */
} process;

static void on_signal(int number)
{
    atomic_store(&process.number, number);
    sem_post(&process.arrived);
}

static void *take_signals(void *set)
{
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
    for (;;) {
        while (sem_wait(&process.arrived) != 0) continue;
        const char *name = atomic_load(&process.number) == SIGINT ? "SIGINT" : "SIGTERM";
        int expected = SERVING;
        if (atomic_compare_exchange_strong(&process.phase, &expected, DRAINING)) {
            say("%s: draining", name);
            sem_post(&process.stop);
        } else if (expected == LOADING) {
            say("%s: stopped before the model was loaded", name);
            _exit(EXIT_SUCCESS);
        } else {
            say("%s again: stopping at once", name);
            _exit(EXIT_CUT_SHORT);
        }
    }
}

/* A handler and not sigwait alone: libraries start threads before main that block nothing, and a signal that meets one of them must not
 * kill. */
static rn_status start_signals(rn_error *err)
{
    static sigset_t set;
    pthread_t thread;
    sem_init(&process.arrived, 0, 0);
    sem_init(&process.stop, 0, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    const struct sigaction action = {.sa_handler = on_signal, .sa_mask = set, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* the threads of this server are not to be interrupted */
    if (pthread_create(&thread, NULL, take_signals, &set) != 0) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no thread for signals");
    pthread_detach(thread);
    return RN_STATUS_OK;
}

/* ---- composition ---- */

/* Everything that main puts together, in the order of creation. */
typedef struct {
    const rn_backend *backend;
    rn_metrics *metrics;
    rn_access_log *access_log; /* NULL: not wanted */
    rn_workers *workers;
    rn_serving *serving;
    rn_service service;
    rn_server *monitoring, *rest;
    rn_grpc_server *grpc; /* NULL: not wanted */
} composition;

static int32_t usable_processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static rn_status start_monitoring(const rn_flags *flags, composition *c, rn_error *err)
{
    const int32_t workers = flags->num_workers ? (int32_t)flags->num_workers : usable_processors();
    RN_TRY(rn_metrics_create(&c->metrics, err));
    if (strcmp(flags->access_log, "off") != 0)
        RN_TRY(rn_access_log_open(flags->access_log, &c->metrics->log_lines_dropped, &c->access_log, err));
    RN_TRY(rn_workers_create(workers, (int32_t)flags->max_waiting_requests, &c->workers, err));
    const rn_serving_options serving = {
        .backend = c->backend,
        .workers = c->workers,
        .model = {.backend = {.max_batch = (int32_t)flags->max_batch_size,
                              .thread_count = (int32_t)flags->num_threads,
                              .isa = *flags->isa ? flags->isa : NULL,
                              .precision = *flags->precision ? flags->precision : NULL,
                              .log = say_backend_line},
                  .max_waiting_rows = (int32_t)flags->max_queue_rows},
        .metrics = c->metrics,
        .poll_us = flags->file_system_poll_wait_seconds * 1000000,
        .max_retries = (int32_t)flags->max_num_load_retries,
        .retry_us = flags->load_retry_interval_micros,
        .unload_first = flags->resource_preserving_swap,
        .allow_early_labels = flags->allow_version_labels_for_unavailable_models,
        .log = say_line,
    };
    RN_TRY(rn_serving_create(&serving, &c->serving, err));
    c->service = (rn_service){.serving = c->serving,
                              .workers = c->workers,
                              .metrics = c->metrics,
                              .access_log = c->access_log,
                              .timeout_us = flags->rest_api_timeout_in_ms * 1000,
                              .max_request_bytes = (size_t)flags->max_request_bytes,
                              .cors = flags->rest_api_enable_cors_support,
                              .tensor_content = flags->enable_serialization_as_tensor_content};
    const rn_server_options options = {
        .port = (uint16_t)flags->monitoring_port, .serves = RN_PORT_MONITORING, .loop_count = 1, .service = &c->service};
    RN_TRY(rn_server_create(&options, &c->monitoring, err));
    say("health on port %u", rn_server_port(c->monitoring));
    return RN_STATUS_OK;
}

/* A configuration that the main thread waits for. */
typedef struct {
    rn_change change;
    rn_status status;
    rn_error error;
    sem_t done;
} awaited_change;

static void on_change_done(rn_change *change, const rn_error *err)
{
    awaited_change *awaited = (awaited_change *)change; /* its first member */
    awaited->status = err ? err->status : RN_STATUS_OK;
    if (err) awaited->error = *err;
    sem_post(&awaited->done);
}

static rn_status configure(rn_serving *serving, const rn_model_configs *configs, rn_error *err)
{
    awaited_change awaited = {.change = {.kind = RN_CHANGE_CONFIGURE, .configs = configs, .done = on_change_done}};
    sem_init(&awaited.done, 0, 0);
    rn_serving_submit(serving, &awaited.change);
    while (sem_wait(&awaited.done) != 0) continue;
    sem_destroy(&awaited.done);
    if (awaited.status != RN_STATUS_OK) *err = awaited.error;
    return awaited.status;
}

static rn_status load_models(const rn_flags *flags, composition *c, rn_error *err)
{
    rn_model_configs configs;
    RN_TRY(rn_model_configs_init_single(&configs, flags->model_name, flags->model_base_path, err));
    const rn_status status = configure(c->serving, &configs, err);
    rn_model_configs_deinit(&configs);
    return status;
}

static rn_status start_grpc(const rn_flags *flags, composition *c, rn_error *err)
{
    if (flags->port == 0) return RN_STATUS_OK;
    const rn_grpc_server_options options = {
        .port = flags->port < 0 ? 0 : (uint16_t)flags->port, .loop_count = GRPC_LOOPS, .service = &c->service};
    RN_TRY(rn_grpc_server_create(&options, &c->grpc, err));
    say("ready: gRPC on port %u", rn_grpc_server_port(c->grpc));
    return RN_STATUS_OK;
}

static rn_status start_rest(const rn_flags *flags, composition *c, rn_error *err)
{
    const int64_t loops = flags->rest_api_num_threads < MAX_LOOPS ? flags->rest_api_num_threads : MAX_LOOPS;
    const rn_server_options options = {
        .port = (uint16_t)flags->rest_api_port, .serves = RN_PORT_REST, .loop_count = (int32_t)loops, .service = &c->service};
    atomic_store(&process.phase, SERVING); /* from here on a signal has to wait for requests */
    RN_TRY(rn_server_create(&options, &c->rest, err));
    rn_serving_set_ready(c->serving, true);
    say("ready: REST on port %u", rn_server_port(c->rest));
    return RN_STATUS_OK;
}

static rn_status start(const rn_flags *flags, composition *c, rn_error *err)
{
    RN_TRY(start_signals(err));
    RN_TRY(start_monitoring(flags, c, err));
    RN_TRY(load_models(flags, c, err));
    RN_TRY(start_grpc(flags, c, err));
    return start_rest(flags, c, err);
}

/* Serves until a signal comes. Returns the exit code. */
static int serve(const rn_flags *flags, composition *c)
{
    while (sem_wait(&process.stop) != 0) continue;
    rn_serving_set_ready(c->serving, false);
    sleep((unsigned)flags->drain_delay);
    const int64_t deadline = rn_clock_us() + flags->drain_timeout * 1000000;
    rn_grpc_server_refuse(c->grpc);
    if (!rn_server_drain(c->rest, deadline - rn_clock_us()) || !rn_grpc_server_drain(c->grpc, deadline - rn_clock_us())) {
        say("requests were still under way after %lld s", (long long)flags->drain_timeout);
        _exit(EXIT_CUT_SHORT);
    }
    say("drained");
    return EXIT_SUCCESS;
}

static void take_apart(composition *c)
{
    rn_grpc_server_destroy(c->grpc);
    rn_server_destroy(c->rest);
    rn_server_destroy(c->monitoring);
    rn_serving_destroy(c->serving);
    rn_workers_destroy(c->workers);
    rn_access_log_close(c->access_log);
    rn_metrics_destroy(c->metrics);
}

/* What the list of flags cannot check by itself. */
static rn_status check_flags(const rn_flags *flags, rn_error *err)
{
    rn_isa isa;
    if (*flags->model_base_path == '\0')
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--model_base_path is needed: where is the model? resnetd --help lists all flags");
    if (*flags->isa && !rn_isa_by_name(flags->isa, &isa))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--isa: expected one of%s, found \"%s\"", rn_isa_names, flags->isa);
    return RN_STATUS_OK;
}

static void say_ignored(const char *name)
{
    say("--%s has no effect here", name);
}

int main(int argc, char **argv)
{
    rn_flags flags;
    rn_error err;
    composition c = {0};
    setvbuf(stderr, NULL, _IOLBF, 0);
    if (rn_flags_parse(argc, argv, &flags, &err) != RN_STATUS_OK) {
        say("%s", err.message);
        return EXIT_USAGE;
    }
    if (flags.help) {
        rn_flags_print_help(stdout);
        return EXIT_SUCCESS;
    }
    if (flags.version) {
        printf("resnetd %s (%s)\n", rn_version, rn_commit);
        return EXIT_SUCCESS;
    }
    if (check_flags(&flags, &err) != RN_STATUS_OK) {
        say("%s", err.message);
        return EXIT_USAGE;
    }
    rn_flags_each_ignored(&flags, say_ignored);
    if (rn_backend_select(flags.device, &c.backend, &err) != RN_STATUS_OK) {
        say("%s", err.message);
        return err.status == RN_STATUS_NOT_FOUND ? EXIT_USAGE : exit_code(err.status);
    }
    const rn_status status = start(&flags, &c, &err);
    if (status != RN_STATUS_OK) say("%s", err.message);
    const int code = status == RN_STATUS_OK ? serve(&flags, &c) : exit_code(status);
    take_apart(&c);
    return code;
}
