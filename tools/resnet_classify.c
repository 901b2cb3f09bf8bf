/* resnet-classify: pictures on the command line, classes on standard output, no server.
 *
 * Each picture is a request of its own to the engine that the server has too. As many are under way as make two full batches, so that some are read and
 * decoded while others are computed; answers are printed in the order of the pictures.
 */
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/classes.h"
#include "engine/clock.h"
#include "engine/cpu/cpu_count.h"
#include "engine/image/overlay.h"
#include "kernels/base/version.h"
#include "loader/repository.h"
#include "tools/classify/options.h"
#include "tools/classify/pictures.h"

enum { EXIT_SOME_FAILED = 1, EXIT_USAGE = 2, EXIT_BAD_MODEL = 65, EXIT_NOT_FOUND = 66, EXIT_DEVICE = 70, EXIT_MEMORY = 71, EXIT_PERMISSION = 77 };
enum { BAR_FROM = 32, BAR_WIDTH = 30 }; /* pictures from which on a bar is worth its line */

static int exit_code(rn_status status)
{
    switch (status) {
    case RN_STATUS_OK: return 0;
    case RN_STATUS_INVALID_ARGUMENT:
    case RN_STATUS_UNSUPPORTED:
    case RN_STATUS_DATA_LOSS: return EXIT_BAD_MODEL;
    case RN_STATUS_NOT_FOUND: return EXIT_NOT_FOUND;
    case RN_STATUS_OUT_OF_MEMORY: return EXIT_MEMORY;
    case RN_STATUS_PERMISSION_DENIED: return EXIT_PERMISSION;
    default: return EXIT_DEVICE;
    }
}

/* One picture on its way. */
typedef struct {
    const char *path;
    void *bytes;
    rn_request *request; /* NULL: it could not even begin */
    rn_error error;
    bool done;
} job;

typedef struct {
    classify_options options;
    picture_list pictures;
    rn_workers *workers;
    rn_model *model;
    const rn_signature *signature; /* takes pictures */
    int32_t class;                 /* of --class, or RN_NONE */
    job *jobs;                     /* [window], a ring */
    int32_t window, failed;
    bool bar;
    pthread_mutex_t lock; /* guards `done` of jobs */
    pthread_cond_t wake;
} run;

/* ---- the model ---- */

static rn_status load_plan(const char *path, rn_plan **out, rn_error *err)
{
    char version_path[4096];
    rn_repository_version *versions = NULL;
    int32_t count;
    if (rn_repository_is_model(path)) return rn_repository_load(path, NULL, out, err);
    rn_status status = rn_repository_versions(path, &versions, &count, err);
    if (status == RN_STATUS_OK) status = rn_repository_version_path(path, &versions[0], version_path, sizeof version_path, err);
    free(versions);
    return status == RN_STATUS_OK ? rn_repository_load(version_path, NULL, out, err) : status;
}

static rn_status find_signature(run *r, const char *path, rn_error *err)
{
    const rn_plan *plan = rn_model_plan(r->model);
    for (int32_t i = 0; i < plan->signature_count && !r->signature; i++) {
        if (plan->signatures[i].image_op != RN_NONE) r->signature = &plan->signatures[i];
    }
    if (!r->signature) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: none of its signatures takes encoded pictures", path);
    if (!r->options.class) return RN_STATUS_OK;
    char *end;
    const long class = strtol(r->options.class, &end, 10);
    const int32_t map = r->signature->class_map_op;
    const int32_t count = map == RN_NONE ? 0 : plan->tensors[plan->ops[map].inputs[1]].c;
    if (end == r->options.class || *end != '\0' || class < 0 || class >= count)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--class: expected a number below %d, found \"%s\"", count, r->options.class);
    r->class = (int32_t)class;
    return RN_STATUS_OK;
}

static rn_status load_model(run *r, const char *path, rn_error *err)
{
    rn_plan *plan;
    rn_device_choice choice;
    const classify_options *o = &r->options;
    const int32_t threads = o->threads ? o->threads : rn__cpu_count();
    const rn_model_options options = {.backend = {.max_batch = o->batch, .thread_count = threads, .precision = o->precision},
                                      .devices = choice.devices,
                                      .device_count = 1,
                                      .max_waiting_rows = r->window};
    RN_TRY(rn_device_choose(o->device, &choice, err));
    RN_TRY(rn_workers_create(threads, r->window, &r->workers, err));
    RN_TRY(load_plan(path, &plan, err));
    RN_TRY(rn_model_create(plan, choice.backend, &options, r->workers, &r->model, err));
    return find_signature(r, path, err);
}

/* ---- on the way ---- */

static void on_done(rn_request *request)
{
    run *r = request->context;
    pthread_mutex_lock(&r->lock);
    for (int32_t i = 0; i < r->window; i++) r->jobs[i].done |= r->jobs[i].request == request;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

static rn_status begin(run *r, job *j)
{
    rn_request *request;
    size_t byte_count;
    RN_TRY(picture_read(j->path, &j->bytes, &byte_count, &j->error));
    RN_TRY((r->options.explain ? rn_request_create_explained : rn_request_create)(r->model, r->signature, 1, 0, &request, &j->error));
    request->pictures[0] = (rn_encoded_picture){j->bytes, byte_count};
    if (r->options.explain) request->classes[0] = r->class;
    request->context = r;
    request->done = on_done;
    j->request = request; /* before submit, which may end it */
    rn_request_submit(request);
    return RN_STATUS_OK;
}

static void wait_for(run *r, const job *j)
{
    pthread_mutex_lock(&r->lock);
    while (!j->done) pthread_cond_wait(&r->wake, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

/* ---- answers ---- */

static void print_text(const run *r, const char *path, const rn_classes *c, const int32_t *order)
{
    const rn_plan *plan = rn_model_plan(r->model);
    puts(path);
    for (int32_t i = 0; i < c->width && i < r->options.topk; i++) {
        const int32_t place = order[i], class = c->indexes ? c->indexes[place] : place;
        if (c->probabilities) printf("  %8.4f %%  ", 100 * (double)c->values[place]);
        else printf("  %10.4f  ", (double)c->values[place]);
        if (class < plan->label_count) puts(plan->labels[class]);
        else printf("class %d\n", class);
    }
}

static void print_line(json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (text) puts(text);
    free(text);
    json_decref(line);
}

static void print_json(const run *r, const char *path, const rn_classes *c, const int32_t *order)
{
    const rn_plan *plan = rn_model_plan(r->model);
    json_t *list = json_array();
    for (int32_t i = 0; i < c->width && i < r->options.topk; i++) {
        const int32_t place = order[i], class = c->indexes ? c->indexes[place] : place;
        json_t *entry = json_object();
        if (class < plan->label_count) json_object_set_new(entry, "label", json_string(plan->labels[class]));
        json_object_set_new(entry, "index", json_integer(class));
        json_object_set_new(entry, c->probabilities ? "probability" : "score", json_real((double)c->values[place]));
        json_array_append_new(list, entry);
    }
    print_line(json_pack("{ss so}", "file", path, "predictions", list));
}

static void clear_bar(const run *r)
{
    if (r->bar) fputs("\r\033[K", stderr);
}

static void print_failure(run *r, const char *path, const char *message)
{
    r->failed++;
    clear_bar(r);
    if (r->options.json) print_line(json_pack("{ss ss}", "file", path, "error", message));
    else fprintf(stderr, "resnet-classify: %s: %s\n", path, message);
}

static rn_status write_file(const char *path, const void *bytes, size_t byte_count, rn_error *err)
{
    FILE *file = fopen(path, "wb");
    const bool written = file && fwrite(bytes, 1, byte_count, file) == byte_count;
    if (file && fclose(file) == 0 && written) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "%s: cannot be written: %m", path);
}

static rn_status write_overlay(const run *r, const rn_request *request, rn_error *err)
{
    const rn_plan *plan = rn_model_plan(r->model);
    const rn_overlay_map map = rn_overlay_map_of(plan, r->signature, request->maps);
    void *png;
    size_t bytes;
    const rn_picture_source source = {.bytes = request->pictures[0].bytes, .byte_count = request->pictures[0].byte_count};
    RN_TRY(rn_overlay_png(&plan->ops[r->signature->image_op].u.image, &source, &map, &png, &bytes, err));
    const rn_status status = write_file(r->options.explain, png, bytes, err);
    free(png);
    return status;
}

static rn_status print_answer(run *r, const char *path, const rn_request *request, rn_error *err)
{
    rn_classes c;
    if (!rn_classes_find(request, &c)) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "the model gives no number for each class");
    int32_t *order = malloc((size_t)c.width * sizeof *order + 1);
    if (!order) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d classes", c.width);
    if (c.indexes)
        for (int32_t i = 0; i < c.width; i++) order[i] = i;
    else rn_classes_sort(c.values, c.width, order);
    clear_bar(r);
    if (r->options.json) print_json(r, path, &c, order);
    else print_text(r, path, &c, order);
    free(order);
    return r->options.explain ? write_overlay(r, request, err) : RN_STATUS_OK;
}

static void finish(run *r, job *j)
{
    if (j->request) {
        wait_for(r, j);
        if (j->request->status != RN_STATUS_OK) j->error = j->request->error;
        else j->error.status = print_answer(r, j->path, j->request, &j->error);
    }
    if (j->error.status != RN_STATUS_OK) print_failure(r, j->path, j->error.message);
    rn_request_destroy(j->request);
    free(j->bytes);
    *j = (job){0};
}

static void draw_bar(const run *r, int32_t done)
{
    if (!r->bar) return;
    fflush(stdout);
    fprintf(stderr, "\r[%-*.*s] %d of %d", BAR_WIDTH, (int)((int64_t)done * BAR_WIDTH / r->pictures.count), "##############################", done,
            r->pictures.count);
    fflush(stderr);
}

static void classify(run *r)
{
    const int32_t count = r->pictures.count;
    for (int32_t begun = 0, ended = 0; ended < count; ended++) {
        for (; begun < count && begun < ended + r->window; begun++) {
            job *j = &r->jobs[begun % r->window];
            j->path = r->pictures.paths[begun];
            j->error.status = RN_STATUS_OK;
            (void)begin(r, j); /* a failure is in the job */
        }
        finish(r, &r->jobs[ended % r->window]);
        draw_bar(r, ended + 1);
    }
}

/* ---- the whole ---- */

static rn_status work(run *r, char **arguments, int count, rn_error *err)
{
    RN_TRY(picture_list_make(arguments + 1, count - 1, &r->pictures, err));
    if (r->options.explain && r->pictures.count != 1)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "--explain: expected one picture, found %d", r->pictures.count);
    r->window = 2 * r->options.batch;
    r->bar = !r->options.quiet && r->pictures.count >= BAR_FROM && isatty(STDERR_FILENO);
    r->jobs = calloc((size_t)r->window, sizeof *r->jobs);
    if (!r->jobs) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %d pictures at once", r->window);
    RN_TRY(load_model(r, arguments[0], err));
    const int64_t start = rn_clock_us();
    classify(r);
    const double seconds = 1e-6 * (double)(rn_clock_us() - start);
    clear_bar(r);
    if (!r->options.quiet && r->pictures.count > 1)
        fprintf(stderr, "%d pictures in %.2f s, %.1f a second; %s\n", r->pictures.count, seconds, r->pictures.count / seconds, rn_model_device(r->model));
    return RN_STATUS_OK;
}

static int usage_error(const char *message)
{
    fprintf(stderr, "resnet-classify: %s; resnet-classify --help lists all options\n", message);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    run r = {.class = RN_NONE, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
    rn_error err = {0};
    int first;
    if (classify_options_parse(argc, argv, &r.options, &first, &err) != RN_STATUS_OK) return usage_error(err.message);
    if (r.options.help) return classify_options_help(stdout), 0;
    if (r.options.version) return printf("resnet-classify %s (%s)\n", rn_version, rn_commit), 0;
    if (argc - first < 2) return usage_error("a model and a picture are needed");
    if (r.options.batch < 1 || r.options.batch > 4096 || r.options.topk < 1) return usage_error("--batch is 1 to 4096, and --topk at least 1");
    if (r.options.class && !r.options.explain) return usage_error("--class belongs to --explain");
    rn_status status = work(&r, argv + first, argc - first, &err);
    if (status == RN_STATUS_OK && fflush(stdout) != 0) status = RN_FAIL(&err, RN_STATUS_UNAVAILABLE, "standard output: %m");
    if (status != RN_STATUS_OK) fprintf(stderr, "resnet-classify: %s\n", err.message);
    rn_model_release(r.model);
    rn_workers_destroy(r.workers);
    picture_list_deinit(&r.pictures);
    free(r.jobs);
    return status != RN_STATUS_OK ? exit_code(status) : r.failed ? EXIT_SOME_FAILED : 0;
}
