/* Convolutions on bytes.
 *
 * The plan says in real numbers what each byte stands for. Here all of that is folded, in double precision and once, into two factors for each
 * output channel: an integer sum times the one plus the other is the output in units of its own step, zero included. The residual has one
 * factor for all channels, and the second output two more for each.
 *
 * With x = (a - za) * sa, weights w * sw, residual (r - zr) * sr and output y = (b - zb) * sb:
 *
 *     b = (sum(a * w) - za * sum(w)) * sa * sw / sb + bias / sb + (r - zr) * sr / sb + zb
 *
 * An f32 output is one with sb = 1 and zb = 0. Around the picture lies the byte za, so that the sums of w are those of the whole filter.
 */
#include <math.h>
#include <stdlib.h>

#include "engine/cpu/cpu_executor.h"

/* Kernels convert values to 32-bit integers before they clamp them. */
static const double LARGEST_VALUE = 1 << 30;

/* What an element of a tensor stands for. */
typedef struct {
    double step, zero;
} unit;

static unit unit_of(const rn_executor *e, int32_t tensor)
{
    if (tensor == RN_NONE || e->plan->tensors[tensor].step == 0) return (unit){1, 0};
    return (unit){(double)e->plan->tensors[tensor].step, e->plan->tensors[tensor].zero};
}

/* sums[k]: of all weights of output channel k; magnitudes[k]: of their magnitudes. */
static void sum_filter(const rn_plan_weights *filter, double *sums, double *magnitudes)
{
    const int8_t *w = filter->data;
    const int32_t k = filter->dims[3];
    for (int64_t i = 0; i < filter->element_count; i++) {
        sums[i % k] += w[i];
        magnitudes[i % k] += abs(w[i]);
    }
}

static double weight_or_zero(const rn_executor *e, int32_t weights, int32_t k)
{
    return weights == RN_NONE ? 0 : (double)rn__cpu_weights(e, weights)[k];
}

/* Factors of channel k; false when they can make a value larger than LARGEST_VALUE, or are no numbers. */
static bool fold_channel(const rn_executor *e, const rn_op *op, rn__cpu_rescale *to, int32_t k, double sum, double magnitude)
{
    const rn_conv2d_op *conv = &op->u.conv2d;
    const float *steps = rn__cpu_weights(e, e->plan->weights[conv->filter].steps);
    const unit x = unit_of(e, op->inputs[0]), y = unit_of(e, op->outputs[0]), z = unit_of(e, op->outputs[1]), r = unit_of(e, op->inputs[1]);
    const bool residual = op->inputs[1] != RN_NONE;
    const double product = x.step * (double)steps[k], rest = residual ? r.zero * r.step : 0;
    const double multiplier = product / y.step, bias = (weight_or_zero(e, conv->bias, k) - x.zero * sum * product - rest) / y.step + y.zero;
    to->multiplier[k] = (float)multiplier;
    to->bias[k] = (float)bias;
    to->residual_multiplier = residual ? (float)(r.step / y.step) : 0;
    double largest = UINT8_MAX * (magnitude * fabs(multiplier) + (double)to->residual_multiplier) + fabs(bias);
    if (op->outputs[1] != RN_NONE) {
        const double scale2 = (double)rn__cpu_weights(e, conv->scale2)[k], shift2 = (double)rn__cpu_weights(e, conv->shift2)[k];
        const double scale = scale2 * y.step / z.step, shift = (shift2 - y.zero * y.step * scale2) / z.step + z.zero;
        to->scale2[k] = (float)scale;
        to->shift2[k] = (float)shift;
        largest = fmax(largest, largest * fabs(scale) + fabs(shift));
    }
    return largest < LARGEST_VALUE;
}

static rn_status fold(const rn_executor *e, rn__cpu_step *step, rn_error *err)
{
    const rn_op *op = step->op;
    const rn_plan_weights *filter = &e->plan->weights[op->u.conv2d.filter];
    const int32_t k = filter->dims[3];
    rn__cpu_rescale *to = &step->rescale;
    double *sums = calloc(2 * (size_t)k, sizeof *sums);
    float *vectors = calloc(4 * (size_t)k, sizeof *vectors);
    rn_status status = RN_STATUS_OK;
    *to = (rn__cpu_rescale){.multiplier = vectors, .bias = vectors + k, .scale2 = vectors + 2 * k, .shift2 = vectors + 3 * k};
    if (!sums || !vectors) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for the factors of %d channels", op->name, k);
        goto cleanup;
    }
    sum_filter(filter, sums, sums + k);
    for (int32_t j = 0; j < k; j++) {
        if (fold_channel(e, op, to, j, sums[j], sums[k + j])) continue;
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: channel %d can reach values beyond 2^30 of its own steps", op->name, j);
        goto cleanup;
    }
cleanup:
    free(sums);
    return status;
}

bool rn__cpu_is_int8(const rn_executor *e, const rn_op *op)
{
    return op->kind == RN_OP_CONV2D && e->plan->weights[op->u.conv2d.filter].dtype == RN_DTYPE_I8;
}

rn_conv2d_args rn__cpu_int8_args(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const rn_op *op = step->op;
    const rn__cpu_rescale *rescale = &step->rescale;
    rn_conv2d_args args = rn__cpu_conv2d_args(e, op, rows);
    args.filter8 = e->plan->weights[op->u.conv2d.filter].data;
    args.multiplier = rescale->multiplier;
    args.bias = rescale->bias;
    args.scale2 = rescale->scale2;
    args.shift2 = rescale->shift2;
    args.residual_multiplier = rescale->residual_multiplier;
    /* A byte cannot be less than its zero where ReLU is, and only the second output sees more than bytes. */
    if (args.y.dtype == RN_DTYPE_U8 && !args.y2.data) args.relu = false;
    return args;
}

typedef struct {
    rn_conv2d_fn *kernel;
    rn_conv2d_args args;
} reference_job;

static void run_rows(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    (void)thread;
    const reference_job *job = context;
    rn_conv2d_args args = job->args;
    args.row_begin = begin;
    args.row_end = end;
    job->kernel(&args);
}

static void run_reference(const rn_executor *e, const rn__cpu_step *step, int32_t rows)
{
    const reference_job job = {e->kernels.conv2d[RN_DTYPE_U8].run, rn__cpu_int8_args(e, step, rows)};
    rn__thread_pool_run(e->pool, job.args.row_end, rn__thread_pool_thread_count(e->pool), run_rows, &job);
}

rn_status rn__cpu_int8_prepare(rn_executor *e, rn__cpu_step *step, rn_error *err)
{
    RN_TRY(fold(e, step, err));
    if (!e->kernels.conv2d_tile[RN_DTYPE_U8].run) {
        step->run = run_reference;
        return RN_STATUS_OK;
    }
    const rn_conv2d_args args = rn__cpu_int8_args(e, step, 1);
    if (rn_conv2d_direct_fits(&args)) {
        rn__cpu_conv2d_prepare(e, step);
        return RN_STATUS_OK;
    }
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: %d input channels in %d groups, int8 convolutions need multiples of 4", step->op->name, args.c,
                   args.groups);
}
