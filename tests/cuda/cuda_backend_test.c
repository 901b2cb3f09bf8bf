/* The CUDA backend, emulated, against the reference interpretation of the same plan: V1 and V2, groups, odd widths, uint8 and float
 * entries, every precision and batch bucket. Then everything that can fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/conv_cudnn.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tests/cuda/cudnn_rules.h"
#include "tests/cuda_emulation/emulation_control.h"
#include "tests/support/plan_reference.h"

enum { MAX_ROWS = 5 };

/* With sanitizers a run takes ten times as long: one precision of each network, and a seventh of the calls that may fail. */
#ifdef RN_EMULATION_ASAN
static const bool slow = true;
enum { STRIDE = 7 };
#else
static const bool slow = false;
enum { STRIDE = 1 };
#endif
static const rn_backend *const cuda = &rn_cuda_backend;

typedef struct {
    const char *name;
    rn_synthetic_options options;
} network;

static const network networks[] = {
    {"v1, thin", {.version = 1, .blocks = {1, 2, 1, 1}, .width = 8, .groups = 1, .side = 40, .classes = 10, .seed = 1}},
    {"v1, top 5", {.version = 1, .blocks = {1, 1, 1, 1}, .width = 16, .groups = 1, .side = 32, .classes = 37, .top_k = 5, .seed = 2}},
    {"v1, groups, u8",
     {.version = 1, .blocks = {1, 1, 1, 0}, .width = 32, .groups = 4, .side = 32, .classes = 100, .u8_input = true, .seed = 3}},
    {"v1, width 12", {.version = 1, .blocks = {1, 1, 0, 0}, .width = 12, .groups = 2, .side = 37, .classes = 7, .top_k = 7, .seed = 4}},
    {"v2", {.version = 2, .blocks = {2, 2, 1, 1}, .width = 8, .groups = 1, .side = 48, .classes = 11, .top_k = 3, .seed = 5}},
    {"v2, odd, u8",
     {.version = 2, .blocks = {1, 2, 0, 0}, .width = 12, .groups = 3, .side = 31, .classes = 5, .u8_input = true, .seed = 6}},
    {"v2, fused", {.version = 2, .blocks = {2, 2, 0, 0}, .width = 32, .groups = 1, .side = 16, .classes = 9, .seed = 8}},
};
enum { NETWORK_COUNT = sizeof networks / sizeof *networks };

/* Relative L2 error of the logits that a network of a hundred layers is allowed. */
static const struct {
    const char *name;
    double tolerance;
} precisions[] = {{"fp32", 1e-4}, {"tf32", 2e-3}, {"fp16", 5e-3}, {"bf16", 2e-2}};

/* ---- plans with inputs and expected outputs ---- */

typedef struct {
    rn_plan *plan;
    const rn_signature *signature;
    unsigned char *input; /* [MAX_ROWS] */
    void *expected[RN_PLAN_MAX_OUTPUTS];
} problem;

static size_t input_bytes(const problem *p)
{
    return rn_plan_tensor_bytes(&p->plan->tensors[p->signature->feed]);
}

static size_t output_bytes(const problem *p, int32_t output)
{
    return rn_plan_tensor_bytes(&p->plan->tensors[p->signature->outputs[output].tensor]);
}

static void expect(problem *p)
{
    const rn_plan_tensor *feed = &p->plan->tensors[p->signature->feed];
    p->input = malloc(MAX_ROWS * input_bytes(p));
    srand(11);
    for (size_t i = 0; i < MAX_ROWS * (size_t)rn_plan_tensor_elements(feed); i++) {
        if (feed->dtype == RN_DTYPE_U8)
            p->input[i] = (unsigned char)rand();
        else
            ((float *)p->input)[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
    }
    for (int32_t o = 0; o < p->signature->output_count; o++) p->expected[o] = malloc(MAX_ROWS * output_bytes(p, o));
    rn_test_plan_run(p->plan, p->signature, MAX_ROWS, p->input, p->expected);
}

static problem make_problem(const rn_synthetic_options *options)
{
    problem p = {0};
    rn_error err = {0};
    assert_int_equal(rn_synthetic_resnet(options, &p.plan, &err), RN_STATUS_OK);
    p.signature = &p.plan->signatures[0];
    expect(&p);
    assert_int_equal(rn_plan_optimize(p.plan, &err), RN_STATUS_OK);
    p.signature = &p.plan->signatures[0];
    return p;
}

static void free_problem(problem *p)
{
    free(p->input);
    for (int32_t o = 0; o < p->signature->output_count; o++) free(p->expected[o]);
    rn_plan_destroy(p->plan);
}

/* ---- running ---- */

typedef struct {
    void *data[RN_PLAN_MAX_OUTPUTS]; /* [MAX_ROWS] each */
} results;

/* Runs rows [0, rows) as a part of one row and a part with the rest. */
static rn_status run_rows(const problem *p, rn_executor *executor, int32_t rows, results *out, rn_error *err)
{
    rn_batch_part parts[2] = {{.rows = 1, .input = p->input}, {.rows = rows - 1, .input = p->input + input_bytes(p)}};
    for (int32_t o = 0; o < p->signature->output_count; o++) {
        if (!out->data[o]) out->data[o] = malloc(MAX_ROWS * output_bytes(p, o));
        memset(out->data[o], 0xff, MAX_ROWS * output_bytes(p, o));
        parts[0].outputs[o] = out->data[o];
        parts[1].outputs[o] = (char *)out->data[o] + output_bytes(p, o);
    }
    return cuda->run(executor, p->signature, parts, rows > 1 ? 2 : 1, err);
}

static void free_results(const problem *p, results *out)
{
    for (int32_t o = 0; o < p->signature->output_count; o++) free(out->data[o]);
}

/* Relative L2 error of the logits: of the logarithms of the probabilities, whose constant does not count. */
static double logit_error(const problem *p, int32_t rows, const results *got)
{
    const int32_t classes = (int32_t)(output_bytes(p, 0) / sizeof(float));
    double difference = 0, size = 0;
    for (int32_t row = 0; row < rows; row++) {
        const float *expected = (const float *)p->expected[0] + (size_t)row * classes,
                    *found = (const float *)got->data[0] + (size_t)row * classes;
        double mean_expected = 0, mean_found = 0;
        for (int32_t i = 0; i < classes; i++) {
            mean_expected += log(expected[i]) / classes;
            mean_found += log(found[i]) / classes;
        }
        for (int32_t i = 0; i < classes; i++) {
            const double e = log(expected[i]) - mean_expected, f = log(found[i]) - mean_found;
            difference += (f - e) * (f - e);
            size += e * e;
        }
    }
    return isfinite(difference) ? sqrt(difference / size) : INFINITY;
}

/* The top classes are those of the probabilities which were found, in order, ties by the lower index; the values are exactly theirs. */
static void check_top_k(const problem *p, int32_t rows, const results *got)
{
    if (p->signature->output_count < 3) return;
    const int32_t classes = (int32_t)(output_bytes(p, 0) / 4), k = (int32_t)(output_bytes(p, 1) / 4);
    for (int32_t row = 0; row < rows; row++) {
        const float *probabilities = (const float *)got->data[0] + (size_t)row * classes,
                    *values = (const float *)got->data[1] + (size_t)row * k;
        const int32_t *indexes = (const int32_t *)got->data[2] + (size_t)row * k;
        for (int32_t i = 0; i < k; i++) {
            assert_in_range(indexes[i], 0, classes - 1);
            assert_true(values[i] == probabilities[indexes[i]]);
            if (i > 0) assert_true(values[i - 1] > values[i] || (values[i - 1] == values[i] && indexes[i - 1] < indexes[i]));
        }
        for (int32_t c = 0; c < classes; c++) {
            if (probabilities[c] > values[k - 1]) assert_true(probabilities[c] <= values[0]);
        }
    }
}

static void check_precision(const char *name, const problem *p, size_t precision, double allowed)
{
    rn_error err = {0};
    rn_executor *executor = NULL;
    results got = {0};
    const rn_backend_options options = {.max_batch = MAX_ROWS, .thread_count = 3, .precision = precisions[precision].name};
    const rn_status status = cuda->prepare(p->plan, &options, &executor, &err);
    if (status != RN_STATUS_OK) fail_msg("%s %s: %s", name, precisions[precision].name, err.message);
    double worst = 0;
    const int32_t batches[] = {1, 2, 3, MAX_ROWS, 1};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        if (run_rows(p, executor, batches[i], &got, &err) != RN_STATUS_OK) fail_msg("%s: %s", name, err.message);
        worst = fmax(worst, logit_error(p, batches[i], &got));
        check_top_k(p, batches[i], &got);
    }
    printf("%-16s %s: relative error %.1e, %2.0f %% of the allowance (%s)\n", name, precisions[precision].name, worst,
           100 * worst / allowed, cuda->describe(executor));
    assert_true(worst <= allowed);
    cuda->destroy(executor);
    free_results(p, &got);
    assert_int_equal(rn_emulation_live_objects(), 0);
}

static void networks_match_the_reference(void **state)
{
    (void)state;
    for (size_t n = 0; n < NETWORK_COUNT; n++) {
        problem p = make_problem(&networks[n].options);
        for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
            const bool repeats = n > 0 && strcmp(precisions[i].name, "tf32") == 0; /* the emulation rounds tf32 as it does fp32 */
            const bool left_out = slow && strcmp(precisions[i].name, "fp16") != 0;
            if (!repeats && !left_out) check_precision(networks[n].name, &p, i, precisions[i].tolerance);
        }
        free_problem(&p);
    }
}

/* Two entries into one network: uint8 pixels, and the floats that the first operation makes of them. */
static void two_signatures_share_a_network(void **state)
{
    (void)state;
    problem bytes = {0};
    rn_error err = {0};
    rn_synthetic_options options = networks[5].options;
    assert_int_equal(rn_synthetic_resnet(&options, &bytes.plan, &err), RN_STATUS_OK);
    rn_signature floats = bytes.plan->signatures[0];
    const rn_op *normalise = &bytes.plan->ops[floats.ops[0]];
    assert_int_equal(normalise->kind, RN_OP_SCALE_SHIFT);
    strcpy(floats.name, "floats");
    floats.input.tensor = normalise->outputs[0];
    floats.input.dtype = RN_DTYPE_F32;
    assert_int_equal(rn_plan_add_signature(bytes.plan, &floats, NULL, &err), RN_STATUS_OK);
    assert_int_equal(rn_plan_finish(bytes.plan, &err), RN_STATUS_OK);
    problem reals = bytes;
    bytes.signature = &bytes.plan->signatures[0];
    reals.signature = &reals.plan->signatures[1];
    expect(&bytes);
    expect(&reals);

    rn_executor *executor = NULL;
    const rn_backend_options prepare = {.max_batch = 3, .thread_count = 1, .precision = "fp32"};
    assert_int_equal(cuda->prepare(bytes.plan, &prepare, &executor, &err), RN_STATUS_OK);
    for (int i = 0; i < 4; i++) {
        const problem *p = i % 2 ? &reals : &bytes;
        results got = {0};
        assert_int_equal(run_rows(p, executor, 3, &got, &err), RN_STATUS_OK);
        assert_true(logit_error(p, 3, &got) <= 1e-4);
        free_results(p, &got);
    }
    cuda->destroy(executor);
    for (int32_t o = 0; o < reals.signature->output_count; o++) free(reals.expected[o]);
    free(reals.input);
    free_problem(&bytes);
}

/* A batch that may be under way beside others: one part, rows of the problem from `first` on. */
typedef struct {
    rn_batch_part part;
    results out;
    int32_t first;
} flight;

static rn_status begin_flight(const problem *p, rn_executor *executor, flight *f, int32_t first, int32_t rows, rn_error *err)
{
    f->first = first;
    f->part = (rn_batch_part){.rows = rows, .input = p->input + (size_t)first * input_bytes(p)};
    for (int32_t o = 0; o < p->signature->output_count; o++) {
        if (!f->out.data[o]) f->out.data[o] = malloc(MAX_ROWS * output_bytes(p, o));
        memset(f->out.data[o], 0xff, MAX_ROWS * output_bytes(p, o));
        f->part.outputs[o] = f->out.data[o];
    }
    return cuda->begin(executor, p->signature, &f->part, 1, err);
}

static void check_flight(const problem *p, rn_executor *executor, const flight *f)
{
    rn_error err = {0};
    if (cuda->finish(executor, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    problem part = *p;
    for (int32_t o = 0; o < p->signature->output_count; o++)
        part.expected[o] = (char *)p->expected[o] + (size_t)f->first * output_bytes(p, o);
    assert_true(logit_error(&part, f->part.rows, &f->out) <= 1e-4);
    check_top_k(&part, f->part.rows, &f->out);
}

/* Batches of different rows and sizes follow one another through the two slots; each gets its own results. */
static void a_batch_is_copied_while_another_is_computed(void **state)
{
    (void)state;
    problem p = make_problem(&networks[4].options);
    rn_executor *executor = NULL;
    rn_error err = {0};
    const rn_backend_options options = {.max_batch = MAX_ROWS, .thread_count = 1, .precision = "fp32"};
    assert_int_equal(cuda->prepare(p.plan, &options, &executor, &err), RN_STATUS_OK);
    flight flights[2] = {0}, third = {0};
    static const int32_t sizes[] = {3, 5, 1, 2, 4, 5, 1};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(begin_flight(&p, executor, &flights[i % 2], MAX_ROWS - sizes[i], sizes[i], &err), RN_STATUS_OK);
        if (i == 1) assert_int_equal(begin_flight(&p, executor, &third, 0, 1, &err), RN_STATUS_INTERNAL);
        if (i > 0) check_flight(&p, executor, &flights[(i - 1) % 2]);
    }
    check_flight(&p, executor, &flights[(COUNT - 1) % 2]);
    assert_int_equal(cuda->finish(executor, &err), RN_STATUS_INTERNAL);

    /* What fails to begin disturbs nobody; what is lost is lost for both. */
    assert_int_equal(begin_flight(&p, executor, &flights[0], 0, 2, &err), RN_STATUS_OK);
    rn_emulation_fail("cudaGraphLaunch", 1, cudaErrorNotReady);
    assert_int_equal(begin_flight(&p, executor, &flights[1], 2, 2, &err), RN_STATUS_DEVICE_FAILED);
    rn_emulation_fail_none();
    check_flight(&p, executor, &flights[0]);
    assert_int_equal(begin_flight(&p, executor, &flights[0], 1, 2, &err), RN_STATUS_OK);
    assert_int_equal(begin_flight(&p, executor, &flights[1], 2, 3, &err), RN_STATUS_OK);
    rn_emulation_break_device(0, cudaErrorIllegalAddress);
    for (int i = 0; i < 2; i++) assert_int_equal(cuda->finish(executor, &err), RN_STATUS_DEVICE_LOST);
    assert_int_equal(begin_flight(&p, executor, &flights[0], 1, 2, &err), RN_STATUS_DEVICE_LOST);
    rn_emulation_break_device(0, 0);
    cuda->destroy(executor);
    assert_int_equal(rn_emulation_live_objects(), 0);
    for (int i = 0; i < 2; i++) free_results(&p, &flights[i].out);
    free_results(&p, &third.out);
    free_problem(&p);
}

/* ---- what fails ---- */

static const rn_synthetic_options tiny = {
    .version = 2, .blocks = {1}, .width = 8, .groups = 1, .side = 8, .classes = 3, .top_k = 1, .seed = 7};

typedef struct {
    int lines;
    char last[1024];
} listener;

static void listen(void *context, const char *line)
{
    listener *l = context;
    l->lines++;
    snprintf(l->last, sizeof l->last, "%s", line);
}

/* Injected failures end before the executor is destroyed. *failed: whether one happened. */
static rn_status prepare_and_run(const problem *p, const rn_backend_options *options, bool *failed, rn_error *err)
{
    rn_executor *executor = NULL;
    results got = {0};
    rn_status status = cuda->prepare(p->plan, options, &executor, err);
    if (status == RN_STATUS_OK) status = run_rows(p, executor, options->max_batch, &got, err);
    *failed = rn_emulation_failed();
    rn_emulation_fail_none();
    cuda->destroy(executor);
    free_results(p, &got);
    return status;
}

/* Each call of the libraries, each launch: failed once, in turn. A failure is a status with a message, or, for one way of a convolution
 * among several, a log line; and nothing is left behind. */
static void every_call_may_fail(void **state)
{
    (void)state;
    problem p = make_problem(&tiny);
    for (int call = 1, reported = 0, logged = 0;; call += STRIDE) {
        listener heard = {0};
        rn_error err = {0};
        const rn_backend_options options = {.max_batch = 1, .thread_count = 1, .log = listen, .log_context = &heard};
        rn_emulation_fail("*", call, cudaErrorLaunchFailure);
        bool failed;
        const rn_status status = prepare_and_run(&p, &options, &failed, &err);
        if (rn_emulation_live_objects() != 0) fail_msg("the failure of call %d left something behind: %s", call, err.message);
        if (!failed) {
            assert_int_equal(status, RN_STATUS_OK);
            printf("%d of some %d calls failed once: %d reported, %d logged\n", reported + logged, call - 1, reported, logged);
            assert_true(call > 1000);
            break;
        }
        if (status == RN_STATUS_OK && heard.lines == 0) fail_msg("the failure of call %d went unnoticed", call);
        if (status != RN_STATUS_OK) assert_true(err.message[0] != 0);
        if (status == RN_STATUS_OK)
            logged++;
        else
            reported++;
    }
    free_problem(&p);
}

/* An error that stays takes the executor out of service; its resources can still be released. */
static void a_broken_device_stays_broken(void **state)
{
    (void)state;
    problem p = make_problem(&tiny);
    rn_executor *executor = NULL;
    rn_error err = {0};
    results got = {0};
    const rn_backend_options options = {.max_batch = 2, .thread_count = 1};
    assert_int_equal(cuda->prepare(p.plan, &options, &executor, &err), RN_STATUS_OK);
    assert_int_equal(run_rows(&p, executor, 2, &got, &err), RN_STATUS_OK);
    rn_emulation_fail("cudaGraphLaunch", 1, cudaErrorNotReady);
    assert_int_equal(run_rows(&p, executor, 2, &got, &err), RN_STATUS_DEVICE_FAILED);
    rn_emulation_fail_none();
    assert_int_equal(run_rows(&p, executor, 2, &got, &err), RN_STATUS_OK); /* it passed */
    rn_emulation_break_device(0, cudaErrorIllegalAddress);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run_rows(&p, executor, 1, &got, &err), RN_STATUS_DEVICE_LOST);
        assert_non_null(strstr(err.message, "GPU 0 is out of service: "));
        assert_non_null(strstr(err.message, "cudaErrorIllegalAddress"));
        rn_emulation_break_device(0, 0);
    }
    cuda->destroy(executor);
    assert_int_equal(rn_emulation_live_objects(), 0);
    free_results(&p, &got);
    free_problem(&p);
}

/* Our own kernel computes nothing: it is measured as the fastest, found out, and left out with a log line. */
static void a_kernel_that_is_wrong_on_this_device_is_not_used(void **state)
{
    (void)state;
    problem p = make_problem(&networks[NETWORK_COUNT - 1].options);
    rn_executor *executor = NULL;
    rn_error err = {0};
    listener heard = {0};
    results got = {0};
    const rn_backend_options options = {.max_batch = 2, .thread_count = 1, .precision = "fp16", .log = listen, .log_context = &heard};
    rn_emulation_disable_kernel("expand_dual<T>");
    assert_int_equal(cuda->prepare(p.plan, &options, &executor, &err), RN_STATUS_OK);
    assert_non_null(strstr(cuda->describe(executor), " 0 fused by our own kernel"));
    assert_int_equal(heard.lines, 8);
    if (!strstr(heard.last, "way 0 of our own failed and is left out: it is inf from the library's result")) fail_msg("%s", heard.last);
    assert_int_equal(run_rows(&p, executor, 2, &got, &err), RN_STATUS_OK);
    assert_true(logit_error(&p, 2, &got) <= 5e-3);
    rn_emulation_disable_kernel(NULL);
    cuda->destroy(executor);
    free_results(&p, &got);
    free_problem(&p);
}

static void memory_runs_out(void **state)
{
    (void)state;
    problem p = make_problem(&tiny);
    rn_error err = {0};
    bool failed;
    const rn_backend_options options = {.max_batch = 2, .thread_count = 1, .memory_limit_bytes = 1000};
    assert_int_equal(prepare_and_run(&p, &options, &failed, &err), RN_STATUS_OUT_OF_MEMORY);
    if (!strstr(err.message, "measuring convolutions takes 0.1 MB of device memory, the limit is 0.0 MB")) fail_msg("%s", err.message);
    /* What was measured before needs no memory to be measured in. */
    char directory[] = "/tmp/resnetd-tuning-XXXXXX", path[128];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/resnetd-cuda-sm_90.tuning", directory);
    rn_backend_options known = {.max_batch = 2, .thread_count = 1, .cache_directory = directory};
    assert_int_equal(prepare_and_run(&p, &known, &failed, &err), RN_STATUS_OK);
    known.memory_limit_bytes = 1000;
    assert_int_equal(prepare_and_run(&p, &known, &failed, &err), RN_STATUS_OUT_OF_MEMORY);
    if (!strstr(err.message, "memory for weights: 0.0 MB would bring this model to ")) fail_msg("%s", err.message);
    remove(path);
    remove(directory);
    rn_emulation_set_memory(50 * 1000);
    const rn_backend_options unlimited = {.max_batch = 2, .thread_count = 1};
    assert_int_equal(prepare_and_run(&p, &unlimited, &failed, &err), RN_STATUS_OUT_OF_MEMORY);
    assert_non_null(strstr(err.message, "of 0 MB free, largest batch 2"));
    rn_emulation_set_memory((size_t)8 << 30);
    assert_int_equal(rn_emulation_live_objects(), 0);
    free_problem(&p);
}

static void assert_probe_fails(const char *words)
{
    rn_error err = {0};
    assert_int_equal(cuda->probe(&err), RN_STATUS_DEVICE_FAILED);
    if (!strstr(err.message, words)) fail_msg("expected \"%s\" in: %s", words, err.message);
}

static void a_machine_without_a_gpu_says_what_is_missing(void **state)
{
    (void)state;
    assert_int_equal(cuda->probe(NULL), RN_STATUS_OK);
    rn_emulation_set_devices(1, 0);
    assert_probe_fails("no NVIDIA driver is installed");
    rn_emulation_set_devices(1, 12020);
    assert_probe_fails("the NVIDIA driver supports CUDA 12.2, this build needs ");
    rn_emulation_set_devices(0, CUDART_VERSION);
    assert_probe_fails("no NVIDIA GPU is visible");
    rn_emulation_set_devices(1, CUDART_VERSION);
    rn_emulation_set_missing_library("libnvrtc.so.13");
    assert_probe_fails("libnvrtc.so.13");
    rn_emulation_set_missing_library(NULL);
    rn_emulation_fail("cudaFuncGetAttributes", 1, cudaErrorNoKernelImageForDevice);
    assert_probe_fails("compute capability 9.0, this build has code for ");
    rn_emulation_fail_none();
    assert_int_equal(cuda->probe(NULL), RN_STATUS_OK);
}

static void wrong_requests_are_refused(void **state)
{
    (void)state;
    problem p = make_problem(&tiny);
    rn_error err = {0};
    rn_executor *executor = NULL;
    const struct {
        rn_backend_options options;
        rn_status status;
        const char *words;
    } cases[] = {
        {{.max_batch = 0}, RN_STATUS_INVALID_ARGUMENT, "largest batch of 0"},
        {{.max_batch = 1, .precision = "fp64"}, RN_STATUS_INVALID_ARGUMENT, "fp64"},
        {{.max_batch = 1, .device = 1}, RN_STATUS_DEVICE_FAILED, "GPU 1 was asked for, this process sees 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(cuda->prepare(p.plan, &cases[i].options, &executor, &err), cases[i].status);
        assert_non_null(strstr(err.message, cases[i].words));
    }
    const rn_backend_options options = {.max_batch = 2, .thread_count = 1};
    assert_int_equal(cuda->prepare(p.plan, &options, &executor, &err), RN_STATUS_OK);
    const rn_batch_part part = {.rows = 3};
    assert_int_equal(cuda->run(executor, p.signature, &part, 1, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "3 rows"));
    cuda->destroy(executor);
    cuda->destroy(NULL);
    free_problem(&p);
}

/* The second start finds what the first one measured; a damaged file costs one log line. */
static void choices_are_kept_between_starts(void **state)
{
    (void)state;
    problem p = make_problem(&tiny);
    char directory[] = "/tmp/resnetd-tuning-XXXXXX", path[128];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/resnetd-cuda-sm_90.tuning", directory);
    listener heard = {0};
    const rn_backend_options options = {
        .max_batch = 2, .thread_count = 1, .cache_directory = directory, .log = listen, .log_context = &heard};
    static const char *const expected[] = {"of which 12 measured", "of which 0 measured", "of which 12 measured"};
    for (int start = 0; start < 3; start++) {
        rn_error err = {0};
        rn_executor *executor = NULL;
        assert_int_equal(cuda->prepare(p.plan, &options, &executor, &err), RN_STATUS_OK);
        if (!strstr(cuda->describe(executor), expected[start])) fail_msg("start %d: %s", start, cuda->describe(executor));
        cuda->destroy(executor);
        assert_int_equal(heard.lines, start == 2);
        if (start != 1) continue;
        FILE *file = fopen(path, "r+");
        assert_non_null(file);
        fseek(file, -30, SEEK_END);
        fputc('#', file);
        fclose(file);
    }
    assert_non_null(strstr(heard.last, "is damaged and is ignored"));
    remove(path);
    remove(directory);
    free_problem(&p);
}

/* As tests/cuda_libraries checks of the real one. */
static void the_emulated_library_keeps_the_rules(void **state)
{
    (void)state;
    cudnnBackendDescriptor_t device;
    assert_int_equal(rn__cudnn_device_create(0, &device, NULL), RN_STATUS_OK);
    check_cudnn_rules(device);
    cudnnBackendDestroyDescriptor(device);
    assert_int_equal(rn_emulation_live_objects(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_emulated_library_keeps_the_rules),
        cmocka_unit_test(networks_match_the_reference),
        cmocka_unit_test(two_signatures_share_a_network),
        cmocka_unit_test(a_batch_is_copied_while_another_is_computed),
        cmocka_unit_test(every_call_may_fail),
        cmocka_unit_test(a_broken_device_stays_broken),
        cmocka_unit_test(a_kernel_that_is_wrong_on_this_device_is_not_used),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(a_machine_without_a_gpu_says_what_is_missing),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(choices_are_kept_between_starts),
    };
    return cmocka_run_group_tests_name("cuda backend, emulated", tests, NULL, NULL);
}
