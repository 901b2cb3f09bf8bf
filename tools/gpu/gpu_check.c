/* What tools/gpu-check.sh runs on a machine with a GPU: the CUDA backend against the reference kernels, then its speed. Needs the plug-in
 * beside itself and nothing else: networks are synthetic, of full size unless told otherwise.
 *
 *     gpu-check verify [--small]    every precision against the reference; exits 1 on a mismatch
 *     gpu-check bench [--small]     times what standard input asks for, a line each, "NETWORK PRECISION BATCH" as in "1 fp16 128": batches
 * through the backend, copies from and to the host included, one after the other and two under way; a JSON line each
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cuda_plugin.h"
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
static rn_plan *make_plan(int32_t version, bool small)
{
    rn_synthetic_options options = {
        .version = version, .blocks = {3, 4, 23, 3}, .width = 64, .groups = 1, .side = 224, .classes = 1000, .u8_input = true, .seed = 1};
    if (small) {
        options.side = 64;
        options.width = 16;
        memcpy(options.blocks, (int32_t[4]){1, 2, 2, 1}, sizeof options.blocks);
    }
    rn_plan *plan;
    rn_error err = {0};
    if (rn_synthetic_resnet(&options, &plan, &err) != RN_STATUS_OK) quit(&err);
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

/* Number of mismatches. */
static int verify(int32_t version, bool small)
{
    rn_plan *plan = make_plan(version, small);
    const rn_signature *signature = &plan->signatures[0];
    const int32_t classes = plan->tensors[signature->outputs[0].tensor].c;
    const size_t row = rn_plan_tensor_bytes(&plan->tensors[signature->feed]);
    unsigned char *pixels = random_pixels(VERIFY_ROWS * row);
    float *expected = need(VERIFY_ROWS * (size_t)classes * sizeof *expected), *found = need(VERIFY_ROWS * (size_t)classes * sizeof *found);
    rn_test_plan_run(plan, signature, VERIFY_ROWS, pixels, (void *[]){expected});
    rn_error err = {0};
    if (rn_plan_optimize(plan, &err) != RN_STATUS_OK) quit(&err);
    int wrong = 0;
    for (int i = 0; i < PRECISION_COUNT; i++) {
        rn_executor *executor = prepare(plan, precisions[i].name, 4);
        run(executor, plan, VERIFY_ROWS, pixels, found);
        const comparison c = compare(expected, found, VERIFY_ROWS, classes);
        const bool good = c.error <= precisions[i].tolerance && c.same_top == c.decided;
        printf("| V%d | %s | %.1e | %.1e | %d of %d | %s |\n", version, precisions[i].name, c.error, precisions[i].tolerance, c.same_top,
               c.decided, good ? "ok" : "**wrong**");
        fflush(stdout);
        wrong += !good;
        cuda->destroy(executor);
    }
    free(pixels);
    free(expected);
    free(found);
    rn_plan_destroy(plan);
    return wrong;
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
    s->plan = make_plan(version, small);
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
    if (strcmp(argv[1], "verify") == 0) return verify(1, small) + verify(2, small) > 0;
    bench(small);
    return 0;
}
