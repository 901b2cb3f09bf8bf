/* model.safetensors, once as it comes and once with the first eight bytes put right: it is refused with its path, or gives a plan that
 * passes its own checks and can be laid out. The checksum of the data is not asked for, as a fuzzer would not find it. */
#include "engine/golden.h"
#include "loader/model_file.h"
#include "tests/fuzz/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const uint8_t *data, size_t size)
{
    char path[128];
    rn_plan *plan;
    rn_error err = {0};
    scratch_write("model.safetensors", data, size);
    snprintf(path, sizeof path, "%s/model.safetensors", scratch());
    if (rn_model_file_load(path, false, &plan, &err) != RN_STATUS_OK) {
        assert(strncmp(err.message, path, strlen(path)) == 0);
        return;
    }
    for (int32_t g = 0; g < plan->golden_count; g++)
        assert(plan->goldens[g].rows > 0 && plan->goldens[g].signature < plan->signature_count);
    assert(rn_plan_finish(plan, &err) == RN_STATUS_OK);
    rn_plan_destroy(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    load(data, size);
    const uint8_t *end = size > 8 ? memrchr(data, '}', size) : NULL; /* of the header, where the data holds no brace */
    if (!end) return 0;
    const uint64_t length = (uint64_t)(end + 1 - data) - 8;
    uint8_t *changed = malloc(size);
    assert(changed);
    memcpy(changed, data, size);
    memcpy(changed, &length, sizeof length);
    load(changed, size);
    free(changed);
    return 0;
}
