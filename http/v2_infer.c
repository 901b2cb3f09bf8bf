/* POST /v2/models/NAME[/versions/N]/infer. Three steps as for TensorFlow Serving's predict: read the body (a worker), infer (the engine),
 * write the answer (a worker). */
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "http/gzip.h"
#include "http/json_reader.h"
#include "http/v2.h"

#define JSON_BYTES_HEADER "inference-header-content-length"

/* What the steps hand on. */
typedef struct {
    rn_exchange *x;
    rn__v2_query query;
    rn__v2_call call;
    char *inflated; /* the body, when it came compressed: the request points into it */
    rn_job write;
} infer;

static void destroy(infer *p)
{
    free(p->inflated);
    free(p);
}

/* ---- the end ---- */

static void write_tensor(rn_json_writer *out, const rn__v2_tensor *tensor, bool binary)
{
    rn_json_begin_object(out);
    rn_json_string_member(out, "name", tensor->name);
    rn_json_string_member(out, "datatype", tensor->datatype);
    rn_json_key(out, rn_text_of("shape"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < tensor->rank; i++) rn_json_int_value(out, tensor->dims[i]);
    rn_json_end_array(out);
    if (binary) {
        rn_json_key(out, rn_text_of("parameters"));
        rn_json_begin_object(out);
        rn_json_key(out, rn_text_of("binary_data_size"));
        rn_json_int_value(out, (int64_t)tensor->raw.bytes);
        rn_json_end_object(out);
    } else {
        rn_json_key(out, rn_text_of("data"));
        rn__v2_write_data(out, tensor);
    }
    rn_json_end_object(out);
}

static void write_document(const infer *p, const rn__v2_tensor *tensors, rn_json_writer *out)
{
    char version[24];
    snprintf(version, sizeof version, "%lld", (long long)p->call.version);
    out->compact = true;
    rn_json_begin_object(out);
    if (p->query.id) {
        bool escaped;
        const rn_text id = rn_json_string(p->query.id, p->query.limit, &escaped);
        rn_json_key(out, rn_text_of("id"));
        rn_json_raw_value(out, (rn_text){id.at - 1, id.bytes + 2}); /* with its quotes, written as the client wrote it */
    }
    rn_json_key(out, rn_text_of("model_name"));
    rn_json_string_value(out, p->x->target.model);
    rn_json_string_member(out, "model_version", version);
    rn_json_key(out, rn_text_of("outputs"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < p->call.output_count; i++) write_tensor(out, &tensors[i], p->call.outputs[i].binary);
    rn_json_end_array(out);
    rn_json_end_object(out);
}

/* The document, then the tensors that go behind it. */
static void write_answer(const infer *p, const rn__v2_tensor *tensors)
{
    rn_exchange *x = p->x;
    rn_json_writer *out = &x->answer;
    write_document(p, tensors, out);
    const size_t json_bytes = out->bytes;
    bool binary = false;
    for (int32_t i = 0; i < p->call.output_count; i++) {
        if (!p->call.outputs[i].binary) continue;
        binary = true;
        rn_json_text(out, tensors[i].raw);
    }
    if (!binary) return;
    x->content_type = "application/octet-stream";
    rn_exchange_add_header(x, JSON_BYTES_HEADER, "%zu", json_bytes);
}

static rn_status answer(infer *p, rn_error *err)
{
    rn_exchange *x = p->x;
    const rn_request *request = p->call.request;
    rn__v2_tensor tensors[RN_PLAN_MAX_OUTPUTS] = {0};
    if (request->status != RN_STATUS_OK) return rn__v2_request_error(request, err);
    const int64_t begin = rn_clock_us();
    rn_status status = RN_STATUS_OK;
    for (int32_t i = 0; i < p->call.output_count && status == RN_STATUS_OK; i++)
        status = rn__v2_tensor_init(&tensors[i], request, &p->call.outputs[i], err);
    if (status == RN_STATUS_OK) {
        write_answer(p, tensors);
        rn_exchange_note_request(x, request);
        x->timings.write = rn_clock_us() - begin;
    }
    for (int32_t i = 0; i < p->call.output_count; i++) rn__v2_tensor_deinit(&tensors[i]);
    return status;
}

static void finish(rn_job *job)
{
    infer *p = (infer *)((char *)job - offsetof(infer, write));
    rn_exchange *x = p->x;
    rn_error err;
    const rn_status status = answer(p, &err);
    rn_request_destroy(p->call.request);
    destroy(p); /* before the answer: the exchange may be gone with it, and the query points into its body */
    if (status == RN_STATUS_OK)
        rn_exchange_answer(x);
    else
        rn__v2_fail(x, &err);
}

/* On a thread of the engine, which has better to do than print numbers. */
static void on_done(rn_request *request)
{
    infer *p = request->context;
    rn_workers_continue(p->x->service->workers, &p->write);
}

/* ---- the beginning ---- */

/* gzip or deflate, which the bytes themselves tell apart; what is not known is refused rather than misread. */
static rn_status read_body(rn_exchange *x, rn_text *body, char **inflated, rn_error *err)
{
    const rn_text encoding = rn_exchange_header(x, "content-encoding");
    *body = x->body;
    if (encoding.bytes == 0 || rn_text_equals(encoding, "identity")) return RN_STATUS_OK;
    if (!rn_text_equals(encoding, "gzip") && !rn_text_equals(encoding, "deflate"))
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "Unsupported compression type: %.*s", RN_TEXT_ARG(encoding));
    RN_TRY(rn_gzip_inflate(x->body, x->service->max_request_bytes, inflated, &body->bytes, err));
    body->at = *inflated;
    return RN_STATUS_OK;
}

static rn_status begin(infer *p, rn_error *err)
{
    rn_exchange *x = p->x;
    rn_text body;
    rn_model *model;
    RN_TRY(rn__v2_acquire(x->service, x->target.model, x->target.version, x->target.label, &model, &p->call.version, err));
    x->asked_model = rn_model_metrics_of(model);
    rn_status status = rn_model_check_room(model, 1, err);
    if (status == RN_STATUS_OK) status = read_body(x, &body, &p->inflated, err);
    if (status == RN_STATUS_OK) status = rn__v2_parse(body, rn_exchange_header(x, JSON_BYTES_HEADER), &p->query, err);
    if (status == RN_STATUS_OK) {
        if (p->query.bare) rn__v2_query_value(x, "signature_name", p->query.signature_name, sizeof p->query.signature_name);
        status = rn__v2_prepare(&p->query, x->target.model, model, &p->call, err);
    }
    rn_model_release(model); /* the request holds its own reference */
    return status;
}

/* The smaller of the server's limit and the client's. */
static int64_t budget_us(const infer *p)
{
    const int64_t limit = p->x->service->timeout_us, wanted = p->query.timeout_us;
    return wanted > 0 && (limit == 0 || wanted < limit) ? wanted : limit;
}

void rn__v2_infer(rn_exchange *x)
{
    const int64_t begin_us = rn_clock_us();
    rn_error err;
    infer *p = calloc(1, sizeof *p);
    if (p) p->x = x;
    const rn_status status = p ? begin(p, &err) : RN_FAIL(&err, RN_STATUS_OUT_OF_MEMORY, "no memory for an infer call");
    if (status != RN_STATUS_OK) {
        if (p) destroy(p);
        rn__v2_fail(x, &err);
        return;
    }
    p->write.run = finish;
    rn_exchange_submit(x, p->call.request, p, on_done, begin_us, budget_us(p));
}
