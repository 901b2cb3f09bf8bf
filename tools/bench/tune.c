/* `resnet-bench tune`: finds the fastest way of every convolution of a model on this machine's GPUs and keeps it for servers to come, which then
 * start without measuring. Measuring is what preparing a plan does; a second GPU of the same kind finds everything known. */
#include <stdio.h>

#include "engine/backend.h"
#include "engine/quantize.h"
#include "tools/bench/failure.h"
#include "tools/bench/load_plan.h"
#include "tools/bench/timing.h"

static void log_line(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "resnet-bench: %s\n", line);
}

static void tune(const rn_plan *plan, const rn_backend *backend, int32_t device, const bench_options *o, int32_t rows)
{
    rn_error err = {0};
    rn_executor *executor;
    const rn_backend_options options = {.max_batch = rows,
                                        .thread_count = o->threads,
                                        .precision = o->precision,
                                        .device = device,
                                        .cache_directory = o->cache,
                                        .log = log_line};
    const double start = bench_now();
    bench_check(backend->prepare(plan, &options, &executor, &err), &err);
    printf("up to %d rows, %.1f s: %s\n", rows, bench_now() - start, backend->describe(executor));
    fflush(stdout);
    backend->destroy(executor);
}

int bench_tune(const bench_options *o)
{
    if (!o->subject == !o->synthetic) {
        fprintf(stderr, "resnet-bench: tune: expected either a path or --synthetic\n");
        return BENCH_EXIT_USAGE;
    }
    if (!o->cache) {
        fprintf(stderr, "resnet-bench: tune: --cache is missing: where are choices to be kept?\n");
        return BENCH_EXIT_USAGE;
    }
    rn_error err = {0};
    rn_device_choice choice;
    bench_check(rn_device_choose(o->device, &choice, &err), &err);
    if (!choice.backend->device_count) {
        fprintf(stderr, "resnet-bench: tune: the %s device has nothing to measure ahead: --device=cuda or cuda:all\n", choice.backend->name);
        return BENCH_EXIT_USAGE;
    }
    rn_plan *plan = bench_load_plan(o);
    if (rn_plan_is_quantized(plan)) bench_check(rn_plan_widen(plan, &err), &err); /* as a server does */
    for (int32_t d = 0; d < choice.count; d++)
        for (int32_t i = 0; i < o->batch.count; i++) tune(plan, choice.backend, choice.devices[d], o, o->batch.values[i]);
    rn_plan_destroy(plan);
    return 0;
}
