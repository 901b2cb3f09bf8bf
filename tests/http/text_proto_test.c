/* Text form: what is understood, and where and how the rest is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>

#include "http/proto/config.pb-c.h"
#include "http/text_proto.h"

static void *parse(const char *text, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = NULL;
    rn_error err = {0};
    if (rn_text_proto_parse(rn_text_of(text), "f", type, &message, &err) != RN_STATUS_OK) fail_msg("%s: %s", text, err.message);
    return message;
}

static void free_message(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

static void assert_refused(const char *text, const char *message, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *out = NULL;
    rn_error err = {0};
    assert_int_equal(rn_text_proto_parse(rn_text_of(text), "f", type, &out, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.message, message);
    assert_null(out);
}

#define CONFIG &config__model_server_config__descriptor
#define BATCHING &config__batching_parameters__descriptor
#define MODEL &config__model_config__descriptor

static void assert_bytes(ProtobufCBinaryData bytes, const char *expected, size_t count)
{
    assert_int_equal(bytes.len, count);
    assert_memory_equal(bytes.data, expected, count);
}

static void test_example_of_the_manual(void **state)
{
    (void)state;
    Config__ModelServerConfig *config = parse("model_config_list { # two of them\n"
                                              "  config {\n"
                                              "    name: 'first'\n"
                                              "    base_path: \"/models/first\"\n"
                                              "    model_platform: 'tensor' \"flow\"\n"
                                              "    model_version_policy { specific { versions: 42 versions: [43, 0x2c] } }\n"
                                              "    version_labels { key: 'stable' value: 42 }\n"
                                              "    version_labels: < key: 'canary', value: 43; >\n"
                                              "    logging_config { sampling_config { sampling_rate: 0.1 [x.y/z] < a: '}' > } }\n"
                                              "  },\n"
                                              "  config: { name: 'second' model_type: TENSORFLOW model_version_policy { all {} } }\n"
                                              "}\n",
                                              CONFIG);
    assert_int_equal(config->config_case, CONFIG__MODEL_SERVER_CONFIG__CONFIG_MODEL_CONFIG_LIST);
    assert_int_equal(config->model_config_list->n_config, 2);
    const Config__ModelConfig *first = config->model_config_list->config[0], *second = config->model_config_list->config[1];
    assert_bytes(first->name, "first", 5);
    assert_bytes(first->model_platform, "tensorflow", 10);
    assert_int_equal(first->model_version_policy->policy_choice_case, CONFIG__VERSION_POLICY__POLICY_CHOICE_SPECIFIC);
    assert_int_equal(first->model_version_policy->specific->n_versions, 3);
    assert_int_equal(first->model_version_policy->specific->versions[2], 44);
    assert_int_equal(first->n_version_labels, 2);
    assert_bytes(first->version_labels[1]->key, "canary", 6);
    assert_int_equal(first->version_labels[1]->value, 43);
    assert_non_null(first->logging_config);
    assert_int_equal(second->model_type, CONFIG__MODEL_CONFIG__TYPE__TENSORFLOW);
    assert_int_equal(second->model_version_policy->policy_choice_case, CONFIG__VERSION_POLICY__POLICY_CHOICE_ALL);
    free_message(config);
}

static void test_batching_parameters(void **state)
{
    (void)state;
    Config__BatchingParameters *p =
        parse("max_batch_size { value: 128 }\nbatch_timeout_micros { value: 0 }\nthread_pool_name { value: 'x' }\n"
              "pad_variable_length_inputs: true\nallowed_batch_sizes: 8 allowed_batch_sizes : 128\n"
              "enable_large_batch_splitting: { value: t }",
              BATCHING);
    assert_int_equal(p->max_batch_size->value, 128);
    assert_non_null(p->batch_timeout_micros);
    assert_null(p->num_batch_threads);
    assert_true(p->pad_variable_length_inputs && p->enable_large_batch_splitting->value);
    assert_int_equal(p->n_allowed_batch_sizes, 2);
    free_message(p);
}

static void test_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " \n\t# only a comment", "\r\n"};
    for (int i = 0; i < 3; i++) {
        Config__ModelServerConfig *config = parse(texts[i], CONFIG);
        assert_int_equal(config->config_case, CONFIG__MODEL_SERVER_CONFIG__CONFIG__NOT_SET);
        free_message(config);
    }
}

static void test_strings(void **state)
{
    (void)state;
    Config__ModelConfig *model = parse("name: 'a\\n\\x41\\102\\\"\\'\\0\\u00e9\\U0001f600'", MODEL);
    assert_bytes(model->name, "a\nAB\"'\0\xc3\xa9\xf0\x9f\x98\x80", 13);
    free_message(model);
    assert_refused("name: 'a", "f:1:7: the string has no end on its line", MODEL);
    assert_refused("name: 'a\n'", "f:1:7: the string has no end on its line", MODEL);
    assert_refused("name: 'a\\", "f:1:9: unknown escape", MODEL);
    assert_refused("name: '\\q'", "f:1:8: unknown escape", MODEL);
    assert_refused("name: '\\777'", "f:1:8: an octal escape ends at \\377", MODEL);
    assert_refused("name: '\\xg'", "f:1:8: expected hexadecimal digits behind \\x", MODEL);
    assert_refused("name: '\\u12'", "f:1:8: expected 4 hexadecimal digits behind \\u", MODEL);
    assert_refused("name: '\\ud800'", "f:1:8: U+D800 is no character", MODEL);
    assert_refused("name: first", "f:1:7: expected a quoted string, found 'f'", MODEL);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {{"0", 0}, {"-1", -1}, {"0x10", 16}, {"010", 8}, {"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN}};
    char text[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text, "value: %s", cases[i].text);
        Config__Int64Value *number = parse(text, &config__int64_value__descriptor);
        assert_true(number->value == cases[i].value);
        free_message(number);
    }
    const ProtobufCMessageDescriptor *type = &config__int64_value__descriptor;
    assert_refused("value: 9223372036854775808", "f:1:8: 9223372036854775808 is out of the field's range", type);
    assert_refused("value: 99999999999999999999", "f:1:8: 99999999999999999999 does not fit into 64 bits", type);
    assert_refused("value: -9223372036854775809", "f:1:8: -9223372036854775809 does not fit into 64 bits", type);
    assert_refused("value: 1.5", "f:1:8: expected a whole number, found 1.5", type);
    assert_refused("value: --1", "f:1:8: expected a whole number, found --1", type);
    assert_refused("value: 08", "f:1:8: expected a whole number, found 08", type);
    assert_refused("value: 'x'", "f:1:8: expected a number, found '''", type);
    assert_refused("model_version_policy { latest { num_versions: 4294967296 } }", "f:1:47: 4294967296 is out of the field's range", MODEL);
    assert_refused("model_version_policy { latest { num_versions: -1 } }", "f:1:47: -1 is out of the field's range", MODEL);
}

static void test_words(void **state)
{
    (void)state;
    assert_refused("value: yes", "f:1:8: expected true or false, found yes", &config__bool_value__descriptor);
    assert_refused("value:", "f:1:7: expected true or false, found the end of the text", &config__bool_value__descriptor);
    assert_refused("model_type: PYTORCH", "f:1:13: Type has no value \"PYTORCH\"", MODEL);
    assert_refused("model_type: 7", "f:1:13: Type has no value of that number", MODEL);
    Config__ModelConfig *model = parse("model_type: 2", MODEL);
    assert_int_equal(model->model_type, CONFIG__MODEL_CONFIG__TYPE__OTHER);
    free_message(model);
}

static void test_structure(void **state)
{
    (void)state;
    assert_refused("model_config_list {\n  config {\n    nmae: 'x'\n", "f:3:5: ModelConfig has no field \"nmae\"", CONFIG);
    assert_refused("model_config_list {\n  config {\n", "f:2:10: '{' is never closed", CONFIG);
    assert_refused("model_config_list <\n  config { }\n}", "f:3:1: expected the name of a field, found '}'", CONFIG);
    assert_refused("}", "f:1:1: expected the name of a field, found '}'", CONFIG);
    assert_refused("model_config_list", "f:1:18: expected '{', found the end of the text", CONFIG);
    assert_refused("model_config_list: 3", "f:1:20: expected '{', found '3'", CONFIG);
    assert_refused("name 'x'", "f:1:6: expected ':', found '''", MODEL);
    assert_refused("name: 'x' name: 'y'", "f:1:11: name is given although name already is", MODEL);
    assert_refused("model_version_policy { all {} latest {} }", "f:1:31: latest is given although all already is", MODEL);
    assert_refused("version_labels [ { key: 'a' }  { key: 'b' } ]", "f:1:32: expected ',' or ']', found '{'", MODEL);
    assert_refused("logging_config { a < } }", "f:1:22: expected '>', found '}'", MODEL);
    assert_refused("logging_config {", "f:1:16: '{' is never closed", MODEL);
    ProtobufCMessage *out;
    rn_error err;
    assert_int_equal(rn_text_proto_parse((rn_text){"na\0me", 5}, "f", MODEL, &out, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.message, "f:1:1: ModelConfig has no field \"na\"");
    char deep[16 + 100] = "logging_config {";
    memset(deep + 16, '{', 99);
    assert_int_equal(rn_text_proto_parse((rn_text){deep, 115}, "f", MODEL, &out, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.message, "f:1:80: more than 64 messages inside each other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example_of_the_manual),
        cmocka_unit_test(test_batching_parameters),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_structure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
