/* GRPCInferenceService's model repository and statistics. */
#include <stdio.h>
#include <stdlib.h>

#include "http/grpc_v2.h"
#include "http/v2_statistics.h"

enum { VERSION_BYTES = 24 };

/* ---- the index ---- */

typedef struct {
    V2__RepositoryIndexResponse__ModelIndex message;
    char version[VERSION_BYTES];
} index_entry;

static void send_index(rn__grpc_call *call, const rn_version_info *infos, int32_t count, index_entry *entries,
                       V2__RepositoryIndexResponse__ModelIndex **list)
{
    const bool ready = ((const V2__RepositoryIndexRequest *)call->request)->ready;
    V2__RepositoryIndexResponse response = V2__REPOSITORY_INDEX_RESPONSE__INIT;
    for (int32_t i = 0; i < count; i++) {
        index_entry *e = &entries[response.n_models];
        if (ready && infos[i].state != RN_VERSION_AVAILABLE) continue;
        v2__repository_index_response__model_index__init(&e->message);
        snprintf(e->version, sizeof e->version, "%lld", (long long)infos[i].version);
        e->message.name = (char *)infos[i].model;
        e->message.version = e->version;
        e->message.state = (char *)rn__v2_version_state(infos[i].state);
        e->message.reason = (char *)infos[i].message;
        list[response.n_models++] = &e->message;
    }
    response.models = list;
    rn__grpc_answer(call, &response.base);
}

void rn__grpc_v2_index(rn__grpc_call *call)
{
    rn_version_info *infos;
    int32_t count;
    rn_error err;
    if (rn_serving_list(call->service->serving, (rn_text){NULL, 0}, true, &infos, &count, &err) != RN_STATUS_OK) {
        rn__grpc_fail(call, &err);
        return;
    }
    index_entry *entries = malloc((size_t)count * sizeof *entries + 1);
    V2__RepositoryIndexResponse__ModelIndex **list = malloc((size_t)count * sizeof *list + 1);
    if (entries && list) {
        send_index(call, infos, count, entries, list);
    } else {
        RN_FAIL(&err, RN_STATUS_OUT_OF_MEMORY, "no memory for a list of %d versions", count);
        rn__grpc_fail(call, &err);
    }
    free(list);
    free(entries);
    free(infos);
}

/* ---- loading and unloading ---- */

typedef struct {
    rn_change change;
    rn__grpc_call *call;
} pending;

static void on_changed(rn_change *change, const rn_error *err)
{
    static const V2__RepositoryModelResponse done = V2__REPOSITORY_MODEL_RESPONSE__INIT;
    pending *p = (pending *)((char *)change - offsetof(pending, change));
    rn__grpc_call *call = p->call;
    free(p);
    if (err)
        rn__grpc_fail(call, err);
    else
        rn__grpc_answer(call, &done.base);
}

static void change(rn__grpc_call *call, rn_change_kind kind)
{
    const V2__RepositoryModelRequest *request = (const V2__RepositoryModelRequest *)call->request;
    rn_error err;
    if (kind == RN_CHANGE_LOAD && request->n_parameters > 0) {
        RN_FAIL(&err, RN_STATUS_UNSUPPORTED, "parameters of load are not supported: models are loaded as the server is configured");
        rn__grpc_fail(call, &err);
        return;
    }
    pending *p = calloc(1, sizeof *p);
    if (!p) {
        RN_FAIL(&err, RN_STATUS_OUT_OF_MEMORY, "no memory for a change");
        rn__grpc_fail(call, &err);
        return;
    }
    p->call = call;
    p->change = (rn_change){.kind = kind, .name = rn__grpc_text(request->model_name), .done = on_changed};
    rn_serving_submit(call->service->serving, &p->change);
}

void rn__grpc_v2_load(rn__grpc_call *call)
{
    change(call, RN_CHANGE_LOAD);
}

void rn__grpc_v2_unload(rn__grpc_call *call)
{
    change(call, RN_CHANGE_UNLOAD);
}

/* ---- statistics ---- */

/* The messages of one version, in one piece of memory that must stay where it is. */
typedef struct {
    V2__ModelStatistics message;
    V2__InferStatistics infer;
    char version[VERSION_BYTES];
#define DURATION_MEMBER(name) V2__StatisticDuration name;
    RN__V2_DURATION_LIST(DURATION_MEMBER)
#undef DURATION_MEMBER
    V2__InferBatchStatistics batches[RN_HISTOGRAM_BOUNDS], *batch_list[RN_HISTOGRAM_BOUNDS];
    V2__StatisticDuration batch_runs[RN_HISTOGRAM_BOUNDS];
} statistics;

static V2__StatisticDuration *init_duration(V2__StatisticDuration *out, rn__v2_duration duration)
{
    v2__statistic_duration__init(out);
    out->count = duration.count;
    out->ns = duration.ns;
    return out;
}

static void init_batches(statistics *s, const rn__v2_statistics *from)
{
    size_t count = 0;
    for (int i = 0; i < RN_HISTOGRAM_BOUNDS; i++) {
        if (from->batches[i].count == 0) continue;
        V2__InferBatchStatistics *batch = &s->batches[count];
        v2__infer_batch_statistics__init(batch);
        batch->batch_size = (uint64_t)rn_histogram_rows[i];
        batch->compute_infer = init_duration(&s->batch_runs[count], from->batches[i]);
        s->batch_list[count++] = batch;
    }
    s->message.n_batch_stats = count;
    s->message.batch_stats = s->batch_list;
}

static V2__ModelStatistics *init_statistics(statistics *s, const rn__v2_statistics *from)
{
    v2__model_statistics__init(&s->message);
    v2__infer_statistics__init(&s->infer);
    snprintf(s->version, sizeof s->version, "%lld", (long long)from->version);
    s->message.name = from->name;
    s->message.version = s->version;
    s->message.last_inference = from->last_inference_ms;
    s->message.inference_count = from->inference_count;
    s->message.execution_count = from->execution_count;
    s->message.inference_stats = &s->infer;
#define SET_DURATION(name) s->infer.name = init_duration(&s->name, from->name);
    RN__V2_DURATION_LIST(SET_DURATION)
#undef SET_DURATION
    init_batches(s, from);
    return &s->message;
}

static rn_status send_statistics(rn__grpc_call *call, const rn__v2_statistics *all, int32_t count, rn_error *err)
{
    V2__ModelStatisticsResponse response = V2__MODEL_STATISTICS_RESPONSE__INIT;
    statistics *messages = malloc((size_t)count * sizeof *messages + 1);
    V2__ModelStatistics **list = malloc((size_t)count * sizeof *list + 1);
    rn_status status = RN_STATUS_OK;
    if (messages && list) {
        for (int32_t i = 0; i < count; i++) list[i] = init_statistics(&messages[i], &all[i]);
        response.n_model_stats = (size_t)count;
        response.model_stats = list;
        rn__grpc_answer(call, &response.base);
    } else {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the statistics of %d models", count);
    }
    free(list);
    free(messages);
    return status;
}

/* Without a name, of all models. */
void rn__grpc_v2_statistics(rn__grpc_call *call)
{
    const V2__ModelRequest *request = (const V2__ModelRequest *)call->request;
    const rn_text all = {NULL, 0}, name = request->name.len ? rn__grpc_text(request->name) : all;
    rn__v2_statistics *list = NULL;
    int64_t version = RN_LATEST_VERSION;
    int32_t count;
    rn_error err;
    rn_status status = rn__grpc_v2_version(request->version, &version, &err);
    if (status == RN_STATUS_OK) status = rn__v2_statistics_list(call->service->metrics, name, version, &list, &count, &err);
    if (status == RN_STATUS_OK) {
        status = send_statistics(call, list, count, &err);
        free(list);
    }
    if (status != RN_STATUS_OK) rn__grpc_fail(call, &err);
}
