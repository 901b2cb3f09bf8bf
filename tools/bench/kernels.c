/* `resnet-bench kernels`: every layer shape by itself. A result is held against the reference kernels before it is timed, and stands beside
 * the peak that this processor showed in the same run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu_backend.h"
#include "kernels/base/version.h"
#include "tools/bench/failure.h"
#include "tools/bench/layer_plan.h"
#include "tools/bench/options.h"
#include "tools/bench/peak.h"
#include "tools/bench/record.h"
#include "tools/bench/runner.h"
#include "tools/bench/timing.h"

/* f32 with the sums of the largest layer and the transforms of Winograd F(4): what the engine's own tests allow. */
static const double allowed_error = 1e-4;

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

/* Of the last operation alone: what comes before it only makes its residual. */
typedef struct {
    int32_t op, count;
    double *times;
} stopwatch;

static void watch_last(void *context, int32_t op, double seconds)
{
    stopwatch *w = context;
    if (op == w->op && w->count < BENCH_MAX_RUNS) w->times[w->count++] = seconds;
}

/* What holds for all shapes of a run. */
typedef struct {
    const bench_options *options;
    rn_isa isa;
    int32_t batch, threads;
    double peak; /* operations a second of all threads; 0: not known */
    double *times;
} setting;

static void report(const setting *s, const rn_plan *plan, double seconds, double error)
{
    const rn_op *op = &plan->ops[plan->op_count - 1];
    const double flops = bench_op_flops(plan, op) * s->batch, bytes = bench_op_bytes(plan, op) * s->batch;
    char label[256], rate[64];
    bench_op_label(plan, op, label, sizeof label);
    if (s->options->json) {
        bench_record_print(json_pack("{ss ss ss ss si si sf sf sf sf sf}", "measures", "kernel", "operation", label, "dtype", "f32", "isa",
                                     rn_isa_name(s->isa), "batch", s->batch, "threads", s->threads, "median_us", 1e6 * seconds, "gflops",
                                     1e-9 * flops / seconds, "gb_per_s", 1e-9 * bytes / seconds, "peak_gflops", 1e-9 * s->peak, "error", error));
        return;
    }
    if (flops > 0 && s->peak > 0) snprintf(rate, sizeof rate, "%7.1f GFLOP/s %5.1f%%", 1e-9 * flops / seconds, 100 * flops / seconds / s->peak);
    else if (flops > 0) snprintf(rate, sizeof rate, "%7.1f GFLOP/s", 1e-9 * flops / seconds);
    else snprintf(rate, sizeof rate, "%7.1f GB/s", 1e-9 * bytes / seconds);
    printf("%9.1f us  %-24s error %.1e  %s\n", 1e6 * seconds, rate, error, label);
    fflush(stdout);
}

static void bench_shape(const setting *s, const rn_layer_shape *shape)
{
    rn_plan *plan = bench_layer_plan(shape);
    bench_runner r, oracle;
    rn_backend_options options = {.max_batch = s->batch, .thread_count = s->threads, .isa = rn_isa_name(s->isa)};
    bench_runner_init(&r, plan, "cpu", &options);
    options.isa = rn_isa_name(RN_ISA_SCALAR);
    bench_runner_init(&oracle, plan, "cpu", &options);
    bench_runner_run(&r);
    bench_runner_run(&oracle);
    const double error = difference(&r, &oracle);
    if (!(error <= allowed_error))
        bench_fail("%s %dx%dx%d: differs from the reference by %.1e, nothing is timed", shape->op, shape->h, shape->w, shape->c, error);

    stopwatch w = {.op = plan->op_count - 1, .times = s->times};
    rn_cpu_executor_observe(r.executor, watch_last, &w);
    for (const double start = bench_now(); w.count < 5 || (w.count < BENCH_MAX_RUNS && bench_now() - start < s->options->seconds);)
        bench_runner_run(&r);
    bench_sort(s->times, w.count);
    report(s, plan, bench_percentile(s->times, w.count, 50), error);
    bench_runner_deinit(&oracle);
    bench_runner_deinit(&r);
    rn_plan_destroy(plan);
}

int bench_kernels(const bench_options *o)
{
    FILE *file = fopen(o->shapes, "r");
    if (!file) bench_fail("cannot read %s", o->shapes);
    setting s = {.options = o, .isa = o->isa, .threads = o->threads ? o->threads : 1};
    s.peak = bench_peak_f32(s.isa) * s.threads;
    s.times = bench_allocate(BENCH_MAX_RUNS * sizeof *s.times);
    if (!o->json) {
        printf("%s, fp32 %s, peak %.1f GFLOP/s of %d threads, commit %s\n", rn_cpu_model(), rn_isa_name(s.isa), 1e-9 * s.peak, s.threads,
               rn_commit);
    }
    rn_layer_shape shape;
    bool bad = false;
    for (int32_t i = 0; i < o->batch.count; i++) {
        s.batch = o->batch.values[i];
        if (!o->json) printf("batch %d; weights and activations warm\n", s.batch);
        rewind(file);
        while (rn_layer_shape_read(file, &shape, &bad)) bench_shape(&s, &shape);
    }
    if (bad) bench_fail("%s: the line after %s %dx%dx%d is no shape", o->shapes, shape.op, shape.h, shape.w, shape.c);
    free(s.times);
    fclose(file);
    return 0;
}
