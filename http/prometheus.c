/* GET /metrics, and TensorFlow Serving's page at its own path. The caller of the rn__page_ functions holds the registry's lock: models may
 * not be added meanwhile; the numbers go on changing. */
#include "http/prometheus.h"

#include <stdio.h>
#include <string.h>

#include "engine/self_test.h"
#include "http/exchange.h"
#include "http/status_map.h"
#include "kernels/base/version.h"

static const char *const protocol_names[] = {
#define NAME(name, text) text,
    RN_PROTOCOL_LIST(NAME)};
static const char *const method_names[] = {RN_METHOD_LIST(NAME)};
static const char *const stage_names[] = {RN_STAGE_LIST(NAME)};
#undef NAME

/* The records of all models, and first that of calls that named none. */
static const rn_model_metrics *next_record(const rn_metrics *metrics, const rn_model_metrics *record)
{
    return record == &metrics->no_model ? metrics->models : record->next;
}

#define EACH_RECORD(record, metrics) \
    const rn_model_metrics *record = &(metrics)->no_model; record; record = next_record(metrics, record)
#define EACH_MODEL(record, metrics) const rn_model_metrics *record = (metrics)->models; record; record = record->next

static rn__page_labels labels_of(const rn_model_metrics *model)
{
    return (rn__page_labels){.model_key = "model", .version_key = "version", .model = model};
}

/* ---- calls ---- */

static void write_calls(rn__page *page, const rn_model_metrics *model, rn_protocol protocol, rn_method method)
{
    for (int32_t i = 0; i < RN_METRICS_CODES; i++) {
        const int64_t count = (int64_t)rn_counter_get(&model->calls[protocol][method][i]);
        if (count == 0) continue;
        char number[16];
        const char *code = rn_grpc_code_name(i), *grpc_name;
        if (protocol == RN_PROTOCOL_HTTP) {
            snprintf(number, sizeof number, "%d", rn_http_code_at(i, &grpc_name));
            code = number;
        }
        rn__page_labels labels = labels_of(model);
        labels.more[0].key = "method", labels.more[0].value = method_names[method];
        labels.more[1].key = "protocol", labels.more[1].value = protocol_names[protocol];
        labels.more[2].key = "code", labels.more[2].value = code;
        rn__page_begin(page, "");
        rn__page_labels_write(page, &labels);
        rn__page_end_int(page, count);
    }
}

static void write_durations(rn__page *page, const rn_model_metrics *model, rn_protocol protocol, rn_method method)
{
    for (int32_t failed = 0; failed < 2; failed++) {
        const rn_histogram *histogram = &model->duration[protocol][method][failed];
        if (rn_histogram_count(histogram) == 0) continue;
        rn__page_labels labels = labels_of(model);
        labels.more[0].key = "method", labels.more[0].value = method_names[method];
        labels.more[1].key = "protocol", labels.more[1].value = protocol_names[protocol];
        labels.more[2].key = "outcome", labels.more[2].value = failed ? "error" : "success";
        rn__page_histogram(page, histogram, RN__SHOWN_AS_SECONDS, &labels);
    }
}

static void each_call(rn__page *page, const rn_metrics *metrics,
                      void (*write)(rn__page *page, const rn_model_metrics *model, rn_protocol protocol, rn_method method))
{
    for (EACH_RECORD(model, metrics))
        for (int32_t protocol = 0; protocol < RN_PROTOCOL_COUNT; protocol++)
            for (int32_t method = 0; method < RN_METHOD_COUNT; method++) write(page, model, protocol, method);
}

/* ---- models ---- */

/* The device and the precision out of a backend's description: see describe in engine/backend.h. */
static void split_description(const char *description, char device[32], char precision[16])
{
    snprintf(device, 32, "%.*s", (int)strcspn(description, " ,"), description);
    rn_device_precision(description, precision);
}

static void write_info(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_info", "gauge", "1 for every version in memory, with where and how it runs.");
    for (EACH_MODEL(model, metrics)) {
        if (model->loaded == 0) continue;
        char device[32], precision[16];
        split_description(model->description, device, precision);
        rn__page_labels labels = labels_of(model);
        labels.more[0].key = "device", labels.more[0].value = device;
        labels.more[1].key = "precision", labels.more[1].value = precision;
        labels.more[2].key = "description", labels.more[2].value = model->description;
        rn__page_begin(page, "");
        rn__page_labels_write(page, &labels);
        rn__page_end_int(page, 1);
    }
}

static void write_self_tests(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_selftest_max_abs_error", "gauge",
                    "Largest difference from a recorded answer when the version was loaded last, on its device and in its precision.");
    for (EACH_MODEL(model, metrics)) {
        if (model->self_test_error < 0) continue;
        const rn__page_labels labels = {.model_key = "model_name", .version_key = "model_version", .model = model};
        rn__page_begin(page, "");
        rn__page_labels_write(page, &labels);
        rn__page_end_real(page, model->self_test_error);
    }
}

static void write_stages(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_stage_duration_seconds", "histogram", "Time that calls spent in each stage.");
    for (EACH_MODEL(model, metrics)) {
        for (int32_t stage = 0; stage < RN_STAGE_COUNT; stage++) {
            rn__page_labels labels = labels_of(model);
            labels.more[0].key = "stage", labels.more[0].value = stage_names[stage];
            rn__page_histogram(page, &model->stages[stage], RN__SHOWN_AS_SECONDS, &labels);
        }
    }
}

typedef enum { WAITING_ROWS, WAITING_REQUESTS } queue_gauge;

static void write_queue(rn__page *page, const rn_metrics *metrics, queue_gauge which)
{
    for (EACH_MODEL(model, metrics)) {
        const rn__page_labels labels = labels_of(model);
        rn__page_begin(page, "");
        rn__page_labels_write(page, &labels);
        rn__page_end_int(page, rn_gauge_get(which == WAITING_ROWS ? &model->waiting_rows : &model->waiting_requests));
    }
}

static void write_device(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_batch_rows", "histogram", "Rows that ran together on the device.");
    for (EACH_MODEL(model, metrics)) {
        const rn__page_labels labels = labels_of(model);
        rn__page_histogram(page, &model->batch_rows, RN__SHOWN_AS_ROWS, &labels);
    }
    rn__page_family(page, "resnetd_device_busy_seconds_total", "counter", "Time that the device ran batches; its rate is the share of time it was busy.");
    for (EACH_MODEL(model, metrics)) {
        const rn__page_labels labels = labels_of(model);
        rn__page_begin(page, "");
        rn__page_labels_write(page, &labels);
        rn__page_end_seconds(page, (int64_t)rn_counter_get(&model->busy_us));
    }
    rn__page_family(page, "resnetd_queue_rows", "gauge", "Rows that wait for the device.");
    write_queue(page, metrics, WAITING_ROWS);
    rn__page_family(page, "resnetd_queue_depth", "gauge", "Requests that wait for the device.");
    write_queue(page, metrics, WAITING_REQUESTS);
}

/* ---- the process ---- */

static void write_single(rn__page *page, const char *name, const char *type, const char *help, int64_t value)
{
    rn__page_family(page, name, type, help);
    rn__page_begin(page, "");
    rn__page_end_int(page, value);
}

static void write_server(rn__page *page, const rn_metrics *metrics)
{
    rn__page_family(page, "resnetd_build_info", "gauge", "1, with the version of this program.");
    rn__page_begin(page, "");
    rn__page_label(page, "version", rn_version);
    rn__page_label(page, "commit", rn_commit);
    rn__page_end_int(page, 1);
    rn__page_family(page, "resnetd_inflight", "gauge", "Calls that have been read and not been answered.");
    for (int32_t protocol = 0; protocol < RN_PROTOCOL_COUNT; protocol++) {
        rn__page_begin(page, "");
        rn__page_label(page, "protocol", protocol_names[protocol]);
        rn__page_end_int(page, rn_gauge_get(&metrics->in_flight[protocol]));
    }
}

static void write_counters(rn__page *page, const rn_metrics *metrics)
{
    const struct {
        const char *name, *help;
        const rn_counter *counter;
    } counters[] = {
        {"resnetd_connections_refused_total", "HTTP connections that were one too many.", &metrics->refused_connections},
        {"resnetd_slow_requests_total", "HTTP requests that did not arrive in time.", &metrics->slow_requests},
        {"resnetd_dropped_bodies_total", "HTTP requests that were ended while they arrived, for lack of memory.", &metrics->dropped_bodies},
        {"resnetd_access_log_dropped_total", "Lines that the access log had no room for.", &metrics->log_lines_dropped},
    };
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        write_single(page, counters[i].name, "counter", counters[i].help, (int64_t)rn_counter_get(counters[i].counter));
}

void rn__page_own(rn__page *page, const rn_metrics *metrics)
{
    write_server(page, metrics);
    rn__page_family(page, "resnetd_requests_total", "counter", "Calls that were answered, by what they asked for and the code of the answer.");
    each_call(page, metrics, write_calls);
    rn__page_family(page, "resnetd_request_duration_seconds", "histogram", "From the end of reading a call to its answer.");
    each_call(page, metrics, write_durations);
    write_single(page, "resnetd_connections", "gauge", "Open HTTP connections.", rn_gauge_get(&metrics->connections));
    write_single(page, "resnetd_body_bytes", "gauge", "Bytes that the bodies of unfinished HTTP requests hold.",
                 rn_gauge_get(&metrics->body_bytes));
    write_counters(page, metrics);
    write_info(page, metrics);
    write_self_tests(page, metrics);
    write_stages(page, metrics);
    write_device(page, metrics);
}

/* ---- the pages ---- */

static void answer_page(rn_exchange *x, void (*more)(rn__page *page, const rn_metrics *metrics))
{
    rn_metrics *metrics = x->service->metrics;
    rn__page page = {.out = &x->answer};
    x->content_type = "text/plain; version=0.0.4; charset=utf-8";
    pthread_mutex_lock(&metrics->lock);
    rn__page_own(&page, metrics);
    rn__page_devices(&page, metrics);
    rn__page_models(&page, metrics, x->service->mlflow_run_id, x->service->device_required);
    rn__page_triton(&page, metrics);
    if (more) more(&page, metrics);
    pthread_mutex_unlock(&metrics->lock);
    rn__page_process(&page);
    rn_exchange_answer(x);
}

void rn__metrics_page(rn_exchange *x)
{
    answer_page(x, NULL);
}

/* TensorFlow Serving compares the whole path, query included. */
void rn__metrics_tfs_page(rn_exchange *x)
{
    const char *expected = x->service->metrics_path;
    if (rn_text_equals(x->path, expected)) {
        answer_page(x, rn__page_tfs);
        return;
    }
    char message[1024];
    snprintf(message, sizeof message, "Unexpected path: %.*s. Should be %s", (int)(x->path.bytes < 512 ? x->path.bytes : 512), x->path.at,
             expected);
    x->content_type = "text/plain";
    rn_json_text(&x->answer, rn_text_of(message));
    rn_exchange_answer_code(x, 400);
}
