/* The server's metadata says which signature takes what, so that a load test needs no knowledge of the model. */
#include "tools/bench/predict_body.h"

#include <jansson.h>
#include <string.h>

#include "http/base64.h"
#include "http/json_writer.h"
#include "tools/bench/failure.h"

/* The name and the input of the first signature whose input has that dtype. */
static const json_t *find_input(json_t *signatures, const char *dtype, const char **name)
{
    json_t *signature, *input;
    const char *key;
    json_object_foreach(signatures, *name, signature) {
        json_object_foreach(json_object_get(signature, "inputs"), key, input) {
            const char *found = json_string_value(json_object_get(input, "dtype"));
            if (found && strcmp(found, dtype) == 0) return input;
        }
    }
    bench_fail("no signature of the model takes %s: --numbers asks with numbers, without it pictures are sent", dtype);
}

static void write_picture(rn_json_writer *out, const bench_picture *picture)
{
    char *text = bench_allocate(4 * (picture->byte_count / 3 + 1));
    rn_json_begin_object(out);
    rn_json_key(out, rn_text_of("b64"));
    rn_json_string_value(out, (rn_text){text, rn_base64_encode((rn_text){(const char *)picture->bytes, picture->byte_count}, text)});
    rn_json_end_object(out);
    free(text);
}

/* dims: [{"size": "-1"}, {"size": "224"} ...]; the first is the batch. */
static void write_numbers(rn_json_writer *out, const json_t *dims, size_t level, uint32_t *random)
{
    if (level == json_array_size(dims)) {
        *random = *random * 1664525u + 1013904223u;
        rn_json_float_value(out, (float)(*random >> 8) * 0x1p-24f);
        return;
    }
    const char *text = json_string_value(json_object_get(json_array_get(dims, level), "size"));
    const long size = text ? strtol(text, NULL, 10) : 0;
    if (size < 1) bench_fail("the model's input has no fixed shape");
    rn_json_begin_array(out);
    for (long i = 0; i < size; i++) write_numbers(out, dims, level + 1, random);
    rn_json_end_array(out);
}

char *bench_predict_body(const char *metadata, const bench_picture *picture, int32_t rows, size_t *bytes)
{
    json_error_t syntax;
    json_t *root = json_loads(metadata, 0, &syntax), *signatures = NULL;
    if (!root || json_unpack(root, "{s{s{so}}}", "metadata", "signature_def", "signature_def", &signatures) != 0)
        bench_fail("the model's metadata was not understood: %s", root ? "no signature_def" : syntax.text);
    const char *name;
    const json_t *input = find_input(signatures, picture ? "DT_STRING" : "DT_FLOAT", &name);
    const json_t *dims = json_object_get(json_object_get(input, "tensor_shape"), "dim");

    rn_json_writer out;
    rn_error err;
    uint32_t random = 1;
    rn_json_writer_init(&out);
    out.single_line = true;
    rn_json_begin_object(&out);
    rn_json_string_member(&out, "signature_name", name);
    rn_json_key(&out, rn_text_of("instances"));
    rn_json_begin_array(&out);
    for (int32_t i = 0; i < rows; i++) {
        if (picture) write_picture(&out, picture);
        else write_numbers(&out, dims, 1, &random);
    }
    rn_json_end_array(&out);
    rn_json_end_object(&out);
    bench_check(rn_json_writer_finish(&out, &err), &err);
    json_decref(root);
    *bytes = out.bytes;
    return out.text;
}
