/* saved_model.pb: whatever it holds, it is refused by name or becomes a plan that passes its own checks. The graph has its weights inside:
 * import, folding, sharing and all passes are behind it. */
#include "loader/saved_model.h"
#include "tests/fuzz/scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rn_plan *plan = NULL;
    rn_error err = {0};
    scratch_write("saved_model.pb", data, size);
    if (rn_saved_model_load(scratch(), NULL, &plan, &err) != RN_STATUS_OK) {
        assert(strncmp(err.message, scratch(), strlen(scratch())) == 0);
        return 0;
    }
    assert(rn_plan_finish(plan, &err) == RN_STATUS_OK);
    rn_plan_destroy(plan);
    return 0;
}
