/* The body of an infer request: a JSON document and behind it the raw bytes of the inputs that the document says to be there
 * (docs/protocol/extension_binary_data.md). Nothing here knows a model; everything that the document promises about its own bytes is
 * checked. */
#include <stdio.h>

#include "http/json_number.h"
#include "http/json_reader.h"
#include "http/v2.h"

typedef struct {
    rn__v2_query *query;
    const char *limit; /* of the document */
    rn_text tail;      /* raw bytes that no input has taken yet */
} parser;

/* ---- values ---- */

static rn_status wrong_kind(const char *what, const char *wanted, const char *at, rn_error *err)
{
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse '%s': expected %s, found %s", what, wanted,
                   at ? rn_json_kind_name(at) : "nothing");
}

/* A string of fewer than `capacity` bytes, written as at most as many. */
static rn_status read_string(const parser *p, const char *at, char *out, size_t capacity, const char *what, rn_error *err)
{
    char plain[RN_PLAN_NAME_BYTES];
    bool escaped;
    if (!at || rn_json_kind_at(at) != RN_JSON_STRING) return wrong_kind(what, "a string", at, err);
    rn_text text = rn_json_string(at, p->limit, &escaped);
    if (escaped && text.bytes < sizeof plain) text = (rn_text){plain, rn_json_unescape(at, p->limit, plain)};
    return rn__v2_copy_text(out, capacity, text, what, err);
}

static rn_status read_size(const parser *p, const char *at, int64_t *out, const char *what, rn_error *err)
{
    if (rn_json_kind_at(at) == RN_JSON_NUMBER && rn_json_int64(at, p->limit, out) && *out >= 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse '%s': expected a whole number, not negative", what);
}

static rn_status read_parameter(const parser *p, const char *key, const char *value, char text[RN_PLAN_NAME_BYTES], rn__v2_parameter *out,
                                rn_error *err)
{
    bool escaped;
    out->name = rn_json_string(key, p->limit, &escaped); /* no known name is written with escapes */
    out->string = (rn_text){text, 0};
    const rn_json_kind kind = rn_json_kind_at(value);
    out->kind = kind == RN_JSON_TRUE || kind == RN_JSON_FALSE                                                    ? RN__V2_BOOL
                : kind == RN_JSON_NUMBER && rn_json_int64(value, p->limit, &out->integer)                        ? RN__V2_INT
                : kind == RN_JSON_STRING && rn_json_string(value, p->limit, &escaped).bytes < RN_PLAN_NAME_BYTES ? RN__V2_STRING
                                                                                                                 : RN__V2_OTHER;
    out->boolean = kind == RN_JSON_TRUE;
    if (out->kind != RN__V2_STRING) return RN_STATUS_OK;
    RN_TRY(read_string(p, value, text, RN_PLAN_NAME_BYTES, "parameters", err));
    out->string = rn_text_of(text);
    return RN_STATUS_OK;
}

/* ---- inputs ---- */

static rn_status read_shape(const parser *p, const char *at, rn__v2_input *input, rn_error *err)
{
    if (!at || *at != '[') return wrong_kind("shape", "an array", at, err);
    for (const char *e = rn_json_first(at); e; e = rn_json_next(rn_json_skip(e, p->limit))) {
        if (input->rank == RN__V2_MAX_DIMS)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "input '%s': more than %d dimensions", input->name, RN__V2_MAX_DIMS);
        RN_TRY(read_size(p, e, &input->dims[input->rank], "shape", err));
        input->rank++;
    }
    return RN_STATUS_OK;
}

/* The next `bytes` of the tail. */
static rn_status take_raw(parser *p, rn__v2_input *input, int64_t bytes, rn_error *err)
{
    if ((uint64_t)bytes > p->tail.bytes)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "unexpected size for input '%s', expecting %lld additional bytes", input->name,
                       (long long)(bytes - (int64_t)p->tail.bytes));
    input->source = RN__V2_RAW;
    input->raw = (rn_text){p->tail.at, (size_t)bytes};
    p->tail.at += bytes;
    p->tail.bytes -= (size_t)bytes;
    return RN_STATUS_OK;
}

/* An input has its values in one place: "data", or bytes behind the document. */
static rn_status read_source(parser *p, rn__v2_input *input, const char *data, const char *parameters, rn_error *err)
{
    if (parameters && *parameters != '{') return wrong_kind("parameters", "an object", parameters, err);
    const char *size = parameters ? rn_json_find(parameters, p->limit, "binary_data_size") : NULL;
    if (parameters && rn_json_find(parameters, p->limit, "shared_memory_region"))
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "input '%s': shared memory is not supported", input->name);
    if (!data == !size)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters'. But %s",
                       data ? "set 'data' 'binary_data_size'" : "no field is set");
    if (data) {
        if (*data != '[') return wrong_kind("data", "an array", data, err);
        input->source = RN__V2_JSON;
        input->json = data;
        return RN_STATUS_OK;
    }
    int64_t bytes;
    RN_TRY(read_size(p, size, &bytes, "binary_data_size", err));
    return take_raw(p, input, bytes, err);
}

/* *end: behind the object. One walk, because "data" may be long. */
static rn_status read_input(parser *p, const char *object, const char **end, rn_error *err)
{
    static const char *const names[] = {"name", "datatype", "shape", "parameters", "data"};
    enum { NAME, DATATYPE, SHAPE, PARAMETERS, DATA, MEMBERS };
    const char *members[MEMBERS] = {NULL};
    rn__v2_input other, *input = p->query->input_count == 0 ? &p->query->input : &other;
    memset(input, 0, sizeof *input);
    if (*object != '{') return wrong_kind("inputs", "an object", object, err);
    const char *last = object + 1;
    for (const char *key = rn_json_first(object); key; key = rn_json_next(last)) {
        const char *value = rn_json_value_of(key, p->limit);
        for (int i = 0; i < MEMBERS; i++)
            if (!members[i] && rn_json_string_equals(key, p->limit, names[i])) members[i] = value;
        last = rn_json_skip(value, p->limit);
    }
    *end = strchr(last, '}') + 1; /* blanks lie between */
    RN_TRY(read_string(p, members[NAME], input->name, sizeof input->name, "name", err));
    RN_TRY(read_string(p, members[DATATYPE], input->datatype, sizeof input->datatype, "datatype", err));
    RN_TRY(read_shape(p, members[SHAPE], input, err));
    RN_TRY(read_source(p, input, members[DATA], members[PARAMETERS], err));
    p->query->input_count++;
    return RN_STATUS_OK;
}

static rn_status read_inputs(parser *p, const char *array, rn_error *err)
{
    if (!array || *array != '[') return wrong_kind("inputs", "an array", array, err);
    const char *end = array;
    for (const char *e = rn_json_first(array); e; e = rn_json_next(end)) RN_TRY(read_input(p, e, &end, err));
    if (p->tail.bytes > 0)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "unexpected additional input data: %zu bytes that no input claims", p->tail.bytes);
    return RN_STATUS_OK;
}

/* ---- outputs and parameters ---- */

static rn_status read_request_parameters(const parser *p, const char *object, rn_error *err)
{
    if (!object) return RN_STATUS_OK;
    if (*object != '{') return wrong_kind("parameters", "an object", object, err);
    for (const char *key = rn_json_first(object), *value; key; key = rn_json_next(rn_json_skip(value, p->limit))) {
        char text[RN_PLAN_NAME_BYTES];
        rn__v2_parameter parameter;
        value = rn_json_value_of(key, p->limit);
        RN_TRY(read_parameter(p, key, value, text, &parameter, err));
        RN_TRY(rn__v2_set_request_parameter(p->query, &parameter, err));
    }
    return RN_STATUS_OK;
}

static rn_status read_output(const parser *p, const char *object, rn__v2_wanted *output, rn_error *err)
{
    *output = (rn__v2_wanted){.binary = p->query->binary_outputs};
    if (*object != '{') return wrong_kind("outputs", "an object", object, err);
    RN_TRY(read_string(p, rn_json_find(object, p->limit, "name"), output->name, sizeof output->name, "name", err));
    const char *parameters = rn_json_find(object, p->limit, "parameters");
    if (!parameters) return RN_STATUS_OK;
    if (*parameters != '{') return wrong_kind("parameters", "an object", parameters, err);
    for (const char *key = rn_json_first(parameters), *value; key; key = rn_json_next(rn_json_skip(value, p->limit))) {
        char text[RN_PLAN_NAME_BYTES];
        rn__v2_parameter parameter;
        value = rn_json_value_of(key, p->limit);
        RN_TRY(read_parameter(p, key, value, text, &parameter, err));
        RN_TRY(rn__v2_set_output_parameter(output, &parameter, err));
    }
    return RN_STATUS_OK;
}

static rn_status read_outputs(const parser *p, const char *array, rn_error *err)
{
    rn__v2_query *query = p->query;
    if (!array) return RN_STATUS_OK;
    if (*array != '[') return wrong_kind("outputs", "an array", array, err);
    for (const char *e = rn_json_first(array); e; e = rn_json_next(rn_json_skip(e, p->limit))) {
        if (query->output_count == RN_PLAN_MAX_OUTPUTS)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "more than %d outputs are asked for", RN_PLAN_MAX_OUTPUTS);
        RN_TRY(read_output(p, e, &query->outputs[query->output_count], err));
        query->output_count++;
    }
    return RN_STATUS_OK;
}

/* ---- documents ---- */

static rn_status read_document(parser *p, rn_text text, rn_error *err)
{
    rn_json_member members[] = {{.name = "inputs"}, {.name = "outputs"}, {.name = "parameters"}, {.name = "id"}};
    const char *root;
    p->limit = p->query->limit = text.at + text.bytes;
    RN_TRY(rn_json_check(text, members, sizeof members / sizeof members[0], &root, err));
    for (const char *rest = rn_json_skip(root, p->limit); rest < p->limit; rest++)
        if (!strchr(" \n\r\t", *rest) || !*rest)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                           "JSON Parse error: The document root must not be followed by other values. at offset: %zu",
                           (size_t)(rest - text.at));
    if (*root != '{') return wrong_kind("request", "an object", root, err);
    p->query->id = members[3].value;
    if (p->query->id && rn_json_kind_at(p->query->id) != RN_JSON_STRING) return wrong_kind("id", "a string", p->query->id, err);
    RN_TRY(read_request_parameters(p, members[2].value, err)); /* first: outputs go by binary_data_output */
    RN_TRY(read_inputs(p, members[0].value, err));
    return read_outputs(p, members[1].value, err);
}

/* The number that the header holds: at most `most`. */
static rn_status read_json_bytes(rn_text header, size_t most, size_t *out, rn_error *err)
{
    size_t bytes = 0;
    bool valid = header.bytes > 0;
    for (size_t i = 0; i < header.bytes && valid; i++) {
        valid = header.at[i] >= '0' && header.at[i] <= '9' && bytes <= most;
        bytes = bytes * 10 + (size_t)(header.at[i] - '0');
    }
    if (!valid || bytes > most)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "inference header size should be in range (0, %zu), got: %.*s", most,
                       RN_TEXT_ARG(header));
    *out = bytes;
    return RN_STATUS_OK;
}

rn_status rn__v2_parse(rn_text body, rn_text json_bytes, rn__v2_query *query, rn_error *err)
{
    parser p = {.query = query};
    size_t bytes = body.bytes;
    memset(query, 0, sizeof *query);
    if (json_bytes.at) RN_TRY(read_json_bytes(json_bytes, body.bytes, &bytes, err));
    p.tail = (rn_text){body.at + bytes, body.bytes - bytes};
    if (!json_bytes.at || bytes > 0) return read_document(&p, (rn_text){body.at, bytes}, err);
    query->bare = query->binary_outputs = true;
    query->input_count = 1;
    query->input.source = RN__V2_PICTURE;
    query->input.raw = body;
    return RN_STATUS_OK;
}
