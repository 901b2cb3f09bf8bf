/* From the counters of engine/metrics.h to Triton's statistics, over REST. */
#include "http/v2_statistics.h"

#include <stdio.h>
#include <stdlib.h>

#include "http/v2.h"

/* ---- collecting ---- */

static void add(rn__v2_duration *duration, const rn_histogram *histogram)
{
    duration->count += rn_histogram_count(histogram);
    duration->ns += 1000 * rn_counter_get(&histogram->sum);
}

static void collect(const rn_model_metrics *from, char *name, rn__v2_statistics *out)
{
    memset(out, 0, sizeof *out);
    out->name = name;
    strcpy(name, from->name);
    out->version = from->version;
    out->last_inference_ms = rn_counter_get(&from->last_run_ms);
    out->inference_count = rn_counter_get(&from->batch_rows.sum);
    out->execution_count = rn_histogram_count(&from->batch_rows);
    for (int protocol = 0; protocol < RN_PROTOCOL_COUNT; protocol++) {
        add(&out->success, &from->duration[protocol][RN_METHOD_PREDICT][0]);
        add(&out->success, &from->duration[protocol][RN_METHOD_INFER][0]);
        add(&out->fail, &from->duration[protocol][RN_METHOD_PREDICT][1]);
        add(&out->fail, &from->duration[protocol][RN_METHOD_INFER][1]);
    }
    add(&out->queue, &from->stages[RN_STAGE_QUEUE]);
    add(&out->compute_input, &from->stages[RN_STAGE_PARSE]);
    out->compute_input.ns += 1000 * rn_counter_get(&from->stages[RN_STAGE_DECODE].sum);
    add(&out->compute_infer, &from->stages[RN_STAGE_RUN]);
    add(&out->compute_output, &from->stages[RN_STAGE_WRITE]);
    for (int i = 0; i < RN_HISTOGRAM_BOUNDS; i++)
        out->batches[i] = (rn__v2_duration){rn_counter_get(&from->batch_rows.buckets[i]), 1000 * rn_counter_get(&from->batch_run_us[i])};
}

static bool is_wanted(const rn_model_metrics *model, rn_text name, int64_t version)
{
    return model->loaded > 0 && (!name.at || rn_text_equals(name, model->name)) &&
           (version == RN_LATEST_VERSION || version == model->version);
}

/* The records first, the names behind them. Called with the lock held. */
static rn__v2_statistics *collect_all(const rn_metrics *metrics, rn_text name, int64_t version, int32_t *count)
{
    size_t bytes = 1;
    *count = 0;
    for (const rn_model_metrics *m = metrics->models; m; m = m->next) {
        if (!is_wanted(m, name, version)) continue;
        bytes += sizeof(rn__v2_statistics) + strlen(m->name) + 1;
        ++*count;
    }
    rn__v2_statistics *out = malloc(bytes), *next = out;
    if (!out) return NULL;
    char *names = (char *)(out + *count);
    for (const rn_model_metrics *m = metrics->models; m; m = m->next) {
        if (!is_wanted(m, name, version)) continue;
        collect(m, names, next++);
        names += strlen(m->name) + 1;
    }
    return out;
}

rn_status rn__v2_statistics_list(rn_metrics *metrics, rn_text name, int64_t version, rn__v2_statistics **out, int32_t *count, rn_error *err)
{
    pthread_mutex_lock(&metrics->lock);
    *out = collect_all(metrics, name, version, count);
    pthread_mutex_unlock(&metrics->lock);
    if (!*out) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the statistics of %d models", *count);
    if (*count > 0 || !name.at) return RN_STATUS_OK;
    free(*out);
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "requested model '%.*s' is not available", RN_TEXT_ARG(name));
}

/* ---- REST ---- */

static void write_number(rn_json_writer *out, const char *name, uint64_t value)
{
    rn_json_key(out, rn_text_of(name));
    rn_json_int_value(out, (int64_t)value);
}

static void write_duration(rn_json_writer *out, const char *name, rn__v2_duration duration)
{
    rn_json_key(out, rn_text_of(name));
    rn_json_begin_object(out);
    write_number(out, "count", duration.count);
    write_number(out, "ns", duration.ns);
    rn_json_end_object(out);
}

static void write_batches(rn_json_writer *out, const rn__v2_statistics *s)
{
    rn_json_key(out, rn_text_of("batch_stats"));
    rn_json_begin_array(out);
    for (int i = 0; i < RN_HISTOGRAM_BOUNDS; i++) {
        if (s->batches[i].count == 0) continue;
        rn_json_begin_object(out);
        write_number(out, "batch_size", (uint64_t)rn_histogram_rows[i]);
        write_duration(out, "compute_infer", s->batches[i]);
        rn_json_end_object(out);
    }
    rn_json_end_array(out);
}

static void write_model(rn_json_writer *out, const rn__v2_statistics *s)
{
    char version[24];
    snprintf(version, sizeof version, "%lld", (long long)s->version);
    rn_json_begin_object(out);
    rn_json_string_member(out, "name", s->name);
    rn_json_string_member(out, "version", version);
    write_number(out, "last_inference", s->last_inference_ms);
    write_number(out, "inference_count", s->inference_count);
    write_number(out, "execution_count", s->execution_count);
    rn_json_key(out, rn_text_of("inference_stats"));
    rn_json_begin_object(out);
#define WRITE_DURATION(name) write_duration(out, #name, s->name);
    RN__V2_DURATION_LIST(WRITE_DURATION)
#undef WRITE_DURATION
    rn_json_end_object(out);
    write_batches(out, s);
    rn_json_end_object(out);
}

/* GET /v2/models/stats, /v2/models/NAME[/versions/N]/stats */
void rn__v2_statistics_page(rn_exchange *x)
{
    rn__v2_statistics *list;
    int32_t count;
    rn_error err;
    if (rn__v2_statistics_list(x->service->metrics, x->target.model, x->target.version, &list, &count, &err) != RN_STATUS_OK) {
        rn__v2_fail(x, &err);
        return;
    }
    rn_json_writer *out = &x->answer;
    out->compact = true;
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("model_stats"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < count; i++) write_model(out, &list[i]);
    rn_json_end_array(out);
    rn_json_end_object(out);
    free(list);
    rn_exchange_answer(x);
}
