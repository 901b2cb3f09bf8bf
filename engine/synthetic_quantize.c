/* Noise around four levels of brightness, so that no range rests on one picture. */
#include <stdlib.h>

#include "engine/calibration.h"
#include "engine/cpu/tensor_probe.h"
#include "engine/synthetic.h"

enum { ROWS = 4 };

static void fill(const rn_plan_tensor *feed, int32_t row, void *to)
{
    for (int64_t i = 0; i < rn_plan_tensor_elements(feed); i++) {
        const uint32_t random = ((uint32_t)i + 1) * (2654435761u + 2u * (uint32_t)row), noise = random >> 24;
        const uint32_t level = (noise * (uint32_t)(ROWS - row) + 255 * (uint32_t)row) / ROWS;
        if (feed->dtype == RN_DTYPE_U8) ((uint8_t *)to)[i] = (uint8_t)level;
        else ((float *)to)[i] = (float)level / 127.5f - 1;
    }
}

static rn_status calibrate(const rn_plan *plan, const rn_signature *signature, rn_calibration *calibration, void *row, rn_error *err)
{
    rn_tensor_probe *probe;
    RN_TRY(rn_tensor_probe_create(plan, signature, NULL, 0, &probe, err));
    rn_status status = RN_STATUS_OK;
    for (int32_t i = 0; i < ROWS && status == RN_STATUS_OK; i++) {
        fill(&plan->tensors[signature->feed], i, row);
        status = rn_tensor_probe_run(probe, row, rn_calibration_count, calibration, err);
    }
    rn_tensor_probe_destroy(probe);
    return status;
}

rn_status rn_synthetic_quantize(rn_plan *plan, rn_error *err)
{
    rn_status status;
    const rn_signature *signature = &plan->signatures[0];
    rn_calibration *calibration = NULL;
    rn_value_range *ranges = calloc((size_t)plan->tensor_count + 1, sizeof *ranges);
    void *row = malloc(rn_plan_tensor_bytes(&plan->tensors[signature->feed]));
    if (!ranges || !row) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to quantise %s", plan->architecture);
        goto cleanup;
    }
    RN_TRY_CLEANUP(status, rn_calibration_create(plan, &calibration, err));
    RN_TRY_CLEANUP(status, calibrate(plan, signature, calibration, row, err));
    rn_calibration_ranges(calibration, 1, ranges);
    status = rn_plan_quantize(plan, ranges, err);
cleanup:
    rn_calibration_destroy(calibration);
    free(ranges);
    free(row);
    return status;
}
