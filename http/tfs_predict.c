/* POST ...:predict. Three steps, each on whatever thread is right for it: read the body (a worker), infer (the engine), write the answer (a
 * worker). */
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "http/status_map.h"
#include "http/tfs.h"

/* What the steps hand on. */
typedef struct {
    rn_exchange *x;
    rn_request *request;
    rn__tfs_format format;
    rn_job write;
} predict;

/* ---- the end ---- */

void rn__tfs_fail_request(rn_exchange *x, const rn_request *request, rn__tfs_format format)
{
    if (request->failed_picture == RN_NONE)
        rn_exchange_fail(x, request->status, "%s", request->error.message);
    else
        rn_exchange_fail(x, request->status, "Failed to process element: %d of '%s' list. Error: %s: %s", request->failed_picture,
                         format == RN__TFS_ROWS ? "instances" : "inputs", rn_status_grpc_name(request->status), request->error.message);
}

static void write_answer(rn_job *job)
{
    predict *p = (predict *)((char *)job - offsetof(predict, write));
    rn_exchange *x = p->x;
    rn_request *request = p->request;
    if (request->status != RN_STATUS_OK) {
        rn__tfs_fail_request(x, request, p->format);
    } else {
        const int64_t begin = rn_clock_us();
        rn__tfs_write_output(request, p->format, &x->answer);
        rn_exchange_note_request(x, request);
        x->timings.write = rn_clock_us() - begin;
        rn_exchange_answer(x);
    }
    rn_request_destroy(request);
    free(p);
}

/* On a thread of the engine, which has better to do than print numbers. */
static void on_done(rn_request *request)
{
    predict *p = request->context;
    rn_workers_continue(p->x->service->workers, &p->write);
}

/* ---- the beginning ---- */

rn_status rn__tfs_signature(const rn__tfs_document *document, const rn_model *model, const rn_signature **out, rn_error *err)
{
    *out = rn_plan_signature(rn_model_plan(model), document->signature_name);
    if (*out) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Serving signature name: \"%s\" not found in signature def", document->signature_name);
}

static rn_status read_request(rn_exchange *x, rn_text body, predict *p, rn_error *err)
{
    rn__tfs_document document;
    RN_TRY(rn__tfs_parse(body, &document, err));
    rn_model *model;
    int64_t version;
    RN_TRY(rn__tfs_acquire(x, &model, &version, err));
    const rn_signature *signature;
    rn_status status = rn__tfs_signature(&document, model, &signature, err);
    if (status == RN_STATUS_OK) status = rn__tfs_read_input(&document, model, signature, false, &p->format, &p->request, err);
    rn_model_release(model); /* the request holds its own reference */
    return status;
}

static rn_status begin(rn_exchange *x, predict *p, rn_error *err)
{
    rn_text body;
    char *inflated;
    RN_TRY(rn__tfs_check_room(x, err));
    RN_TRY(rn__tfs_body(x, &body, &inflated, err));
    const rn_status status = read_request(x, body, p, err);
    free(inflated);
    return status;
}

void rn__tfs_predict(rn_exchange *x)
{
    const int64_t begin_us = rn_clock_us();
    rn_error err;
    predict *p = calloc(1, sizeof *p);
    if (!p) {
        rn_exchange_fail(x, RN_STATUS_OUT_OF_MEMORY, "no memory for a predict call");
        return;
    }
    if (begin(x, p, &err) != RN_STATUS_OK) {
        free(p);
        rn_exchange_fail(x, err.status, "%s", err.message);
        return;
    }
    p->x = x;
    p->write.run = write_answer;
    rn_exchange_submit(x, p->request, p, on_done, begin_us, x->service->timeout_us);
}
