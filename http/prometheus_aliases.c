/* Names that dashboards and autoscalers know already. Triton's are documented in its docs/user_guide/metrics.md: times are sums in
 * microseconds. TensorFlow Serving's come from util/prometheus_exporter.cc: every character that is no letter or digit is a colon, counters
 * have no suffix and nothing has a help line. */
#include "http/prometheus.h"

#include "http/status_map.h"

/* ---- Triton ---- */

static const rn_method inference_methods[] = {RN_METHOD_PREDICT, RN_METHOD_INFER};

typedef struct {
    int64_t succeeded, rejected, canceled, failed_otherwise, success_us;
} inference_calls;

static void count_code(inference_calls *calls, rn_protocol protocol, int32_t index, int64_t count)
{
    const char *name = rn_grpc_code_name(index);
    if (protocol == RN_PROTOCOL_HTTP && !rn_http_code_at(index, &name)) return;
    if (strcmp(name, "OK") == 0)
        calls->succeeded += count;
    else if (strcmp(name, "UNAVAILABLE") == 0)
        calls->rejected += count;
    else if (strcmp(name, "CANCELLED") == 0)
        calls->canceled += count;
    else
        calls->failed_otherwise += count;
}

static inference_calls count_inference_calls(const rn_model_metrics *model)
{
    inference_calls calls = {0};
    for (int32_t protocol = 0; protocol < RN_PROTOCOL_COUNT; protocol++) {
        for (size_t m = 0; m < sizeof inference_methods / sizeof inference_methods[0]; m++) {
            const rn_method method = inference_methods[m];
            for (int32_t i = 0; i < RN_METRICS_CODES; i++)
                count_code(&calls, protocol, i, (int64_t)rn_counter_get(&model->calls[protocol][method][i]));
            calls.success_us += (int64_t)rn_counter_get(&model->duration[protocol][method][0].sum);
        }
    }
    return calls;
}

static int64_t stage_us(const rn_model_metrics *model, rn_stage stage)
{
    return (int64_t)rn_counter_get(&model->stages[stage].sum);
}

static int64_t success(const rn_model_metrics *model)
{
    return count_inference_calls(model).succeeded;
}

static int64_t rows(const rn_model_metrics *model)
{
    return (int64_t)rn_counter_get(&model->batch_rows.sum);
}

static int64_t executions(const rn_model_metrics *model)
{
    return (int64_t)rn_histogram_count(&model->batch_rows);
}

static int64_t success_us(const rn_model_metrics *model)
{
    return count_inference_calls(model).success_us;
}

static int64_t queue_us(const rn_model_metrics *model)
{
    return stage_us(model, RN_STAGE_QUEUE);
}

static int64_t input_us(const rn_model_metrics *model)
{
    return stage_us(model, RN_STAGE_PARSE) + stage_us(model, RN_STAGE_DECODE);
}

static int64_t run_us(const rn_model_metrics *model)
{
    return stage_us(model, RN_STAGE_RUN);
}

static int64_t output_us(const rn_model_metrics *model)
{
    return stage_us(model, RN_STAGE_WRITE);
}

static int64_t pending(const rn_model_metrics *model)
{
    return rn_gauge_get(&model->waiting_requests);
}

static const struct {
    const char *name, *type, *help;
    int64_t (*value)(const rn_model_metrics *model);
} triton[] = {
    {"nv_inference_request_success", "counter", "Inference requests that succeeded.", success},
    {"nv_inference_count", "counter", "Rows that ran.", rows},
    {"nv_inference_exec_count", "counter", "Batches that ran.", executions},
    {"nv_inference_request_duration_us", "counter", "Time of inference requests that succeeded.", success_us},
    {"nv_inference_queue_duration_us", "counter", "Time in the batch queue.", queue_us},
    {"nv_inference_compute_input_duration_us", "counter", "Time of reading and decoding.", input_us},
    {"nv_inference_compute_infer_duration_us", "counter", "Time on the device.", run_us},
    {"nv_inference_compute_output_duration_us", "counter", "Time of writing answers.", output_us},
    {"nv_inference_pending_request_count", "gauge", "Requests that wait for the device.", pending},
};

static void write_failures(rn__page *page, const rn_model_metrics *model)
{
    const inference_calls calls = count_inference_calls(model);
    const struct {
        const char *reason;
        int64_t count;
    } reasons[] = {{"REJECTED", calls.rejected}, {"CANCELED", calls.canceled}, {"OTHER", calls.failed_otherwise}};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        const rn__page_labels labels = {
            .model_key = "model", .version_key = "version", .model = model, .more = {{"reason", reasons[i].reason}}};
        rn__page_begin(page, "");
        rn__page_labels_write(page, &labels);
        rn__page_end_int(page, reasons[i].count);
    }
}

void rn__page_triton(rn__page *page, const rn_metrics *metrics)
{
    for (size_t i = 0; i < sizeof triton / sizeof triton[0]; i++) {
        rn__page_family(page, triton[i].name, triton[i].type, triton[i].help);
        for (const rn_model_metrics *model = metrics->models; model; model = model->next) {
            const rn__page_labels labels = {.model_key = "model", .version_key = "version", .model = model};
            rn__page_begin(page, "");
            rn__page_labels_write(page, &labels);
            rn__page_end_int(page, triton[i].value(model));
        }
    }
    rn__page_family(page, "nv_inference_request_failure", "counter", "Inference requests that failed.");
    for (const rn_model_metrics *model = metrics->models; model; model = model->next) write_failures(page, model);
}

/* ---- TensorFlow Serving ---- */

/* TensorFlow Serving's methods, as it names them in calls by HTTP and by gRPC. */
static const struct {
    rn_method method;
    const char *names[RN_PROTOCOL_COUNT];
} tfs_methods[] = {
    {RN_METHOD_PREDICT, {"predict", "Predict"}},
    {RN_METHOD_CLASSIFY, {"classify", "Classify"}},
    {RN_METHOD_REGRESS, {"regress", "Regress"}},
    {RN_METHOD_MULTI_INFERENCE, {"", "MultiInference"}},
    {RN_METHOD_METADATA, {"", "GetModelMetadata"}},
    {RN_METHOD_STATUS, {"", "GetModelStatus"}},
};

enum { TFS_METHODS = sizeof tfs_methods / sizeof tfs_methods[0] };

static bool is_first_of_its_name(const rn_metrics *metrics, const rn_model_metrics *model)
{
    const rn_model_metrics *first = metrics->models;
    while (first != model && strcmp(first->name, model->name) != 0) first = first->next;
    return first == model;
}

/* Calls of a model's versions together that ended with this gRPC name. */
static int64_t count_status(const rn_model_metrics *model, const char *status)
{
    int64_t count = 0;
    for (const rn_model_metrics *m = model; m; m = m->next) {
        if (strcmp(m->name, model->name) != 0) continue;
        for (int32_t protocol = 0; protocol < RN_PROTOCOL_COUNT; protocol++) {
            for (int32_t i = 0; i < RN_METRICS_CODES; i++) {
                const char *name = rn_grpc_code_name(i);
                if (protocol == RN_PROTOCOL_HTTP && !rn_http_code_at(i, &name)) continue;
                if (strcmp(name, status) != 0) continue;
                for (int32_t k = 0; k < TFS_METHODS; k++) count += (int64_t)rn_counter_get(&m->calls[protocol][tfs_methods[k].method][i]);
            }
        }
    }
    return count;
}

static void write_request_counts(rn__page *page, const rn_model_metrics *model)
{
    for (rn_status status = 0; status < RN_STATUS_COUNT; status++) {
        const char *name = rn_status_grpc_name(status);
        bool repeated = false; /* several of our statuses have one gRPC name */
        for (rn_status before = 0; before < status; before++) repeated = repeated || strcmp(rn_status_grpc_name(before), name) == 0;
        const int64_t count = repeated ? 0 : count_status(model, name);
        if (count == 0) continue;
        rn__page_begin(page, "");
        rn__page_label(page, "model_name", model->name);
        rn__page_label(page, "status", name);
        rn__page_end_int(page, count);
    }
}

/* Versions of one model are one series here: their histograms are added up. */
static rn_histogram sum_of_versions(const rn_model_metrics *model, rn_protocol protocol, rn_method method)
{
    rn_histogram sum = {0};
    for (const rn_model_metrics *m = model; m; m = m->next)
        if (strcmp(m->name, model->name) == 0) rn_histogram_add(&sum, &m->duration[protocol][method][0]);
    return sum;
}

static void write_request_latencies(rn__page *page, const rn_model_metrics *model)
{
    static const char *const entrypoints[RN_PROTOCOL_COUNT] = {"REST", "GRPC"};
    for (int32_t protocol = 0; protocol < RN_PROTOCOL_COUNT; protocol++) {
        for (int32_t k = 0; k < TFS_METHODS; k++) {
            const char *name = tfs_methods[k].names[protocol];
            const rn_histogram sum = sum_of_versions(model, protocol, tfs_methods[k].method);
            if (*name == '\0' || rn_histogram_count(&sum) == 0) continue;
            const rn__page_labels labels = {
                .model_key = "model_name", .model = model, .more = {{"API", name}, {"entrypoint", entrypoints[protocol]}}};
            rn__page_histogram(page, &sum, RN__SHOWN_AS_MICROSECONDS, &labels);
        }
    }
}

static void write_runtime_latencies(rn__page *page, const rn_model_metrics *model)
{
    rn_histogram sum = {0};
    for (const rn_model_metrics *m = model; m; m = m->next)
        if (strcmp(m->name, model->name) == 0) rn_histogram_add(&sum, &m->stages[RN_STAGE_RUN]);
    if (rn_histogram_count(&sum) == 0) return;
    const rn__page_labels labels = {.model_key = "model_name", .model = model, .more = {{"API", "Predict"}, {"runtime", "TF1"}}};
    rn__page_histogram(page, &sum, RN__SHOWN_AS_MICROSECONDS, &labels);
}

void rn__page_tfs(rn__page *page, const rn_metrics *metrics)
{
    static const struct {
        const char *name, *type;
        void (*write)(rn__page *page, const rn_model_metrics *model);
    } families[] = {
        {":tensorflow:serving:request_count", "counter", write_request_counts},
        {":tensorflow:serving:request_latency", "histogram", write_request_latencies},
        {":tensorflow:serving:runtime_latency", "histogram", write_runtime_latencies},
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        rn__page_family(page, families[i].name, families[i].type, NULL);
        if (i == 0) write_request_counts(page, &metrics->no_model);
        for (const rn_model_metrics *model = metrics->models; model; model = model->next)
            if (is_first_of_its_name(metrics, model)) families[i].write(page, model);
    }
}
