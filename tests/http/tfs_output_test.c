/* Answers byte for byte: one output or several, rows or columns, numbers, labels and bytes, no rows at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/model_private.h"
#include "http/tfs.h"

static char *labels[] = {"cat", "dog \"x\""};
static rn_plan_tensor tensors[] = {
    {.name = "scores", .dtype = RN_DTYPE_F32, .h = 1, .w = 1, .c = 2},
    {.name = "classes", .dtype = RN_DTYPE_I32, .h = 1, .w = 1, .c = 2},
    {.name = "one", .dtype = RN_DTYPE_F32, .h = 1, .w = 1, .c = 1},
};
static rn_plan plan = {.tensors = tensors, .tensor_count = 3, .labels = labels, .label_count = 2};
static rn_model model = {.plan = &plan};

static float scores[] = {2.5f, 3, 3.5f, 4}, one[] = {2.5f, 3.5f};
static int32_t classes[] = {1, 0, 0, 1};

static const rn_tensor_spec score_spec = {.name = "probabilities", .dtype = RN_DTYPE_F32, .rank = 2, .dims = {-1, 2}, .tensor = 0};
static const rn_tensor_spec label_spec = {
    .name = "labels", .dtype = RN_DTYPE_STRING, .rank = 2, .dims = {-1, 2}, .tensor = 1, .labels = true};
static const rn_tensor_spec bytes_spec = {
    .name = "name_bytes", .dtype = RN_DTYPE_STRING, .rank = 2, .dims = {-1, 2}, .tensor = 1, .labels = true};
static const rn_tensor_spec index_spec = {.name = "indexes", .dtype = RN_DTYPE_I32, .rank = 2, .dims = {-1, 2}, .tensor = 1};
static const rn_tensor_spec one_spec = {.name = "y", .dtype = RN_DTYPE_F32, .rank = 1, .dims = {-1}, .tensor = 2};

static void expect(int32_t rows, rn__tfs_format format, int32_t count, const rn_tensor_spec *const *specs, const char *wanted)
{
    rn_signature signature = {.output_count = count};
    rn_request request = {.model = &model, .signature = &signature, .rows = rows};
    for (int32_t i = 0; i < count; i++) {
        signature.outputs[i] = *specs[i];
        void *const data[] = {scores, classes, one};
        request.outputs[i] = data[specs[i]->tensor];
    }
    rn_json_writer out;
    rn_json_writer_init(&out);
    rn__tfs_write_output(&request, format, &out);
    if (!rn_text_equals((rn_text){out.text, out.bytes}, wanted)) fail_msg("got:\n%.*s\nexpected:\n%s", (int)out.bytes, out.text, wanted);
    rn_json_writer_deinit(&out);
}

static void test_one_output(void **state)
{
    (void)state;
    const rn_tensor_spec *specs[] = {&score_spec};
    expect(2, RN__TFS_ROWS, 1, specs, "{\n    \"predictions\": [[2.5, 3.0], [3.5, 4.0]\n    ]\n}");
    expect(1, RN__TFS_COLUMNS, 1, specs, "{\n    \"outputs\": [\n        [\n            2.5,\n            3.0\n        ]\n    ]\n}");
    const rn_tensor_spec *flat[] = {&one_spec};
    expect(2, RN__TFS_ROWS, 1, flat, "{\n    \"predictions\": [2.5, 3.5\n    ]\n}");
    expect(2, RN__TFS_COLUMNS, 1, flat, "{\n    \"outputs\": [\n        2.5,\n        3.5\n    ]\n}");
    const rn_tensor_spec *integers[] = {&index_spec};
    expect(1, RN__TFS_ROWS, 1, integers, "{\n    \"predictions\": [[1, 0]\n    ]\n}");
}

static void test_two_outputs(void **state)
{
    (void)state;
    const rn_tensor_spec *specs[] = {&label_spec, &score_spec};
    expect(2, RN__TFS_ROWS, 2, specs,
           "{\n    \"predictions\": [\n"
           "        {\n            \"labels\": [\"dog \\\"x\\\"\", \"cat\"],\n            \"probabilities\": [2.5, 3.0]\n        },\n"
           "        {\n            \"labels\": [\"cat\", \"dog \\\"x\\\"\"],\n            \"probabilities\": [3.5, 4.0]\n        }\n"
           "    ]\n}");
    expect(1, RN__TFS_COLUMNS, 2, specs,
           "{\n    \"outputs\": {\n        \"labels\": [\n            [\n                \"dog \\\"x\\\"\",\n                \"cat\"\n     "
           "       ]\n        ],\n"
           "        \"probabilities\": [\n            [\n                2.5,\n                3.0\n            ]\n        ]\n    }\n}");
}

static void test_bytes(void **state)
{
    (void)state;
    const rn_tensor_spec *specs[] = {&bytes_spec};
    expect(1, RN__TFS_ROWS, 1, specs,
           "{\n    \"predictions\": [[{\n                \"b64\": \"ZG9nICJ4Ig==\"\n            }, {\n                \"b64\": \"Y2F0\"\n  "
           "          }]\n    ]\n}");
}

static void test_no_rows(void **state)
{
    (void)state;
    const rn_tensor_spec *specs[] = {&label_spec, &score_spec};
    expect(0, RN__TFS_ROWS, 1, specs, "{\n    \"predictions\": []\n}");
    expect(0, RN__TFS_COLUMNS, 2, specs, "{\n    \"outputs\": {\n        \"labels\": [],\n        \"probabilities\": []\n    }\n}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_output),
        cmocka_unit_test(test_two_outputs),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
