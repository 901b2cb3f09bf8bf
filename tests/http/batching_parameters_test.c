/* What a BatchingParameters file changes, and what it may not say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "http/batching_parameters.h"

static const rn_model_options defaults = {.backend = {.max_batch = 16}, .max_waiting_rows = 512};

static rn_model_options apply(const char *text)
{
    rn_model_options options = defaults;
    rn_error err;
    if (rn_batching_parameters_apply(rn_text_of(text), "f", &options, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    return options;
}

static void test_what_changes(void **state)
{
    (void)state;
    rn_model_options o = apply("");
    assert_memory_equal(&o, &defaults, sizeof o);
    o = apply("max_batch_size { value: 8 } batch_timeout_micros { value: 1500 } max_enqueued_batches { value: 3 } num_batch_threads { "
              "value: 4 }\n"
              "thread_pool_name { value: 'pool' } allowed_batch_sizes: 2 allowed_batch_sizes: 8 pad_variable_length_inputs: true");
    assert_int_equal(o.backend.max_batch, 8);
    assert_int_equal(o.max_request_rows, 8);
    assert_int_equal(o.max_waiting_rows, 24);
    assert_int_equal(o.gather_us, 1500);
    o = apply("max_enqueued_batches { value: 10 }");
    assert_int_equal(o.max_waiting_rows, 160);
    assert_int_equal(o.max_request_rows, 0);
    o = apply("max_batch_size { value: 4096 } max_enqueued_batches { value: 2147483647 }");
    assert_int_equal(o.max_waiting_rows, 1000000);
}

static void test_splitting(void **state)
{
    (void)state;
    rn_model_options o = apply("max_batch_size { value: 64 } enable_large_batch_splitting { value: true }");
    assert_int_equal(o.backend.max_batch, 64);
    assert_int_equal(o.max_request_rows, 0);
    o = apply("max_batch_size { value: 64 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 32 }\n"
              "allowed_batch_sizes: [16, 32]");
    assert_int_equal(o.backend.max_batch, 32);
    o = apply("max_batch_size { value: 64 } max_execution_batch_size { value: 32 }"); /* only with splitting */
    assert_int_equal(o.backend.max_batch, 64);
    assert_int_equal(o.max_request_rows, 64);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"max_batch_size: 8", "f:1:17: expected '{', found '8'"},
        {"max_batch_size { value: 0 }", "f: max_batch_size: expected 1 to 4096, found 0"},
        {"max_batch_size { value: 5000 }", "f: max_batch_size: expected 1 to 4096, found 5000"},
        {"max_execution_batch_size { value: 17 }", "f: max_execution_batch_size: expected 1 to 16, found 17"},
        {"batch_timeout_micros { value: -1 }", "f: batch_timeout_micros: expected 0 to 86400000000, found -1"},
        {"max_enqueued_batches { value: 0 }", "f: max_enqueued_batches: expected 1 to 2147483647, found 0"},
        {"num_batch_threads { value: 0 }", "f: num_batch_threads: expected 1 to 2147483647, found 0"},
        {"allowed_batch_sizes: [4, 4, 16]", "f: allowed_batch_sizes entries must be monotonically increasing"},
        {"allowed_batch_sizes: [0, 16]", "f: allowed_batch_sizes entries must be monotonically increasing"},
        {"allowed_batch_sizes: [4, 8]", "f: Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rn_model_options options = defaults;
        rn_error err;
        assert_int_equal(rn_batching_parameters_apply(rn_text_of(cases[i].text), "f", &options, &err), RN_STATUS_INVALID_ARGUMENT);
        assert_string_equal(err.message, cases[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_changes),
        cmocka_unit_test(test_splitting),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
