/* resnet-bench: how fast a network and its layers run on this machine, without HTTP.
 *
 * `model` times whole runs of a plan through a backend, as the server's executor thread calls it. `kernels` makes a plan of one operation for
 * every line of a shapes file and times that operation alone, after its result was held against the path through OpenBLAS and the reference
 * kernels. Times are medians; the peak is measured before, in the same process.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/backend.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "kernels/base/cpu_features.h"
#include "kernels/base/version.h"
#include "loader/repository.h"
#include "tests/support/layer_shapes.h"

enum { MAX_BATCHES = 16, MAX_RUNS = 100000, EXIT_USAGE = 2 };

typedef struct {
    const char *path, *synthetic, *isa, *precision, *shapes, *device;
    int32_t batches[MAX_BATCHES], batch_count, threads;
    double seconds;
    bool json, profile;
} options;

static int usage(FILE *to)
{
    fputs("usage: resnet-bench model PATH|--synthetic=resnet101_v1 [options]    whole network\n"
          "       resnet-bench kernels [--shapes=tests/shapes/resnet101.txt] [options]    every layer shape\n"
          "options: --batch=1,8  --threads=N  --isa=scalar|avx2|avx512  --device=cpu  --precision=P  --seconds=S  --json  --profile (model)\n",
          to);
    return to == stdout ? 0 : EXIT_USAGE;
}

static void fail(const rn_error *err)
{
    fprintf(stderr, "resnet-bench: %s\n", err->message);
    exit(1);
}

static void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);
    if (memory) return memory;
    fprintf(stderr, "resnet-bench: no memory for %zu bytes\n", bytes);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the times and returns the middle one. */
static double median(double *times, int32_t count)
{
    qsort(times, (size_t)count, sizeof *times, by_value);
    return times[count / 2];
}

/* ---- peak ---- */

#if defined(__x86_64__)
/* Twelve independent chains hide the latency of a multiply-add on every core so far. */
#define DEFINE_PEAK(name, isa, vector, set1, fmadd, lanes)                                                                                 \
    __attribute__((target(isa))) static double name(void)                                                                                  \
    {                                                                                                                                      \
        enum { ROUNDS = 1000000, CHAINS = 12 };                                                                                            \
        const vector x = set1(0.999f), y = set1(0.001f);                                                                                   \
        vector a0 = set1(0), a1 = set1(1), a2 = set1(2), a3 = set1(3), a4 = set1(4), a5 = set1(5), a6 = set1(6), a7 = set1(7);             \
        vector a8 = set1(8), a9 = set1(9), a10 = set1(10), a11 = set1(11); /* distinct, or the compiler makes them one */                  \
        const double start = now();                                                                                                        \
        for (int i = 0; i < ROUNDS; i++) {                                                                                                 \
            a0 = fmadd(a0, x, y), a1 = fmadd(a1, x, y), a2 = fmadd(a2, x, y), a3 = fmadd(a3, x, y);                                        \
            a4 = fmadd(a4, x, y), a5 = fmadd(a5, x, y), a6 = fmadd(a6, x, y), a7 = fmadd(a7, x, y);                                        \
            a8 = fmadd(a8, x, y), a9 = fmadd(a9, x, y), a10 = fmadd(a10, x, y), a11 = fmadd(a11, x, y);                                    \
        }                                                                                                                                  \
        const double seconds = now() - start;                                                                                              \
        const vector sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;                                                    \
        volatile float used = ((const float *)&sum)[0]; /* keeps the loop */                                                               \
        (void)used;                                                                                                                        \
        return 2.0 * lanes * CHAINS * ROUNDS / seconds;                                                                                    \
    }
DEFINE_PEAK(peak_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, 8)
DEFINE_PEAK(peak_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, 16)
#undef DEFINE_PEAK
#endif

/* Multiply-adds a second of one core, twice: the best of a few measurements. 0 where none is known. */
static double measure_peak(rn_isa isa)
{
    double best = 0;
#if defined(__x86_64__)
    for (int i = 0; i < 20 && isa != RN_ISA_SCALAR; i++) best = fmax(best, isa >= RN_ISA_AVX512 ? peak_avx512() : peak_avx2());
#else
    (void)isa;
#endif
    return best;
}

static rn_isa isa_of(const options *o)
{
    for (int isa = 0; o->isa && isa < RN_ISA_COUNT; isa++) {
        if (strcmp(rn_isa_name((rn_isa)isa), o->isa) == 0) return (rn_isa)isa;
    }
    return rn_cpu_best_isa();
}

/* ---- one prepared plan with its buffers ---- */

typedef struct {
    const rn_plan *plan;
    const rn_signature *signature;
    const rn_backend *backend;
    rn_executor *executor;
    rn_batch_part part;
} runner;

static size_t row_bytes(const runner *r, int32_t tensor)
{
    return rn_plan_tensor_bytes(&r->plan->tensors[tensor]);
}

/* Inputs are the same for every runner of a plan: uniform in [-1, 1), or bytes. */
static void fill_input(const runner *r, int32_t rows)
{
    const rn_plan_tensor *feed = &r->plan->tensors[r->signature->feed];
    uint32_t random = 1;
    for (int64_t i = 0; i < rows * rn_plan_tensor_elements(feed); i++) {
        random = random * 1664525u + 1013904223u;
        if (feed->dtype == RN_DTYPE_U8) ((uint8_t *)r->part.input)[i] = (uint8_t)(random >> 24);
        else ((float *)r->part.input)[i] = (float)(int32_t)random * 0x1p-31f;
    }
}

static runner create_runner(const rn_plan *plan, const options *o, int32_t rows, int32_t threads, const char *isa)
{
    rn_error err = {0};
    runner r = {.plan = plan, .signature = rn_plan_signature(plan, "serving_default")};
    if (!r.signature) r.signature = &plan->signatures[0];
    if (rn_backend_select(o->device, &r.backend, &err) != RN_STATUS_OK) fail(&err);
    const rn_backend_options backend_options = {.max_batch = rows, .thread_count = threads, .isa = isa, .precision = o->precision};
    if (r.backend->prepare(plan, &backend_options, &r.executor, &err) != RN_STATUS_OK) fail(&err);
    r.part.rows = rows;
    r.part.input = allocate((size_t)rows * row_bytes(&r, r.signature->feed));
    for (int32_t i = 0; i < r.signature->output_count; i++) {
        r.part.outputs[i] = allocate((size_t)rows * row_bytes(&r, r.signature->outputs[i].tensor));
    }
    fill_input(&r, rows);
    return r;
}

static void destroy_runner(runner *r)
{
    r->backend->destroy(r->executor);
    free((void *)r->part.input);
    for (int32_t i = 0; i < r->signature->output_count; i++) free(r->part.outputs[i]);
}

static void run_once(const runner *r)
{
    rn_error err = {0};
    if (r->backend->run(r->executor, r->signature, &r->part, 1, &err) != RN_STATUS_OK) fail(&err);
}

/* Times of at least 5 runs and `seconds`, after one to warm up. Returns how many. */
static int32_t time_runs(const runner *r, double seconds, double *times)
{
    int32_t count = 0;
    run_once(r);
    for (const double start = now(); count < MAX_RUNS && (count < 5 || now() - start < seconds); count++) {
        const double before = now();
        run_once(r);
        times[count] = now() - before;
    }
    return count;
}

/* ---- model ---- */

typedef struct {
    const rn_plan *plan;
    double *seconds; /* [op], summed over the runs */
} profile;

static void watch(void *context, int32_t op, double seconds)
{
    ((profile *)context)->seconds[op] += seconds;
}

/* What an operation is, whatever its name: layers of one shape share a line. */
static void op_label(const rn_plan *plan, const rn_op *op, char *label, size_t bytes)
{
    const rn_plan_tensor *x = &plan->tensors[op->inputs[0]], *y = &plan->tensors[op->outputs[op->outputs[0] == RN_NONE]];
    char window[64] = "";
    if (op->kind == RN_OP_CONV2D) {
        const rn_conv2d_op *conv = &op->u.conv2d;
        const bool residual = op->inputs[1] != RN_NONE, first = op->outputs[0] != RN_NONE, second = op->outputs[1] != RN_NONE;
        snprintf(window, sizeof window, " %dx%d/%d%s%s", conv->r, conv->s, conv->stride_h, residual ? " +residual" : "",
                 !second ? "" : first ? " +preactivation" : " preactivation only");
    }
    snprintf(label, bytes, "%s%s %dx%dx%d -> %dx%dx%d", rn_op_kind_name(op->kind), window, x->h, x->w, x->c, y->h, y->w, y->c);
}

static double op_flops(const rn_plan *plan, const rn_op *op)
{
    const rn_plan_tensor *y = &plan->tensors[op->outputs[op->outputs[0] == RN_NONE]];
    if (op->kind == RN_OP_CONV2D) return 2.0 * y->h * y->w * (double)plan->weights[op->u.conv2d.filter].element_count;
    if (op->kind == RN_OP_DENSE) return 2.0 * (double)plan->weights[op->u.dense.weights].element_count;
    return 0;
}

static void print_profile(const profile *p, const rn_signature *signature, int32_t rows, int32_t runs)
{
    double total = 0;
    bool *done = allocate((size_t)p->plan->op_count);
    for (int32_t i = 0; i < signature->op_count; i++) total += p->seconds[signature->ops[i]];
    printf("  %8s %6s %5s %9s  operation\n", "us", "share", "count", "GFLOP/s");
    for (int32_t i = 0; i < signature->op_count; i++) {
        char label[256], other[256];
        const rn_op *op = &p->plan->ops[signature->ops[i]];
        double seconds = 0;
        int32_t count = 0;
        op_label(p->plan, op, label, sizeof label);
        for (int32_t j = i; j < signature->op_count && !done[signature->ops[i]]; j++) {
            op_label(p->plan, &p->plan->ops[signature->ops[j]], other, sizeof other);
            if (strcmp(label, other) != 0) continue;
            seconds += p->seconds[signature->ops[j]];
            done[signature->ops[j]] = j != i || done[signature->ops[j]];
            count++;
        }
        if (count == 0) continue;
        printf("  %8.1f %5.1f%% %5d %9.1f  %s\n", 1e6 * seconds / runs, 100 * seconds / total, count,
               op_flops(p->plan, op) * rows * count / (seconds / runs) * 1e-9, label);
    }
    printf("  %8.1f  all operations\n", 1e6 * total / runs);
    free(done);
}

static void bench_batch(const rn_plan *plan, const options *o, int32_t rows, double *times)
{
    runner r = create_runner(plan, o, rows, o->threads, o->isa);
    const int32_t count = time_runs(&r, o->seconds, times);
    const double middle = median(times, count), p90 = times[count * 9 / 10];
    const double flops = 2.0 * (double)rn_plan_multiply_count(plan, r.signature) * rows;
    if (o->json) {
        printf("{\"model\": \"%s\", \"backend\": \"%s\", \"batch\": %d, \"median_ms\": %.3f, \"best_ms\": %.3f, \"p90_ms\": %.3f, "
               "\"rows_per_s\": %.2f, \"gflops\": %.1f, \"runs\": %d, \"processor\": \"%s\", \"commit\": \"%s\"}\n",
               plan->architecture, r.backend->describe(r.executor), rows, middle * 1e3, times[0] * 1e3, p90 * 1e3, rows / middle,
               flops / middle * 1e-9, count, rn_cpu_model(), rn_commit);
    } else {
        printf("batch %-3d  median %8.2f ms  best %8.2f  p90 %8.2f  %8.2f rows/s  %7.1f GFLOP/s  %d runs  (%s)\n", rows, middle * 1e3,
               times[0] * 1e3, p90 * 1e3, rows / middle, flops / middle * 1e-9, count, r.backend->describe(r.executor));
    }
    if (o->profile && r.backend == &rn_cpu_backend) {
        profile p = {plan, allocate((size_t)plan->op_count * sizeof *p.seconds)};
        rn_cpu_executor_observe(r.executor, watch, &p);
        const int32_t runs = time_runs(&r, o->seconds, times) + 1;
        print_profile(&p, r.signature, rows, runs);
        free(p.seconds);
    }
    destroy_runner(&r);
}

static rn_plan *load_plan(const options *o)
{
    rn_plan *plan;
    rn_error err = {0};
    if (o->path) {
        if (rn_repository_load(o->path, NULL, &plan, &err) != RN_STATUS_OK) fail(&err);
    } else if (rn_synthetic_by_name(o->synthetic, &plan, &err) != RN_STATUS_OK || rn_plan_optimize(plan, &err) != RN_STATUS_OK) {
        fail(&err);
    }
    return plan;
}

static int bench_model(const options *o)
{
    if (!o->path == !o->synthetic) return usage(stderr);
    rn_plan *plan = load_plan(o);
    if (o->precision && strcmp(o->precision, "int8") == 0) {
        rn_error err = {0};
        if (rn_synthetic_quantize(plan, &err) != RN_STATUS_OK) fail(&err);
    }
    double *times = allocate(MAX_RUNS * sizeof *times);
    if (!o->json) printf("%s on %s, commit %s\n", plan->architecture, rn_cpu_model(), rn_commit);
    for (int32_t i = 0; i < o->batch_count; i++) bench_batch(plan, o, o->batches[i], times);
    free(times);
    rn_plan_destroy(plan);
    return 0;
}

/* ---- kernels ---- */

static int32_t new_weights(rn_plan *plan, int32_t rank, const int32_t *dims, float centre, float spread)
{
    rn_error err = {0};
    int32_t index;
    void *data;
    if (rn_plan_new_weights(plan, "weights", RN_DTYPE_F32, rank, dims, &data, &index, &err) != RN_STATUS_OK) fail(&err);
    uint32_t random = 7;
    for (int64_t i = 0; i < plan->weights[index].element_count; i++) {
        random = random * 1664525u + 1013904223u;
        ((float *)data)[i] = centre + spread * (float)(int32_t)random * 0x1p-31f;
    }
    return index;
}

static int32_t new_tensor(rn_plan *plan, const char *name, rn_dtype dtype, int32_t h, int32_t w, int32_t c)
{
    rn_error err = {0};
    int32_t index;
    if (rn_plan_add_tensor(plan, name, dtype, h, w, c, &index, &err) != RN_STATUS_OK) fail(&err);
    return index;
}

static rn_op make_op(rn_plan *plan, const rn_layer_shape *s, int32_t x)
{
    const int32_t p = rn_layer_shape_p(s), q = rn_layer_shape_q(s);
    rn_op op = {.name = "layer", .inputs = {x, RN_NONE}, .outputs = {RN_NONE, RN_NONE}};
    const bool bias = rn_layer_shape_has(s, 'b'), relu = rn_layer_shape_has(s, 'r'), second = rn_layer_shape_has(s, 'y');
    if (strcmp(s->op, "conv2d") == 0) {
        op.kind = RN_OP_CONV2D;
        const int32_t dims[4] = {s->r, s->s, s->c / s->groups, s->k};
        op.u.conv2d = (rn_conv2d_op){.r = s->r, .s = s->s, .stride_h = s->stride, .stride_w = s->stride, .pad_top = s->pad_top,
                                     .pad_left = s->pad_left, .pad_bottom = s->pad_bottom, .pad_right = s->pad_right, .groups = s->groups,
                                     .relu = relu,
                                     .filter = new_weights(plan, 4, dims, 0, 1 / sqrtf((float)(s->r * s->s * dims[2]))),
                                     .bias = bias ? new_weights(plan, 1, &s->k, 0, 1) : RN_NONE,
                                     .scale2 = second ? new_weights(plan, 1, &s->k, 1, 0.5f) : RN_NONE,
                                     .shift2 = second ? new_weights(plan, 1, &s->k, 0, 1) : RN_NONE};
        if (second) op.outputs[1] = new_tensor(plan, "second", RN_DTYPE_F32, p, q, s->k);
        if (second && !rn_layer_shape_has(s, 'x')) return op;
    } else if (strcmp(s->op, "max_pool") == 0) {
        op.kind = RN_OP_MAX_POOL;
        op.u.max_pool = (rn_max_pool_op){.r = s->r, .s = s->s, .stride_h = s->stride, .stride_w = s->stride, .pad_top = s->pad_top,
                                         .pad_left = s->pad_left, .pad_bottom = s->pad_bottom, .pad_right = s->pad_right,
                                         .pad_zero = rn_layer_shape_has(s, 'z')};
    } else if (strcmp(s->op, "dense") == 0) {
        op.kind = RN_OP_DENSE;
        op.u.dense = (rn_dense_op){.weights = new_weights(plan, 2, (int32_t[]){s->c, s->k}, 0, 1 / sqrtf((float)s->c)),
                                   .bias = bias ? new_weights(plan, 1, &s->k, 0, 1) : RN_NONE, .relu = relu};
    } else if (strcmp(s->op, "add") == 0) {
        op.kind = RN_OP_ADD;
        op.u.add.relu = relu;
        op.inputs[1] = x;
    } else if (strcmp(s->op, "global_average_pool") == 0) {
        op.kind = RN_OP_GLOBAL_AVERAGE_POOL;
        op.outputs[0] = new_tensor(plan, "y", RN_DTYPE_F32, 1, 1, s->k);
        return op;
    } else if (strcmp(s->op, "softmax") == 0) {
        op.kind = RN_OP_SOFTMAX;
    } else if (strcmp(s->op, "top_k") == 0) {
        op.kind = RN_OP_TOP_K;
        op.u.top_k.k = s->k;
        op.outputs[1] = new_tensor(plan, "indexes", RN_DTYPE_I32, 1, 1, s->k);
    } else { /* scale_shift, scale_shift_u8 */
        op.kind = RN_OP_SCALE_SHIFT;
        op.u.scale_shift = (rn_scale_shift_op){.scale = bias ? new_weights(plan, 1, &s->c, 1, 0.5f) : RN_NONE,
                                               .shift = bias ? new_weights(plan, 1, &s->c, 0, 1) : RN_NONE, .relu = relu};
    }
    op.outputs[0] = new_tensor(plan, "y", RN_DTYPE_F32, p, q, s->k);
    return op;
}

static rn_tensor_spec spec(const rn_plan *plan, int32_t tensor, const char *name)
{
    const rn_plan_tensor *t = &plan->tensors[tensor];
    rn_tensor_spec s = {.dtype = t->dtype, .rank = 4, .dims = {-1, t->h, t->w, t->c}, .tensor = tensor};
    snprintf(s.name, sizeof s.name, "%s", name);
    return s;
}

/* A plan of one operation. Where that takes a residual, a second convolution of the same input makes it, and is not timed. */
static rn_plan *make_plan(const rn_layer_shape *s)
{
    rn_error err = {0};
    rn_plan *plan = rn_plan_create();
    if (!plan) fail(&(rn_error){.message = "no memory for a plan"});
    const bool u8 = strcmp(s->op, "scale_shift_u8") == 0;
    const int32_t x = new_tensor(plan, "x", u8 ? RN_DTYPE_U8 : RN_DTYPE_F32, s->h, s->w, s->c);
    rn_op op = make_op(plan, s, x);
    if (rn_layer_shape_has(s, 'a')) {
        rn_layer_shape shortcut = *s;
        strcpy(shortcut.flags, "-");
        const rn_op residual = make_op(plan, &shortcut, x);
        if (rn_plan_add_op(plan, &residual, NULL, &err) != RN_STATUS_OK) fail(&err);
        op.inputs[1] = residual.outputs[0];
    }
    rn_signature signature = {.name = "layer", .input = spec(plan, x, "x")};
    for (int i = 0; i < 2; i++) {
        if (op.outputs[i] != RN_NONE) signature.outputs[signature.output_count++] = spec(plan, op.outputs[i], i ? "second" : "first");
    }
    if (rn_plan_add_op(plan, &op, NULL, &err) != RN_STATUS_OK || rn_plan_add_signature(plan, &signature, NULL, &err) != RN_STATUS_OK ||
        rn_plan_finish(plan, &err) != RN_STATUS_OK) {
        fail(&err);
    }
    return plan;
}

/* Largest difference between the outputs of two runners, relative to the largest value. Indexes count as numbers. */
static double difference(const runner *a, const runner *b)
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

/* The last operation's times: what comes before it only makes its residual. */
typedef struct {
    int32_t op, count;
    double *times;
} stopwatch;

static void watch_last(void *context, int32_t op, double seconds)
{
    stopwatch *w = context;
    if (op == w->op && w->count < MAX_RUNS) w->times[w->count++] = seconds;
}

static void bench_shape(const rn_layer_shape *s, const options *o, int32_t rows, double peak, double *times)
{
    rn_plan *plan = make_plan(s);
    const int32_t threads = o->threads ? o->threads : 1;
    runner r = create_runner(plan, o, rows, threads, o->isa), oracle = create_runner(plan, o, rows, threads, "scalar");
    run_once(&r);
    run_once(&oracle);
    const double error = difference(&r, &oracle);
    if (!(error <= 1e-4)) fail(&(rn_error){.message = "a result differs from the reference: nothing is timed"});

    stopwatch w = {.op = plan->op_count - 1, .times = times};
    rn_cpu_executor_observe(r.executor, watch_last, &w);
    for (const double start = now(); w.count < 5 || (w.count < MAX_RUNS && now() - start < o->seconds);) run_once(&r);
    const double middle = median(times, w.count), flops = op_flops(plan, &plan->ops[w.op]) * rows;
    double bytes = 0;
    for (int i = 0; i < 2; i++) {
        const int32_t ends[2] = {plan->ops[w.op].inputs[i], plan->ops[w.op].outputs[i]};
        for (int j = 0; j < 2; j++) bytes += ends[j] == RN_NONE ? 0 : (double)rows * (double)rn_plan_tensor_bytes(&plan->tensors[ends[j]]);
    }
    char label[256], rate[64];
    op_label(plan, &plan->ops[w.op], label, sizeof label);
    const double gflops = flops / middle * 1e-9;
    if (flops > 0 && peak > 0) snprintf(rate, sizeof rate, "%7.1f GFLOP/s %5.1f%%", gflops, 100 * flops / middle / (peak * threads));
    else if (flops > 0) snprintf(rate, sizeof rate, "%7.1f GFLOP/s", gflops);
    else snprintf(rate, sizeof rate, "%7.1f GB/s", bytes / middle * 1e-9);
    if (o->json) {
        printf("{\"operation\": \"%s\", \"dtype\": \"f32\", \"batch\": %d, \"threads\": %d, \"median_us\": %.2f, \"gflops\": %.2f, "
               "\"gb_per_s\": %.2f, \"peak_gflops\": %.1f, \"error\": %.2e, \"processor\": \"%s\", \"commit\": \"%s\"}\n",
               label, rows, threads, middle * 1e6, flops / middle * 1e-9, bytes / middle * 1e-9, peak * threads * 1e-9, error, rn_cpu_model(),
               rn_commit);
    } else {
        printf("%9.1f us  %-24s error %.1e  %s\n", middle * 1e6, rate, error, label);
    }
    fflush(stdout);
    destroy_runner(&oracle);
    destroy_runner(&r);
    rn_plan_destroy(plan);
}

static int bench_kernels(const options *o)
{
    FILE *file = fopen(o->shapes, "r");
    if (!file) {
        fprintf(stderr, "resnet-bench: cannot read %s\n", o->shapes);
        return 1;
    }
    const double peak = measure_peak(isa_of(o));
    double *times = allocate(MAX_RUNS * sizeof *times);
    rn_layer_shape shape;
    bool bad = false;
    if (!o->json) printf("%s, fp32 %s, peak %.1f GFLOP/s a core, commit %s\n", rn_cpu_model(), rn_isa_name(isa_of(o)), peak * 1e-9, rn_commit);
    for (int32_t i = 0; i < o->batch_count; i++) {
        if (!o->json) printf("batch %d, %d threads; weights and activations warm\n", o->batches[i], o->threads ? o->threads : 1);
        rewind(file);
        while (rn_layer_shape_read(file, &shape, &bad)) bench_shape(&shape, o, o->batches[i], peak, times);
    }
    if (bad) fprintf(stderr, "resnet-bench: %s: the line after %s %dx%dx%d is no shape\n", o->shapes, shape.op, shape.h, shape.w, shape.c);
    free(times);
    fclose(file);
    return bad;
}

/* ---- command line ---- */

static bool parse_batches(const char *text, options *o)
{
    o->batch_count = 0;
    for (char *end; o->batch_count < MAX_BATCHES; text = end + 1) {
        const long value = strtol(text, &end, 10);
        if (end == text || value < 1 || value > 4096) return false;
        o->batches[o->batch_count++] = (int32_t)value;
        if (*end != ',') return *end == '\0';
    }
    return false;
}

int main(int argc, char **argv)
{
    options o = {.batches = {1}, .batch_count = 1, .seconds = 2, .device = "cpu", .shapes = "tests/shapes/resnet101.txt"};
    enum { SYNTHETIC = 1, BATCH, THREADS, ISA, SECONDS, JSON, PROFILE, SHAPES, DEVICE, PRECISION, HELP };
    const struct option known[] = {{"synthetic", required_argument, NULL, SYNTHETIC}, {"batch", required_argument, NULL, BATCH},
                                   {"threads", required_argument, NULL, THREADS},     {"isa", required_argument, NULL, ISA},
                                   {"seconds", required_argument, NULL, SECONDS},     {"json", no_argument, NULL, JSON},
                                   {"profile", no_argument, NULL, PROFILE},           {"shapes", required_argument, NULL, SHAPES},
                                   {"device", required_argument, NULL, DEVICE},       {"help", no_argument, NULL, HELP},
                                   {"precision", required_argument, NULL, PRECISION}, {0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case SYNTHETIC: o.synthetic = optarg; break;
        case BATCH: if (!parse_batches(optarg, &o)) return usage(stderr); break;
        case THREADS: o.threads = atoi(optarg); break;
        case ISA: o.isa = optarg; break;
        case SECONDS: o.seconds = atof(optarg); break;
        case JSON: o.json = true; break;
        case PROFILE: o.profile = true; break;
        case SHAPES: o.shapes = optarg; break;
        case PRECISION: o.precision = optarg; break;
        case DEVICE: o.device = optarg; break;
        case HELP: return usage(stdout);
        default: return usage(stderr);
        }
    }
    const char *command = optind < argc ? argv[optind] : "";
    if (optind + 1 < argc) o.path = argv[optind + 1];
    if (strcmp(command, "model") == 0) return bench_model(&o);
    if (strcmp(command, "kernels") == 0) return bench_kernels(&o);
    return usage(stderr);
}
