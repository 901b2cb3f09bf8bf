/* Runs a plan on the host.
 *
 * Preparing a plan decides everything that does not depend on the batch: how each tensor lies in memory, how each operation runs, packed
 * weights, one arena for the rows of a pass. A run takes the batch pass by pass: it copies the callers' rows into the arena, walks the signature's
 * operations, each of which occupies all threads, and copies the outputs out; it allocates nothing. Every row's result is computed by the same
 * operations in the same order whatever else is in the batch, but for Winograd tiles, which are chosen for small and for large batches.
 */
#include "engine/cpu/cpu_backend.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/cpu/cpu_count.h"
#include "engine/cpu/cpu_executor.h"
#include "engine/passes.h"
#include "engine/quantize.h"

enum { MAX_THREADS = 1024 };

/* A batch runs in passes of so many rows, and the arena holds one: weights are read again for each, which eight rows pay for, and what a layer writes is
 * still in a cache when the next one reads it. Two cores of a Xeon (family 6, model 207), fp32, milliseconds a row: 34.8 with 8 rows, 35.5 with 16, 36.4
 * with 32; of a Zen 4 (family 25, model 17) 45.5 and 45.2 with 8 and 32, in bf16 27.4 and 27.5. */
enum { LEAST_PASS_ROWS = 8, PASS_ROWS_PER_THREAD = 4 };

static rn_status probe(rn_error *err)
{
    (void)err;
    return RN_STATUS_OK;
}

rn_status rn__cpu_choose_isa(const char *name, rn_isa *out, rn_error *err)
{
    const rn_isa best = rn_cpu_best_isa();
    if (!name) {
        *out = best;
        return RN_STATUS_OK;
    }
    if (!rn_isa_by_name(name, out))
        return RN_FAIL(err, RN_STATUS_NOT_FOUND, "instruction set %s is not known: expected one of%s", name, rn_isa_names);
    if (*out > best) {
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "instruction set %s was asked for, this processor (%s) has %s", name, rn_cpu_model(),
                       rn_isa_name(best));
    }
    return RN_STATUS_OK;
}

/* ---- prepare ---- */

/* Rows and pixels of a pass are counted in 32 bits. */
static rn_status check_sizes(const rn_plan *plan, int32_t rows, rn_error *err)
{
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        const rn_plan_tensor *tensor = &plan->tensors[t];
        if ((int64_t)tensor->h * tensor->w <= INT32_MAX / rows) continue;
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "tensor %s: %dx%d pixels times %d rows are more than 2^31", tensor->name,
                       tensor->h, tensor->w, rows);
    }
    return RN_STATUS_OK;
}

static int32_t min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* Whether any batch size takes the direct method. */
static bool runs_directly(const rn_executor *e, const rn_op *op)
{
    for (int32_t i = 0; i < rn__cpu_class_count(e); i++) {
        if (rn__cpu_class_tile(e, op, i) == 0) return true;
    }
    return false;
}

/* Gaps as wide as any direct convolution reads beyond the picture; a gap serves both sides. OpenBLAS and Winograd need none.
 * gaps: [tensor][2] zeros. */
static void lay_out_tensors(rn_executor *e, int32_t (*gaps)[2])
{
    const rn_plan *plan = e->plan;
    for (int32_t o = 0; o < plan->op_count && e->kernels.conv2d_tile[RN_DTYPE_F32].run; o++) {
        const rn_op *op = &plan->ops[o];
        if (op->kind != RN_OP_CONV2D || !runs_directly(e, op)) continue;
        const rn_conv2d_op *conv = &op->u.conv2d;
        int32_t *gap = gaps[op->inputs[0]];
        gap[0] = max(gap[0], max(conv->pad_top, conv->pad_bottom));
        gap[1] = max(gap[1], max(conv->pad_left, conv->pad_right));
    }
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        e->tensors[t] = rn__cpu_tensor_layout(&plan->tensors[t], e->tensors[t].dtype, gaps[t][0], gaps[t][1]);
    }
}

static rn_status measure_tensor(const rn_executor *e, int32_t tensor, size_t *bytes, rn_error *err)
{
    if (rn__cpu_tensor_bytes(&e->tensors[tensor], e->pass_rows, &bytes[tensor])) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "tensor %s is too large for %d rows", e->plan->tensors[tensor].name, e->pass_rows);
}

/* Sizes of the tensors that a schedule touches; the others stay outside the arena. bytes: [tensor] zeros. */
static rn_status measure_tensors(const rn_executor *e, size_t *bytes, rn_error *err)
{
    for (int32_t s = 0; s < e->plan->signature_count; s++) {
        const rn_signature *signature = &e->plan->signatures[s];
        RN_TRY(measure_tensor(e, signature->feed, bytes, err));
        for (int32_t i = 0; i < signature->op_count; i++) {
            const int32_t *outputs = e->plan->ops[signature->ops[i]].outputs;
            if (outputs[0] != RN_NONE) RN_TRY(measure_tensor(e, outputs[0], bytes, err));
            if (outputs[1] != RN_NONE) RN_TRY(measure_tensor(e, outputs[1], bytes, err));
        }
    }
    return RN_STATUS_OK;
}

static bool lie_alike(const rn__cpu_tensor *a, const rn__cpu_tensor *b)
{
    return a->dtype == b->dtype && a->first == b->first && a->pixel == b->pixel && a->row == b->row && a->image == b->image;
}

/* A convolution's output may lie upon its residual, each value of which is read just before the output at its place is written: half as many lines
 * travel between caches. OpenBLAS writes all outputs first. replaces: [tensor] */
static void find_replacements(const rn_executor *e, int32_t *replaces)
{
    for (int32_t t = 0; t < e->plan->tensor_count; t++) replaces[t] = RN_NONE;
    for (int32_t o = 0; o < e->plan->op_count && e->kernels.conv2d_tile[RN_DTYPE_F32].run; o++) {
        const rn_op *op = &e->plan->ops[o];
        if (op->kind != RN_OP_CONV2D || op->inputs[1] == RN_NONE) continue;
        const int32_t output = op->outputs[op->outputs[0] == RN_NONE];
        if (lie_alike(&e->tensors[op->inputs[1]], &e->tensors[output])) replaces[output] = op->inputs[1];
    }
}

static void touch_pieces(const void *memory, int32_t begin, int32_t end, int32_t thread)
{
    (void)thread;
    rn__host_memory_touch(memory, begin, end);
}

/* Memory whose pages are there before a request needs them. */
static rn_status allocate(const rn_executor *e, size_t bytes, const char *what, rn__host_memory *out, rn_error *err)
{
    RN_TRY(rn__host_memory_alloc(bytes, what, out, err));
    const int32_t pieces = rn__host_memory_pieces(out);
    rn__thread_pool_run(e->pool, pieces, pieces, touch_pieces, out);
    return RN_STATUS_OK;
}

static rn_status allocate_arena(rn_executor *e, rn_error *err)
{
    rn_status status;
    const size_t count = (size_t)e->plan->tensor_count + 1;
    int32_t(*gaps)[2] = calloc(count, sizeof *gaps), *replaces = calloc(count, sizeof *replaces);
    size_t *bytes = calloc(count, sizeof *bytes), *offsets = calloc(count, sizeof *offsets);
    e->tensors = calloc(count, sizeof *e->tensors);
    e->chained = calloc((size_t)e->plan->op_count + 1, sizeof *e->chained);
    if (!gaps || !replaces || !bytes || !offsets || !e->tensors || !e->chained) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to lay out %d tensors", e->plan->tensor_count);
        goto cleanup;
    }
    rn__cpu_choose_types(e);
    lay_out_tensors(e, gaps);
    RN_TRY_CLEANUP(status, measure_tensors(e, bytes, err));
    find_replacements(e, replaces);
    RN_TRY_CLEANUP(status, rn_plan_layout_arena(e->plan, bytes, replaces, offsets, &e->arena_bytes, err));
    RN_TRY_CLEANUP(status, allocate(e, e->arena_bytes, "activations", &e->arena, err));
    for (int32_t t = 0; t < e->plan->tensor_count; t++) {
        if (bytes[t] != 0) e->tensors[t].memory = (char *)e->arena.at + offsets[t];
    }
cleanup:
    free(gaps);
    free(replaces);
    free(bytes);
    free(offsets);
    return status;
}

static rn_status prepare_step(rn_executor *e, int32_t index, rn_error *err)
{
    rn__cpu_step *step = &e->steps[index];
    if (step->op) return RN_STATUS_OK; /* of two signatures */
    step->op = &e->plan->ops[index];
    const bool product = step->op->kind == RN_OP_CONV2D || step->op->kind == RN_OP_DENSE;
    if (rn__cpu_is_int8(e, step->op)) return rn__cpu_int8_prepare(e, step, err);
    if (product && e->kernels.conv2d_tile[RN_DTYPE_F32].run) rn__cpu_conv2d_prepare(e, step);
    else if (product) rn__cpu_blas_prepare(e, step);
    else rn__cpu_pointwise_prepare(step);
    if (step->run) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: the CPU backend cannot run %s", step->op->name, rn_op_kind_name(step->op->kind));
}

static rn_status prepare_steps(rn_executor *e, rn_error *err)
{
    for (int32_t s = 0; s < e->plan->signature_count; s++) {
        const rn_signature *signature = &e->plan->signatures[s];
        for (int32_t i = 0; i < signature->op_count; i++) RN_TRY(prepare_step(e, signature->ops[i], err));
    }
    return RN_STATUS_OK;
}

void rn__cpu_describe(rn_executor *e, const char *remark)
{
    const bool int8 = rn_plan_is_quantized(e->plan);
    const char *precision = int8 ? "int8" : e->types.weights == RN_DTYPE_F32 ? "fp32" : e->types.maps == RN_DTYPE_BF16 ? "bf16" : "bf16, maps in f32";
    const rn_conv2d_tile_kernel *tile = &e->kernels.conv2d_tile[int8 ? RN_DTYPE_U8 : e->types.maps];
    const int32_t threads = rn__thread_pool_thread_count(e->pool);
    const size_t parameters = e->weight_bytes ? e->weight_bytes : (size_t)rn_plan_parameter_count(e->plan) * sizeof(float);
    snprintf(e->description, sizeof e->description, "cpu %s %s, %d thread%s, %.1f MB weights, %.1f MB arena%s",
             tile->run ? rn_isa_name(tile->isa) : int8 ? "reference" : "openblas", precision, threads, threads == 1 ? "" : "s",
             (double)parameters * 1e-6, (double)(e->arena_bytes + e->scratch_bytes * (size_t)threads) * 1e-6, remark);
}

void rn__cpu_destroy(rn_executor *e)
{
    if (!e) return;
    for (int32_t o = 0; e->steps && o < e->plan->op_count; o++) free(e->steps[o].rescale.multiplier);
    rn__thread_pool_destroy(e->pool);
    rn__host_memory_free(&e->scratch);
    rn__host_memory_free(&e->class_weights);
    rn__host_memory_free(&e->arena);
    rn__host_memory_free(&e->packed);
    free(e->pieces);
    free(e->steps);
    free(e->tensors);
    free(e->chained);
    free(e);
}

static rn_status prepare_executor(rn_executor *e, const rn_plan *plan, const rn_backend_options *options, rn__cpu_types types, rn_error *err)
{
    e->plan = plan;
    e->types = types;
    e->max_batch = options->max_batch;
    e->deterministic = options->deterministic;
    const int32_t threads = options->thread_count ? options->thread_count : rn__cpu_count();
    if (e->max_batch < 1 || threads < 1 || threads > MAX_THREADS) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "cpu backend: %d threads and a largest batch of %d, expected 1 to %d and at least 1", threads, e->max_batch,
                       MAX_THREADS);
    }
    e->pass_rows = min(e->max_batch, max(LEAST_PASS_ROWS, PASS_ROWS_PER_THREAD * threads));
    e->pieces = calloc((size_t)e->pass_rows, sizeof *e->pieces);
    if (!e->pieces) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a batch of %d rows", e->pass_rows);
    RN_TRY(check_sizes(plan, e->pass_rows, err));
    rn_isa isa;
    RN_TRY(rn__cpu_choose_isa(options->isa, &isa, err));
    rn_cpu_kernels_select(isa, &e->kernels);
    RN_TRY(rn__thread_pool_create(threads, &e->pool, err));

    RN_TRY(allocate_arena(e, err));
    e->steps = calloc((size_t)plan->op_count + 1, sizeof *e->steps);
    if (!e->steps) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to prepare %d operations", plan->op_count);
    RN_TRY(prepare_steps(e, err));
    RN_TRY(rn__cpu_pack_filters(e, err));
    RN_TRY(allocate(e, rn__cpu_class_weight_elements(e) * sizeof(float), "weights of classes", &e->class_weights, err));
    RN_TRY(allocate(e, e->scratch_bytes * (size_t)threads, "scratch", &e->scratch, err));
    rn__cpu_describe(e, "");
    return RN_STATUS_OK;
}

rn_status rn__cpu_create(const rn_plan *plan, const rn_backend_options *options, rn__cpu_types types, rn_executor **out, rn_error *err)
{
    rn_executor *e = calloc(1, sizeof *e);
    if (!e) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for an executor");
    const rn_status status = prepare_executor(e, plan, options, types, err);
    if (status == RN_STATUS_OK)
        *out = e;
    else
        rn__cpu_destroy(e);
    return status;
}

/* ---- run ---- */

static void run_steps(rn_executor *e, const rn_signature *signature, int32_t rows)
{
    for (int32_t i = 0; i < signature->op_count; i++) {
        rn__cpu_step *step = &e->steps[signature->ops[i]];
        const double start = e->observer ? rn_clock_seconds() : 0;
        step->run(e, step, rows);
        step->ran_large |= rows >= RN__CPU_LARGE_BATCH;
        for (int j = 0; j < 2; j++) {
            if (step->op->outputs[j] != RN_NONE) rn__cpu_tensor_clear_gaps(&e->tensors[step->op->outputs[j]], rows);
        }
        if (e->observer) e->observer(e->observer_context, signature->ops[i], rn_clock_seconds() - start);
    }
}

/* Rows [begin, end) of a part. */
static rn_batch_part cut_part(const rn_plan *plan, const rn_signature *signature, const rn_batch_part *part, int32_t begin, int32_t end)
{
    rn_batch_part piece = *part;
    piece.rows = end - begin;
    piece.input = (const char *)part->input + (size_t)begin * rn_plan_tensor_bytes(&plan->tensors[signature->feed]);
    for (int32_t o = 0; o < signature->output_count; o++)
        piece.outputs[o] = (char *)part->outputs[o] + (size_t)begin * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[o].tensor]);
    if (!part->classes) return piece;
    const rn_plan_tensor *explained = &plan->tensors[plan->ops[signature->class_map_op].inputs[0]];
    piece.classes += begin;
    piece.maps += (int64_t)begin * explained->h * explained->w;
    return piece;
}

/* Rows [begin, end) of all parts, into e->pieces; how many pieces these are. */
static int32_t cut_parts(const rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, int32_t begin, int32_t end)
{
    int32_t count = 0;
    for (int32_t i = 0, at = 0; i < part_count; at += parts[i++].rows) {
        const int32_t first = max(begin, at) - at, last = min(end, at + parts[i].rows) - at;
        if (first < last) e->pieces[count++] = cut_part(e->plan, signature, &parts[i], first, last);
    }
    return count;
}

static void run_pass(rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, int32_t rows)
{
    const rn__cpu_tensor *feed = &e->tensors[signature->feed];
    for (int32_t i = 0, at = 0; i < part_count; at += parts[i++].rows) rn__cpu_tensor_write(feed, at, parts[i].rows, parts[i].input);
    rn__cpu_tensor_clear_gaps(feed, rows);
    run_steps(e, signature, rows);
    rn__cpu_explain(e, signature, parts, part_count);
    for (int32_t o = 0; o < signature->output_count; o++) {
        const rn__cpu_tensor *output = &e->tensors[signature->outputs[o].tensor];
        for (int32_t i = 0, at = 0; i < part_count; at += parts[i++].rows)
            rn__cpu_tensor_read(output, at, parts[i].rows, parts[i].outputs[o]);
    }
}

rn_status rn__cpu_run(rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    int64_t rows = 0;
    for (int32_t i = 0; i < part_count; i++) rows += parts[i].rows;
    if (rows < 1 || rows > e->max_batch) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "signature %s: a batch of %lld rows, expected 1 to %d", signature->name,
                       (long long)rows, e->max_batch);
    }
    const int64_t passes = (rows + e->pass_rows - 1) / e->pass_rows;
    for (int64_t i = 0; i < passes; i++) {
        const int32_t begin = (int32_t)(rows * i / passes), end = (int32_t)(rows * (i + 1) / passes);
        run_pass(e, signature, e->pieces, cut_parts(e, signature, parts, part_count, begin, end), end - begin);
    }
    return RN_STATUS_OK;
}

static bool runs_int8(const rn_backend_options *options)
{
    rn_isa isa;
    rn_cpu_kernels kernels;
    if (rn__cpu_choose_isa(options->isa, &isa, NULL) != RN_STATUS_OK) return true; /* prepare says so */
    rn_cpu_kernels_select(isa, &kernels);
    return kernels.conv2d_tile[RN_DTYPE_U8].run != NULL;
}

static int32_t next_size(const rn_executor *e, const rn_signature *signature, int32_t rows)
{
    if (rows >= RN__CPU_LARGE_BATCH || e->pass_rows < RN__CPU_LARGE_BATCH) return 0;
    for (int32_t i = 0; i < signature->op_count; i++) {
        const rn__cpu_step *step = &e->steps[signature->ops[i]];
        if (step->filters[0].packed != step->filters[1].packed && !step->ran_large) return RN__CPU_LARGE_BATCH;
    }
    return 0;
}

static void memory(const rn_executor *e, int64_t bytes[RN_MEMORY_COUNT])
{
    bytes[RN_MEMORY_WEIGHTS] = (int64_t)e->weight_bytes;
    bytes[RN_MEMORY_FEATURE_MAPS] = (int64_t)e->arena_bytes;
    bytes[RN_MEMORY_WORKSPACE] = (int64_t)e->scratch_bytes * rn__thread_pool_thread_count(e->pool);
    bytes[RN_MEMORY_STAGING] = 0;
}

static const char *describe(const rn_executor *e)
{
    return e->description;
}

void rn_cpu_executor_read(const rn_executor *e, int32_t tensor, void *to)
{
    rn__cpu_tensor_read(&e->tensors[tensor], 0, 1, to);
}

void rn_cpu_executor_observe(rn_executor *e, rn_cpu_observer *observer, void *context)
{
    e->observer = observer;
    e->observer_context = context;
}

const rn_backend rn_cpu_backend = {
    .name = "cpu",
    .probe = probe,
    .prepare = rn__cpu_prepare,
    .run = rn__cpu_run,
    .runs_int8 = runs_int8,
    .describe = describe,
    .destroy = rn__cpu_destroy,
    .device_count = NULL,
    .begin = NULL,
    .finish = NULL,
    .device_state = NULL,
    .picture_bytes = NULL,
    .next_size = next_size,
    .memory = memory,
};
