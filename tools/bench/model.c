/* `resnet-bench model`: whole runs of a network through a backend, as the server's executor thread calls it, without HTTP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu_backend.h"
#include "kernels/base/cpu_features.h"
#include "kernels/base/version.h"
#include "tools/bench/failure.h"
#include "tools/bench/load_plan.h"
#include "tools/bench/options.h"
#include "tools/bench/record.h"
#include "tools/bench/runner.h"
#include "tools/bench/timing.h"

static void report(const bench_runner *r, const bench_options *o, const double *times, int32_t count)
{
    const double ms[] = {1e3 * times[0], 1e3 * bench_percentile(times, count, 50), 1e3 * bench_percentile(times, count, 90),
                         1e3 * bench_percentile(times, count, 99)};
    const double rows_per_s = 1e3 * r->part.rows / ms[1];
    const double gflops = 2e-9 * (double)rn_plan_multiply_count(r->plan, r->signature) * rows_per_s;
    const char *backend = r->backend->describe(r->executor);
    if (o->json) {
        bench_record_print(json_pack("{ss ss ss si sf sf sf sf sf sf si}", "measures", "model", "model", r->plan->architecture, "backend",
                                     backend, "batch", r->part.rows, "best_ms", ms[0], "median_ms", ms[1], "p90_ms", ms[2], "p99_ms", ms[3],
                                     "rows_per_s", rows_per_s, "gflops", gflops, "runs", count));
    } else {
        printf("batch %-3d  p50 %8.2f ms  p90 %8.2f  p99 %8.2f  best %8.2f  %8.2f rows/s  %7.1f GFLOP/s  %d runs  (%s)\n", r->part.rows, ms[1],
               ms[2], ms[3], ms[0], rows_per_s, gflops, count, backend);
    }
    fflush(stdout);
}

/* ---- layers ---- */

static void add_seconds(void *context, int32_t op, double seconds)
{
    ((double *)context)[op] += seconds;
}

typedef struct {
    char label[256];
    double us, flops; /* of all its layers in one run */
    int32_t layers;
} line;

/* Layers of one shape together, in the order in which they come first. lines: [op_count]. Returns how many. */
static int32_t group_layers(const bench_runner *r, const double *seconds, int32_t runs, line *lines)
{
    int32_t count = 0;
    for (int32_t i = 0; i < r->signature->op_count; i++) {
        const rn_op *op = &r->plan->ops[r->signature->ops[i]];
        line *l = &lines[count];
        bench_op_label(r->plan, op, l->label, sizeof l->label);
        int32_t j = 0;
        while (strcmp(lines[j].label, l->label) != 0) j++;
        lines[j].us += 1e6 * seconds[r->signature->ops[i]] / runs;
        lines[j].flops += bench_op_flops(r->plan, op) * r->part.rows;
        lines[j].layers++;
        count += j == count;
    }
    return count;
}

static void report_layers(const bench_runner *r, const bench_options *o, const line *lines, int32_t count)
{
    double total = 0;
    for (int32_t i = 0; i < count; i++) total += lines[i].us;
    if (!o->json) printf("  %8s %6s %6s %9s  operation\n", "us", "share", "layers", "GFLOP/s");
    for (int32_t i = 0; i < count; i++) {
        const line *l = &lines[i];
        if (o->json) {
            bench_record_print(json_pack("{ss ss ss si si sf sf sf}", "measures", "layer", "model", r->plan->architecture, "operation", l->label,
                                         "batch", r->part.rows, "layers", l->layers, "us", l->us, "share", l->us / total, "gflops",
                                         1e-3 * l->flops / l->us));
        } else {
            printf("  %8.1f %5.1f%% %6d %9.1f  %s\n", l->us, 100 * l->us / total, l->layers, 1e-3 * l->flops / l->us, l->label);
        }
    }
    if (!o->json) printf("  %8.1f  all operations\n", total);
}

static void profile(bench_runner *r, const bench_options *o, double *times)
{
    if (r->backend != &rn_cpu_backend) bench_fail("--profile: only the cpu device can be observed");
    double *seconds = bench_allocate((size_t)r->plan->op_count * sizeof *seconds);
    line *lines = bench_allocate((size_t)r->signature->op_count * sizeof *lines);
    rn_cpu_executor_observe(r->executor, add_seconds, seconds);
    const int32_t runs = bench_time(bench_runner_run, r, o->seconds, times) + 1;
    report_layers(r, o, lines, group_layers(r, seconds, runs, lines));
    free(lines);
    free(seconds);
}

/* ---- rows from and for other programs ---- */

static void read_input(bench_runner *r, const char *path)
{
    const size_t bytes = (size_t)r->part.rows * rn_plan_tensor_bytes(&r->plan->tensors[r->signature->feed]);
    FILE *file = fopen(path, "rb");
    if (!file || fread((void *)r->part.input, 1, bytes, file) != bytes || getc(file) != EOF)
        bench_fail("--input: expected a file of %zu bytes for a batch of %d, found %s otherwise", bytes, r->part.rows, path);
    fclose(file);
}

static void write_output(bench_runner *r, const char *path)
{
    const size_t bytes = (size_t)r->part.rows * rn_plan_tensor_bytes(&r->plan->tensors[r->signature->outputs[0].tensor]);
    FILE *file = fopen(path, "wb");
    bench_runner_run(r);
    if (!file || fwrite(r->part.outputs[0], 1, bytes, file) != bytes || fclose(file) != 0) bench_fail("--output: cannot write %s", path);
}

static void bench_batch(const rn_plan *plan, const bench_options *o, int32_t rows, double *times)
{
    bench_runner r;
    rn_error err = {0};
    rn_device_choice choice;
    bench_check(rn_device_choose(o->device, &choice, &err), &err);
    if (choice.count > 1) bench_fail("--device=%s: one device at a time", o->device);
    const rn_backend_options options = {.max_batch = rows,
                                        .thread_count = o->threads,
                                        .isa = o->isa == (rn_isa)BENCH_ISA_BEST ? NULL : rn_isa_name(o->isa),
                                        .deterministic = o->deterministic,
                                        .precision = o->precision,
                                        .device = choice.devices[0],
                                        .cache_directory = o->cache};
    bench_runner_init(&r, plan, choice.backend, &options);
    if (o->input) read_input(&r, o->input);
    if (o->output) write_output(&r, o->output);
    char line[16];
    do {
        if (o->paced && !fgets(line, sizeof line, stdin)) break;
        report(&r, o, times, bench_time(bench_runner_run, &r, o->seconds, times));
        if (o->profile) profile(&r, o, times);
    } while (o->paced);
    bench_runner_deinit(&r);
}

int bench_model(const bench_options *o)
{
    if (!o->subject == !o->synthetic) {
        fprintf(stderr, "resnet-bench: model: expected either a path or --synthetic\n");
        return BENCH_EXIT_USAGE;
    }
    rn_plan *plan = bench_load_plan(o);
    double *times = bench_allocate(BENCH_MAX_RUNS * sizeof *times);
    if (!o->json) printf("%s on %s, commit %s\n", plan->architecture, rn_cpu_model(), rn_commit);
    for (int32_t i = 0; i < o->batch.count; i++) bench_batch(plan, o, o->batch.values[i], times);
    free(times);
    rn_plan_destroy(plan);
    return 0;
}
