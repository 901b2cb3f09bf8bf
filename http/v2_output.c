/* Outputs of a request as the protocol's tensors: numbers mostly as they lie in the request, labels and classes as BYTES.
 *
 * A class is "VALUE:INDEX:LABEL" (docs/protocol/extension_classification.md); without labels, "VALUE:INDEX". */
#include <stdio.h>
#include <stdlib.h>

#include "engine/classes.h"
#include "http/v2.h"

static rn_status no_memory(const rn_tensor_spec *spec, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for output '%s'", spec->name);
}

/* ---- strings ---- */

/* Writes a string with its size in front; returns its end. */
static char *put_string(char *out, rn_text text)
{
    const uint32_t bytes = (uint32_t)text.bytes;
    memcpy(out, &bytes, sizeof bytes);
    memcpy(out + sizeof bytes, text.at, text.bytes);
    return out + sizeof bytes + text.bytes;
}

static rn_status pack_labels(rn__v2_tensor *out, const rn_plan *plan, const rn_tensor_spec *spec, const int32_t *indexes, rn_error *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < out->element_count; i++) bytes += sizeof(uint32_t) + strlen(plan->labels[indexes[i]]);
    out->memory = malloc(bytes + 1);
    if (!out->memory) return no_memory(spec, err);
    char *end = out->memory;
    for (size_t i = 0; i < out->element_count; i++) end = put_string(end, rn_text_of(plan->labels[indexes[i]]));
    out->raw = (rn_text){out->memory, bytes};
    return RN_STATUS_OK;
}

/* ---- classes ---- */

static rn_status pack_classes(rn__v2_tensor *out, const rn_plan *plan, const rn_tensor_spec *spec, const float *values, int32_t rows,
                              int32_t kept, rn_error *err)
{
    enum { NUMBERS_BYTES = 64 }; /* "%f" of the largest float has 46 characters, an index 10 */
    const int32_t classes = (int32_t)rn_plan_tensor_elements(&plan->tensors[spec->tensor]);
    const bool labelled = plan->label_count == classes;
    size_t longest = 0;
    for (int32_t i = 0; labelled && i < classes; i++)
        if (strlen(plan->labels[i]) > longest) longest = strlen(plan->labels[i]);
    int32_t *order = malloc((size_t)classes * sizeof *order);
    char *text = malloc(NUMBERS_BYTES + longest + 1);
    out->memory = malloc((size_t)rows * (size_t)kept * (sizeof(uint32_t) + NUMBERS_BYTES + longest) + 1);
    rn_status status = order && text && out->memory ? RN_STATUS_OK : no_memory(spec, err);
    char *end = out->memory;
    for (int32_t row = 0; row < rows && status == RN_STATUS_OK; row++, values += classes) {
        rn_classes_sort(values, classes, order);
        for (int32_t i = 0; i < kept; i++) {
            const char *label = labelled ? plan->labels[order[i]] : "";
            const int bytes = sprintf(text, "%f:%d%s%s", (double)values[order[i]], order[i], labelled ? ":" : "", label);
            end = put_string(end, (rn_text){text, (size_t)bytes});
        }
    }
    out->raw = (rn_text){out->memory, (size_t)(end - out->memory)};
    free(text);
    free(order);
    return status;
}

/* ---- tensors ---- */

static rn_status widen(rn__v2_tensor *out, const rn_tensor_spec *spec, const int32_t *values, rn_error *err)
{
    int64_t *wide = malloc(out->element_count * sizeof *wide + 1);
    out->memory = (char *)wide;
    if (!wide) return no_memory(spec, err);
    for (size_t i = 0; i < out->element_count; i++) wide[i] = values[i];
    out->raw = (rn_text){out->memory, out->element_count * sizeof *wide};
    return RN_STATUS_OK;
}

static void explanation_init(rn__v2_tensor *out, const rn_request *request)
{
    const rn_plan_tensor *map = &rn_model_plan(request->model)->tensors[request->signature->explanation];
    *out = (rn__v2_tensor){.name = RN__V2_EXPLANATION, .datatype = "FP32", .rank = 3, .dims = {request->rows, map->h, map->w}};
    out->element_count = (size_t)request->rows * (size_t)rn_plan_tensor_elements(map);
    out->raw = (rn_text){(const char *)request->maps, out->element_count * sizeof(float)};
}

rn_status rn__v2_tensor_init(rn__v2_tensor *out, const rn_request *request, const rn__v2_output *output, rn_error *err)
{
    if (output->index == RN_NONE) {
        explanation_init(out, request);
        return RN_STATUS_OK;
    }
    const rn_plan *plan = rn_model_plan(request->model);
    const rn_tensor_spec *spec = &request->signature->outputs[output->index];
    const rn_plan_tensor *tensor = &plan->tensors[spec->tensor];
    const void *data = request->outputs[output->index];
    const bool classes = output->class_count > 0;
    *out = (rn__v2_tensor){.name = spec->name, .datatype = classes ? "BYTES" : rn__v2_datatype(spec), .rank = classes ? 2 : spec->rank};
    memcpy(out->dims, spec->dims, sizeof out->dims);
    out->dims[0] = request->rows;
    if (classes) out->dims[1] = output->class_count;
    out->element_count = (size_t)request->rows * (size_t)(classes ? output->class_count : rn_plan_tensor_elements(tensor));
    if (classes) return pack_classes(out, plan, spec, data, request->rows, output->class_count, err);
    if (spec->labels) return pack_labels(out, plan, spec, data, err);
    if (spec->dtype == RN_DTYPE_I64) return widen(out, spec, data, err);
    out->raw = (rn_text){data, (size_t)request->rows * rn_plan_tensor_bytes(tensor)};
    return RN_STATUS_OK;
}

void rn__v2_tensor_deinit(rn__v2_tensor *tensor)
{
    free(tensor->memory);
}

/* Writes the element at `at`; returns the next one. */
static const char *write_element(rn_json_writer *out, const char *datatype, const char *at)
{
    if (strcmp(datatype, "FP32") == 0) {
        float value;
        memcpy(&value, at, sizeof value);
        rn_json_float_value(out, value);
        return at + sizeof value;
    }
    if (strcmp(datatype, "INT64") == 0) {
        int64_t value;
        memcpy(&value, at, sizeof value);
        rn_json_int_value(out, value);
        return at + sizeof value;
    }
    uint32_t value; /* INT32, or the size of a string */
    memcpy(&value, at, sizeof value);
    at += sizeof value;
    if (strcmp(datatype, "BYTES") != 0) {
        rn_json_int_value(out, (int32_t)value);
        return at;
    }
    rn_json_string_value(out, (rn_text){at, value});
    return at + value;
}

void rn__v2_write_data(rn_json_writer *out, const rn__v2_tensor *tensor)
{
    const char *at = tensor->raw.at;
    rn_json_begin_array(out);
    for (size_t i = 0; i < tensor->element_count; i++) at = write_element(out, tensor->datatype, at);
    rn_json_end_array(out);
}
