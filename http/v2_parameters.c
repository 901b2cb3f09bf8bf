/* Parameters of requests and outputs. Those that this server does not know are ignored, as the protocol wants it; those that ask for
 * something that it knows and does not do are refused, because an answer would not be what was asked for. */
#include "http/v2.h"

rn_status rn__v2_copy_text(char *out, size_t capacity, rn_text text, const char *what, rn_error *err)
{
    if (text.bytes >= capacity)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s of %zu bytes: at most %zu are possible", what, text.bytes, capacity - 1);
    if (memchr(text.at ? text.at : "", '\0', text.bytes)) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s contains a zero byte", what);
    if (text.bytes) memcpy(out, text.at, text.bytes);
    out[text.bytes] = '\0';
    return RN_STATUS_OK;
}

static rn_status expect_kind(const rn__v2_parameter *parameter, int kind, rn_error *err)
{
    static const char *const names[] = {[RN__V2_BOOL] = "true or false", [RN__V2_INT] = "a whole number", [RN__V2_STRING] = "a string"};
    const bool fits = (int)parameter->kind == kind && (kind != RN__V2_INT || parameter->integer >= 0);
    if (fits) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Unable to parse '%.*s': expected %s%s", RN_TEXT_ARG(parameter->name), names[kind],
                   kind == RN__V2_INT ? ", not negative" : "");
}

static bool begins_with(rn_text text, const char *prefix)
{
    return text.bytes >= strlen(prefix) && memcmp(text.at, prefix, strlen(prefix)) == 0;
}

rn_status rn__v2_set_request_parameter(rn__v2_query *query, const rn__v2_parameter *parameter, rn_error *err)
{
    const rn_text name = parameter->name;
    if (rn_text_equals(name, "signature_name")) {
        RN_TRY(expect_kind(parameter, RN__V2_STRING, err));
        return rn__v2_copy_text(query->signature_name, sizeof query->signature_name, parameter->string, "signature_name", err);
    }
    if (rn_text_equals(name, "priority") || rn_text_equals(name, "timeout")) {
        RN_TRY(expect_kind(parameter, RN__V2_INT, err));
        *(name.at[0] == 'p' ? &query->priority : &query->timeout_us) = parameter->integer;
        return RN_STATUS_OK;
    }
    if (rn_text_equals(name, "binary_data_output")) {
        RN_TRY(expect_kind(parameter, RN__V2_BOOL, err));
        query->binary_outputs = parameter->boolean;
        return RN_STATUS_OK;
    }
    if (begins_with(name, "sequence_"))
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "parameter '%.*s': models here have no state, each request stands alone",
                       RN_TEXT_ARG(name));
    if (begins_with(name, "triton_"))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                       "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.");
    return RN_STATUS_OK;
}

rn_status rn__v2_set_output_parameter(rn__v2_wanted *output, const rn__v2_parameter *parameter, rn_error *err)
{
    const rn_text name = parameter->name;
    if (rn_text_equals(name, "classification")) {
        RN_TRY(expect_kind(parameter, RN__V2_INT, err));
        output->class_count = parameter->integer;
    } else if (rn_text_equals(name, "binary_data")) {
        RN_TRY(expect_kind(parameter, RN__V2_BOOL, err));
        output->binary = parameter->boolean;
    } else if (rn_text_equals(name, "class")) {
        RN_TRY(expect_kind(parameter, RN__V2_INT, err));
        output->class = parameter->integer;
        output->has_class = true;
    } else if (begins_with(name, "shared_memory_")) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "output '%s': shared memory is not supported", output->name);
    }
    return RN_STATUS_OK;
}
