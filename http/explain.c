/* POST /v1/models/NAME[/versions/N|/labels/L]:explain, which TensorFlow Serving has not and KServe's protocol v1 has: a body as for
 * :predict, JSON or pictures, and an answer as of :predict with a second member,
 *
 *     "explanations": [{"class": 8, "label": "Bag", "window": {"of": "shorter_side", "height": 1.0, "width": 1.0},
 *                       "rows": [0.01, ...], "columns": [0.01, ...], "map": [[0.1, ...], ...]}, ...]
 *
 * for each instance or picture the class activation map of its top class, or of the class that ?class=K names. "window" is the part of a
 * picture that the network sees and the map lies on: its centre, so much of the picture's height and width or of its shorter side. "rows"
 * and "columns" are where the middles of the map's positions are, as shares of the window's height and width. With "Accept: image/png" one
 * picture is answered by the picture itself, the map over it.
 *
 * Three steps as for predict: read the body (a worker), infer (the engine), write the answer (a worker).
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/image/overlay.h"
#include "http/pictures.h"
#include "http/tfs.h"
#include "http/v2.h"

/* What the steps hand on. */
typedef struct {
    rn_exchange *x;
    rn_request *request;
    char *inflated; /* the body, when it came compressed: pictures lie in it */
    rn__picture_form form;
    rn__tfs_format format;
    int64_t top_k;
    bool png;
    rn_job write;
} explain;

static void destroy(explain *p)
{
    rn_request_destroy(p->request);
    free(p->inflated);
    free(p);
}

/* ---- the end ---- */

static const rn_image_op *picture_front_end(const rn_request *request)
{
    const int32_t op = request->signature->image_op;
    return op == RN_NONE ? NULL : &rn_model_plan(request->model)->ops[op].u.image;
}

static void write_map(const rn_overlay_map *map, rn_json_writer *out)
{
    rn_json_begin_array(out);
    out->single_line = true;
    for (int32_t y = 0; y < map->h; y++) {
        rn_json_begin_array(out);
        for (int32_t x = 0; x < map->w; x++) rn_json_float_value(out, map->values[(int64_t)y * map->w + x]);
        rn_json_end_array(out);
    }
    out->single_line = false;
    rn_json_end_array(out);
}

/* Middles of `count` positions. */
static void write_places(const char *name, int32_t count, float first, float step, rn_json_writer *out)
{
    rn_json_key(out, rn_text_of(name));
    rn_json_begin_array(out);
    out->single_line = true;
    for (int32_t i = 0; i < count; i++) rn_json_float_value(out, first + (float)i * step);
    out->single_line = false;
    rn_json_end_array(out);
}

/* The map of a row, and where it lies. */
static rn_overlay_map map_of(const rn_request *request, int32_t row)
{
    const rn_plan *plan = rn_model_plan(request->model);
    const int64_t elements = rn_plan_tensor_elements(&plan->tensors[request->signature->explanation]);
    return rn_overlay_map_of(plan, request->signature, request->maps + row * elements);
}

static void write_window(rn_overlay_window window, rn_json_writer *out)
{
    rn_json_key(out, rn_text_of("window"));
    rn_json_begin_object(out);
    rn_json_string_member(out, "of", window.of_shorter ? "shorter_side" : "picture");
    rn_json_key(out, rn_text_of("height"));
    rn_json_float_value(out, window.height);
    rn_json_key(out, rn_text_of("width"));
    rn_json_float_value(out, window.width);
    rn_json_end_object(out);
}

static void write_explanation(const rn_request *request, int32_t row, rn_json_writer *out)
{
    const rn_plan *plan = rn_model_plan(request->model);
    const rn_overlay_map map = map_of(request, row);
    const rn_image_op *image = picture_front_end(request);
    const int32_t class = request->classes[row];
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("class"));
    rn_json_int_value(out, class);
    if (class < plan->label_count) rn_json_string_member(out, "label", plan->labels[class]);
    if (image) write_window(rn_overlay_window_of(image), out);
    write_places("rows", map.h, map.first_h, map.step_h, out);
    write_places("columns", map.w, map.first_w, map.step_w, out);
    rn_json_key(out, rn_text_of("map"));
    write_map(&map, out);
    rn_json_end_object(out);
}

static void write_document(const explain *p, rn_json_writer *out)
{
    rn_json_begin_object(out);
    if (p->form == RN__NO_PICTURE)
        rn__tfs_write_output_member(p->request, p->format, out);
    else
        rn__pictures_write_member(p->request, p->top_k, p->form, out);
    rn_json_key(out, rn_text_of("explanations"));
    rn_json_begin_array(out);
    for (int32_t row = 0; row < p->request->rows; row++) write_explanation(p->request, row, out);
    rn_json_end_array(out);
    rn_json_end_object(out);
}

static rn_status write_overlay(const explain *p, rn_error *err)
{
    const rn_request *request = p->request;
    const rn_overlay_map map = map_of(request, 0);
    void *png;
    size_t bytes;
    const rn_encoded_picture *picture = &request->pictures[0];
    const rn_picture_source source = {picture->bytes, picture->byte_count, rn_model_max_image_pixels(request->model)};
    RN_TRY(rn_overlay_png(picture_front_end(request), &source, &map, &png, &bytes, err));
    rn_json_text(&p->x->answer, (rn_text){png, bytes});
    p->x->content_type = "image/png";
    free(png);
    return RN_STATUS_OK;
}

static void fail_request(rn_exchange *x, const explain *p)
{
    const rn_request *request = p->request;
    if (p->form == RN__NO_PICTURE)
        rn__tfs_fail_request(x, request, p->format);
    else if (p->form == RN__PICTURE_FORM && request->failed_picture != RN_NONE)
        rn_exchange_fail(x, request->status, "picture %d: %s", request->failed_picture, request->error.message);
    else
        rn_exchange_fail(x, request->status, "%s", request->error.message);
}

static void finish(rn_job *job)
{
    explain *p = (explain *)((char *)job - offsetof(explain, write));
    rn_exchange *x = p->x;
    rn_error err;
    rn_status status = RN_STATUS_OK;
    if (p->request->status != RN_STATUS_OK) {
        fail_request(x, p);
        destroy(p);
        return;
    }
    const int64_t begin = rn_clock_us();
    if (p->png)
        status = write_overlay(p, &err);
    else
        write_document(p, &x->answer);
    rn_exchange_note_request(x, p->request);
    x->timings.write = rn_clock_us() - begin;
    destroy(p);
    if (status == RN_STATUS_OK)
        rn_exchange_answer(x);
    else
        rn_exchange_fail(x, err.status, "%s", err.message);
}

/* On a thread of the engine, which has better to do than draw. */
static void on_done(rn_request *request)
{
    explain *p = request->context;
    rn_workers_continue(p->x->service->workers, &p->write);
}

/* ---- the beginning ---- */

/* Whether the client takes PNG and did not name JSON before it. */
static bool wants_png(const rn_exchange *x)
{
    const rn_text accept = rn_exchange_header(x, "accept");
    const char *png = accept.bytes ? memmem(accept.at, accept.bytes, "image/png", 9) : NULL;
    const char *json = accept.bytes ? memmem(accept.at, accept.bytes, "application/json", 16) : NULL;
    return png && (!json || png < json);
}

/* ?class=K for all rows. */
static rn_status choose_class(const rn_exchange *x, rn_request *request, rn_error *err)
{
    char text[24], *end = text;
    rn__v2_query_value(x, "class", text, sizeof text);
    if (!text[0]) return RN_STATUS_OK;
    const rn_plan *plan = rn_model_plan(request->model);
    const int32_t classes = plan->tensors[plan->ops[request->signature->class_map_op].inputs[1]].c;
    const long long class = text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : -1;
    if (class < 0 || class >= classes || *end != '\0')
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "class=%s: expected a number from 0 to %d", text, classes - 1);
    for (int32_t row = 0; row < request->rows; row++) request->classes[row] = (int32_t) class;
    return RN_STATUS_OK;
}

static rn_status read_document(explain *p, rn_text body, rn_error *err)
{
    rn__tfs_document document;
    const rn_signature *signature;
    rn_model *model;
    int64_t version;
    RN_TRY(rn__tfs_parse(body, &document, err));
    RN_TRY(rn__tfs_acquire(p->x, &model, &version, err));
    rn_status status = rn__tfs_signature(&document, model, &signature, err);
    if (status == RN_STATUS_OK) status = rn__tfs_read_input(&document, model, signature, true, &p->format, &p->request, err);
    rn_model_release(model); /* the request holds its own reference */
    return status;
}

static rn_status read_pictures(explain *p, rn_error *err)
{
    rn_model *model;
    int64_t version;
    RN_TRY(rn__pictures_top_k(p->x, &p->top_k, err));
    RN_TRY(rn__tfs_acquire(p->x, &model, &version, err));
    const rn_status status = rn__pictures_read(p->x, p->form, model, true, &p->inflated, &p->request, err);
    rn_model_release(model);
    return status;
}

static rn_status begin(explain *p, rn_error *err)
{
    rn_text body;
    p->form = rn__pictures_announced(p->x);
    p->png = wants_png(p->x);
    if (p->form == RN__NO_PICTURE) {
        RN_TRY(rn__tfs_body(p->x, &body, &p->inflated, err));
        RN_TRY(read_document(p, body, err));
    } else {
        RN_TRY(read_pictures(p, err));
    }
    if (p->png && (!p->request->pictures || p->request->rows != 1))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "image/png is made of one encoded picture, this call has %s",
                       p->request->pictures ? "another number of them" : "numbers");
    return choose_class(p->x, p->request, err);
}

void rn__explain(rn_exchange *x)
{
    const int64_t begin_us = rn_clock_us();
    rn_error err;
    if (rn__pictures_refuse_type(x)) return;
    explain *p = calloc(1, sizeof *p);
    if (p) p->x = x;
    const rn_status status = p ? begin(p, &err) : RN_FAIL(&err, RN_STATUS_OUT_OF_MEMORY, "no memory for an explain call");
    if (status != RN_STATUS_OK) {
        if (p) destroy(p);
        rn_exchange_fail(x, err.status, "%s", err.message);
        return;
    }
    p->write.run = finish;
    rn_exchange_submit(x, p->request, p, on_done, begin_us, x->service->timeout_us);
}
