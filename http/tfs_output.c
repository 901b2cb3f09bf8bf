/* Tensors to JSON in row ("predictions") and column ("outputs") format: util/json_tensor.cc, MakeJsonFromTensors. The name of a single
 * output is left out. A row is written on one line, a column with a line for each number. */
#include <stdlib.h>

#include "http/base64.h"
#include "http/tfs.h"

/* An output while it is written. */
typedef struct {
    const rn_plan *plan;
    const rn_tensor_spec *spec;
    const void *data; /* [rows][elements of a row] */
    int64_t row_elements;
} column;

/* Strings of an output whose name ends in "_bytes" are written as base64. */
static bool is_bytes(const rn_tensor_spec *spec)
{
    static const char suffix[] = "_bytes";
    const size_t length = strlen(spec->name), suffix_length = sizeof suffix - 1;
    return length >= suffix_length && strcmp(spec->name + length - suffix_length, suffix) == 0;
}

static void write_label(rn_json_writer *out, const column *c, rn_text label)
{
    if (!is_bytes(c->spec)) {
        rn_json_string_value(out, label);
        return;
    }
    char *text = malloc(4 * (label.bytes / 3 + 1));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("b64"));
    rn_json_string_value(out, (rn_text){text, text ? rn_base64_encode(label, text) : 0});
    rn_json_end_object(out);
    if (!text) out->failed = true;
    free(text);
}

static void write_element(rn_json_writer *out, const column *c, int64_t index)
{
    if (c->spec->labels)
        write_label(out, c, rn_text_of(c->plan->labels[((const int32_t *)c->data)[index]]));
    else if (c->spec->dtype == RN_DTYPE_F32)
        rn_json_float_value(out, ((const float *)c->data)[index]);
    else
        rn_json_int_value(out, ((const int32_t *)c->data)[index]);
}

/* Writes dimensions `level` and deeper, starting at element `index`; returns the index behind them. */
static int64_t write_levels(rn_json_writer *out, const column *c, int32_t level, int64_t index)
{
    if (level == c->spec->rank) {
        write_element(out, c, index);
        return index + 1;
    }
    rn_json_begin_array(out);
    for (int64_t i = 0; i < c->spec->dims[level]; i++) index = write_levels(out, c, level + 1, index);
    rn_json_end_array(out);
    return index;
}

static void write_row(rn_json_writer *out, const column *columns, int32_t count, int32_t row)
{
    if (count > 1) rn_json_begin_object(out);
    out->single_line = true;
    for (int32_t i = 0; i < count; i++) {
        if (count > 1) rn_json_key(out, rn_text_of(columns[i].spec->name));
        write_levels(out, &columns[i], 1, row * columns[i].row_elements);
    }
    out->single_line = false;
    if (count > 1) rn_json_end_object(out);
}

static void write_column(rn_json_writer *out, const column *c, int32_t rows)
{
    rn_json_begin_array(out);
    for (int32_t row = 0; row < rows; row++) write_levels(out, c, 1, row * c->row_elements);
    rn_json_end_array(out);
}

void rn__tfs_write_output_member(const rn_request *request, rn__tfs_format format, rn_json_writer *out)
{
    column columns[RN_PLAN_MAX_OUTPUTS];
    const int32_t count = request->signature->output_count;
    const rn_plan *plan = rn_model_plan(request->model);
    for (int32_t i = 0; i < count; i++) {
        const rn_tensor_spec *spec = &request->signature->outputs[i];
        columns[i] = (column){plan, spec, request->outputs[i], rn_plan_tensor_elements(&plan->tensors[spec->tensor])};
    }

    if (format == RN__TFS_ROWS) {
        rn_json_key(out, rn_text_of("predictions"));
        rn_json_begin_array(out);
        for (int32_t row = 0; row < request->rows; row++) write_row(out, columns, count, row);
        rn_json_end_array(out);
    } else {
        rn_json_key(out, rn_text_of("outputs"));
        if (count > 1) rn_json_begin_object(out);
        for (int32_t i = 0; i < count; i++) {
            if (count > 1) rn_json_key(out, rn_text_of(columns[i].spec->name));
            write_column(out, &columns[i], request->rows);
        }
        if (count > 1) rn_json_end_object(out);
    }
}

void rn__tfs_write_output(const rn_request *request, rn__tfs_format format, rn_json_writer *out)
{
    rn_json_begin_object(out);
    rn__tfs_write_output_member(request, format, out);
    rn_json_end_object(out);
}
