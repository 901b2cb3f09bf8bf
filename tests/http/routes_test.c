/* Which handler a request meets, and what the target of its path is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "http/exchange.h"
#include "http/monitoring_config.h"

#define RN_ROUTE(method, path, handler, counted_as, runs_on, port) void handler(rn_exchange *exchange);
#include "http/routes.def"
#undef RN_ROUTE

static char decoded[1024];
static rn_target target;
static const char *metrics = RN_METRICS_PATH;

static rn_handler find(const char *method, const char *path, rn_port port)
{
    return rn_route_find(rn_text_of(method), rn_text_of(path), port, metrics, decoded, &target)->handler;
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *path, *model, *label;
        int64_t version;
    } cases[] = {
        {"/v1/models/m:predict", "m", NULL, RN_LATEST_VERSION},
        {"/V1/Models/M:predict", "M", NULL, RN_LATEST_VERSION},
        {"/v1/models/m/versions/0012:predict", "m", NULL, 12},
        {"/v1/models/m/Versions/9223372036854775807:predict", "m", NULL, INT64_MAX},
        {"/v1/models/m/labels/stable%21:predict", "m", "stable!", RN_LATEST_VERSION},
        {"/v1/models/a%2Fb%3ac%zz%:predict", "a/b:c%zz%", NULL, RN_LATEST_VERSION},
        {"/v1/models/a?b#c:predict", "a?b#c", NULL, RN_LATEST_VERSION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ptr_equal(find("POST", cases[i].path, RN_PORT_REST), rn__predict);
        assert_true(rn_text_equals(target.model, cases[i].model));
        assert_int_equal(target.version, cases[i].version);
        assert_false(target.version_overflow);
        if (cases[i].label)
            assert_true(rn_text_equals(target.label, cases[i].label));
        else
            assert_null(target.label.at);
    }
    assert_ptr_equal(find("GET", "/v1/models/m/versions/9223372036854775808", RN_PORT_REST), rn__tfs_status);
    assert_true(target.version_overflow);
}

static void test_handlers(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        rn_handler handler;
    } cases[] = {
        {"POST", "/v1/models/m:classify", rn__tfs_classify},
        {"POST", "/v1/models/m/labels/x:regress", rn__tfs_regress},
        {"POST", "/v1/models/m:Predict", rn__tfs_malformed},
        {"POST", "/v1/models/m:predict?x", rn__predict_query},
        {"POST", "/v1/models/:predict", rn__tfs_malformed},
        {"POST", "/v1/models/m/versions/:predict", rn__tfs_malformed},
        {"POST", "/v1/models/m/versions/1/labels/x:predict", rn__tfs_malformed},
        {"GET", "/v1/models/m:predict", rn__tfs_malformed},
        {"GET", "/v1/models/m", rn__tfs_status},
        {"GET", "/v1/models/m?x", rn__tfs_status},
        {"GET", "/v1/models/m/", rn__tfs_malformed},
        {"GET", "/v1/models/m/METADATA", rn__tfs_metadata},
        {"GET", "/v1/models", rn__tfs_no_model},
        {"get", "/v1/models", rn__tfs_malformed},
        {"OPTIONS", "/v1/anything", rn__tfs_preflight},
        {"HEAD", "/v1/models/m", rn__tfs_malformed},
        {"GET", "/healthz", rn__health_live},
        {"GET", "/v2/health/ready?verbose", rn__v2_ready},
        {"POST", "/healthz", rn__not_found},
        {"GET", "", rn__not_found},
        {"GET", "*", rn__not_found},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (find(cases[i].method, cases[i].path, RN_PORT_REST) != cases[i].handler) fail_msg("%s %s", cases[i].method, cases[i].path);
}

static void test_monitoring_port(void **state)
{
    (void)state;
    assert_ptr_equal(find("GET", "/readyz", RN_PORT_MONITORING), rn__health_ready);
    assert_ptr_equal(find("POST", "/v1/models/m:predict", RN_PORT_MONITORING), rn__not_found);
    assert_ptr_equal(find("GET", "/v1/models/m", RN_PORT_MONITORING), rn__not_found);
}

/* Wherever it is, below /v1/ too; another path is none then. */
static void test_path_of_metrics(void **state)
{
    (void)state;
    assert_ptr_equal(find("GET", RN_METRICS_PATH, RN_PORT_REST), rn__metrics_tfs_page);
    assert_ptr_equal(find("GET", RN_METRICS_PATH "?x", RN_PORT_MONITORING), rn__metrics_tfs_page);
    metrics = "/v1/page";
    assert_ptr_equal(find("GET", "/v1/page", RN_PORT_REST), rn__metrics_tfs_page);
    assert_ptr_equal(find("GET", "/v1/page?x", RN_PORT_REST), rn__metrics_tfs_page);
    assert_ptr_equal(find("GET", "/v1/page2", RN_PORT_REST), rn__tfs_malformed);
    assert_ptr_equal(find("POST", "/v1/page", RN_PORT_REST), rn__tfs_malformed);
    assert_ptr_equal(find("GET", RN_METRICS_PATH, RN_PORT_REST), rn__not_found);
    metrics = NULL;
    assert_ptr_equal(find("GET", "/v1/page", RN_PORT_REST), rn__tfs_malformed);
    metrics = RN_METRICS_PATH;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_handlers),
        cmocka_unit_test(test_monitoring_port),
        cmocka_unit_test(test_path_of_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
