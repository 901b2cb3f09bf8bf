/* Versions: which directories count, in which order, and what is said when there are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/model_file.h"
#include "loader/repository.h"
#include "tests/support/sample_plan.h"

/* The base path of a test. Its state; names below are relative to it. */
typedef struct base {
    char path[64];
} base;

static const char *at(const base *b, const char *name)
{
    static char paths[4][256]; /* a test uses a few at a time */
    static int next;
    char *path = paths[next++ % 4];
    assert_true(snprintf(path, sizeof paths[0], "%s/%s", b->path, name) < (int)sizeof paths[0]);
    return path;
}

static void put_file(const base *b, const char *name)
{
    FILE *file = fopen(at(b, name), "w");
    assert_non_null(file);
    fclose(file);
}

static void put_version(const base *b, const char *name, const char *model)
{
    char path[128];
    mkdir(at(b, name), 0777);
    assert_true(snprintf(path, sizeof path, "%s/%s", name, model) < (int)sizeof path);
    put_file(b, path);
}

static int setup(void **state)
{
    base *b = calloc(1, sizeof *b);
    strcpy(b->path, "/tmp/rn_repository_XXXXXX");
    assert_non_null(mkdtemp(b->path));
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    base *b = *state;
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -r %s", b->path, b->path);
    const int failed = system(command);
    free(b);
    return failed;
}

static void assert_versions(const base *b, const int64_t *expected, int32_t expected_count)
{
    rn_repository_version *versions;
    int32_t count;
    assert_int_equal(rn_repository_versions(b->path, &versions, &count, NULL), RN_STATUS_OK);
    assert_int_equal(count, expected_count);
    for (int32_t i = 0; i < count; i++) {
        assert_int_equal(versions[i].number, expected[i]);
        assert_int_equal(strtoll(versions[i].name, NULL, 10), expected[i]);
    }
    free(versions);
}

static void assert_no_versions(const char *path, rn_status expected, const char *words)
{
    rn_repository_version *versions = NULL;
    int32_t count;
    rn_error err;
    assert_int_equal(rn_repository_versions(path, &versions, &count, &err), expected);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, words));
    assert_null(versions);
}

static void test_highest_first(void **state)
{
    const base *b = *state;
    static const char *const names[] = {"2", "10", "1", "0", "9223372036854775807", "100"};
    for (size_t i = 0; i < 6; i++) put_version(b, names[i], i % 2 ? "saved_model.pb" : "model.safetensors");
    assert_versions(b, (int64_t[]){INT64_MAX, 100, 10, 2, 1, 0}, 6);
}

static void test_what_is_no_version(void **state)
{
    const base *b = *state;
    static const char *const names[] = {"+7", "-7", "7a", "v7", " 7", "7 ", "0x7", "9223372036854775808", "99999999999999999999",
                                        "00000000000000000000000000000000", "7.0", ".7"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) put_version(b, names[i], "saved_model.pb");
    put_file(b, "5");        /* a file */
    mkdir(at(b, "6"), 0777); /* still being written */
    put_version(b, "8", "variables");
    assert_no_versions(b->path, RN_STATUS_NOT_FOUND, "no versions");
    put_version(b, "7", "saved_model.pb");
    assert_versions(b, (int64_t[]){7}, 1);
}

static void test_leading_zeros(void **state)
{
    const base *b = *state;
    put_version(b, "00000123", "saved_model.pb");
    put_version(b, "0099", "model.safetensors");
    rn_repository_version *versions;
    int32_t count;
    assert_int_equal(rn_repository_versions(b->path, &versions, &count, NULL), RN_STATUS_OK);
    assert_int_equal(count, 2);
    assert_int_equal(versions[0].number, 123);
    assert_string_equal(versions[0].name, "00000123");
    assert_string_equal(versions[1].name, "0099");
    free(versions);
    put_version(b, "123", "saved_model.pb");
    assert_no_versions(b->path, RN_STATUS_INVALID_ARGUMENT, "are both version 123");
}

static void test_linked_versions(void **state)
{
    const base *b = *state;
    put_version(b, "elsewhere", "model.safetensors");
    assert_int_equal(symlink(at(b, "elsewhere"), at(b, "3")), 0);
    assert_int_equal(symlink(at(b, "nowhere"), at(b, "4")), 0);
    assert_versions(b, (int64_t[]){3}, 1);
}

static void test_no_base(void **state)
{
    const base *b = *state;
    assert_no_versions(at(b, "absent"), RN_STATUS_NOT_FOUND, "No such file");
    assert_no_versions("gs://bucket/resnet", RN_STATUS_UNSUPPORTED, "expected a directory; `resnetd fetch` brings models");
    assert_no_versions("s3://bucket/resnet", RN_STATUS_UNSUPPORTED, "expected a directory; `resnetd fetch` brings models");
}

/* What a base path that is a model itself counts as. */
static void assert_itself(const char *base)
{
    rn_repository_version *versions;
    int32_t count;
    char path[256];
    assert_true(rn_repository_is_model(base));
    assert_int_equal(rn_repository_versions(base, &versions, &count, NULL), RN_STATUS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(versions[0].number, 1);
    assert_int_equal(rn_repository_version_path(base, &versions[0], path, sizeof path, NULL), RN_STATUS_OK);
    assert_string_equal(path, base);
    free(versions);
}

static void test_base_that_is_a_model(void **state)
{
    const base *b = *state;
    assert_false(rn_repository_is_model(b->path));
    assert_false(rn_repository_is_model(at(b, "absent")));
    put_file(b, "converted");
    assert_itself(at(b, "converted"));
    put_file(b, "saved_model.pb");
    assert_itself(b->path);
    put_version(b, "004", "saved_model.pb");
    rn_repository_version *versions;
    int32_t count;
    char path[256];
    assert_int_equal(rn_repository_versions(b->path, &versions, &count, NULL), RN_STATUS_OK);
    assert_int_equal(versions[0].number, 4);
    assert_int_equal(rn_repository_version_path(b->path, &versions[0], path, sizeof path, NULL), RN_STATUS_OK);
    assert_string_equal(path, at(b, "004"));
    assert_int_equal(rn_repository_version_path(b->path, &versions[0], path, 8, NULL), RN_STATUS_INVALID_ARGUMENT);
    free(versions);
}

static void test_stamp(void **state)
{
    const base *b = *state;
    put_version(b, "1", "saved_model.pb");
    mkdir(at(b, "1/variables"), 0777);
    const uint64_t first = rn_repository_stamp(at(b, "1"));
    assert_int_equal(rn_repository_stamp(at(b, "1")), first);
    put_file(b, "1/variables/variables.index");
    const uint64_t second = rn_repository_stamp(at(b, "1"));
    assert_int_not_equal(second, first);
    FILE *file = fopen(at(b, "1/variables/variables.index"), "a");
    fputc('x', file);
    fclose(file);
    assert_int_not_equal(rn_repository_stamp(at(b, "1")), second);
}

static void test_permissions(void **state)
{
    const base *b = *state;
    if (geteuid() == 0) {
        print_message("SKIP: root may read everything\n");
        skip();
    }
    put_version(b, "1", "saved_model.pb");
    chmod(at(b, "1"), 0);
    assert_versions(b, (int64_t[]){1}, 1); /* it is there; loading it says why it cannot be used */
    rn_plan *plan;
    rn_error err;
    assert_int_equal(rn_repository_load(at(b, "1"), NULL, &plan, &err), RN_STATUS_PERMISSION_DENIED);
    assert_non_null(strstr(err.message, at(b, "1")));
    chmod(b->path, 0);
    assert_no_versions(b->path, RN_STATUS_PERMISSION_DENIED, "Permission denied");
}

static void test_load(void **state)
{
    const base *b = *state;
    rn_plan *plan = sample_plan(), *loaded;
    rn_error err;
    mkdir(at(b, "1"), 0777);
    assert_int_equal(rn_model_file_write(plan, "", at(b, "1/model.safetensors"), NULL), RN_STATUS_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rn_repository_load(at(b, i ? "1" : "1/model.safetensors"), NULL, &loaded, NULL), RN_STATUS_OK);
        assert_string_equal(loaded->architecture, plan->architecture);
        rn_plan_destroy(loaded);
    }
    rn_plan_destroy(plan);
    assert_int_equal(rn_repository_load(at(b, "2"), NULL, &loaded, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, at(b, "2")));
    assert_int_equal(rn_repository_load(b->path, NULL, &loaded, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "a directory of versions"));
    assert_non_null(strstr(err.message, at(b, "1")));
    /* Half-copied: what is said is which file is not there. */
    static const char *const there[] = {"saved_model.pb", "variables/variables.index"};
    mkdir(at(b, "4"), 0777);
    mkdir(at(b, "4/variables"), 0777);
    for (int i = 0; i < 2; i++) {
        char from[128], to[64];
        snprintf(from, sizeof from, "tests/data/fashion_resnet101/1/%s", there[i]);
        snprintf(to, sizeof to, "4/%s", there[i]);
        char *whole = realpath(from, NULL);
        assert_true(whole && symlink(whole, at(b, to)) == 0);
        free(whole);
    }
    assert_int_equal(rn_repository_load(at(b, "4"), NULL, &loaded, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "4/variables/variables.data-00000-of-00001: No such file"));
    mkdir(at(b, "3"), 0777);
    assert_int_equal(rn_repository_load(at(b, "3"), NULL, &loaded, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, at(b, "3")));
    put_file(b, "3/model.safetensors");
    assert_int_equal(rn_repository_load(at(b, "3"), NULL, &loaded, &err), RN_STATUS_DATA_LOSS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_highest_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_version, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leading_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(test_linked_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_base, setup, teardown),
        cmocka_unit_test_setup_teardown(test_base_that_is_a_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stamp, setup, teardown),
        cmocka_unit_test_setup_teardown(test_permissions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
