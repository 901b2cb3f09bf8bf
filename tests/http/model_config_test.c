/* Policies, and the configuration that a ModelServerConfig becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>

#include "http/model_config_proto.h"

static void test_policies(void **state)
{
    (void)state;
    static int64_t numbers[] = {7, 3};
    const rn_version_policy two = {.kind = RN_VERSIONS_LATEST, .latest_count = 2}, all = {.kind = RN_VERSIONS_ALL},
                            some = {.kind = RN_VERSIONS_SPECIFIC, .specific = numbers, .specific_count = 2},
                            none = {.kind = RN_VERSIONS_SPECIFIC};
    static const int64_t there[] = {9, 7, 5, 3};
    for (int32_t rank = 0; rank < 4; rank++) {
        assert_int_equal(rn_version_policy_wants(&two, there[rank], rank), rank < 2);
        assert_true(rn_version_policy_wants(&all, there[rank], rank));
        assert_int_equal(rn_version_policy_wants(&some, there[rank], rank), there[rank] == 7 || there[rank] == 3);
        assert_false(rn_version_policy_wants(&none, there[rank], rank));
    }
}

static void test_single(void **state)
{
    (void)state;
    rn_model_configs configs;
    rn_error err;
    assert_int_equal(rn_model_configs_init_single(&configs, "m", "/models/m", NULL), RN_STATUS_OK);
    assert_int_equal(configs.count, 1);
    assert_string_equal(configs.models[0].name, "m");
    assert_string_equal(configs.models[0].base_path, "/models/m");
    assert_int_equal(configs.models[0].policy.kind, RN_VERSIONS_LATEST);
    assert_int_equal(configs.models[0].policy.latest_count, 1);
    rn_model_configs_deinit(&configs);
    static const char *const bad[] = {"", "a/b", "a:b", "a\nb"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(rn_model_configs_init_single(&configs, bad[i], "/x", &err), RN_STATUS_INVALID_ARGUMENT);
        assert_int_equal(configs.count, 0);
    }
}

static void test_from_text(void **state)
{
    (void)state;
    static const char text[] =
        "model_config_list {\n"
        " config { name: 'a' base_path: '/a' model_version_policy { latest { } }\n"
        "   version_labels { key: 'x' value: 1 } version_labels { key: 'y' value: 2 } version_labels { key: 'x' value: 3 } }\n"
        " config { name: 'b' base_path: '/b' model_version_policy { specific { versions: 4 } } }\n"
        " config { name: 'c' base_path: '/c' model_version_policy { all { } } }\n"
        " config { name: 'd' base_path: '/d' model_version_policy { latest { num_versions: 4000000000 } } } }";
    rn_model_configs configs;
    rn_error err;
    if (rn_model_configs_init_text(&configs, rn_text_of(text), "f", &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    assert_int_equal(configs.count, 4);
    const rn_model_config *m = configs.models;
    assert_int_equal(m[0].policy.kind, RN_VERSIONS_LATEST);
    assert_int_equal(m[0].policy.latest_count, 1); /* 0 means 1 */
    assert_int_equal(m[0].label_count, 2);         /* the last x counts */
    assert_string_equal(m[0].labels[0].label, "x");
    assert_int_equal(m[0].labels[0].version, 3);
    assert_int_equal(m[1].policy.kind, RN_VERSIONS_SPECIFIC);
    assert_int_equal(m[1].policy.specific[0], 4);
    assert_int_equal(m[2].policy.kind, RN_VERSIONS_ALL);
    assert_int_equal(m[3].policy.latest_count, INT32_MAX);
    rn_model_config copy;
    assert_int_equal(rn_model_config_copy(&m[0], &copy, NULL), RN_STATUS_OK);
    rn_model_configs_deinit(&configs);
    assert_string_equal(copy.labels[1].label, "y");
    rn_model_config_deinit(&copy);
}

static void test_from_text_that_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *config, *message;
    } cases[] = {
        {"", "f: the model's name is empty"},
        {"name: 'a\\0b' base_path: '/x'", "f: model name \"a"},
        {"name: 'a'", "f: model a: base_path is missing"},
        {"name: 'a' base_path: '/x\\0'", "f: model a: base_path holds a zero byte"},
        {"name: 'a' base_path: '/x' model_platform: 'onnx'", "f: model a: model_platform \"onnx\": expected \"tensorflow\""},
        {"name: 'a' base_path: '/x' model_type: OTHER", "f: model a: model_type OTHER: expected TENSORFLOW"},
        {"name: 'a' base_path: '/x' version_labels { value: 1 }", "f: model a: a version label is empty"},
        {"name: 'a' base_path: '/x' version_labels { key: 'l' value: -2 }", "f: model a: version -2 is negative"},
        {"name: 'a' base_path: '/x' model_version_policy { specific { versions: -1 } }", "f: model a: version -1 is negative"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        rn_model_configs configs;
        rn_error err;
        snprintf(text, sizeof text, "model_config_list { config { %s } }", cases[i].config);
        assert_int_equal(rn_model_configs_init_text(&configs, rn_text_of(text), "f", &err), RN_STATUS_INVALID_ARGUMENT);
        assert_memory_equal(err.message, cases[i].message, strlen(cases[i].message));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_from_text),
        cmocka_unit_test(test_from_text_that_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
