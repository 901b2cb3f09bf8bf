/* What a device has to answer before anybody can send a request: bad weights, a wrong driver or a broken kernel show up while the previous
 * version still serves. Inputs have to give finite numbers at every size of batch at which the device may do something new; for recorded ones they have to
 * be those that were recorded.
 */
#include "engine/self_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/golden.h"

static rn_status no_memory(int32_t rows, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "self-test: no memory for %d rows", rows);
}

static void free_outputs(const rn_signature *signature, rn_batch_part *part)
{
    for (int32_t i = 0; i < signature->output_count; i++) free(part->outputs[i]);
}

/* Room for the answers of part->rows rows, which free_outputs frees, also after a failure. */
static rn_status make_outputs(const rn_plan *plan, const rn_signature *signature, rn_batch_part *part, rn_error *err)
{
    for (int32_t i = 0; i < signature->output_count; i++) {
        part->outputs[i] = malloc((size_t)part->rows * rn_plan_tensor_bytes(&plan->tensors[signature->outputs[i].tensor]));
        if (!part->outputs[i]) return no_memory(part->rows, err);
    }
    return RN_STATUS_OK;
}

/* ---- made-up inputs ---- */

/* A picture of smooth and noisy parts, the same every time. */
static uint8_t test_pixel(int64_t i)
{
    return (uint8_t)((uint32_t)i * 2654435761u >> 24);
}

static void fill_test_input(const rn_plan_tensor *tensor, int32_t rows, void *input)
{
    const int64_t count = rows * rn_plan_tensor_elements(tensor);
    for (int64_t i = 0; i < count; i++) {
        if (tensor->dtype == RN_DTYPE_F32)
            ((float *)input)[i] = (float)test_pixel(i) / 255.0f;
        else
            ((uint8_t *)input)[i] = test_pixel(i);
    }
}

static rn_status check_output(const rn_plan *plan, const rn_signature *signature, const rn_tensor_spec *spec, int32_t rows,
                              const void *output, rn_error *err)
{
    const rn_plan_tensor *tensor = &plan->tensors[spec->tensor];
    const int64_t count = rows * rn_plan_tensor_elements(tensor);
    for (int64_t i = 0; i < count; i++) {
        if (tensor->dtype == RN_DTYPE_F32 && !isfinite(((const float *)output)[i]))
            return RN_FAIL(err, RN_STATUS_INTERNAL, "self-test: signature %s, output %s: element %lld is not finite", signature->name,
                           spec->name, (long long)i);
        if (spec->labels && (uint32_t)((const int32_t *)output)[i] >= (uint32_t)plan->label_count)
            return RN_FAIL(err, RN_STATUS_INTERNAL, "self-test: signature %s, output %s: class %d of %d", signature->name, spec->name,
                           ((const int32_t *)output)[i], plan->label_count);
    }
    return RN_STATUS_OK;
}

static rn_status test_rows(const rn_plan *plan, const rn_backend *backend, rn_executor *executor, const rn_signature *signature,
                           int32_t rows, rn_error *err)
{
    const rn_plan_tensor *feed = &plan->tensors[signature->feed];
    if (feed->dtype != RN_DTYPE_F32 && feed->dtype != RN_DTYPE_U8)
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "signature %s: input %s is %s, expected float or uint8", signature->name,
                       signature->input.name, rn_dtype_tf_name(feed->dtype));
    rn_batch_part part = {.rows = rows};
    void *input = malloc((size_t)rows * rn_plan_tensor_bytes(feed));
    rn_status status = make_outputs(plan, signature, &part, err);
    if (status == RN_STATUS_OK && !input) status = no_memory(rows, err);
    if (status != RN_STATUS_OK) goto cleanup;
    fill_test_input(feed, rows, input);
    part.input = input;
    RN_TRY_CLEANUP(status, backend->run(executor, signature, &part, 1, err));
    for (int32_t i = 0; i < signature->output_count; i++)
        RN_TRY_CLEANUP(status, check_output(plan, signature, &signature->outputs[i], rows, part.outputs[i], err));
cleanup:
    free_outputs(signature, &part);
    free(input);
    return status;
}

/* ---- recorded inputs ---- */

void rn_device_precision(const char *description, char out[16])
{
    const size_t head = strcspn(description, ",");
    size_t last = head;
    while (last > 0 && description[last - 1] != ' ') last--;
    snprintf(out, 16, "%.*s", (int)(head - last), description + last);
}

/* At most max_batch rows at a time. */
static rn_status run_golden(const rn_plan *plan, const rn_golden *golden, const rn_backend *backend, rn_executor *executor,
                            int32_t max_batch, rn_golden_error *worst, rn_error *err)
{
    const rn_signature *signature = &plan->signatures[golden->signature];
    const size_t row_bytes = rn_plan_tensor_bytes(&plan->tensors[signature->feed]);
    rn_batch_part part = {.rows = golden->rows < max_batch ? golden->rows : max_batch};
    rn_status status = make_outputs(plan, signature, &part, err);
    *worst = (rn_golden_error){.output = RN_NONE};
    for (int32_t first = 0; status == RN_STATUS_OK && first < golden->rows; first += part.rows) {
        if (part.rows > golden->rows - first) part.rows = golden->rows - first;
        part.input = (const char *)golden->input + (size_t)first * row_bytes;
        status = backend->run(executor, signature, &part, 1, err);
        for (int32_t i = 0; status == RN_STATUS_OK && i < signature->output_count; i++)
            status = check_output(plan, signature, &signature->outputs[i], part.rows, part.outputs[i], err);
        if (status != RN_STATUS_OK) break;
        const rn_golden_error here = rn_golden_compare(plan, golden, first, part.rows, part.outputs);
        const double absolute = fmax(worst->absolute, here.absolute);
        if (worst->output == RN_NONE || here.relative > worst->relative) *worst = here;
        worst->absolute = absolute;
    }
    free_outputs(signature, &part);
    return status;
}

rn_status rn_golden_test(const rn_plan *plan, int32_t index, const rn_backend *backend, rn_executor *executor, int32_t max_batch,
                         rn_golden_error *worst, double *allowed, rn_error *err)
{
    const rn_golden *golden = &plan->goldens[index];
    char precision[16];
    rn_device_precision(backend->describe(executor), precision);
    RN_TRY(run_golden(plan, golden, backend, executor, max_batch, worst, err));
    *allowed = rn_golden_allowed(golden, precision);
    if (worst->output == RN_NONE || worst->relative <= *allowed) return RN_STATUS_OK;
    const rn_signature *signature = &plan->signatures[golden->signature];
    return RN_FAIL(
        err, RN_STATUS_FAILED_PRECONDITION,
        "self-test: signature %s, output %s: row %d of the recorded answer \"%s\" is off by %.3g, %.2g of the largest magnitude, "
        "allowed %.2g in %s",
        signature->name, signature->outputs[worst->output].name, worst->row, golden->source, worst->absolute, worst->relative, *allowed,
        precision);
}

/* ---- the whole ---- */

/* The size to run after `rows`, or 0. */
static int32_t next_size(const rn_backend *backend, const rn_executor *executor, const rn_signature *signature, int32_t rows, int32_t largest)
{
    if (rows >= largest) return 0;
    const int32_t next = backend->next_size ? backend->next_size(executor, signature, rows) : 2 * rows;
    return next < largest ? next : largest;
}

/* Whether both compute the same: Keras exports every network as "serve" and as "serving_default". */
static bool same_work(const rn_signature *a, const rn_signature *b)
{
    if (a->feed != b->feed || a->op_count != b->op_count || a->output_count != b->output_count) return false;
    for (int32_t i = 0; i < a->output_count; i++) {
        if (a->outputs[i].tensor != b->outputs[i].tensor || a->outputs[i].labels != b->outputs[i].labels) return false;
    }
    return memcmp(a->ops, b->ops, (size_t)a->op_count * sizeof *a->ops) == 0;
}

/* Whether a recorded answer shows what a made-up row would. */
static bool has_golden_row(const rn_plan *plan, const rn_signature *signature)
{
    for (int32_t i = 0; i < plan->golden_count; i++) {
        if (plan->goldens[i].rows == 1 && same_work(&plan->signatures[plan->goldens[i].signature], signature)) return true;
    }
    return false;
}

rn_status rn__self_test(const rn_plan *plan, const rn_backend *backend, rn_executor *executor, int32_t largest, int32_t max_batch,
                        rn_model_metrics *metrics, rn_error *err)
{
    for (int32_t i = 0; i < plan->signature_count; i++) {
        for (int32_t rows = 1; rows > 0; rows = next_size(backend, executor, &plan->signatures[i], rows, largest)) {
            if (rows == 1 && has_golden_row(plan, &plan->signatures[i])) continue;
            RN_TRY(test_rows(plan, backend, executor, &plan->signatures[i], rows, err));
        }
    }
    for (int32_t i = 0; i < plan->golden_count; i++) {
        rn_golden_error worst = {.output = RN_NONE};
        double allowed;
        const rn_status status = rn_golden_test(plan, i, backend, executor, max_batch, &worst, &allowed, err);
        if (worst.output != RN_NONE) rn_model_metrics_self_test(metrics, worst.absolute);
        if (status != RN_STATUS_OK) return status;
    }
    return RN_STATUS_OK;
}
