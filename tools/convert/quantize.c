/* Two walks over the calibration inputs: one in fp32, which counts the values of every tensor and keeps the logits, and one on bytes, whose logits are
 * held against them. */
#include "tools/convert/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/calibration.h"
#include "engine/cpu/tensor_probe.h"
#include "tools/convert/calibration_rows.h"

/* How much of a tensor's values its range holds on either side of zero. Relative error of the logits of the sample model (tests/data/fashion_resnet101),
 * calibrated on 500 pictures of the training set:
 *
 *     share      1       0.99999  0.9999   0.9997   0.999
 *     mean       0.0245  0.0220   0.0259   0.0364   0.0612
 *     worst      0.084   0.087    0.117    0.221    0.318
 */
static const double RANGE_SHARE = 0.99999;

typedef struct {
    const rn_plan *plan;
    rn_tensor_probe *probe;
    rn_calibration *calibration;    /* first walk only */
    int32_t logits;                 /* the tensor */
    int64_t classes;
    float *expected;                /* [rows][classes]: what the first walk saw */
    int64_t rows, capacity;
    float *seen;                    /* [classes]: of the row in work */
    rn_agreement *agreement;        /* second walk only */
    const rn_progress *progress;
} session;

/* What the last dense layer writes; without one, the first output that is F32. */
static int32_t find_logits(const rn_plan *plan, const rn_signature *signature)
{
    int32_t found = RN_NONE;
    for (int32_t i = 0; i < signature->op_count; i++) {
        const rn_op *op = &plan->ops[signature->ops[i]];
        if (op->kind == RN_OP_DENSE) found = op->outputs[0];
    }
    for (int32_t i = 0; i < signature->output_count && found == RN_NONE; i++) {
        if (plan->tensors[signature->outputs[i].tensor].dtype == RN_DTYPE_F32) found = signature->outputs[i].tensor;
    }
    return found;
}

static void view(void *context, int32_t tensor, const float *values, int64_t count)
{
    session *s = context;
    if (s->calibration) rn_calibration_count(s->calibration, tensor, values, count);
    if (tensor == s->logits) memcpy(s->seen, values, (size_t)count * sizeof *values);
}

static rn_status keep(session *s, rn_error *err)
{
    if (s->rows == s->capacity) {
        const int64_t capacity = s->capacity ? 2 * s->capacity : 256;
        float *grown = realloc(s->expected, (size_t)(capacity * s->classes) * sizeof *grown);
        if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the logits of %lld inputs", (long long)capacity);
        s->expected = grown;
        s->capacity = capacity;
    }
    memcpy(s->expected + s->rows++ * s->classes, s->seen, (size_t)s->classes * sizeof *s->seen);
    return RN_STATUS_OK;
}

static int64_t largest(const float *values, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++) best = values[i] > values[best] ? i : best;
    return best;
}

static void compare(session *s)
{
    const float *expected = s->expected + s->agreement->rows++ * s->classes;
    double difference = 0, length = 0;
    for (int64_t i = 0; i < s->classes; i++) {
        const double delta = (double)s->seen[i] - (double)expected[i];
        difference += delta * delta;
        length += (double)expected[i] * (double)expected[i];
    }
    const double error = length > 0 ? sqrt(difference / length) : sqrt(difference);
    s->agreement->same_top1 += largest(s->seen, s->classes) == largest(expected, s->classes);
    s->agreement->mean_error += error;
    s->agreement->worst_error = fmax(s->agreement->worst_error, error);
}

static rn_status visit(void *context, const void *row, int32_t file, int32_t file_count, rn_error *err)
{
    session *s = context;
    if (s->progress) s->progress->report(s->progress->context, s->agreement ? "comparing" : "calibrating", (uint64_t)file, (uint64_t)file_count);
    RN_TRY(rn_tensor_probe_run(s->probe, row, view, s, err));
    if (!s->agreement) return keep(s, err);
    compare(s);
    return RN_STATUS_OK;
}

/* One walk over the inputs with the plan as it is now. */
static rn_status walk(session *s, const char *folder, rn_error *err)
{
    const rn_signature *signature;
    RN_TRY(rn_calibration_signature(folder, s->plan, &signature, err));
    s->logits = find_logits(s->plan, signature);
    if (s->logits == RN_NONE) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "signature %s has neither a dense layer nor an output of floats to compare", signature->name);
    }
    s->classes = rn_plan_tensor_elements(&s->plan->tensors[s->logits]);
    free(s->seen);
    s->seen = calloc((size_t)s->classes, sizeof *s->seen);
    if (!s->seen) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %lld classes", (long long)s->classes);
    RN_TRY(rn_tensor_probe_create(s->plan, signature, NULL, 0, &s->probe, err));
    const rn_status status = rn_calibration_rows_visit(folder, s->plan, signature, visit, s, err);
    rn_tensor_probe_destroy(s->probe);
    return status;
}

static rn_status calibrate(session *s, const char *folder, rn_value_range *ranges, rn_error *err)
{
    RN_TRY(rn_calibration_create(s->plan, &s->calibration, err));
    const rn_status status = walk(s, folder, err);
    if (status == RN_STATUS_OK) rn_calibration_ranges(s->calibration, RANGE_SHARE, ranges);
    rn_calibration_destroy(s->calibration);
    s->calibration = NULL;
    return status;
}

rn_status rn_quantize_by_folder(rn_plan *plan, const char *folder, const rn_progress *progress, rn_agreement *agreement, rn_error *err)
{
    rn_status status;
    session s = {.plan = plan, .progress = progress};
    rn_value_range *ranges = calloc((size_t)plan->tensor_count + 1, sizeof *ranges);
    if (!ranges) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the ranges of %d tensors", plan->tensor_count);
    *agreement = (rn_agreement){0};
    RN_TRY_CLEANUP(status, calibrate(&s, folder, ranges, err));
    RN_TRY_CLEANUP(status, rn_plan_quantize(plan, ranges, err));
    s.agreement = agreement;
    RN_TRY_CLEANUP(status, walk(&s, folder, err));
    agreement->mean_error /= (double)agreement->rows;
cleanup:
    free(s.expected);
    free(s.seen);
    free(ranges);
    return status;
}
