/* From what a query says about its input to the rows of a request. Numbers go straight into the request's memory; pictures stay where they
 * are, unless they come as text. */
#include <stdio.h>

#include "http/base64.h"
#include "http/json_number.h"
#include "http/json_reader.h"
#include "http/tfs.h"
#include "http/v2.h"

/* ---- type and shape ---- */

/* "[-1,64,64,3]" */
static const char *print_dims(const int64_t *dims, int32_t rank, char out[256])
{
    size_t used = (size_t)snprintf(out, 256, "[");
    for (int32_t i = 0; i < rank; i++) used += (size_t)snprintf(out + used, 256 - used, "%s%lld", i ? "," : "", (long long)dims[i]);
    snprintf(out + used, 256 - used, "]");
    return out;
}

static rn_status check_shape(const rn__v2_input *input, rn_text model_name, const rn_tensor_spec *spec, rn_error *err)
{
    bool fits = input->rank == spec->rank;
    for (int32_t i = 1; i < spec->rank && fits; i++) fits = input->dims[i] == spec->dims[i];
    if (fits) return RN_STATUS_OK;
    char wanted[256], got[256];
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "unexpected shape for input '%s' for model '%.*s'. Expected %s, got %s", input->name,
                   RN_TEXT_ARG(model_name), print_dims(spec->dims, spec->rank, wanted), print_dims(input->dims, input->rank, got));
}

static size_t row_bytes_of(const rn_plan *plan, const rn_signature *signature)
{
    return rn_plan_tensor_bytes(&plan->tensors[signature->input.tensor]);
}

static rn_status size_mismatch(const char *input, rn_text model_name, size_t expected, size_t got, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "input byte size mismatch for input '%s' for model '%.*s'. Expected %zu, got %zu",
                   input, RN_TEXT_ARG(model_name), expected, got);
}

rn_status rn__v2_check_input(const rn__v2_query *query, rn_text model_name, const rn_plan *plan, const rn_signature *signature,
                             int64_t *rows, rn_error *err)
{
    const rn__v2_input *input = &query->input;
    const rn_tensor_spec *spec = &signature->input;
    const bool pictures = spec->dtype == RN_DTYPE_STRING;
    if (query->bare) {
        *rows = 1;
        if (pictures || input->raw.bytes == row_bytes_of(plan, signature)) return RN_STATUS_OK;
        return size_mismatch(spec->name, model_name, row_bytes_of(plan, signature), input->raw.bytes, err);
    }
    if (query->input_count != 1)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "expected 1 inputs but got %d inputs for model '%.*s'. Its input is '%s'.",
                       query->input_count, RN_TEXT_ARG(model_name), spec->name);
    if (strcmp(input->name, spec->name) != 0)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "unexpected inference input '%s' for model '%.*s'. Its input is '%s'.", input->name,
                       RN_TEXT_ARG(model_name), spec->name);
    if (strcmp(input->datatype, rn__v2_datatype(spec)) != 0)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "inference input '%s' data-type is '%s', but model '%.*s' expects '%s'",
                       input->name, input->datatype, RN_TEXT_ARG(model_name), rn__v2_datatype(spec));
    RN_TRY(check_shape(input, model_name, spec, err));
    *rows = input->dims[0];
    if (input->source != RN__V2_RAW || pictures) return RN_STATUS_OK;
    const size_t row_bytes = row_bytes_of(plan, signature);
    if (input->raw.bytes % row_bytes == 0 && input->raw.bytes / row_bytes == (size_t)*rows) return RN_STATUS_OK;
    const size_t expected = (size_t)*rows <= SIZE_MAX / row_bytes ? (size_t)*rows * row_bytes : SIZE_MAX;
    return size_mismatch(input->name, model_name, expected, input->raw.bytes, err);
}

/* ---- numbers as text ---- */

typedef struct {
    const rn__v2_query *query;
    rn_dtype dtype;
    char *out, *out_end; /* where the next number goes, and where the last one ends */
} numbers;

static rn_status read_number(numbers *n, const char *at, const char **end, rn_error *err)
{
    const char *limit = n->query->limit, *input = n->query->input.name;
    int64_t whole;
    if (rn_json_kind_at(at) != RN_JSON_NUMBER)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse 'data' of input '%s': expected a number, found %s", input,
                       rn_json_kind_name(at));
    if (n->out == n->out_end)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse 'data' of input '%s': more values than its shape holds", input);
    if (n->dtype == RN_DTYPE_F32) {
        const int64_t room = (n->out_end - n->out) / (int64_t)sizeof(float);
        *end = at;
        n->out += sizeof(float) * (size_t)rn_json_float_run(end, limit, room, room, room, (float *)(void *)n->out);
        return RN_STATUS_OK;
    }
    if (!rn_json_int64(at, limit, &whole) || whole < 0 || whole > UINT8_MAX)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse 'data' of input '%s': UINT8 is a whole number from 0 to 255",
                       input);
    *n->out++ = (char)whole;
    *end = rn_json_skip(at, limit);
    return RN_STATUS_OK;
}

/* Row-major, nested in any way or flat: brackets are only counted. */
static rn_status read_numbers(numbers *n, const char *array, rn_error *err)
{
    int64_t depth = 0;
    const char *p = array;
    do {
        if (*p == '[' || *p == ']')
            depth += *p++ == '[' ? 1 : -1;
        else if (*p == ',' || *p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')
            p++;
        else
            RN_TRY(read_number(n, p, &p, err));
    } while (depth > 0);
    if (n->out == n->out_end) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse 'data' of input '%s': fewer values than its shape holds",
                   n->query->input.name);
}

/* ---- pictures ---- */

/* The element at `at` as bytes in *scratch, which is moved on: a string as it is, or {"b64": ...} as in TensorFlow Serving's API. */
static bool read_text_picture(const char *at, const char *limit, uint8_t **scratch, rn_encoded_picture *out)
{
    const char *string = *at == '"' ? at : rn__tfs_base64_string(at, limit);
    if (!string) return false;
    out->bytes = *scratch;
    out->byte_count = rn_json_unescape(string, limit, (char *)*scratch);
    const rn_text text = {(char *)*scratch, out->byte_count};
    if (*at == '{' && !rn_base64_decode(text, *scratch, &out->byte_count)) return false; /* in place */
    *scratch += out->byte_count;
    return true;
}

static rn_status read_text_pictures(const rn__v2_query *query, rn_request *request, rn_error *err)
{
    const char *limit = query->limit;
    const int64_t count = rn_json_count(query->input.json, limit);
    uint8_t *scratch = request->scratch;
    int32_t row = 0;
    if (count != request->rows)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse 'data' of input '%s': %lld values, its shape holds %d",
                       query->input.name, (long long)count, request->rows);
    for (const char *e = rn_json_first(query->input.json); e; e = rn_json_next(rn_json_skip(e, limit)), row++)
        if (!read_text_picture(e, limit, &scratch, &request->pictures[row]))
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                           "Unable to parse 'data' of input '%s': value %d is neither a string nor {\"b64\": \"...\"} in base64",
                           query->input.name, row);
    return RN_STATUS_OK;
}

/* Each with its size in front. */
static rn_status read_raw_pictures(const rn__v2_query *query, rn_request *request, rn_error *err)
{
    rn_text rest = query->input.raw;
    for (int32_t row = 0; row < request->rows; row++) {
        uint32_t bytes = 0;
        const bool sized = rest.bytes >= sizeof bytes;
        if (sized) memcpy(&bytes, rest.at, sizeof bytes);
        if (!sized || bytes > rest.bytes - sizeof bytes)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "input '%s': incomplete string data, %zu bytes left for element %d of %d",
                           query->input.name, rest.bytes, row, request->rows);
        request->pictures[row] = (rn_encoded_picture){rest.at + sizeof bytes, bytes};
        rest.at += sizeof bytes + bytes;
        rest.bytes -= sizeof bytes + bytes;
    }
    if (rest.bytes == 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "input '%s': %zu bytes left behind its %d elements", query->input.name, rest.bytes,
                   request->rows);
}

rn_status rn__v2_read_input(const rn__v2_query *query, rn_request *request, rn_error *err)
{
    const rn__v2_input *input = &query->input;
    const rn_signature *signature = request->signature;
    const bool pictures = signature->input.dtype == RN_DTYPE_STRING;
    const size_t bytes = pictures ? 0 : (size_t)request->rows * row_bytes_of(rn_model_plan(request->model), signature);
    if (input->source == RN__V2_JSON) {
        numbers n = {query, signature->input.dtype, request->input, (char *)request->input + bytes};
        return pictures ? read_text_pictures(query, request, err) : read_numbers(&n, input->json, err);
    }
    if (!pictures)
        memcpy(request->input, input->raw.at, bytes);
    else if (input->source == RN__V2_RAW)
        return read_raw_pictures(query, request, err);
    else
        request->pictures[0] = (rn_encoded_picture){input->raw.at, input->raw.bytes};
    return RN_STATUS_OK;
}
