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

static bool is_slot(const entry *e, const char *slot)
{
    return strcmp(e->slot, slot) == 0;
}

/* Whether its weights are chained bf16. */
static bool is_chained(const entry *e)
{
    return is_slot(e, "conv2d_tile_chained");
}

/* Transforms of bytes: not every machine that multiplies bytes takes them, so that they have a line of their own. */
static bool is_winograd(const entry *e)
{
    return is_slot(e, "winograd_input") && e->dtype == RN_DTYPE_U8;
}

/* Whether it runs, or does most of, the layer. Dense layers are convolutions of one pixel, which no network has in bytes; convolutions of 3x3 take
 * Winograd's transforms along where the engine decides so. */
static bool serves(const entry *e, const rn_layer_shape *shape)
{
    const bool conv = strcmp(shape->op, "conv2d") == 0, dense = strcmp(shape->op, "dense") == 0;
    if (is_slot(e, "scale_shift")) return strcmp(shape->op, e->dtype == RN_DTYPE_U8 ? "scale_shift_u8" : "scale_shift") == 0;
    if (conv && (is_winograd(e) || is_slot(e, "winograd_filter"))) {
        return shape->r == 3 && shape->s == 3 && shape->stride == 1 && shape->c % 16 == 0 && shape->k % 16 == 0;
    }
    if (conv || dense) return is_chained(e) || (is_slot(e, "conv2d_tile") && (conv || e->dtype != RN_DTYPE_U8));
    return is_slot(e, shape->op);
}

/* Whether the layer has to be that of a quantised network: what scales the bytes of a picture is not. */
static bool is_quantised(const entry *e)
{
    return is_slot(e, "quantize") || (e->dtype == RN_DTYPE_U8 && !is_slot(e, "scale_shift"));
}

/* Channels of a neighbour's groups, by which the engine keeps the layer's maps as the entry wants them: a pair for bf16, and four for bytes, which
 * is the least that is quantised. */
static int32_t group_of(const entry *e)
{
    return is_quantised(e) ? 4 : e->dtype == RN_DTYPE_BF16 || is_chained(e) ? 2 : 0;
}

/* f32: the sums of the largest layer and the transforms of Winograd, what the engine's own tests allow. bf16: inputs, weights and results
 * are rounded to 8 bits, 2^-9 each, and a largest of thousands lies a few deviations out. Sums of bytes are exact,
 * and all kernels scale them by the same operations; but for Winograd, whose points are bf16. */
static double allowed_error(const entry *e)
{
    if (is_winograd(e) || e->dtype == RN_DTYPE_BF16 || is_chained(e)) return 2e-2;
    return is_quantised(e) ? 0 : 1e-4;
}

static double value_at(const void *values, rn_dtype dtype, int64_t i)
{
    if (dtype == RN_DTYPE_U8) return ((const uint8_t *)values)[i];
    return dtype == RN_DTYPE_I32 ? ((const int32_t *)values)[i] : (double)((const float *)values)[i];
}

/* Raises the largest difference and the largest magnitude in b by those of [count] values. */
static void compare(const void *a, const void *b, rn_dtype dtype, int64_t count, double *worst, double *largest)
{
    for (int64_t i = 0; i < count; i++) {
        const double x = value_at(a, dtype, i), y = value_at(b, dtype, i);
        if (!(fabs(x - y) <= *worst)) *worst = fabs(x - y);
        if (fabs(y) > *largest) *largest = fabs(y);
    }
}

/* Largest difference between the outputs and maps of two runners, relative to the largest value. Indexes and bytes count as numbers. */
static double difference(const bench_runner *a, const bench_runner *b)
{
    double worst = 0, largest = 0;
    for (int32_t o = 0; o < a->signature->output_count; o++) {
        const rn_plan_tensor *tensor = &a->plan->tensors[a->signature->outputs[o].tensor];
        compare(a->part.outputs[o], b->part.outputs[o], tensor->dtype, a->part.rows * rn_plan_tensor_elements(tensor), &worst, &largest);
    }
    if (a->part.maps) {
        const int64_t positions = rn_plan_tensor_elements(&a->plan->tensors[a->signature->explanation]);
        compare(a->part.maps, b->part.maps, RN_DTYPE_F32, a->part.rows * positions, &worst, &largest);
    }
    return largest > 0 ? worst / largest : worst;
}

/* Of the layer alone, in all passes of a run. */
typedef struct {
    int32_t op;
    double seconds;
} stopwatch;

static void watch_layer(void *context, int32_t op, double seconds)
{
    stopwatch *w = context;
    if (op == w->op) w->seconds += seconds;
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

typedef struct {
    char label[256];
    double flops, bytes; /* 0: moves data only; what it reads and writes */
} work;

static void report(const setting *s, const entry *e, const work *done, double seconds, double error)
{
    const double gflops = 1e-9 * done->flops / seconds, gb_per_s = 1e-9 * done->bytes / seconds, peak = 1e-9 * s->peaks[e->dtype][e->isa];
    char rate[64];
    if (s->options->json) {
        bench_record_print(json_pack("{ss ss ss ss ss si si sf sf sf sf sf sf}", "measures", "kernel", "operation", done->label, "kernel",
                                     e->symbol, "dtype", rn_dtype_tf_name(e->dtype), "isa", rn_isa_name(e->isa), "batch", s->batch,
                                     "threads", s->threads, "median_us", 1e6 * seconds, "gflops", gflops, "gb_per_s", gb_per_s, "peak_gflops", peak,
                                     "peak_gb_per_s", 1e-9 * s->bandwidth, "error", error));
        return;
    }
    if (gflops > 0 && peak > 0) snprintf(rate, sizeof rate, "%7.1f GFLOP/s %5.1f%%", gflops, 100 * gflops / peak);
    else if (gflops > 0) snprintf(rate, sizeof rate, "%7.1f GFLOP/s", gflops);
    else snprintf(rate, sizeof rate, "%7.1f GB/s", gb_per_s);
    printf("%9.1f us  %-24s error %.1e  %-40s %s\n", 1e6 * seconds, rate, error, e->symbol, done->label);
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
    if (is_winograd(e)) return rn__cpu_class_tile(r->executor, op, r->part.rows >= RN__CPU_LARGE_BATCH) > 0;
    return !is_chained(e) || rn__cpu_conv2d_args(r->executor, op, 1).chained;
}

static double measure(const setting *s, bench_runner *r)
{
    stopwatch w = {.op = (int32_t)(bench_layer_op(r->plan) - r->plan->ops)};
    rn_cpu_executor_observe(r->executor, watch_layer, &w);
    const double end = bench_now() + s->options->seconds;
    int32_t count = 0;
    while (count < 5 || (count < BENCH_MAX_RUNS && bench_now() < end)) {
        w.seconds = 0;
        bench_runner_run(r);
        s->times[count++] = w.seconds;
    }
    bench_sort(s->times, count);
    return bench_percentile(s->times, count, 50);
}

static void bench_shape(const setting *s, const entry *e, const rn_layer_shape *shape)
{
    rn_plan *plan = bench_layer_plan(shape, group_of(e), is_quantised(e));
    bench_runner r, oracle;
    rn_backend backend = rn_cpu_backend;
    rn_backend_options options = {.max_batch = s->batch, .thread_count = s->threads, .isa = rn_isa_name(e->isa)};
    if (e->dtype == RN_DTYPE_BF16) backend.prepare = prepare_bf16;
    if (is_chained(e)) backend.prepare = prepare_chained;
    bench_runner_init(&r, plan, &backend, &options);
    options.isa = rn_isa_name(RN_ISA_SCALAR);
    bench_runner_init(&oracle, plan, &rn_cpu_backend, &options);
    if (is_slot(e, "class_map")) bench_runner_explain(&r), bench_runner_explain(&oracle);
    bench_runner_run(&r);
    bench_runner_run(&oracle);
    const double error = difference(&r, &oracle);
    if (!(error <= allowed_error(e))) {
        bench_fail("%s, %s %dx%dx%d: differs from the reference by %.1e, nothing is timed", e->symbol, shape->op, shape->h, shape->w,
                   shape->c, error);
    }
    const rn_op *op = bench_layer_op(plan);
    work done = {.flops = bench_op_flops(plan, op) * s->batch, .bytes = bench_op_bytes(plan, op, s->batch)};
    bench_op_label(plan, op, done.label, sizeof done.label);
    if (is_run(&r, e, op)) report(s, e, &done, measure(s, &r), error);
    bench_runner_deinit(&oracle);
    bench_runner_deinit(&r);
    rn_plan_destroy(plan);
}

/* The points of a whole filter, a panel of so many output channels at a time. */
typedef struct {
    rn_winograd_filter_fn *run;
    rn_winograd_filter_args args; /* of the first panel */
} filter_transform;

static void transform_filter(void *context)
{
    const filter_transform *t = context;
    rn_winograd_filter_args args = t->args;
    for (; args.k_begin < args.k; args.k_begin += args.lanes) {
        t->run(&args);
        args.panel += (args.m + 2) * (args.m + 2) * args.c * args.lanes;
    }
}

/* What happens when a model is loaded is in no run: the kernel by itself, which gives the same bits as the reference. */
static void bench_filter_transform(const setting *s, const entry *e, const rn_layer_shape *shape)
{
    enum { M = 4, LANES = 16, TAPS = 9, POINTS = (M + 2) * (M + 2) };
    const size_t weights = (size_t)shape->c * (size_t)shape->k, bytes = POINTS * weights * sizeof(float);
    rn_cpu_kernels table;
    rn_cpu_kernels_select(e->isa, &table);
    float *filter = bench_allocate(TAPS * weights * sizeof *filter), *points = bench_allocate(bytes), *expected = bench_allocate(bytes);
    for (size_t i = 0; i < TAPS * weights; i++) filter[i] = sinf((float)i);
    const rn_winograd_filter_args args = {.filter = filter, .m = M, .c = shape->c, .k = shape->k, .c_end = shape->c, .lanes = LANES, .panel = points};
    filter_transform ours = {table.winograd_filter[RN_DTYPE_F32].run, args}, oracle = {rn_winograd_filter_f32__ref, args};
    oracle.args.panel = expected;
    transform_filter(&ours);
    transform_filter(&oracle);
    if (memcmp(points, expected, bytes) != 0) bench_fail("%s, 3x3x%dx%d: differs from the reference, nothing is timed", e->symbol, shape->c, shape->k);
    work done = {.bytes = (double)(bytes + TAPS * weights * sizeof *filter)};
    snprintf(done.label, sizeof done.label, "winograd_filter m=%d 3x3x%dx%d", M, shape->c, shape->k);
    const int32_t runs = bench_time(transform_filter, &ours, s->options->seconds, s->times);
    report(s, e, &done, bench_percentile(s->times, runs, 50), 0);
    free(filter), free(points), free(expected);
}

static void bench_entries(const setting *s, const rn_layer_shape *shape)
{
    int served = 0;
    for (int i = 0; i < ENTRY_COUNT; i++) {
        const entry *e = &entries[i];
        if (!serves(e, shape)) continue;
        if (e->isa <= s->isa) (is_slot(e, "winograd_filter") ? bench_filter_transform : bench_shape)(s, e, shape);
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
        if (e->isa > s->isa || !is_slot(e, "conv2d_tile")) continue;
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
