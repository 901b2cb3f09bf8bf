/* fp32, bf16, or whichever is faster here.
 *
 * bf16 is one of two things. Where the processor multiplies bf16 faster than f32, feature maps and weights are bf16. Elsewhere only the weights are, which
 * is half as much to fetch from memory, and all is multiplied as f32.
 *
 * Whether a network bears bf16 is a question about its weights, and whether bf16 is faster than fp32 one about the processor, whose fp32 has the better
 * Winograd transforms. Both are answered by doing it. The plan is prepared in both precisions and runs on a few made-up pictures, which are compared
 * and timed; what is not wanted is given back before the model serves.
 *
 * An int8 file stays what it is; where maps would be bf16, Winograd's points of its bytes are.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/cpu/cpu_executor.h"
#include "engine/quantize.h"

enum { TEST_ROWS = 4 };

/* Rounding every layer's values to bf16, by 2^-9 on average, leaves errors of 0.002 to 0.01 in the outputs of networks with random weights
 * (tests/engine/cpu_backend_test.c). Five times as much is a network that rounding breaks. */
static const double MAX_ERROR = 0.05;

/* ---- one row in both precisions ---- */

typedef struct {
    double error;           /* largest relative L2 distance of an output */
    double seconds[2];      /* fastest run of a row: reduced, fp32 */
} comparison;

/* Noise in the first row, waves of growing length in the others. */
static float test_value(const rn_plan_tensor *tensor, int32_t row, int64_t i)
{
    if (row == 0) return (float)((uint32_t)i * 2654435761u >> 24) / 255.0f;
    const int64_t pixel = i / tensor->c;
    const float x = (float)(pixel % tensor->w), y = (float)(pixel / tensor->w), turn = (float)(i % tensor->c + row);
    const float length = (float)(4 << 2 * row);
    return 0.5f + 0.25f * sinf((x + turn * y) / length) + 0.25f * cosf((y - turn * x) / length);
}

static void fill_input(const rn_plan_tensor *tensor, int32_t row, void *input)
{
    for (int64_t i = 0; i < rn_plan_tensor_elements(tensor); i++) {
        const float value = test_value(tensor, row, i);
        if (tensor->dtype == RN_DTYPE_F32) ((float *)input)[i] = value;
        else ((uint8_t *)input)[i] = (uint8_t)(value * 255.0f);
    }
}

static void compare_output(const float *reduced, const float *full, int64_t count, comparison *c)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        const double d = (double)reduced[i] - full[i];
        difference += d * d;
        norm += (double)full[i] * full[i];
    }
    const double error = norm > 0 ? sqrt(difference / norm) : difference > 0 ? INFINITY : 0;
    if (!(error <= c->error)) c->error = error; /* NaN stays */
}

static rn_status run_row(rn_executor *e, const rn_signature *signature, const rn_batch_part *part, double *fastest, rn_error *err)
{
    const double start = rn_clock_seconds();
    RN_TRY(rn__cpu_run(e, signature, part, 1, err));
    *fastest = fmin(*fastest, rn_clock_seconds() - start);
    return RN_STATUS_OK;
}

/* Runs a signature's rows in turns, so that both precisions see the same neighbours on the machine. parts: reduced, fp32. */
static rn_status compare_rows(rn_executor *const executors[2], const rn_signature *signature, const rn_batch_part parts[2], comparison *c,
                              rn_error *err)
{
    const rn_plan *plan = executors[0]->plan;
    double fastest[2] = {INFINITY, INFINITY};
    for (int32_t row = 0; row < TEST_ROWS; row++) {
        fill_input(&plan->tensors[signature->feed], row, (void *)parts[0].input);
        for (int i = 0; i < 2; i++) RN_TRY(run_row(executors[i], signature, &parts[i], &fastest[i], err));
        for (int32_t o = 0; o < signature->output_count; o++) {
            const rn_plan_tensor *tensor = &plan->tensors[signature->outputs[o].tensor];
            if (tensor->dtype != RN_DTYPE_F32) continue;
            compare_output(parts[0].outputs[o], parts[1].outputs[o], rn_plan_tensor_elements(tensor), c);
        }
    }
    for (int i = 0; i < 2; i++) c->seconds[i] += fastest[i];
    return RN_STATUS_OK;
}

static rn_status compare_signature(rn_executor *const executors[2], const rn_signature *signature, comparison *c, rn_error *err)
{
    const rn_plan *plan = executors[0]->plan;
    rn_status status;
    rn_batch_part parts[2] = {{.rows = 1}, {.rows = 1}};
    void *input = malloc(rn_plan_tensor_bytes(&plan->tensors[signature->feed]));
    bool complete = input != NULL;
    for (int i = 0; i < 2; i++) {
        parts[i].input = input;
        for (int32_t o = 0; o < signature->output_count; o++) {
            parts[i].outputs[o] = malloc(rn_plan_tensor_bytes(&plan->tensors[signature->outputs[o].tensor]));
            complete = complete && parts[i].outputs[o];
        }
    }
    if (complete) status = compare_rows(executors, signature, parts, c, err);
    else status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to compare precisions");
    for (int i = 0; i < 2; i++) {
        for (int32_t o = 0; o < signature->output_count; o++) free(parts[i].outputs[o]);
    }
    free(input);
    return status;
}

/* ---- the choice ---- */

static void say(const rn_backend_options *options, const char *line)
{
    if (options->log) options->log(options->log_context, line);
}

/* Both executors are given away: one to *out, the other is destroyed. */
static rn_status choose(rn_executor *const executors[2], const rn_backend_options *options, bool any, rn_executor **out, rn_error *err)
{
    const rn_plan *plan = executors[0]->plan;
    comparison c = {0};
    for (int32_t s = 0; s < plan->signature_count; s++) RN_TRY(compare_signature(executors, &plan->signatures[s], &c, err));
    const bool right = c.error <= MAX_ERROR;
    char line[256];
    snprintf(line, sizeof line, "precision bf16: outputs of the self-test differ from fp32 by %.4f, allowed are %.2f of their length", c.error,
             MAX_ERROR);
    if (!right && !any) return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: serve this model with precision fp32", line);
    say(options, line);
    const double ratio = c.seconds[0] / c.seconds[1];
    *out = executors[right && (!any || ratio < 1) ? 0 : 1];
    if (!any) return RN_STATUS_OK;
    if (!right) snprintf(line, sizeof line, ", auto: bf16 fails the self-test");
    else snprintf(line, sizeof line, ", auto: bf16 takes %.2f of the time of fp32", ratio);
    rn__cpu_describe(*out, line);
    return RN_STATUS_OK;
}

static const rn__cpu_types fp32 = {.maps = RN_DTYPE_F32, .weights = RN_DTYPE_F32}, bf16 = {.maps = RN_DTYPE_BF16, .weights = RN_DTYPE_BF16},
                           bf16_weights = {.maps = RN_DTYPE_F32, .weights = RN_DTYPE_BF16};

static rn_status prepare_reduced(const rn_plan *plan, const rn_backend_options *options, rn__cpu_types reduced, bool any, rn_executor **out, rn_error *err)
{
    rn_executor *executors[2] = {NULL, NULL};
    rn_status status;
    *out = NULL;
    RN_TRY_CLEANUP(status, rn__cpu_create(plan, options, reduced, &executors[0], err));
    RN_TRY_CLEANUP(status, rn__cpu_create(plan, options, fp32, &executors[1], err));
    RN_TRY_CLEANUP(status, choose(executors, options, any, out, err));
cleanup:
    for (int i = 0; i < 2; i++) {
        if (executors[i] != *out) rn__cpu_destroy(executors[i]);
    }
    return status;
}

/* What bf16 is here; fp32 where it is nothing. Who names an instruction set that has bf16 products gets them, fast or not. */
static rn_status choose_bf16(const rn_backend_options *options, rn__cpu_types *out, rn_error *err)
{
    rn_isa isa;
    rn_cpu_kernels kernels;
    RN_TRY(rn__cpu_choose_isa(options->isa, &isa, err));
    rn_cpu_kernels_select(isa, &kernels);
    bool maps = kernels.conv2d_tile[RN_DTYPE_BF16].run != NULL;
    if (!options->isa) RN_TRY(rn__cpu_bf16_is_faster(&kernels, &maps, err));
    *out = maps ? bf16 : kernels.conv2d_tile_chained[RN_DTYPE_F32].run ? bf16_weights : fp32;
    return RN_STATUS_OK;
}

static rn_status prepare_int8(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    rn__cpu_types reduced, types = fp32;
    RN_TRY(choose_bf16(options, &reduced, err));
    types.bf16_points = reduced.maps == RN_DTYPE_BF16;
    return rn__cpu_create(plan, options, types, out, err);
}

rn_status rn__cpu_prepare(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    const char *name = options->precision ? options->precision : "fp32";
    const bool any = strcmp(name, "auto") == 0;
    rn__cpu_types reduced;
    if (rn_plan_is_quantized(plan)) return prepare_int8(plan, options, out, err); /* its precision was chosen when it was made */
    if (strcmp(name, "fp32") == 0) return rn__cpu_create(plan, options, fp32, out, err);
    if (!any && strcmp(name, "bf16") != 0) {
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "precision %s: the CPU backend has fp32, bf16 and auto", name);
    }
    RN_TRY(choose_bf16(options, &reduced, err));
    if (reduced.weights == RN_DTYPE_BF16) return prepare_reduced(plan, options, reduced, any, out, err);
    if (!any) {
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "precision bf16: this processor (%s%s%s) has no kernels for it, which need %s", rn_cpu_model(),
                       options->isa ? ", limited to " : "", options->isa ? options->isa : "", rn_isa_name(RN_ISA_AVX512));
    }
    RN_TRY(rn__cpu_create(plan, options, fp32, out, err));
    rn__cpu_describe(*out, ", auto: this processor has no bf16");
    return RN_STATUS_OK;
}
