/* `resnet-bench kernels`: every kernel of the list on every layer shape that it serves, through the engine. A result is held against the
 * reference kernels before it is timed, and stands beside the peak that this processor showed in the same run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu_executor.h"
#include "kernels/base/version.h"
#include "tools/bench/failure.h"
#include "tools/bench/layer_plan.h"
#include "tools/bench/options.h"
#include "tools/bench/peak.h"
#include "tools/bench/record.h"
#include "tools/bench/runner.h"
#include "tools/bench/timing.h"

/* THE list of kernels: each entry is measured on every layer that it serves. */
typedef struct {
    const char *slot, *symbol;
    rn_dtype dtype; /* of x */
    rn_isa isa;
} entry;

static const entry entries[] = {
    {"conv2d_tile", "OpenBLAS", RN_DTYPE_F32, RN_ISA_SCALAR}, /* what the engine runs without vector kernels of ours */
#define RN_CPU_KERNEL(slot, dtype, symbol, isa, rows, lanes) {#slot, #symbol, RN_DTYPE_##dtype, RN_ISA_##isa},
#include "kernels/cpu/cpu_kernels.def"
#undef RN_CPU_KERNEL
};
enum { ENTRY_COUNT = sizeof entries / sizeof *entries };

/* The slot whose kernels do most of a layer. Convolutions of 3x3 may take Winograd's transforms along, as the engine decides; dense layers
 * are convolutions of one pixel. */
static const char *slot_of(const rn_layer_shape *shape)
{
    if (strcmp(shape->op, "conv2d") == 0 || strcmp(shape->op, "dense") == 0) return "conv2d_tile";
    return strcmp(shape->op, "scale_shift_u8") == 0 ? "scale_shift" : shape->op;
}

/* Types that a plan of one layer can be run in; 8-bit layers need the steps of a calibrated network. */
static bool has_precision(rn_dtype dtype)
{
    return dtype == RN_DTYPE_F32 || dtype == RN_DTYPE_BF16;
}

/* Whether its weights are chained bf16. */
static bool is_chained(const entry *e)
{
    return strcmp(e->slot, "conv2d_tile_chained") == 0;
}

static bool serves(const entry *e, const rn_layer_shape *shape)
{
    const bool pixels = strcmp(shape->op, "scale_shift_u8") == 0;
    const bool slot = strcmp(e->slot, slot_of(shape)) == 0 || (is_chained(e) && strcmp(slot_of(shape), "conv2d_tile") == 0);
    return slot && (pixels ? e->dtype == RN_DTYPE_U8 : has_precision(e->dtype));
}

/* f32: the sums of the largest layer and the transforms of Winograd, what the engine's own tests allow. bf16: inputs, weights and results
 * are rounded to 8 bits, 2^-9 each, and a largest of thousands lies a few deviations out. */
static double allowed_error(const entry *e)
{
    return e->dtype == RN_DTYPE_BF16 || is_chained(e) ? 2e-2 : 1e-4;
}

/* Largest difference between the outputs of two runners, relative to the largest value. Indexes count as numbers. */
static double difference(const bench_runner *a, const bench_runner *b)
{
    double worst = 0, largest = 0;
    for (int32_t o = 0; o < a->signature->output_count; o++) {
        const rn_plan_tensor *tensor = &a->plan->tensors[a->signature->outputs[o].tensor];
        for (int64_t i = 0; i < a->part.rows * rn_plan_tensor_elements(tensor); i++) {
            const bool integer = tensor->dtype == RN_DTYPE_I32;
            const double x = integer ? ((const int32_t *)a->part.outputs[o])[i] : ((const float *)a->part.outputs[o])[i];
            const double y = integer ? ((const int32_t *)b->part.outputs[o])[i] : ((const float *)b->part.outputs[o])[i];
            if (!(fabs(x - y) <= worst)) worst = fabs(x - y);
            if (fabs(y) > largest) largest = fabs(y);
        }
    }
    return largest > 0 ? worst / largest : worst;
}

/* Of the layer alone. */
typedef struct {
    int32_t op, count;
    double *times;
} stopwatch;

static void watch_layer(void *context, int32_t op, double seconds)
{
    stopwatch *w = context;
    if (op == w->op && w->count < BENCH_MAX_RUNS) w->times[w->count++] = seconds;
}

/* What holds for all shapes of a run. */
typedef struct {
    const bench_options *options;
    rn_isa isa;
    int32_t batch, threads;
    double peaks[RN_DTYPE_COUNT][RN_ISA_COUNT]; /* operations a second of all threads; 0: not known */
    double bandwidth;                           /* bytes a second of one core */
    double *times;
} setting;

static void report(const setting *s, const entry *e, const rn_plan *plan, double seconds, double error)
{
    const rn_op *op = bench_layer_op(plan);
    const double gflops = 1e-9 * bench_op_flops(plan, op) * s->batch / seconds, peak = 1e-9 * s->peaks[e->dtype][e->isa];
    const double gb_per_s = 1e-9 * bench_op_bytes(plan, op, s->batch) / seconds;
    char label[256], rate[64];
    bench_op_label(plan, op, label, sizeof label);
    if (s->options->json) {
        bench_record_print(json_pack("{ss ss ss ss ss si si sf sf sf sf sf sf}", "measures", "kernel", "operation", label, "kernel",
                                     e->symbol, "dtype", rn_dtype_tf_name(e->dtype), "isa", rn_isa_name(e->isa), "batch", s->batch,
                                     "threads", s->threads, "median_us", 1e6 * seconds, "gflops", gflops, "gb_per_s", gb_per_s, "peak_gflops", peak,
                                     "peak_gb_per_s", 1e-9 * s->bandwidth, "error", error));
        return;
    }
    if (gflops > 0 && peak > 0) snprintf(rate, sizeof rate, "%7.1f GFLOP/s %5.1f%%", gflops, 100 * gflops / peak);
    else if (gflops > 0) snprintf(rate, sizeof rate, "%7.1f GFLOP/s", gflops);
    else snprintf(rate, sizeof rate, "%7.1f GB/s", gb_per_s);
    printf("%9.1f us  %-24s error %.1e  %-40s %s\n", 1e6 * seconds, rate, error, e->symbol, label);
    fflush(stdout);
}

/* Without the backend's self-test, which decides whether a network bears bf16: one layer with made-up weights is no network. */
static rn_status prepare_bf16(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    return rn__cpu_create(plan, options, (rn__cpu_types){.maps = RN_DTYPE_BF16, .weights = RN_DTYPE_BF16}, out, err);
}

static rn_status prepare_chained(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    return rn__cpu_create(plan, options, (rn__cpu_types){.maps = RN_DTYPE_F32, .weights = RN_DTYPE_BF16}, out, err);
}

/* Whether the engine runs the layer by the entry's kernel. It keeps in f32 what does not pay: three channels are no whole steps of two. */
static bool is_run(const bench_runner *r, const entry *e, const rn_op *op)
{
    if (r->executor->tensors[op->inputs[0]].dtype != e->dtype) return false;
    return !is_chained(e) || rn__cpu_conv2d_args(r->executor, op, 1).chained;
}

static double measure(const setting *s, bench_runner *r)
{
    stopwatch w = {.op = (int32_t)(bench_layer_op(r->plan) - r->plan->ops), .times = s->times};
    rn_cpu_executor_observe(r->executor, watch_layer, &w);
    const double end = bench_now() + s->options->seconds;
    while (w.count < 5 || (w.count < BENCH_MAX_RUNS && bench_now() < end)) bench_runner_run(r);
    bench_sort(s->times, w.count);
    return bench_percentile(s->times, w.count, 50);
}

static void bench_shape(const setting *s, const entry *e, const rn_layer_shape *shape)
{
    rn_plan *plan = bench_layer_plan(shape, (e->dtype == RN_DTYPE_BF16 || is_chained(e)) && shape->c % 2 == 0);
    bench_runner r, oracle;
    rn_backend backend = rn_cpu_backend;
    rn_backend_options options = {.max_batch = s->batch, .thread_count = s->threads, .isa = rn_isa_name(e->isa)};
    if (e->dtype == RN_DTYPE_BF16) backend.prepare = prepare_bf16;
    if (is_chained(e)) backend.prepare = prepare_chained;
    bench_runner_init(&r, plan, &backend, &options);
    options.isa = rn_isa_name(RN_ISA_SCALAR);
    bench_runner_init(&oracle, plan, &rn_cpu_backend, &options);
    bench_runner_run(&r);
    bench_runner_run(&oracle);
    const double error = difference(&r, &oracle);
    if (!(error <= allowed_error(e))) {
        bench_fail("%s, %s %dx%dx%d: differs from the reference by %.1e, nothing is timed", e->symbol, shape->op, shape->h, shape->w,
                   shape->c, error);
    }
    if (is_run(&r, e, bench_layer_op(plan))) report(s, e, plan, measure(s, &r), error);
    bench_runner_deinit(&oracle);
    bench_runner_deinit(&r);
    rn_plan_destroy(plan);
}

static void bench_entries(const setting *s, const rn_layer_shape *shape)
{
    int served = 0;
    for (int i = 0; i < ENTRY_COUNT; i++) {
        if (!serves(&entries[i], shape)) continue;
        if (entries[i].isa <= s->isa) bench_shape(s, &entries[i], shape);
        served++;
    }
    if (served == 0) bench_fail("%s: no kernel of the list does %s", s->options->shapes, shape->op);
}

static void measure_peaks(setting *s)
{
    s->bandwidth = bench_peak_bandwidth();
    for (int i = 0; i < ENTRY_COUNT; i++) {
        const entry *e = &entries[i];
        double *peak = &s->peaks[e->dtype][e->isa];
        if (e->isa > s->isa || strcmp(e->slot, "conv2d_tile") != 0 || !has_precision(e->dtype)) continue;
        *peak = bench_peak(e->dtype, e->isa) * s->threads;
        if (s->options->json || *peak == 0) continue;
        printf("%s %s: peak %.1f GFLOP/s, %d thread(s)\n", rn_isa_name(e->isa), rn_dtype_tf_name(e->dtype), 1e-9 * *peak, s->threads);
    }
    if (!s->options->json) printf("memory %.1f GB/s a core\n", 1e-9 * s->bandwidth);
}

int bench_kernels(const bench_options *o)
{
    FILE *file = fopen(o->shapes, "r");
    if (!file) bench_fail("cannot read %s", o->shapes);
    setting s = {.options = o, .isa = o->isa == (rn_isa)BENCH_ISA_BEST ? rn_cpu_best_isa() : o->isa, .threads = o->threads ? o->threads : 1};
    s.times = bench_allocate(BENCH_MAX_RUNS * sizeof *s.times);
    if (!o->json) printf("%s, commit %s\n", rn_cpu_model(), rn_commit);
    measure_peaks(&s);
    rn_layer_shape shape;
    bool bad = false;
    for (int32_t i = 0; i < o->batch.count; i++) {
        s.batch = o->batch.values[i];
        if (!o->json) printf("batch %d; weights and activations warm\n", s.batch);
        rewind(file);
        while (rn_layer_shape_read(file, &shape, &bad)) {
            bench_entries(&s, &shape);
        }
    }
    if (bad) bench_fail("%s: the line after %s %dx%dx%d is no shape", o->shapes, shape.op, shape.h, shape.w, shape.c);
    free(s.times);
    fclose(file);
    return 0;
}
