/* Predict calls whose body is a picture or a form with several. Three steps as for JSON: read the body (a worker), infer (the engine),
 * write the answer (a worker). */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/clock.h"
#include "http/multipart.h"
#include "http/pictures.h"
#include "http/tfs.h"
#include "http/v2.h"

void rn__tfs_predict(rn_exchange *x);
void rn__tfs_malformed(rn_exchange *x);

enum { DEFAULT_TOP_K = 5, MAX_TOP_K = 1000000 };

/* What the steps hand on. */
typedef struct {
    rn_exchange *x;
    rn_request *request;
    char *inflated; /* the body, when it came compressed: the pictures lie in it */
    rn__picture_form form;
    int64_t top_k;
    rn_job write;
} predict;

static void destroy(predict *p)
{
    rn_request_destroy(p->request);
    free(p->inflated);
    free(p);
}

/* ---- content types ---- */

static bool is_type(rn_text type, const char *name)
{
    return type.bytes == strlen(name) && strncasecmp(type.at, name, type.bytes) == 0;
}

/* "image/png" of "image/png; charset=x" */
static rn_text type_of(rn_text header)
{
    size_t bytes = 0;
    while (bytes < header.bytes && header.at[bytes] != ';' && header.at[bytes] != ' ') bytes++;
    return (rn_text){header.at, bytes};
}

static bool is_readable(rn_text type)
{
    static const char *const types[] = {"image/jpeg", "image/jpg", "image/png", "image/gif", "image/bmp", "image/webp"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (is_type(type, types[i])) return true;
    return false;
}

rn__picture_form rn__pictures_announced(const rn_exchange *x)
{
    const rn_text type = type_of(rn_exchange_header(x, "content-type"));
    if (is_type(type, "multipart/form-data")) return RN__PICTURE_FORM;
    return type.bytes > 6 && strncasecmp(type.at, "image/", 6) == 0 ? RN__ONE_PICTURE : RN__NO_PICTURE;
}

bool rn__pictures_refuse_type(rn_exchange *x)
{
    const rn_text type = type_of(rn_exchange_header(x, "content-type"));
    if (rn__pictures_announced(x) != RN__ONE_PICTURE || is_readable(type)) return false;
    rn_exchange_fail_code(x, 415, "%.*s: pictures are read as JPEG, PNG, GIF, BMP and WebP", RN_TEXT_ARG(type));
    return true;
}

/* ---- the end ---- */

static void finish(rn_job *job)
{
    predict *p = (predict *)((char *)job - offsetof(predict, write));
    rn_exchange *x = p->x;
    const rn_request *request = p->request;
    const rn_status status = request->status;
    rn_error err = request->error;
    const int64_t begin = rn_clock_us();
    if (status == RN_STATUS_OK) {
        rn__pictures_write(request, p->top_k, p->form, &x->answer);
        rn_exchange_note_request(x, request);
        x->timings.write = rn_clock_us() - begin;
    } else if (p->form == RN__PICTURE_FORM && request->failed_picture != RN_NONE) {
        rn_error_prefix(&err, "picture %d", request->failed_picture);
    }
    destroy(p);
    if (status == RN_STATUS_OK)
        rn_exchange_answer(x);
    else
        rn_exchange_fail(x, err.status, "%s", err.message);
}

/* On a thread of the engine, which has better to do than print numbers. */
static void on_done(rn_request *request)
{
    predict *p = request->context;
    rn_workers_continue(p->x->service->workers, &p->write);
}

/* ---- the beginning ---- */

rn_status rn__pictures_top_k(const rn_exchange *x, int64_t *out, rn_error *err)
{
    char text[16], *end;
    rn__v2_query_value(x, "topk", text, sizeof text);
    *out = text[0] ? strtol(text, &end, 10) : DEFAULT_TOP_K;
    if (*out >= 1 && *out <= MAX_TOP_K && (!text[0] || (*end == '\0' && text[0] >= '0' && text[0] <= '9'))) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "topk=%s: expected a number from 1 to %d", text, MAX_TOP_K);
}

/* A signature that takes pictures and gives numbers for classes. */
static rn_status find_signature(const rn_exchange *x, const rn_plan *plan, const rn_signature **out, rn_error *err)
{
    for (int32_t i = 0; i < plan->signature_count; i++) {
        *out = &plan->signatures[i];
        for (int32_t o = 0; o < (*out)->output_count && (*out)->image_op != RN_NONE; o++)
            if ((*out)->outputs[o].dtype == RN_DTYPE_F32 && (*out)->outputs[o].rank == 2) return RN_STATUS_OK;
    }
    return RN_FAIL(
        err, RN_STATUS_INVALID_ARGUMENT,
        "model %.*s takes no encoded pictures: none of its signatures begins with one. Send pixels as JSON or as a binary tensor.",
        RN_TEXT_ARG(x->target.model));
}

static rn_status read_part(rn_multipart *reader, rn_part *part, bool *more, rn_error *err)
{
    RN_TRY(rn_multipart_next(reader, part, more, err));
    if (!*more || part->filename.at || is_readable(type_of(part->content_type))) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "multipart/form-data, part %d: a picture has a filename or a type image/...",
                   reader->part_count - 1);
}

typedef rn_status request_maker(rn_model *model, const rn_signature *signature, int64_t rows, size_t scratch_bytes, rn_request **out, rn_error *err);

/* Twice through the form, which is only searched: how many pictures, then where they are. */
static rn_status read_form(const rn_exchange *x, rn_text body, rn_model *model, const rn_signature *signature, request_maker *create,
                           rn_request **out, rn_error *err)
{
    rn_multipart first, reader;
    rn_part part;
    bool more = true;
    RN_TRY(rn_multipart_begin(&reader, rn_exchange_header(x, "content-type"), body, err));
    first = reader;
    while (more) RN_TRY(read_part(&reader, &part, &more, err));
    if (reader.part_count == 0) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "multipart/form-data without a part");
    RN_TRY(create(model, signature, reader.part_count, 0, out, err));
    for (int32_t i = 0; i < (*out)->rows; i++) {
        rn_multipart_next(&first, &part, &more, NULL); /* has been read before */
        (*out)->pictures[i] = (rn_encoded_picture){part.body.at, part.body.bytes};
    }
    return RN_STATUS_OK;
}

rn_status rn__pictures_read(rn_exchange *x, rn__picture_form form, rn_model *model, bool explained, char **inflated, rn_request **out, rn_error *err)
{
    request_maker *create = explained ? rn_request_create_explained : rn_request_create;
    const rn_signature *signature = NULL;
    rn_text body;
    RN_TRY(find_signature(x, rn_model_plan(model), &signature, err));
    RN_TRY(rn__tfs_body(x, &body, inflated, err));
    if (form == RN__PICTURE_FORM) return read_form(x, body, model, signature, create, out, err);
    RN_TRY(create(model, signature, 1, 0, out, err));
    (*out)->pictures[0] = (rn_encoded_picture){body.at, body.bytes};
    return RN_STATUS_OK;
}

static rn_status begin(predict *p, rn_error *err)
{
    rn_model *model;
    int64_t version;
    p->form = rn__pictures_announced(p->x);
    RN_TRY(rn__pictures_top_k(p->x, &p->top_k, err));
    RN_TRY(rn__tfs_acquire(p->x, &model, &version, err));
    const rn_status status = rn__pictures_read(p->x, p->form, model, false, &p->inflated, &p->request, err);
    rn_model_release(model); /* the request holds its own reference */
    return status;
}

static void predict_pictures(rn_exchange *x)
{
    const int64_t begin_us = rn_clock_us();
    rn_error err;
    if (rn__pictures_refuse_type(x)) return;
    predict *p = calloc(1, sizeof *p);
    if (p) p->x = x;
    const rn_status status = p ? begin(p, &err) : RN_FAIL(&err, RN_STATUS_OUT_OF_MEMORY, "no memory for a predict call");
    if (status != RN_STATUS_OK) {
        if (p) destroy(p);
        rn_exchange_fail(x, err.status, "%s", err.message);
        return;
    }
    p->write.run = finish;
    rn_exchange_submit(x, p->request, p, on_done, begin_us, x->service->timeout_us);
}

/* ---- routes ---- */

/* TensorFlow Serving does not look at Content-Type and reads JSON; it has no use for pictures, which are free to mean what they say. */
void rn__predict(rn_exchange *x)
{
    if (rn__pictures_announced(x) == RN__NO_PICTURE)
        rn__tfs_predict(x);
    else
        predict_pictures(x);
}

/* With a query, which TensorFlow Serving's URLs do not have. */
void rn__predict_query(rn_exchange *x)
{
    if (rn__pictures_announced(x) == RN__NO_PICTURE)
        rn__tfs_malformed(x);
    else
        predict_pictures(x);
}
