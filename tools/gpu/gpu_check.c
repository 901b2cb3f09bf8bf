/* What tools/gpu-check.sh runs on a machine with a GPU: the CUDA backend against the reference kernels, then its speed. Needs the plug-in
 * beside itself and nothing else: networks are synthetic, of full size unless told otherwise.
 *
 *     gpu-check verify [--small]    every precision against the reference; exits 1 on a mismatch
 *     gpu-check bench [--small]     rows per second through the backend, copies from and to the host included: one JSON line each
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
static const double BENCH_SECONDS = 1.0;

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

static void bench(int32_t version, const char *precision, bool small)
{
    enum { MAX_RUNS = 10000 };
    static double times[MAX_RUNS];
    rn_plan *plan = make_plan(version, small);
    rn_error err = {0};
    if (rn_plan_optimize(plan, &err) != RN_STATUS_OK) quit(&err);
    const int32_t largest = small ? 4 : MAX_BENCH_BATCH;
    const double start = now();
    rn_executor *executor = prepare(plan, precision, largest);
    const double load_seconds = now() - start;
    unsigned char *pixels = random_pixels((size_t)largest * rn_plan_tensor_bytes(&plan->tensors[plan->signatures[0].feed]));
    float *output = need((size_t)largest * rn_plan_tensor_bytes(&plan->tensors[plan->signatures[0].outputs[0].tensor]));
    for (int32_t batch = 1; batch <= largest; batch *= 2) {
        int runs = 0;
        for (int i = 0; i < WARM_UPS; i++) run(executor, plan, batch, pixels, output);
        for (const double first = now(); runs < MAX_RUNS && (runs < 5 || now() - first < BENCH_SECONDS); runs++) {
            const double before = now();
            run(executor, plan, batch, pixels, output);
            times[runs] = now() - before;
        }
        qsort(times, (size_t)runs, sizeof *times, by_size);
        printf(
            "{\"engine\": \"resnetd\", \"network\": \"v%d\", \"precision\": \"%s\", \"batch\": %d, \"median_ms\": %.4f, \"p99_ms\": %.4f, "
            "\"rows_per_s\": %.1f, \"runs\": %d, \"load_s\": %.1f, \"device\": \"%s\"}\n",
            version, precision, batch, times[runs / 2] * 1e3, times[runs * 99 / 100] * 1e3, batch / times[runs / 2], runs, load_seconds,
            cuda->describe(executor));
        fflush(stdout);
    }
    free(pixels);
    free(output);
    cuda->destroy(executor);
    rn_plan_destroy(plan);
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
    for (int32_t version = 1; version <= 2; version++) {
        for (int i = 1; i < PRECISION_COUNT; i++) bench(version, precisions[i].name, small);
    }
    return 0;
}
