/* The CPU backend against the reference interpretation of the same plan, on every instruction set that this machine has: V1 and V2, groups, thin
 * layers, several batch sizes, parts and thread counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "kernels/base/cpu_features.h"
#include "tests/support/network_problem.h"
#include "tests/support/plan_reference.h"

/* Rounding of a hundred fp32 layers, relative to the largest output. Each layer's own share is below 1e-6 (tests/kernels/conv2d_test.c). */
static const double TOLERANCE = 1e-4, DETERMINISTIC_TOLERANCE = 1e-5;
enum { MAX_ROWS = 5, TWO_PASSES = 9, LARGE_BATCH = 8 };

static const char *const isas[] = {"scalar", "avx2", "avx512"}; /* the sets that change anything in fp32 */
static int skipped;

/* Largest difference relative to the largest magnitude; exact for integers. */
static double worst_error(const rn_test_problem *p, int32_t output, int32_t rows, const void *got)
{
    const size_t bytes = rn_test_row_bytes(p, output), count = (size_t)rows * bytes / 4;
    const void *expected = p->expected[output];
    if (p->signature->outputs[output].dtype == RN_DTYPE_I32) return memcmp(expected, got, (size_t)rows * bytes) == 0 ? 0 : INFINITY;
    double worst = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        const double e = ((const float *)expected)[i], g = ((const float *)got)[i];
        if (!(fabs(e - g) <= worst)) worst = fabs(e - g);
        if (fabs(e) > largest) largest = fabs(e);
    }
    return worst / largest;
}

/* Runs rows [0, rows) as parts of one row, then the rest, and compares every output. */
static double run_and_compare(const rn_test_problem *p, rn_executor *executor, const rn_backend *cpu, int32_t rows, void *outputs[RN_PLAN_MAX_OUTPUTS])
{
    rn_batch_part parts[2] = {{.rows = 1, .input = p->input}, {.rows = rows - 1, .input = p->input + p->input_bytes}};
    for (int32_t o = 0; o < p->signature->output_count; o++) {
        memset(outputs[o], 0xff, (size_t)MAX_ROWS * rn_test_row_bytes(p, o));
        parts[0].outputs[o] = outputs[o];
        parts[1].outputs[o] = (char *)outputs[o] + rn_test_row_bytes(p, o);
    }
    rn_error err = {0};
    assert_int_equal(cpu->run(executor, p->signature, parts, rows > 1 ? 2 : 1, &err), RN_STATUS_OK);
    double worst = 0;
    for (int32_t o = 0; o < p->signature->output_count; o++) worst = fmax(worst, worst_error(p, o, rows, outputs[o]));
    return worst;
}

static void check_network(const rn_test_network *net, const rn_test_problem *p, const rn_plan *plan, const char *isa, int32_t threads)
{
    const rn_backend *cpu;
    rn_error err = {0};
    assert_int_equal(rn_backend_select("cpu", &cpu, &err), RN_STATUS_OK);
    rn_executor *executor;
    const rn_status status = cpu->prepare(plan, &(rn_backend_options){.max_batch = MAX_ROWS, .thread_count = threads, .isa = isa}, &executor, &err);
    if (status == RN_STATUS_DEVICE_FAILED) {
        printf("SKIP %s on %s: %s\n", net->name, isa, err.message);
        skipped++;
        return;
    }
    assert_int_equal(status, RN_STATUS_OK);
    void *outputs[RN_PLAN_MAX_OUTPUTS];
    for (int32_t o = 0; o < p->signature->output_count; o++) outputs[o] = malloc(MAX_ROWS * rn_test_row_bytes(p, o));

    double worst = 0;
    const int32_t batches[] = {1, 2, MAX_ROWS, 1};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) worst = fmax(worst, run_and_compare(p, executor, cpu, batches[i], outputs));
    printf("%-18s %-7s %d threads: worst error %.2e of the largest output, %2.0f %% of the allowance (%s)\n", net->name, isa, threads, worst,
           100 * worst / TOLERANCE, cpu->describe(executor));
    assert_true(worst <= TOLERANCE);

    for (int32_t o = 0; o < p->signature->output_count; o++) free(outputs[o]);
    cpu->destroy(executor);
}

static void networks_match_the_reference(void **state)
{
    (void)state;
    for (size_t n = 0; n < RN_TEST_NETWORK_COUNT; n++) {
        rn_plan *plan;
        rn_error err = {0};
        assert_int_equal(rn_synthetic_resnet(&rn_test_networks[n].options, &plan, &err), RN_STATUS_OK);
        rn_test_problem p = rn_test_problem_create(plan, MAX_ROWS);
        for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) check_network(&rn_test_networks[n], &p, plan, isas[i], 2);
        assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
        p.signature = &plan->signatures[0];
        for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
            for (int32_t threads = 1; threads <= 3; threads++) check_network(&rn_test_networks[n], &p, plan, isas[i], threads);
        }
        rn_test_problem_destroy(&p);
        rn_plan_destroy(plan);
    }
}

/* ---- zeros around the picture ---- */

static int32_t add_tensor(rn_plan *plan, const char *name, int32_t h, int32_t w, int32_t c)
{
    int32_t t;
    assert_int_equal(rn_plan_add_tensor(plan, name, RN_DTYPE_F32, h, w, c, &t, NULL), RN_STATUS_OK);
    return t;
}

static int32_t add_weights(rn_plan *plan, int32_t rank, const int32_t *dims)
{
    int32_t w;
    void *data;
    assert_int_equal(rn_plan_new_weights(plan, "weights", RN_DTYPE_F32, rank, dims, &data, &w, NULL), RN_STATUS_OK);
    for (int64_t i = 0; i < plan->weights[w].element_count; i++) ((float *)data)[i] = (float)(i * 37 % 101) / 101 - 0.4f;
    return w;
}

/* pads: top, left, bottom, right. y2: RN_NONE or the second output. */
static void add_conv(rn_plan *plan, int32_t x, int32_t y, int32_t y2, int32_t size, int32_t stride, const int32_t pads[4])
{
    const int32_t c = plan->tensors[x].c, k = plan->tensors[y].c;
    rn_op op = {.kind = RN_OP_CONV2D, .name = "conv", .inputs = {x, RN_NONE}, .outputs = {y, y2}};
    op.u.conv2d = (rn_conv2d_op){.r = size, .s = size, .stride_h = stride, .stride_w = stride, .pad_top = pads[0], .pad_left = pads[1],
                                 .pad_bottom = pads[2], .pad_right = pads[3], .groups = 1, .filter = add_weights(plan, 4, (int32_t[]){size, size, c, k}),
                                 .bias = RN_NONE, .scale2 = RN_NONE, .shift2 = RN_NONE};
    if (y2 != RN_NONE) {
        op.u.conv2d.scale2 = add_weights(plan, 1, &k);
        op.u.conv2d.shift2 = add_weights(plan, 1, &k);
    }
    assert_int_equal(rn_plan_add_op(plan, &op, NULL, NULL), RN_STATUS_OK);
}

static const int32_t no_pads[4] = {0};

/* A 1x1 convolution of stride 2 with two outputs, and a padded 3x3/2 that reads the first or the second of them. Both lie where the arena had the
 * picture before, so that their zeros do not come by themselves. */
static rn_plan *padded_plan(bool reads_second, const int32_t pads[4])
{
    enum { SIDE = 8, CHANNELS = 8 }; /* even: with one pixel of border after it the last window reads it */
    rn_plan *plan = rn_plan_create();
    const int32_t p = (SIDE + pads[0] + pads[2] - 3) / 2 + 1, q = (SIDE + pads[1] + pads[3] - 3) / 2 + 1;
    const int32_t x = add_tensor(plan, "x", 2 * SIDE, 2 * SIDE, 2 * CHANNELS), first = add_tensor(plan, "first", SIDE, SIDE, CHANNELS);
    const int32_t y = add_tensor(plan, "y", SIDE, SIDE, CHANNELS), y2 = add_tensor(plan, "y2", SIDE, SIDE, CHANNELS);
    const int32_t padded = add_tensor(plan, "padded", p, q, CHANNELS), other = add_tensor(plan, "other", SIDE, SIDE, CHANNELS);
    add_conv(plan, x, first, RN_NONE, 1, 2, no_pads);
    add_conv(plan, first, y, y2, 1, 1, no_pads);
    add_conv(plan, reads_second ? y2 : y, padded, RN_NONE, 3, 2, pads);
    add_conv(plan, reads_second ? y : y2, other, RN_NONE, 1, 1, no_pads);
    const int32_t ends[] = {x, padded, other};
    rn_tensor_spec specs[3];
    for (int i = 0; i < 3; i++) {
        const rn_plan_tensor *t = &plan->tensors[ends[i]];
        specs[i] = (rn_tensor_spec){.name = "", .dtype = RN_DTYPE_F32, .rank = 4, .dims = {-1, t->h, t->w, t->c}, .tensor = ends[i]};
        strcpy(specs[i].name, t->name);
    }
    const rn_signature signature = {.name = "serving_default", .input = specs[0], .outputs = {specs[1], specs[2]}, .output_count = 2};
    rn_error err = {0};
    assert_int_equal(rn_plan_add_signature(plan, &signature, NULL, NULL), RN_STATUS_OK);
    if (rn_plan_finish(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    return plan;
}

/* check_network runs a large batch between small ones: what it left in the arena must not be read as border. */
static void borders_are_zeros_in_every_batch(void **state)
{
    (void)state;
    static const int32_t pads[][4] = {{0, 0, 1, 1}, {1, 1, 1, 1}, {0, 0, 1, 0}, {0, 0, 0, 1}, {1, 0, 0, 0}, {0, 1, 0, 0}};
    for (size_t i = 0; i < 2 * sizeof pads / sizeof *pads; i++) {
        rn_test_network net = {.name = ""};
        char name[64];
        rn_plan *plan = padded_plan(i % 2, pads[i / 2]);
        rn_test_problem p = rn_test_problem_create(plan, MAX_ROWS);
        snprintf(name, sizeof name, "padded %d %d %d %d", pads[i / 2][0], pads[i / 2][1], pads[i / 2][2], pads[i / 2][3]);
        net.name = name;
        for (size_t j = 0; j < sizeof isas / sizeof *isas; j++) check_network(&net, &p, plan, isas[j], 2);
        rn_test_problem_destroy(&p);
        rn_plan_destroy(plan);
    }
}

/* More rows than a pass has, in one part, which is cut. */
static void parts_are_cut_into_passes(void **state)
{
    (void)state;
    const rn_backend *cpu;
    rn_executor *executor;
    rn_error err = {0};
    rn_plan *plan;
    assert_int_equal(rn_synthetic_resnet(&rn_test_networks[0].options, &plan, &err), RN_STATUS_OK);
    rn_test_problem p = rn_test_problem_create(plan, TWO_PASSES);
    assert_int_equal(rn_backend_select("cpu", &cpu, &err), RN_STATUS_OK);
    assert_int_equal(cpu->prepare(plan, &(rn_backend_options){.max_batch = TWO_PASSES, .thread_count = 1}, &executor, &err), RN_STATUS_OK);
    rn_batch_part part = {.rows = TWO_PASSES, .input = p.input};
    for (int32_t o = 0; o < p.signature->output_count; o++) part.outputs[o] = calloc(TWO_PASSES, rn_test_row_bytes(&p, o));
    assert_int_equal(cpu->run(executor, p.signature, &part, 1, &err), RN_STATUS_OK);
    for (int32_t o = 0; o < p.signature->output_count; o++) {
        assert_true(worst_error(&p, o, TWO_PASSES, part.outputs[o]) <= TOLERANCE);
        free(part.outputs[o]);
    }
    cpu->destroy(executor);
    rn_test_problem_destroy(&p);
    rn_plan_destroy(plan);
}

/* The published networks whole, as they are served: the machine's best kernels, one picture and a batch of copies of it, which take other
 * tiles; and deterministic, which is closer to the reference. */
static double run_full_size(const rn_test_problem *p, const rn_plan *plan, int32_t rows, bool deterministic, char description[256])
{
    const rn_backend *cpu;
    rn_error err = {0};
    rn_executor *executor;
    rn_batch_part parts[LARGE_BATCH];
    assert_int_equal(rn_backend_select("cpu", &cpu, &err), RN_STATUS_OK);
    assert_int_equal(cpu->prepare(plan, &(rn_backend_options){.max_batch = rows, .deterministic = deterministic}, &executor, &err), RN_STATUS_OK);
    for (int32_t i = 0; i < rows; i++) parts[i] = (rn_batch_part){.rows = 1, .input = p->input, .outputs = {malloc(rn_test_row_bytes(p, 0))}};
    assert_int_equal(cpu->run(executor, p->signature, parts, rows, &err), RN_STATUS_OK);
    double worst = 0;
    for (int32_t i = 0; i < rows; i++) {
        worst = fmax(worst, worst_error(p, 0, 1, parts[i].outputs[0]));
        free(parts[i].outputs[0]);
    }
    snprintf(description, 256, "%s", cpu->describe(executor));
    cpu->destroy(executor);
    return worst;
}

static void full_size_networks(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    printf("SKIP full-size networks: the thread sanitizer takes minutes for the reference\n");
    skipped++;
    return;
#endif
    const char *const names[] = {"resnet101_v1", "resnet101_v2"};
    const struct {
        int32_t rows;
        bool deterministic;
        double tolerance;
    } runs[] = {{1, false, TOLERANCE}, {LARGE_BATCH, false, TOLERANCE}, {1, true, DETERMINISTIC_TOLERANCE}};
    for (int i = 0; i < 2; i++) {
        rn_plan *plan;
        rn_error err = {0};
        char description[256];
        assert_int_equal(rn_synthetic_by_name(names[i], &plan, &err), RN_STATUS_OK);
        rn_test_problem p = rn_test_problem_create(plan, 1);
        assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
        p.signature = &plan->signatures[0];
        for (size_t j = 0; j < sizeof runs / sizeof *runs; j++) {
            const double worst = run_full_size(&p, plan, runs[j].rows, runs[j].deterministic, description);
            printf("%-18s batch %d%s worst error %.2e of the largest output, %2.0f %% of the allowance (%s)\n", names[i], runs[j].rows,
                   runs[j].deterministic ? ", deterministic" : "", worst, 100 * worst / runs[j].tolerance, description);
            assert_true(worst <= runs[j].tolerance);
        }
        rn_test_problem_destroy(&p);
        rn_plan_destroy(plan);
    }
}

/* ---- precisions ---- */

/* A hundred layers whose values are rounded to 8 bits, relative to the largest output: 2^-9 of a layer, times ten where they add up as errors of
 * independent sign do. */
static const double BF16_TOLERANCE = 2e-2;

static rn_status prepare(const rn_plan *plan, const rn_backend_options *options, const rn_backend **cpu, rn_executor **executor, rn_error *err)
{
    assert_int_equal(rn_backend_select("cpu", cpu, err), RN_STATUS_OK);
    return (*cpu)->prepare(plan, options, executor, err);
}

/* What bf16 is: with the instruction set's name chained weights alone, maps and weights, and where none is named what is faster. */
typedef struct {
    const char *isa, *described; /* NULL: any of the others */
    rn_isa needs;
} bf16_way;
static const bf16_way bf16_ways[] = {
    {"avx512", "cpu avx512 bf16, maps in f32,", RN_ISA_AVX512}, {"avx512_bf16", "cpu avx512_bf16 bf16,", RN_ISA_AVX512_BF16}, {NULL, NULL, RN_ISA_AVX512}};
enum { BF16_WAYS = sizeof bf16_ways / sizeof *bf16_ways };

/* False, and a counted SKIP, where this processor cannot. */
static bool have_bf16(const char *test, const bf16_way *way)
{
    if (rn_cpu_best_isa() >= way->needs) return true;
    printf("SKIP %s: this processor lacks %s\n", test, rn_isa_name(way->needs));
    skipped++;
    return false;
}

/* Largest error of the float outputs of rows [0, rows), which run together. */
static double bf16_error(const rn_test_problem *p, const rn_backend *cpu, rn_executor *executor, int32_t rows, void *const *outputs)
{
    rn_batch_part part = {.rows = rows, .input = p->input};
    rn_error err = {0};
    for (int32_t o = 0; o < p->signature->output_count; o++) part.outputs[o] = outputs[o];
    assert_int_equal(cpu->run(executor, p->signature, &part, 1, &err), RN_STATUS_OK);
    double worst = 0;
    for (int32_t o = 0; o < p->signature->output_count; o++) {
        if (p->signature->outputs[o].dtype == RN_DTYPE_F32) worst = fmax(worst, worst_error(p, o, rows, outputs[o]));
    }
    return worst;
}

static void check_bf16_network(const rn_test_network *net, const rn_test_problem *p, const rn_plan *plan, const bf16_way *way, int32_t threads,
                               bool deterministic)
{
    const rn_backend *cpu;
    rn_executor *executor;
    rn_error err = {0};
    const rn_backend_options options = {
        .max_batch = MAX_ROWS, .thread_count = threads, .deterministic = deterministic, .isa = way->isa, .precision = "bf16"};
    const rn_status status = prepare(plan, &options, &cpu, &executor, &err);
    if (status != RN_STATUS_OK) fail_msg("%s: %s", net->name, err.message);
    assert_non_null(strstr(cpu->describe(executor), way->described ? way->described : " bf16"));
    void *outputs[RN_PLAN_MAX_OUTPUTS], *alone[RN_PLAN_MAX_OUTPUTS];
    for (int32_t o = 0; o < p->signature->output_count; o++) {
        outputs[o] = malloc(MAX_ROWS * rn_test_row_bytes(p, o));
        alone[o] = malloc(MAX_ROWS * rn_test_row_bytes(p, o));
    }
    const double worst = fmax(bf16_error(p, cpu, executor, MAX_ROWS, outputs), bf16_error(p, cpu, executor, 1, alone));
    printf("%-18s bf16, %d threads: worst error %.2e of the largest output, %2.0f %% of the allowance (%s)\n", net->name, threads, worst,
           100 * worst / BF16_TOLERANCE, cpu->describe(executor));
    assert_true(worst <= BF16_TOLERANCE);
    for (int32_t o = 0; o < p->signature->output_count; o++) {
        if (deterministic) assert_memory_equal(outputs[o], alone[o], rn_test_row_bytes(p, o));
        free(outputs[o]), free(alone[o]);
    }
    cpu->destroy(executor);
}

static void bf16_matches_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < BF16_WAYS * (RN_TEST_NETWORK_COUNT); i++) {
        const rn_test_network *net = &rn_test_networks[i / BF16_WAYS];
        const bf16_way *way = &bf16_ways[i % BF16_WAYS];
        if (i / BF16_WAYS > 0 && !way->isa) continue; /* one of the others again: one network shows it */
        if (!have_bf16("networks in bf16", way)) continue;
        rn_plan *plan;
        rn_error err = {0};
        assert_int_equal(rn_synthetic_resnet(&net->options, &plan, &err), RN_STATUS_OK);
        rn_test_problem p = rn_test_problem_create(plan, MAX_ROWS);
        check_bf16_network(net, &p, plan, way, 2, false);
        assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
        p.signature = &plan->signatures[0];
        for (int32_t threads = 1; threads <= 3; threads++) check_bf16_network(net, &p, plan, way, threads, threads == 2);
        rn_test_problem_destroy(&p);
        rn_plan_destroy(plan);
    }
}

/* y = x + offset, then minus offset, behind a convolution that does nothing: in bf16 the sum forgets x. What the first two convolutions read is f32. */
static rn_plan *forgetful_plan(float offset)
{
    enum { CHANNELS = 16 };
    rn_error err = {0};
    rn_plan *plan = rn_plan_create();
    enum { CONVS = 3 };
    const float offsets[CONVS] = {0, offset, -offset};
    int32_t tensors[CONVS + 2], filter, biases[CONVS];
    void *data;
    const int32_t dims[] = {1, 1, CHANNELS, CHANNELS}, channels = CHANNELS;
    static const char *const names[CONVS + 1] = {"x", "copy", "sum", "rest"};
    for (int i = 0; i <= CONVS; i++) rn_plan_add_tensor(plan, names[i], RN_DTYPE_F32, 8, 8, CHANNELS, &tensors[i], &err);
    rn_plan_add_tensor(plan, "mean", RN_DTYPE_F32, 1, 1, CHANNELS, &tensors[CONVS + 1], &err);
    assert_int_equal(rn_plan_new_weights(plan, "filter", RN_DTYPE_F32, 4, dims, &data, &filter, &err), RN_STATUS_OK);
    for (int i = 0; i < CHANNELS; i++) ((float *)data)[i * CHANNELS + i] = 1;
    for (int i = 0; i < CONVS; i++) {
        assert_int_equal(rn_plan_new_weights(plan, "bias", RN_DTYPE_F32, 1, &channels, &data, &biases[i], &err), RN_STATUS_OK);
        for (int c = 0; c < CHANNELS; c++) ((float *)data)[c] = offsets[i];
    }
    for (int i = 0; i < CONVS; i++) {
        const rn_op op = {.kind = RN_OP_CONV2D, .name = "shift", .inputs = {tensors[i], RN_NONE}, .outputs = {tensors[i + 1], RN_NONE},
                          .u.conv2d = {.r = 1, .s = 1, .stride_h = 1, .stride_w = 1, .groups = 1, .filter = filter, .bias = biases[i],
                                       .scale2 = RN_NONE, .shift2 = RN_NONE}};
        assert_int_equal(rn_plan_add_op(plan, &op, NULL, &err), RN_STATUS_OK);
    }
    const rn_op mean = {.kind = RN_OP_GLOBAL_AVERAGE_POOL, .name = "mean", .inputs = {tensors[CONVS], RN_NONE}, .outputs = {tensors[CONVS + 1], RN_NONE}};
    assert_int_equal(rn_plan_add_op(plan, &mean, NULL, &err), RN_STATUS_OK);
    rn_signature signature = {.name = "serving_default", .output_count = 1,
                              .input = {.name = "x", .dtype = RN_DTYPE_F32, .rank = 4, .dims = {-1, 8, 8, CHANNELS}, .tensor = tensors[0]}};
    signature.outputs[0] = (rn_tensor_spec){.name = "y", .dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, CHANNELS}, .tensor = tensors[CONVS + 1]};
    assert_int_equal(rn_plan_add_signature(plan, &signature, NULL, &err), RN_STATUS_OK);
    if (rn_plan_finish(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    return plan;
}

static void log_line(void *context, const char *line)
{
    snprintf(context, 256, "%s", line);
}

/* A network that does not bear bf16 is refused with the figure, or served in fp32 when the backend may choose. */
static void the_self_test_decides(void **state)
{
    (void)state;
    if (!have_bf16("self-test of bf16", &bf16_ways[1])) return;
    char line[256] = "";
    const rn_backend *cpu;
    rn_executor *executor;
    rn_error err = {0};
    rn_backend_options options = {.max_batch = 2, .thread_count = 1, .isa = "avx512_bf16", .precision = "bf16", .log = log_line, .log_context = line};
    rn_plan *plan = forgetful_plan(1000);
    assert_int_equal(prepare(plan, &options, &cpu, &executor, &err), RN_STATUS_UNSUPPORTED);
    printf("%s\n", err.message);
    assert_non_null(strstr(err.message, "precision bf16: outputs of the self-test differ from fp32 by "));
    assert_non_null(strstr(err.message, "fp32"));
    options.precision = "auto";
    assert_int_equal(prepare(plan, &options, &cpu, &executor, &err), RN_STATUS_OK);
    assert_non_null(strstr(cpu->describe(executor), ", auto: bf16 fails the self-test"));
    assert_non_null(strstr(line, "differ from fp32 by"));
    cpu->destroy(executor);
    rn_plan_destroy(plan);

    plan = forgetful_plan(0);
    assert_int_equal(prepare(plan, &options, &cpu, &executor, &err), RN_STATUS_OK);
    assert_non_null(strstr(cpu->describe(executor), ", auto: bf16 takes "));
    cpu->destroy(executor);
    rn_plan_destroy(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_match_the_reference),
        cmocka_unit_test(borders_are_zeros_in_every_batch),
        cmocka_unit_test(parts_are_cut_into_passes),
        cmocka_unit_test(full_size_networks),
        cmocka_unit_test(bf16_matches_the_reference),
        cmocka_unit_test(the_self_test_decides),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("%d SKIP\n", skipped);
    return failed;
}
