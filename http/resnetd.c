/* The server process: flags, composition, and the order in which things begin and end.
 *
 * The monitoring port is bound first: alive, not ready. The port for predict calls is bound when the model has been loaded, tested and
 * warmed, so that a probe that only connects tells the truth. SIGTERM: not ready, full service for --drain_delay, then no new connections,
 * the end of what is under way, exit. */
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/device_watch.h"
#include "http/batching_parameters.h"
#include "http/commands.h"
#include "http/config_source.h"
#include "http/exit_code.h"
#include "http/flags.h"
#include "http/grpc_server.h"
#include "http/lifecycle.h"
#include "http/log.h"
#include "http/monitoring_config.h"
#include "http/server.h"
#include "http/text_file.h"
#include "kernels/base/cpu_features.h"
#include "loader/storage.h"

enum {
    MAX_LOOPS = 16,
    GRPC_LOOPS = 2,
    /* Every version that is loaded brings threads, and each might get a heap of its own that keeps what they freed: some 4 MB a heap with
     * the sample model. Nothing on the way of a request allocates often enough for two heaps to be in demand. */
    HEAPS = 2,
    /* Bodies and inputs of a usual size come from a heap, and a heap gives nothing back that the next request takes again: a page that the
     * system has to clear anew costs as much as reading a thousand numbers. Weights are larger and go back when a model does. */
    LARGEST_FROM_HEAP = 4 << 20,
    KEPT_ON_TOP = 32 << 20,
};

#define say(...) rn_log(RN_LOG_INFO, __VA_ARGS__)

static void complain(const rn_error *err)
{
    rn_log(RN_LOG_ERROR, "%s", err->message);
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

/* ---- composition ---- */

/* Everything that main puts together, in the order of creation. */
typedef struct {
    rn_device_choice device;
    rn_metrics *metrics;
    rn_access_log *access_log; /* NULL: not wanted */
    rn_workers *workers;
    rn_config_source source;
    rn_device_watch *watch; /* NULL: the devices say nothing of themselves */
    rn_storage *storage;
    rn_serving *serving;
    rn_service service;
    char *metrics_path;     /* of --monitoring_config_file; NULL: none */
    rn_tls *tls, *grpc_tls; /* of both ports, of --ssl_config_file; NULL: plain text, as the other port */
    rn_server *monitoring, *rest;
    rn_server *rest_socket; /* NULL: not wanted */
    rn_grpc_server *grpc;   /* NULL: not wanted */
} composition;

/* The process serves on while a device is left. Without one it answers what it has with the reason, drains and ends, so that whoever
 * started it starts another. */
static void on_device_lost(void *context, const char *reason, int32_t left)
{
    const composition *c = context;
    rn_log(RN_LOG_ERROR, "%s; devices left: %d", reason, left);
    if (left > 0) return;
    rn_serving_set_ready(c->serving, false);
    rn_lifecycle_drain(EXIT_DEVICE);
}

static int32_t usable_processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* TensorFlow's mixed precision is a wish: what a processor lacks is no error. */
static const char *precision_of(const rn_flags *flags, const composition *c)
{
    if (*flags->precision) return flags->precision;
    if (!*flags->mixed_precision) return NULL;
    return strcmp(c->device.backend->name, "cpu") == 0 ? "auto" : "bf16";
}

static rn_status read_model_options(const rn_flags *flags, composition *c, rn_model_options *out, rn_error *err)
{
    const int64_t threads[] = {flags->num_threads, flags->tensorflow_session_parallelism, flags->tensorflow_intra_op_parallelism};
    const int64_t thread_count = threads[0] ? threads[0] : threads[1] ? threads[1] : threads[2];
    *out = (rn_model_options){.backend = {.max_batch = (int32_t)flags->max_batch_size,
                                          .thread_count = (int32_t)thread_count,
                                          .isa = *flags->isa ? flags->isa : NULL,
                                          .deterministic = flags->deterministic,
                                          .precision = precision_of(flags, c),
                                          .memory_limit_bytes = (size_t)flags->gpu_memory_limit << 20,
                                          .cache_directory = *flags->cuda_cache_dir ? flags->cuda_cache_dir : NULL,
                                          .log = say_backend_line},
                              .devices = c->device.devices,
                              .device_count = c->device.count,
                              .device_lost = on_device_lost,
                              .device_lost_context = c,
                              .max_waiting_rows = (int32_t)flags->max_queue_rows,
                              .max_image_pixels = flags->max_image_pixels,
                              .every_size = flags->enable_model_warmup,
                              .one_at_a_time = !flags->enable_batching,
                              .target_us = flags->target_latency_ms * 1000};
    if (!*flags->batching_parameters_file) return RN_STATUS_OK;
    rn_text text;
    RN_TRY(rn_text_file_read(flags->batching_parameters_file, &text, err));
    const rn_status status = rn_batching_parameters_apply(text, flags->batching_parameters_file, out, err);
    free((char *)text.at);
    return status;
}

static rn_server_limits limits_of(const rn_flags *flags)
{
    return (rn_server_limits){.max_connections = (int32_t)flags->max_connections,
                              .max_inflight_bytes = (size_t)flags->max_inflight_bytes,
                              .request_timeout_us = flags->request_timeout_in_ms * 1000,
                              .min_request_rate = flags->min_request_rate};
}

static rn_status start_monitoring(const rn_flags *flags, composition *c, rn_error *err)
{
    const int32_t workers = flags->num_workers ? (int32_t)flags->num_workers : usable_processors();
    if (*flags->monitoring_config_file) RN_TRY(rn_monitoring_config_read(flags->monitoring_config_file, &c->metrics_path, err));
    RN_TRY(rn_metrics_create(&c->metrics, err));
    rn_lifecycle_show_metrics(c->metrics);
    if (strcmp(flags->access_log, "off") != 0)
        RN_TRY(rn_access_log_open(flags->access_log, &c->metrics->log_lines_dropped, &c->access_log, err));
    RN_TRY(rn_workers_create(workers, (int32_t)flags->max_waiting_requests, &c->workers, err));
    RN_TRY(rn_device_watch_create(&c->device, c->metrics, say_backend_line, NULL, &c->watch, err));
    const rn_storage_options storage = {.cache_directory = flags->model_cache_dir,
                                        .cache_max_bytes = (uint64_t)flags->model_cache_max_bytes,
                                        .max_retries = (int32_t)flags->storage_max_retries,
                                        .timeout_ms = flags->storage_timeout_in_ms,
                                        .log = say_line};
    RN_TRY(rn_storage_create(&storage, &c->storage, err));
    rn_serving_options serving = {
        .backend = c->device.backend,
        .workers = c->workers,
        .metrics = c->metrics,
        .storage = c->storage,
        .poll_us = flags->file_system_poll_wait_seconds * 1000000,
        .max_retries = (int32_t)flags->max_num_load_retries,
        .retry_us = flags->load_retry_interval_micros,
        .unload_first = flags->resource_preserving_swap,
        .allow_early_labels = flags->allow_version_labels_for_unavailable_models,
        .per_model_batching = flags->enable_batching && flags->enable_per_model_batching_parameters,
        .warm_up = flags->enable_model_warmup,
        .warmup = {.iterations = (int32_t)flags->num_request_iterations_for_warmup, .max_record_bytes = (size_t)flags->max_request_bytes},
        .log = say_line,
    };
    RN_TRY(read_model_options(flags, c, &serving.model, err));
    RN_TRY(rn_serving_create(&serving, &c->serving, err));
    c->service = (rn_service){.serving = c->serving,
                              .workers = c->workers,
                              .metrics = c->metrics,
                              .access_log = c->access_log,
                              .timeout_us = flags->rest_api_timeout_in_ms * 1000,
                              .max_request_bytes = (size_t)flags->max_request_bytes,
                              .metrics_path = *flags->monitoring_config_file ? c->metrics_path : RN_METRICS_PATH,
                              .mlflow_run_id = flags->mlflow_run_id,
                              .device_required = strcmp(flags->device, "auto") != 0,
                              .checks_method_names = flags->enable_signature_method_name_check,
                              .cors = flags->rest_api_enable_cors_support,
                              .page = flags->page,
                              .tensor_content = flags->enable_serialization_as_tensor_content};
    const rn_server_options options = {.port = (uint16_t)flags->monitoring_port,
                                       .serves = RN_PORT_MONITORING,
                                       .loop_count = 1,
                                       .limits = limits_of(flags),
                                       .service = &c->service};
    RN_TRY(rn_server_create(&options, &c->monitoring, err));
    say("health on port %u", rn_server_port(c->monitoring));
    return RN_STATUS_OK;
}

/* One model that can be served is enough to begin with; the keeper goes on trying the others. A configuration without models waits for one
 * that comes over gRPC. */
static rn_status load_models(const rn_flags *flags, composition *c, rn_error *err)
{
    c->source = (rn_config_source){
        .file = flags->model_config_file, .model_name = flags->model_name, .base_path = flags->model_base_path, .log = say_line};
    const rn_status status = rn_config_source_load(&c->source, c->serving, err);
    if (status == RN_STATUS_OK || status == RN_STATUS_FAILED_PRECONDITION) return status;
    rn_version_info *versions;
    int32_t version_count;
    RN_TRY(rn_serving_list(c->serving, (rn_text){0}, false, &versions, &version_count, err));
    bool available = false;
    for (int32_t i = 0; i < version_count; i++) available = available || versions[i].state == RN_VERSION_AVAILABLE;
    free(versions);
    if (available) say("%s", err->message);
    return available ? RN_STATUS_OK : status;
}

static rn_status start_grpc(const rn_flags *flags, composition *c, rn_error *err)
{
    if (flags->port == 0) return RN_STATUS_OK;
    const rn_grpc_server_options options = {
        .port = flags->port < 0 ? 0 : (uint16_t)flags->port,
        .socket_path = *flags->grpc_socket_path ? flags->grpc_socket_path : NULL,
        .tls = c->grpc_tls ? c->grpc_tls : c->tls,
        .loop_count = GRPC_LOOPS,
        .service = &c->service,
    };
    RN_TRY(rn_grpc_server_create(&options, &c->grpc, err));
    say("ready: gRPC on port %u", rn_grpc_server_port(c->grpc));
    return RN_STATUS_OK;
}

static rn_status start_rest(const rn_flags *flags, composition *c, rn_error *err)
{
    const int64_t loops = flags->rest_api_num_threads < MAX_LOOPS ? flags->rest_api_num_threads : MAX_LOOPS;
    const rn_server_options options = {.port = (uint16_t)flags->rest_api_port,
                                       .tls = c->tls,
                                       .serves = RN_PORT_REST,
                                       .loop_count = (int32_t)loops,
                                       .limits = limits_of(flags),
                                       .service = &c->service};
    RN_TRY(rn_server_create(&options, &c->rest, err));
    if (*flags->rest_api_socket_path) {
        rn_server_options local = options;
        local.socket_path = flags->rest_api_socket_path;
        local.tls = NULL;
        RN_TRY(rn_server_create(&local, &c->rest_socket, err));
    }
    say("ready: REST on port %u", rn_server_port(c->rest));
    return RN_STATUS_OK;
}

static rn_status read_certificates(const rn_flags *flags, composition *c, rn_error *err)
{
    const rn_tls_options files = {
        .config = "", .certificate = flags->tls_certificate, .key = flags->tls_key, .client_ca = flags->tls_client_ca, .log = say_line};
    const rn_tls_options config = {.config = flags->ssl_config_file, .log = say_line};
    if (*flags->tls_certificate) RN_TRY(rn_tls_create(&files, &c->tls, err));
    return *flags->ssl_config_file ? rn_tls_create(&config, &c->grpc_tls, err) : RN_STATUS_OK;
}

static void unready(void *serving)
{
    rn_serving_set_ready(serving, false);
}

static rn_status start(const rn_flags *flags, composition *c, rn_error *err)
{
    RN_TRY(rn_lifecycle_begin(err));
    RN_TRY(read_certificates(flags, c, err));
    RN_TRY(start_monitoring(flags, c, err));
    RN_TRY(load_models(flags, c, err));
    /* Before the ports are bound, so that nobody who reaches one is told that it is not ready. */
    rn_serving_set_ready(c->serving, true);
    rn_lifecycle_serve(unready, c->serving);
    RN_TRY(start_rest(flags, c, err));
    return start_grpc(flags, c, err); /* last: what probes by connecting asks here, and means both */
}

/* While the process serves: SIGHUP reads the configuration again, and looks at the base paths in any case. */
static void keep_configuration(const rn_flags *flags, composition *c)
{
    bool told;
    while (rn_lifecycle_wait(flags->model_config_file_poll_wait_seconds, &told)) {
        if (told) say("SIGHUP: reading the configuration");
        rn_config_source_reload(&c->source, c->serving, told);
    }
}

/* Serves until a signal comes or the last device is lost. Returns the exit code. */
static int serve(const rn_flags *flags, composition *c)
{
    keep_configuration(flags, c);
    sleep((unsigned)flags->drain_delay);
    const int64_t deadline = rn_clock_us() + flags->drain_timeout * 1000000;
    rn_grpc_server_refuse(c->grpc);
    if (!rn_server_drain(c->rest, deadline - rn_clock_us()) || !rn_server_drain(c->rest_socket, deadline - rn_clock_us()) ||
        !rn_grpc_server_drain(c->grpc, deadline - rn_clock_us())) {
        rn_log(RN_LOG_ERROR, "requests were still under way after %lld s", (long long)flags->drain_timeout);
        _exit(EXIT_CUT_SHORT);
    }
    say("drained");
    return rn_lifecycle_exit_code();
}

static void take_apart(composition *c)
{
    rn_grpc_server_destroy(c->grpc);
    rn_server_destroy(c->rest_socket);
    rn_server_destroy(c->rest);
    rn_server_destroy(c->monitoring);
    rn_serving_destroy(c->serving);
    rn_storage_destroy(c->storage);
    rn_workers_destroy(c->workers);
    rn_device_watch_destroy(c->watch);
    rn_config_source_deinit(&c->source);
    rn_access_log_close(c->access_log);
    rn_tls_destroy(c->grpc_tls);
    rn_tls_destroy(c->tls);
    rn_lifecycle_show_metrics(NULL);
    free(c->metrics_path);
    rn_metrics_destroy(c->metrics);
}

/* The connections to the REST port, and something for probes, gRPC, models and logs. */
static void raise_file_limit(int64_t max_connections)
{
    const rlim_t wanted = (rlim_t)(max_connections + 1024);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        say("--max_connections=%lld needs %llu open files, the system allows %llu", (long long)max_connections, (unsigned long long)wanted,
            (unsigned long long)limit.rlim_cur);
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
    mallopt(M_ARENA_MAX, HEAPS);
    mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP);
    mallopt(M_TRIM_THRESHOLD, KEPT_ON_TOP);
    const rn_command command = argc > 1 ? rn_command_find(argv[1]) : NULL;
    if (command) return command(argc - 1, argv + 1, stdout);
    if (rn_flags_parse(argc, argv, &flags, &err) != RN_STATUS_OK) {
        complain(&err);
        return EXIT_USAGE;
    }
    rn_log_as_json(strcmp(flags.log_format, "json") == 0);
    if (flags.help) {
        rn_flags_print_help(stdout);
        rn_commands_print_help(stdout);
        return EXIT_SUCCESS;
    }
    if (flags.version) return rn_command_version(argc, argv, stdout);
    if (rn_flags_check(&flags, &err) != RN_STATUS_OK) {
        complain(&err);
        return EXIT_USAGE;
    }
    rn_flags_each_ignored(&flags, say_ignored);
    if (rn_device_choose(flags.device, &c.device, &err) != RN_STATUS_OK) {
        complain(&err);
        return err.status == RN_STATUS_DEVICE_FAILED ? EXIT_DEVICE : EXIT_USAGE;
    }
    if (strncmp(flags.device, "auto", 4) == 0)
        say("--device=%s: %s is used%s%s", flags.device, c.device.backend->name, *c.device.passed_over ? "; " : "", c.device.passed_over);
    raise_file_limit(flags.max_connections);
    const rn_status status = start(&flags, &c, &err);
    if (status != RN_STATUS_OK) complain(&err);
    const int code = status == RN_STATUS_OK ? serve(&flags, &c) : rn_exit_code(status);
    take_apart(&c);
    return code;
}
