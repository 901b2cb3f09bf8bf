/* What is reported of a GPU's state, from a management library that is emulated (tests/cuda_emulation/nvml). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <cuda_runtime_api.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/cuda/cuda_backend.h"
#include "tests/cuda_emulation/emulation_control.h"

static const rn_backend *const cuda = &rn_cuda_backend;

/* The library is opened once for a process, so this comes first, in a child. */
static void a_library_that_does_not_start(void **state)
{
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        rn_device_state s;
        rn_error err = {0};
        setenv("RN_EMULATION_NVML", "broken", 1);
        const rn_status status = cuda->device_state(0, &s, &err);
        _exit(status != RN_STATUS_UNSUPPORTED || strcmp(err.message, "NVML: nvmlInit_v2: Driver Not Loaded") != 0);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
}

static void what_a_gpu_tells(void **state)
{
    (void)state;
    rn_device_state s = {0};
    rn_error err = {0};
    rn_emulation_set_devices(3, CUDART_VERSION);
    if (cuda->device_state(0, &s, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    assert_true(s.utilization == 0.37 && s.watts == 123.456);
    assert_int_equal(s.celsius, 41);
    assert_string_equal(s.uuid, "GPU-emulated-0000:01:00.0");
    assert_int_equal(s.memory_used_bytes, 10ll << 30);
    assert_int_equal(s.memory_total_bytes, 80ll << 30);
}

static void what_it_does_not_tell(void **state)
{
    (void)state;
    rn_device_state s = {0};
    rn_error err = {0};
    assert_int_equal(cuda->device_state(1, &s, &err), RN_STATUS_OK);
    assert_true(s.utilization == -1 && s.watts == -1);
    assert_int_equal(s.celsius, 41);
    assert_int_equal(cuda->device_state(2, &s, &err), RN_STATUS_UNSUPPORTED);
    assert_string_equal(err.message, "NVML: GPU 0000:03:00.0: Not Found");
    assert_int_equal(cuda->device_state(3, &s, &err), RN_STATUS_DEVICE_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_library_that_does_not_start),
        cmocka_unit_test(what_a_gpu_tells),
        cmocka_unit_test(what_it_does_not_tell),
    };
    return cmocka_run_group_tests_name("nvml, emulated", tests, NULL, NULL);
}
