/* Goldens run on the device alone, so that every one is reported; warm-up records run as a server would run them. */
#include "tools/convert/verify.h"

#include <stdio.h>

#include "engine/model.h"
#include "engine/quantize.h"
#include "engine/self_test.h"
#include "http/warmup.h"

enum { MAX_BATCH = 8, MAX_RECORD_BYTES = 1 << 28 };

static rn_status run_goldens(const rn_plan *plan, const rn_backend *backend, const rn_backend_options *options, rn_error *err)
{
    rn_executor *executor;
    rn_status failed = RN_STATUS_OK;
    if (plan->golden_count == 0) return RN_STATUS_OK;
    RN_TRY(backend->prepare(plan, options, &executor, err));
    printf("%s\n", backend->describe(executor));
    for (int32_t g = 0; g < plan->golden_count; g++) {
        const rn_golden *golden = &plan->goldens[g];
        rn_golden_error worst = {.output = RN_NONE};
        rn_error own;
        double allowed = 0;
        const rn_status status = rn_golden_test(plan, g, backend, executor, options->max_batch, &worst, &allowed, &own);
        if (status != RN_STATUS_OK && failed == RN_STATUS_OK) {
            failed = status;
            *err = own;
        }
        if (status != RN_STATUS_OK && status != RN_STATUS_FAILED_PRECONDITION) break;
        printf("%-6s signature %s, %s, %d row%s: worst error %.3g, %.2g of the largest magnitude, allowed %.2g\n",
               status == RN_STATUS_OK ? "ok" : "FAILED", plan->signatures[golden->signature].name, golden->source, golden->rows,
               golden->rows == 1 ? "" : "s", worst.absolute, worst.relative, allowed);
    }
    backend->destroy(executor);
    return failed;
}

/* Takes the plan. */
static rn_status run_warmup(rn_plan *plan, const char *path, const rn_backend *backend, const rn_backend_options *options, int32_t *count,
                            rn_error *err)
{
    rn_workers *workers;
    rn_model *model = NULL;
    const rn_model_options model_options = {.backend = *options, .max_waiting_rows = 1 << 16};
    rn_status status = rn_workers_create(2, 1024, &workers, err);
    if (status != RN_STATUS_OK) {
        rn_plan_destroy(plan);
        return status;
    }
    status = rn_model_create(plan, backend, &model_options, workers, &model, err);
    if (status == RN_STATUS_OK) status = rn_warmup_run(model, path, &(rn_warmup_options){.max_record_bytes = MAX_RECORD_BYTES}, count, err);
    rn_model_release(model);
    rn_workers_destroy(workers);
    if (status == RN_STATUS_OK && *count > 0) printf("ok     %d warm-up record%s of assets.extra\n", *count, *count == 1 ? "" : "s");
    return status;
}

rn_status rn_verify_plan(rn_plan *plan, const char *path, const char *device, const char *precision, rn_error *err)
{
    rn_device_choice choice;
    rn_status status = rn_device_choose(device, &choice, err);
    const rn_backend_options options = {
        .max_batch = MAX_BATCH, .precision = precision, .device = status == RN_STATUS_OK ? choice.devices[0] : 0};
    const int32_t goldens = plan->golden_count;
    const bool widen =
        status == RN_STATUS_OK && rn_plan_is_quantized(plan) && !(choice.backend->runs_int8 && choice.backend->runs_int8(&options));
    if (status == RN_STATUS_OK && widen) status = rn_plan_widen(plan, err);
    if (status == RN_STATUS_OK) status = run_goldens(plan, choice.backend, &options, err);
    if (status != RN_STATUS_OK) {
        rn_plan_destroy(plan);
        return status;
    }
    int32_t records = 0;
    plan->golden_count = 0; /* they have just been run */
    RN_TRY(run_warmup(plan, path, choice.backend, &options, &records, err));
    if (goldens + records > 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: neither recorded answers nor warm-up records: convert it with --golden=1 or more", path);
}
