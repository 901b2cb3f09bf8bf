/* The best classes of each picture. Some models sort them on their own (labels and probabilities side by side), others give one number for
 * each class. */
#include <stdlib.h>

#include "http/pictures.h"
#include "http/v2.h"

/* Where the classes are in a request's outputs. */
typedef struct {
    const rn_plan *plan;
    const float *values;    /* [rows][width] */
    const int32_t *indexes; /* [rows][width] of classes, best first; NULL: a value's place is its class */
    int32_t width;
    const char *value_name;
} classes;

/* Whether `tensor` holds results of a softmax, or the best of them. */
static bool holds_probabilities(const rn_plan *plan, int32_t tensor)
{
    for (int32_t i = plan->op_count - 1; i >= 0; i--) { /* inputs are written before they are read */
        const rn_op *op = &plan->ops[i];
        if (op->outputs[0] != tensor) continue;
        if (op->kind == RN_OP_SOFTMAX) return true;
        if (op->kind == RN_OP_TOP_K) tensor = op->inputs[0];
    }
    return false;
}

static bool find_output(const rn_request *request, bool labels, int64_t width, int32_t *out)
{
    const rn_signature *signature = request->signature;
    for (*out = 0; *out < signature->output_count; ++*out) {
        const rn_tensor_spec *spec = &signature->outputs[*out];
        const int64_t elements = rn_plan_tensor_elements(&rn_model_plan(request->model)->tensors[spec->tensor]);
        if (spec->rank == 2 && (labels ? spec->labels : spec->dtype == RN_DTYPE_F32) && (width == 0 || elements == width)) return true;
    }
    return false;
}

static bool find_classes(const rn_request *request, classes *out)
{
    const rn_plan *plan = rn_model_plan(request->model);
    int32_t labels, values;
    int64_t width = 0;
    *out = (classes){.plan = plan};
    if (find_output(request, true, 0, &labels)) {
        width = rn_plan_tensor_elements(&plan->tensors[request->signature->outputs[labels].tensor]);
        out->indexes = request->outputs[labels];
    }
    if (!find_output(request, false, width, &values)) return false;
    const int32_t tensor = request->signature->outputs[values].tensor;
    out->values = request->outputs[values];
    out->width = (int32_t)rn_plan_tensor_elements(&plan->tensors[tensor]);
    out->value_name = holds_probabilities(plan, tensor) ? "probability" : "score";
    return true;
}

static void write_class(const classes *c, int32_t index, float value, rn_json_writer *out)
{
    rn_json_begin_object(out);
    if (index < c->plan->label_count) rn_json_string_member(out, "label", c->plan->labels[index]);
    rn_json_key(out, rn_text_of("index"));
    rn_json_int_value(out, index);
    rn_json_key(out, rn_text_of(c->value_name));
    rn_json_float_value(out, value);
    rn_json_end_object(out);
}

static void write_row(const classes *c, int32_t row, int64_t top_k, int32_t *order, rn_json_writer *out)
{
    const float *values = c->values + (int64_t)row * c->width;
    const int32_t *indexes = c->indexes ? c->indexes + (int64_t)row * c->width : NULL;
    if (!indexes) rn__v2_sort_classes(values, c->width, order);
    rn_json_begin_array(out);
    for (int32_t i = 0; i < c->width && i < top_k; i++) {
        const int32_t place = indexes ? i : order[i];
        write_class(c, indexes ? indexes[i] : place, values[place], out);
    }
    rn_json_end_array(out);
}

void rn__pictures_write_member(const rn_request *request, int64_t top_k, rn__picture_form form, rn_json_writer *out)
{
    classes c;
    if (!find_classes(request, &c)) c.width = 0;
    int32_t *order = malloc((size_t)c.width * sizeof *order + 1);
    if (!order) {
        out->failed = true;
        return;
    }
    rn_json_key(out, rn_text_of("predictions"));
    if (form == RN__PICTURE_FORM) rn_json_begin_array(out);
    for (int32_t row = 0; row < request->rows; row++) write_row(&c, row, top_k, order, out);
    if (form == RN__PICTURE_FORM) rn_json_end_array(out);
    free(order);
}

void rn__pictures_write(const rn_request *request, int64_t top_k, rn__picture_form form, rn_json_writer *out)
{
    rn_json_begin_object(out);
    rn__pictures_write_member(request, top_k, form, out);
    rn_json_end_object(out);
}
