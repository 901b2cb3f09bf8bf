/* GET .../metadata: the signatures in the JSON form of TensorFlow's SignatureDef, laid out as protobuf prints it. */
#include <ctype.h>
#include <stdio.h>

#include "http/tfs.h"

void rn__tfs_status(rn_exchange *x);

static void write_tensor(rn_json_writer *out, const rn_tensor_spec *spec)
{
    char text[32] = "DT_";
    const char *name = rn_dtype_tf_name(spec->dtype);
    for (size_t i = 0; i <= strlen(name); i++) text[3 + i] = (char)toupper((unsigned char)name[i]);
    rn_json_key(out, rn_text_of(spec->name));
    rn_json_begin_object(out);
    rn_json_string_member(out, "dtype", text);
    rn_json_key(out, rn_text_of("tensor_shape"));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("dim"));
    rn_json_begin_array(out);
    for (int32_t i = 0; i < spec->rank; i++) {
        snprintf(text, sizeof text, "%lld", (long long)spec->dims[i]);
        rn_json_begin_object(out);
        rn_json_string_member(out, "size", text);
        rn_json_string_member(out, "name", "");
        rn_json_end_object(out);
    }
    rn_json_end_array(out);
    rn_json_key(out, rn_text_of("unknown_rank"));
    rn_json_bool_value(out, false);
    rn_json_end_object(out);
    rn_json_string_member(out, "name", spec->tf_name);
    rn_json_end_object(out);
}

static void write_signature(rn_json_writer *out, const rn_signature *signature)
{
    rn_json_key(out, rn_text_of(signature->name));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("inputs"));
    rn_json_begin_object(out);
    write_tensor(out, &signature->input);
    rn_json_end_object(out);
    rn_json_key(out, rn_text_of("outputs"));
    rn_json_begin_object(out);
    for (int32_t i = 0; i < signature->output_count; i++) write_tensor(out, &signature->outputs[i]);
    rn_json_end_object(out);
    rn_json_string_member(out, "method_name", signature->method_name);
    rn_json_key(out, rn_text_of("defaults"));
    rn_json_begin_object(out);
    rn_json_end_object(out);
    rn_json_end_object(out);
}

/* TensorFlow Serving puts two printed messages together by hand; so does this. */
static void write_metadata(rn_json_writer *out, rn_text model, int64_t version, const rn_plan *plan)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)version);
    out->indent = 1;
    rn_json_text(out, rn_text_of("{\n\"model_spec\":"));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("name"));
    rn_json_string_value(out, model);
    rn_json_string_member(out, "signature_name", "");
    rn_json_string_member(out, "version", digits);
    rn_json_end_object(out);
    rn_json_text(out, rn_text_of("\n,\n\"metadata\": {\"signature_def\": "));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("signature_def"));
    rn_json_begin_object(out);
    for (int32_t i = 0; i < plan->signature_count; i++) write_signature(out, &plan->signatures[i]);
    rn_json_end_object(out);
    rn_json_end_object(out);
    rn_json_text(out, rn_text_of("\n}\n}\n"));
}

void rn__tfs_metadata(rn_exchange *x)
{
    if (!rn_text_equals(x->target.rest, "/metadata")) { /* the URL matches in any case, the word only in this one */
        rn__tfs_status(x);
        return;
    }
    rn_model *model;
    int64_t version;
    rn_error err;
    if (rn__tfs_acquire(x, &model, &version, &err) != RN_STATUS_OK) {
        rn_exchange_fail(x, err.status, "%s", err.message);
        return;
    }
    write_metadata(&x->answer, x->target.model, version, rn_model_plan(model));
    rn_model_release(model);
    rn_exchange_answer(x);
}
