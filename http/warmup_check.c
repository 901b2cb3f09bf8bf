/* A response that was recorded with a request (PredictLog.response of tensorflow_serving/apis/prediction_log.proto) is another server's
 * answer, most often TensorFlow's own: what this device computes has to be the same.
 */
#include "http/warmup_check.h"

#include <math.h>
#include <string.h>

#include "engine/quantize.h"
#include "engine/self_test.h"
#include "http/grpc_message.h"

typedef struct check {
    const rn_request *request;
    const rn_plan *plan;
    const rn_tensor_spec *spec;
    const void *got;
    int64_t row_elements;
    char precision[16];
    double allowed;
    rn_error *err;
} check;

static rn_status bad_size(const check *c, size_t found)
{
    return RN_FAIL(c->err, RN_STATUS_INVALID_ARGUMENT, "the recorded response has %zu values for output %s, expected %lld", found,
                   c->spec->name, (long long)(c->request->rows * c->row_elements));
}

static rn_status check_floats(const check *c, const Sm__Tensor *tensor)
{
    const int64_t count = c->request->rows * c->row_elements;
    const bool packed = tensor->tensor_content.len > 0;
    const size_t found = packed ? tensor->tensor_content.len / sizeof(float) : tensor->n_float_val;
    if (found != (size_t)count) return bad_size(c, found);
    double worst = 0, magnitude = 0;
    int64_t where = 0;
    for (int64_t i = 0; i < count; i++) {
        float wanted;
        if (packed)
            memcpy(&wanted, tensor->tensor_content.data + (size_t)i * sizeof wanted, sizeof wanted);
        else
            wanted = tensor->float_val[i];
        const double off = fabs((double)((const float *)c->got)[i] - (double)wanted);
        magnitude = fmax(magnitude, fabs((double)wanted));
        if (isfinite(off) && off <= worst) continue;
        worst = isfinite(off) ? off : INFINITY;
        where = i;
    }
    rn_model_metrics_self_test(rn_model_metrics_of(c->request->model), worst);
    if (worst <= c->allowed * magnitude) return RN_STATUS_OK;
    return RN_FAIL(
        c->err, RN_STATUS_FAILED_PRECONDITION,
        "signature %s, output %s: row %lld is off by %.3g from the recorded response, %.2g of the largest magnitude, allowed %.2g in %s",
        c->request->signature->name, c->spec->name, (long long)(where / c->row_elements), worst, worst / magnitude, c->allowed,
        c->precision);
}

/* Element i of a tensor of integers; false when it has none. */
static bool integer_at(const Sm__Tensor *tensor, size_t i, int64_t *out)
{
    const bool wide = tensor->dtype == 9;
    const size_t bytes = wide ? sizeof(int64_t) : sizeof(int32_t);
    if (tensor->tensor_content.len > 0) {
        int32_t narrow;
        if (tensor->tensor_content.len < (i + 1) * bytes) return false;
        memcpy(wide ? (void *)out : (void *)&narrow, tensor->tensor_content.data + i * bytes, bytes);
        if (!wide) *out = narrow;
        return true;
    }
    if (i >= (wide ? tensor->n_int64_val : tensor->n_int_val)) return false;
    *out = wide ? tensor->int64_val[i] : tensor->int_val[i];
    return true;
}

/* Classes, as numbers or as labels. In fewer bits than 32 neighbours may change places, which says nothing. */
static rn_status check_classes(const check *c, const Sm__Tensor *tensor)
{
    if (strcmp(c->precision, "fp32") != 0 || rn_plan_is_quantized(c->plan)) return RN_STATUS_OK;
    const int64_t count = c->request->rows * c->row_elements;
    const int32_t *got = c->got;
    if (c->spec->labels && tensor->n_string_val != (size_t)count) return bad_size(c, tensor->n_string_val);
    for (int64_t i = 0; i < count; i++) {
        int64_t wanted = 0;
        bool same;
        if (c->spec->labels) {
            const char *label = c->plan->labels[got[i]];
            const ProtobufCBinaryData *text = &tensor->string_val[i];
            same = strlen(label) == text->len && memcmp(label, text->data, text->len) == 0;
        } else {
            if (!integer_at(tensor, (size_t)i, &wanted)) return bad_size(c, (size_t)i);
            same = wanted == got[i];
        }
        if (same) continue;
        return RN_FAIL(c->err, RN_STATUS_FAILED_PRECONDITION,
                       "signature %s, output %s: row %lld, place %lld is class %d, not that of the recorded response",
                       c->request->signature->name, c->spec->name, (long long)(i / c->row_elements), (long long)(i % c->row_elements),
                       got[i]);
    }
    return RN_STATUS_OK;
}

rn_status rn__warmup_check(const rn_request *request, const Tfs__PredictResponse *response, rn_error *err)
{
    const rn_signature *signature = request->signature;
    check c = {.request = request, .plan = rn_model_plan(request->model), .err = err};
    rn_device_precision(rn_model_device(request->model), c.precision);
    c.allowed = rn_golden_allowed(&(rn_golden){0}, c.precision);
    for (size_t r = 0; r < response->n_outputs; r++) {
        const Sm__Tensor *tensor = response->outputs[r]->value;
        for (int32_t o = 0; tensor && o < signature->output_count; o++) {
            if (!rn_text_equals(rn__grpc_text(response->outputs[r]->key), signature->outputs[o].name)) continue;
            c.spec = &signature->outputs[o];
            c.got = request->outputs[o];
            c.row_elements = rn_plan_tensor_elements(&c.plan->tensors[c.spec->tensor]);
            RN_TRY(c.spec->dtype == RN_DTYPE_F32 ? check_floats(&c, tensor) : check_classes(&c, tensor));
        }
    }
    return RN_STATUS_OK;
}
