/* The best classes of each picture. */
#include <stdlib.h>

#include "engine/classes.h"
#include "http/pictures.h"

static void write_class(const rn_plan *plan, const rn_classes *c, int32_t index, float value, rn_json_writer *out)
{
    rn_json_begin_object(out);
    if (index < plan->label_count) rn_json_string_member(out, "label", plan->labels[index]);
    rn_json_key(out, rn_text_of("index"));
    rn_json_int_value(out, index);
    rn_json_key(out, rn_text_of(c->probabilities ? "probability" : "score"));
    rn_json_float_value(out, value);
    rn_json_end_object(out);
}

static void write_row(const rn_plan *plan, const rn_classes *c, int32_t row, int64_t top_k, int32_t *order, rn_json_writer *out)
{
    const float *values = c->values + (int64_t)row * c->width;
    const int32_t *indexes = c->indexes ? c->indexes + (int64_t)row * c->width : NULL;
    if (!indexes) rn_classes_sort(values, c->width, order);
    rn_json_begin_array(out);
    for (int32_t i = 0; i < c->width && i < top_k; i++) {
        const int32_t place = indexes ? i : order[i];
        write_class(plan, c, indexes ? indexes[i] : place, values[place], out);
    }
    rn_json_end_array(out);
}

void rn__pictures_write_member(const rn_request *request, int64_t top_k, rn__picture_form form, rn_json_writer *out)
{
    rn_classes c;
    if (!rn_classes_find(request, &c)) c.width = 0;
    int32_t *order = malloc((size_t)c.width * sizeof *order + 1);
    if (!order) {
        out->failed = true;
        return;
    }
    rn_json_key(out, rn_text_of("predictions"));
    if (form == RN__PICTURE_FORM) rn_json_begin_array(out);
    for (int32_t row = 0; row < request->rows; row++) write_row(rn_model_plan(request->model), &c, row, top_k, order, out);
    if (form == RN__PICTURE_FORM) rn_json_end_array(out);
    free(order);
}

void rn__pictures_write(const rn_request *request, int64_t top_k, rn__picture_form form, rn_json_writer *out)
{
    rn_json_begin_object(out);
    rn__pictures_write_member(request, top_k, form, out);
    rn_json_end_object(out);
}
