/* What tools/gpu-check.sh runs on a machine with a GPU: the CUDA backend against the reference kernels, then its speed. Needs the plug-in
 * beside itself and nothing else: networks are synthetic, of full size unless told otherwise.
 *
 *     gpu-check verify [--small]    every precision against the reference, pictures against the host's; exits 1 on a mismatch
 *     gpu-check bench [--small]     times what standard input asks for, a line each, "NETWORK PRECISION BATCH" as in "1 fp16 128": batches
 * through the backend, copies from and to the host included, one after the other and two under way; a JSON line each
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cuda_plugin.h"
#include "engine/image/image.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tests/support/plan_reference.h"

enum { VERIFY_ROWS = 3, MAX_BENCH_BATCH = 256, WARM_UPS = 3 };
static const double BENCH_SECONDS = 0.4; /* of each of the two ways; whoever asks repeats */

/* Relative L2 error of the logits that a whole network is allowed. */
static const struct {
    const char *name;
    double tolerance;
} precisions[] = {{"fp32", 1e-4}, {"tf32", 2e-3}, {"fp16", 5e-3}, {"bf16", 2e-2}};
enum { PRECISION_COUNT = sizeof precisions / sizeof *precisions };

static const rn_backend *const cuda = &rn_cuda_plugin;

static void quit(const rn_error *err)
{
    fprintf(stderr, "gpu-check: %s\n", err->message);
    exit(1);
}

static void *need(size_t bytes)
{
    void *memory = malloc(bytes + 1);
    if (memory) return memory;
    fprintf(stderr, "gpu-check: no memory for %zu bytes\n", bytes);
    exit(1);
}

static void log_line(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "  %s\n", line);
}

/* ResNet-101 with uint8 input: 150 kB a picture cross the bus, as in service. */
static rn_synthetic_options resnet101(int32_t version, bool small)
{
    rn_synthetic_options options = {
        .version = version, .blocks = {3, 4, 23, 3}, .width = 64, .groups = 1, .side = 224, .classes = 1000, .u8_input = true, .seed = 1};
    if (small) {
        options.side = 64;
        options.width = 16;
        memcpy(options.blocks, (int32_t[4]){1, 2, 2, 1}, sizeof options.blocks);
    }
    return options;
}

static rn_plan *make_network(const rn_synthetic_options *options)
{
    rn_plan *plan;
    rn_error err = {0};
    if (rn_synthetic_resnet(options, &plan, &err) != RN_STATUS_OK) quit(&err);
    return plan;
}

static rn_executor *prepare(const rn_plan *plan, const char *precision, int32_t max_batch)
{
    rn_executor *executor;
    rn_error err = {0};
    const char *cache = getenv("RN_TUNING_CACHE");
    const rn_backend_options options = {.max_batch = max_batch, .precision = precision, .cache_directory = cache, .log = log_line};
    if (cuda->prepare(plan, &options, &executor, &err) != RN_STATUS_OK) quit(&err);
    return executor;
}

static unsigned char *random_pixels(size_t count)
{
    unsigned char *pixels = need(count);
    srand(11);
    for (size_t i = 0; i < count; i++) pixels[i] = (unsigned char)rand();
    return pixels;
}

/* VERIFY_ROWS rows of the feed, uint8 or f32 in [-1, 1]. */
static unsigned char *random_rows(const rn_plan_tensor *feed)
{
    const size_t count = VERIFY_ROWS * (size_t)rn_plan_tensor_elements(feed);
    if (feed->dtype == RN_DTYPE_U8) return random_pixels(count);
    float *numbers = need(count * sizeof *numbers);
    srand(11);
    for (size_t i = 0; i < count; i++) numbers[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
    return (unsigned char *)numbers;
}

static void run(rn_executor *executor, const rn_plan *plan, int32_t rows, const void *input, void *output)
{
    rn_error err = {0};
    const rn_batch_part part = {.rows = rows, .input = input, .outputs = {output}};
    if (cuda->run(executor, &plan->signatures[0], &part, 1, &err) != RN_STATUS_OK) quit(&err);
}

/* ---- verify ---- */

typedef struct {
    double error;          /* of the logits, relative L2 */
    int same_top, decided; /* rows whose best class agrees, of those where the reference's margin exceeds the error */
} comparison;

/* Logits up to a constant, which softmax takes out and so does this: the mean is zero. */
static void logits_of(const float *probabilities, int32_t classes, double *logits)
{
    double mean = 0;
    for (int32_t i = 0; i < classes; i++) {
        logits[i] = log(fmax(probabilities[i], 1e-37));
        mean += logits[i] / classes;
    }
    for (int32_t i = 0; i < classes; i++) logits[i] -= mean;
}

static comparison compare(const float *expected, const float *found, int32_t rows, int32_t classes)
{
    comparison c = {0};
    double difference = 0, size = 0, *e = need((size_t)classes * sizeof *e), *f = need((size_t)classes * sizeof *f);
    for (int32_t row = 0; row < rows; row++) {
        int32_t best = 0, best_found = 0;
        double worst = 0, second = -INFINITY;
        logits_of(expected + (size_t)row * classes, classes, e);
        logits_of(found + (size_t)row * classes, classes, f);
        for (int32_t i = 0; i < classes; i++) {
            difference += (f[i] - e[i]) * (f[i] - e[i]);
            size += e[i] * e[i];
            worst = fmax(worst, fabs(f[i] - e[i]));
            if (e[i] > e[best]) best = i;
            if (f[i] > f[best_found]) best_found = i;
        }
        for (int32_t i = 0; i < classes; i++) {
            if (i != best) second = fmax(second, e[i]);
        }
        if (e[best] - second <= 2 * worst) continue;
        c.decided++;
        c.same_top += best == best_found;
    }
    c.error = isnan(difference) ? INFINITY : sqrt(difference / size);
    free(e);
    free(f);
    return c;
}

/* Outputs of a signature: probabilities and, with top-k, values and indexes. */
typedef struct {
    void *data[RN_PLAN_MAX_OUTPUTS];
} results;

static results make_results(const rn_plan *plan, const rn_signature *signature)
{
    results r = {0};
    for (int32_t o = 0; o < signature->output_count; o++)
        r.data[o] = need(VERIFY_ROWS * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[o].tensor]));
    return r;
}

static void free_results(results *r)
{
    for (int32_t o = 0; o < RN_PLAN_MAX_OUTPUTS; o++) free(r->data[o]);
}

/* The top classes are those of the probabilities that were found, in order. */
static bool top_k_is_right(const rn_plan *plan, const rn_signature *signature, int32_t classes, const results *r)
{
    if (signature->output_count < 3) return true;
    const int32_t k = plan->tensors[signature->outputs[1].tensor].c;
    for (int32_t row = 0; row < VERIFY_ROWS; row++) {
        const float *all = (const float *)r->data[0] + (size_t)row * classes, *values = (const float *)r->data[1] + (size_t)row * k;
        const int32_t *indexes = (const int32_t *)r->data[2] + (size_t)row * k;
        int32_t larger = 0;
        for (int32_t i = 0; i < k; i++) {
            if (indexes[i] < 0 || indexes[i] >= classes || values[i] != all[indexes[i]] || (i > 0 && values[i] > values[i - 1]))
                return false;
        }
        for (int32_t c = 0; c < classes; c++) larger += all[c] > values[k - 1];
        if (larger >= k) return false;
    }
    return true;
}

static void print_line(const char *network, const char *precision, double error, double allowed, const char *classes, bool good)
{
    printf("| %s | %s | %.1e | %.1e | %s | %s |\n", network, precision, error, allowed, classes, good ? "ok" : "**wrong**");
    fflush(stdout);
}

/* One network in every precision, or in fp16 alone. Returns the number of mismatches. */
static int verify(const char *name, const rn_synthetic_options *options, bool fp16_alone)
{
    rn_plan *plan = make_network(options);
    const rn_signature *signature = &plan->signatures[0];
    const int32_t classes = plan->tensors[signature->outputs[0].tensor].c;
    unsigned char *input = random_rows(&plan->tensors[signature->feed]);
    results expected = make_results(plan, signature), found = make_results(plan, signature);
    rn_test_plan_run(plan, signature, VERIFY_ROWS, input, expected.data);
    rn_error err = {0};
    if (rn_plan_optimize(plan, &err) != RN_STATUS_OK) quit(&err);
    signature = &plan->signatures[0];
    int wrong = 0;
    for (int i = 0; i < PRECISION_COUNT; i++) {
        if (fp16_alone && strcmp(precisions[i].name, "fp16") != 0) continue;
        rn_executor *executor = prepare(plan, precisions[i].name, 4);
        rn_batch_part part = {.rows = VERIFY_ROWS, .input = input};
        memcpy(part.outputs, found.data, sizeof part.outputs);
        if (cuda->run(executor, signature, &part, 1, &err) != RN_STATUS_OK) quit(&err);
        const comparison c = compare(expected.data[0], found.data[0], VERIFY_ROWS, classes);
        const bool good = c.error <= precisions[i].tolerance && c.same_top == c.decided && top_k_is_right(plan, signature, classes, &found);
        char same[32];
        snprintf(same, sizeof same, "%d of %d", c.same_top, c.decided);
        print_line(name, precisions[i].name, c.error, precisions[i].tolerance, same, good);
        wrong += !good;
        cuda->destroy(executor);
    }
    free(input);
    free_results(&expected);
    free_results(&found);
    rn_plan_destroy(plan);
    return wrong;
}

/* What ResNet-101 does not have: groups, widths that are no multiple of a vector, odd sides, float input, top-k. */
static const struct {
    const char *name;
    rn_synthetic_options options;
} odd_networks[] = {
    {"V1, groups", {.version = 1, .blocks = {1, 1, 1}, .width = 32, .groups = 4, .side = 32, .classes = 100, .u8_input = true, .seed = 3}},
    {"V1, width 12, top 7", {.version = 1, .blocks = {1, 1}, .width = 12, .groups = 2, .side = 37, .classes = 7, .top_k = 7, .seed = 4}},
    {"V1, top 5", {.version = 1, .blocks = {1, 1, 1, 1}, .width = 16, .groups = 1, .side = 32, .classes = 37, .top_k = 5, .seed = 2}},
    {"V2, odd", {.version = 2, .blocks = {1, 2}, .width = 12, .groups = 3, .side = 31, .classes = 5, .u8_input = true, .seed = 6}},
    {"V2, fused", {.version = 2, .blocks = {2, 2}, .width = 32, .groups = 1, .side = 16, .classes = 9, .top_k = 3, .seed = 8}},
};

static int verify_odd_networks(bool fp16_alone)
{
    int wrong = 0;
    for (size_t i = 0; i < sizeof odd_networks / sizeof *odd_networks; i++)
        wrong += verify(odd_networks[i].name, &odd_networks[i].options, fp16_alone);
    return wrong;
}

/* Gives the network a second way in, by pictures of any size. */
static void add_picture_signature(rn_plan *plan, rn_image_op image)
{
    rn_error err = {0};
    int32_t tensor;
    rn_signature s = plan->signatures[0];
    rn_op op = {.kind = RN_OP_IMAGE, .name = "image", .outputs = {s.input.tensor, RN_NONE}, .u.image = image};
    snprintf(s.name, sizeof s.name, "pictures");
    rn_status status = rn_plan_add_tensor(plan, "encoded", RN_DTYPE_STRING, 1, 1, 1, &tensor, &err);
    s.input = (rn_tensor_spec){.name = "b64", .dtype = RN_DTYPE_STRING, .rank = 1, .dims = {-1}, .tensor = tensor};
    op.inputs[0] = tensor;
    op.inputs[1] = RN_NONE;
    if (status == RN_STATUS_OK) status = rn_plan_add_op(plan, &op, NULL, &err);
    if (status == RN_STATUS_OK) status = rn_plan_add_signature(plan, &s, NULL, &err);
    if (status == RN_STATUS_OK) status = rn_plan_finish(plan, &err);
    if (status == RN_STATUS_OK) status = rn_plan_optimize(plan, &err);
    if (status != RN_STATUS_OK) quit(&err);
}

/* Pictures that the device resizes against the same ones resized on the host: the network's results are equal to the bit. */
static int verify_pictures(void)
{
    enum { SIDE = 64, CLASSES = 10 };
    static const int32_t sizes[VERIFY_ROWS][2] = {{100, 83}, {64, 64}, {31, 200}};
    const rn_synthetic_options options = {
        .version = 1, .blocks = {1, 1}, .width = 16, .groups = 1, .side = SIDE, .classes = CLASSES, .u8_input = true, .seed = 9};
    const rn_image_op image = {.crop = RN_CROP_CENTER_SQUARE_ROUND_UP, .full_h = SIDE, .full_w = SIDE, .h = SIDE, .w = SIDE, .c = 3};
    rn_plan *plan = make_network(&options);
    add_picture_signature(plan, image);
    rn_executor *executor = prepare(plan, "fp16", VERIFY_ROWS);
    rn_error err = {0};
    rn_picture pictures[VERIFY_ROWS];
    rn_picture_window windows[VERIFY_ROWS];
    static uint8_t rows[VERIFY_ROWS][SIDE * SIDE * 3];
    float expected[VERIFY_ROWS * CLASSES], found[VERIFY_ROWS * CLASSES];
    for (int i = 0; i < VERIFY_ROWS; i++) {
        const size_t bytes = (size_t)sizes[i][0] * (size_t)sizes[i][1] * 3;
        pictures[i] = (rn_picture){.h = sizes[i][0], .w = sizes[i][1], .c = 3, .pixels = need(bytes)};
        for (size_t j = 0; j < bytes; j++) pictures[i].pixels[j] = (uint8_t)rand();
        if (rn_picture_fit(&image, &pictures[i], rows[i], &err) != RN_STATUS_OK) quit(&err);
        if (rn_picture_crop(&image, &pictures[i], &windows[i], &err) != RN_STATUS_OK) quit(&err);
    }
    const rn_batch_part as_rows = {.rows = VERIFY_ROWS, .input = rows, .outputs = {expected}},
                        as_pictures = {.rows = VERIFY_ROWS, .pictures = windows, .outputs = {found}};
    const rn_signature *by_rows = rn_plan_signature(plan, "serving_default"), *by_pictures = rn_plan_signature(plan, "pictures");
    if (cuda->run(executor, by_rows, &as_rows, 1, &err) != RN_STATUS_OK) quit(&err);
    if (cuda->run(executor, by_pictures, &as_pictures, 1, &err) != RN_STATUS_OK) quit(&err);
    const bool equal = memcmp(expected, found, sizeof expected) == 0;
    print_line("pictures resized on the GPU", "fp16", equal ? 0.0 : compare(expected, found, VERIFY_ROWS, CLASSES).error, 0.0, "", equal);
    for (int i = 0; i < VERIFY_ROWS; i++) free(pictures[i].pixels);
    cuda->destroy(executor);
    rn_plan_destroy(plan);
    return !equal;
}

/* ---- bench ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { MAX_RUNS = 10000 };

/* A network prepared for all batches, and the rows that it is given. */
typedef struct {
    int32_t version; /* 0: nothing is prepared */
    char precision[8];
    rn_plan *plan;
    rn_executor *executor;
    unsigned char *pixels;
    float *output;
    double load_seconds;
} subject;

static void release(subject *s)
{
    if (s->version == 0) return;
    cuda->destroy(s->executor);
    rn_plan_destroy(s->plan);
    free(s->pixels);
    free(s->output);
    *s = (subject){0};
}

/* Another network or precision than the last one takes its place. */
static void choose(subject *s, int32_t version, const char *precision, bool small)
{
    if (s->version == version && strcmp(s->precision, precision) == 0) return;
    release(s);
    rn_error err = {0};
    const int32_t largest = small ? 4 : MAX_BENCH_BATCH;
    s->version = version;
    snprintf(s->precision, sizeof s->precision, "%s", precision);
    const rn_synthetic_options options = resnet101(version, small);
    s->plan = make_network(&options);
    if (rn_plan_optimize(s->plan, &err) != RN_STATUS_OK) quit(&err);
    const double start = now();
    s->executor = prepare(s->plan, s->precision, largest);
    s->load_seconds = now() - start;
    s->pixels = random_pixels((size_t)largest * rn_plan_tensor_bytes(&s->plan->tensors[s->plan->signatures[0].feed]));
    s->output = need((size_t)largest * rn_plan_tensor_bytes(&s->plan->tensors[s->plan->signatures[0].outputs[0].tensor]));
}

/* Milliseconds of each run, one after the other, sorted. Returns how many. */
static int time_runs(const subject *s, int32_t batch, double times[MAX_RUNS])
{
    int runs = 0;
    for (int i = 0; i < WARM_UPS; i++) run(s->executor, s->plan, batch, s->pixels, s->output);
    for (const double first = now(); runs < MAX_RUNS && (runs < 5 || now() - first < BENCH_SECONDS); runs++) {
        const double before = now();
        run(s->executor, s->plan, batch, s->pixels, s->output);
        times[runs] = (now() - before) * 1e3;
    }
    qsort(times, (size_t)runs, sizeof *times, by_size);
    return runs;
}

/* Rows a second with two batches under way, as a loaded server has them. */
static double pipelined_speed(const subject *s, int32_t batch)
{
    rn_error err = {0};
    const rn_batch_part part = {.rows = batch, .input = s->pixels, .outputs = {s->output}};
    const rn_signature *signature = &s->plan->signatures[0];
    int runs = 0;
    if (cuda->begin(s->executor, signature, &part, 1, &err) != RN_STATUS_OK) quit(&err);
    const double first = now();
    for (; runs < 5 || now() - first < BENCH_SECONDS; runs++) {
        if (cuda->begin(s->executor, signature, &part, 1, &err) != RN_STATUS_OK) quit(&err);
        if (cuda->finish(s->executor, &err) != RN_STATUS_OK) quit(&err);
    }
    const double speed = batch * runs / (now() - first);
    if (cuda->finish(s->executor, &err) != RN_STATUS_OK) quit(&err);
    return speed;
}

static void bench(bool small)
{
    static double times[MAX_RUNS];
    subject s = {0};
    int32_t version, batch;
    char precision[8];
    while (scanf("%d %7s %d", &version, precision, &batch) == 3) {
        choose(&s, version, precision, small);
        const int runs = time_runs(&s, batch, times);
        printf(
            "{\"engine\": \"resnetd\", \"network\": \"v%d\", \"precision\": \"%s\", \"batch\": %d, \"median_ms\": %.4f, \"p99_ms\": %.4f, "
            "\"pipelined_rows_per_s\": %.1f, \"runs\": %d, \"load_s\": %.1f, \"device\": \"%s\"}\n",
            version, precision, batch, times[runs / 2], times[runs * 99 / 100], pipelined_speed(&s, batch), runs, s.load_seconds,
            cuda->describe(s.executor));
        fflush(stdout);
    }
    release(&s);
}

int main(int argc, char **argv)
{
    const bool small = argc == 3 && strcmp(argv[2], "--small") == 0;
    if (argc < 2 || argc > 3 || (argc == 3 && !small) || (strcmp(argv[1], "verify") != 0 && strcmp(argv[1], "bench") != 0)) {
        fprintf(stderr, "usage: gpu-check verify|bench [--small]\n");
        return 2;
    }
    rn_error err = {0};
    if (cuda->probe(&err) != RN_STATUS_OK) quit(&err);
    if (strcmp(argv[1], "verify") == 0) {
        const rn_synthetic_options v1 = resnet101(1, small), v2 = resnet101(2, small);
        return verify("V1", &v1, false) + verify("V2", &v2, false) + verify_pictures() + verify_odd_networks(small) > 0;
    }
    bench(small);
    return 0;
}
