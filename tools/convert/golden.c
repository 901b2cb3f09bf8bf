/* Made-up pictures, from coarse structure to noise, the same every time, and what the plan's own operations make of them.
 */
#include "tools/convert/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/tensor_probe.h"
#include "engine/self_test.h"

typedef struct recording {
    const rn_plan *plan;
    const rn_signature *signature;
    rn_golden golden;
    float *outputs[RN_PLAN_MAX_OUTPUTS];
    int32_t recorded[RN_PLAN_MAX_OUTPUTS]; /* tensor whose values become the output's record, or RN_NONE */
    int32_t row;
} recording;

static uint32_t mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* 0 to 255: a coarse pattern of 8 x 8 fields with fine noise. */
static float pixel(const rn_plan_tensor *t, int32_t row, int64_t i)
{
    const int64_t c = i % t->c, x = i / t->c % t->w, y = i / t->c / t->w;
    const uint32_t field = mix((uint32_t)(row * 977 + y * 8 / t->h * 64 + x * 8 / t->w * 8 + c)), noise = mix((uint32_t)(row * 7919 + i));
    return (float)(field % 192 + noise % 64);
}

/* Whether floats that a signature takes are of 0 to 255 rather than 0 to 1: networks do not say so, but the first arithmetic on them does,
 * where it could not be folded into a convolution. A small range is good for both. */
static bool takes_bytes(const rn_plan *plan, const rn_signature *signature)
{
    for (int32_t i = 0; i < signature->op_count; i++) {
        const rn_op *op = &plan->ops[signature->ops[i]];
        const rn_scale_shift_op *affine = &op->u.scale_shift;
        if (op->kind != RN_OP_SCALE_SHIFT || op->inputs[0] != signature->feed) continue;
        const float scale = affine->scale == RN_NONE ? 1 : fabsf(((const float *)plan->weights[affine->scale].data)[0]);
        const float shift = affine->shift == RN_NONE ? 0 : fabsf(((const float *)plan->weights[affine->shift].data)[0]);
        return scale < 0.1f || shift > 16 * scale;
    }
    return false;
}

static void fill_row(const rn_plan_tensor *t, int32_t row, bool bytes, void *out)
{
    for (int64_t i = 0; i < rn_plan_tensor_elements(t); i++) {
        const float value = pixel(t, row, i);
        if (t->dtype == RN_DTYPE_U8)
            ((uint8_t *)out)[i] = (uint8_t)value;
        else
            ((float *)out)[i] = bytes ? value : value / 255;
    }
}

static void keep(void *context, int32_t tensor, const float *values, int64_t count)
{
    recording *r = context;
    for (int32_t o = 0; o < r->signature->output_count; o++)
        if (r->recorded[o] == tensor) memcpy(r->outputs[o] + r->row * count, values, (size_t)count * sizeof *values);
}

/* The tensor that stands for an output: its own, or what a sort of classes sorts. */
static int32_t tensor_to_record(const rn_plan *plan, int32_t tensor)
{
    if (plan->tensors[tensor].dtype == RN_DTYPE_F32) return tensor;
    for (int32_t i = 0; i < plan->op_count; i++)
        if (plan->ops[i].kind == RN_OP_TOP_K && plan->ops[i].outputs[1] == tensor) return plan->ops[i].inputs[0];
    return RN_NONE;
}

static void release(void *memory, size_t bytes)
{
    (void)bytes;
    free(memory);
}

/* Memory of the plan. */
static rn_status take(rn_plan *plan, size_t bytes, void **out, rn_error *err)
{
    *out = malloc(bytes);
    if (!*out) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a recorded answer of %zu bytes", bytes);
    return rn_plan_adopt(plan, *out, bytes, release, err);
}

static rn_status record_signature(rn_plan *plan, int32_t index, int32_t rows, rn_error *err)
{
    recording r = {
        .plan = plan, .signature = &plan->signatures[index], .golden = {.source = "reference", .signature = index, .rows = rows}};
    const rn_plan_tensor feed = plan->tensors[r.signature->feed];
    const size_t row_bytes = rn_plan_tensor_bytes(&feed);
    void *memory, *input;
    RN_TRY(take(plan, (size_t)rows * row_bytes, &input, err));
    for (int32_t o = 0; o < r.signature->output_count; o++) {
        const int64_t elements = rn_golden_output_elements(plan, r.signature, o);
        r.recorded[o] = elements ? tensor_to_record(plan, r.signature->outputs[o].tensor) : RN_NONE;
        if (r.recorded[o] == RN_NONE) continue;
        RN_TRY(take(plan, (size_t)(rows * elements) * sizeof(float), &memory, err));
        r.golden.outputs[o] = r.outputs[o] = memory;
    }
    r.golden.input = input;
    rn_tensor_probe *probe;
    RN_TRY(rn_tensor_probe_create(plan, r.signature, "scalar", 1, &probe, err));
    rn_status status = RN_STATUS_OK;
    for (; r.row < rows && status == RN_STATUS_OK; r.row++) {
        char *row = (char *)input + (size_t)r.row * row_bytes;
        fill_row(&feed, r.row, takes_bytes(plan, r.signature), row);
        status = rn_tensor_probe_run(probe, row, keep, &r, err);
    }
    rn_tensor_probe_destroy(probe);
    return status == RN_STATUS_OK ? rn_plan_add_golden(plan, &r.golden, err) : status;
}

static bool same_network(const rn_signature *a, const rn_signature *b)
{
    if (a->feed != b->feed || a->output_count != b->output_count) return false;
    for (int32_t o = 0; o < a->output_count; o++)
        if (a->outputs[o].tensor != b->outputs[o].tensor) return false;
    return true;
}

rn_status rn_record_goldens(rn_plan *plan, int32_t rows, rn_error *err)
{
    for (int32_t s = 0; s < plan->signature_count && rows > 0; s++) {
        bool new = true;
        for (int32_t r = 0; r < s; r++) new = new && !same_network(&plan->signatures[r], &plan->signatures[s]);
        if (new) RN_TRY(record_signature(plan, s, rows, err));
    }
    return RN_STATUS_OK;
}

rn_status rn_measure_goldens(rn_plan *plan, rn_error *err)
{
    const rn_backend *backend;
    rn_executor *executor;
    if (plan->golden_count == 0) return RN_STATUS_OK;
    RN_TRY(rn_backend_select("cpu", &backend, err));
    RN_TRY(backend->prepare(plan, &(rn_backend_options){.max_batch = 1}, &executor, err));
    rn_status status = RN_STATUS_OK;
    for (int32_t g = 0; g < plan->golden_count && status == RN_STATUS_OK; g++) {
        rn_golden_error worst;
        double allowed;
        plan->goldens[g].allowed = INFINITY;
        status = rn_golden_test(plan, g, backend, executor, 1, &worst, &allowed, err);
        plan->goldens[g].allowed = 2 * worst.relative;
    }
    backend->destroy(executor);
    return status;
}
