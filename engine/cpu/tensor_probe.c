/* Tensors share the memory of the arena, so that each is read when the operation that wrote it has just ended. */
#include "engine/cpu/tensor_probe.h"

#include <stdlib.h>

#include "engine/cpu/cpu_backend.h"

struct rn_tensor_probe {
    const rn_plan *plan;
    const rn_signature *signature;
    rn_executor *executor;
    rn_batch_part part;
    float *values;              /* room for the largest F32 tensor */
    rn_tensor_viewer *view;
    void *context;
};

static void view_outputs(void *context, int32_t op, double seconds)
{
    (void)seconds;
    rn_tensor_probe *p = context;
    for (int i = 0; i < 2; i++) {
        const int32_t t = p->plan->ops[op].outputs[i];
        if (t == RN_NONE || p->plan->tensors[t].dtype != RN_DTYPE_F32) continue;
        rn_cpu_executor_read(p->executor, t, p->values);
        p->view(p->context, t, p->values, rn_plan_tensor_elements(&p->plan->tensors[t]));
    }
}

static rn_status allocate(rn_tensor_probe *p, rn_error *err)
{
    size_t largest = 0;
    for (int32_t t = 0; t < p->plan->tensor_count; t++) {
        const rn_plan_tensor *tensor = &p->plan->tensors[t];
        if (tensor->dtype == RN_DTYPE_F32 && rn_plan_tensor_bytes(tensor) > largest) largest = rn_plan_tensor_bytes(tensor);
    }
    p->values = malloc(largest);
    bool complete = p->values || largest == 0;
    for (int32_t i = 0; i < p->signature->output_count; i++) {
        p->part.outputs[i] = malloc(rn_plan_tensor_bytes(&p->plan->tensors[p->signature->outputs[i].tensor]));
        complete = complete && p->part.outputs[i];
    }
    return complete ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to look at %d tensors", p->plan->tensor_count);
}

rn_status rn_tensor_probe_create(const rn_plan *plan, const rn_signature *signature, const char *isa, int32_t thread_count, rn_tensor_probe **out,
                                 rn_error *err)
{
    rn_tensor_probe *p = calloc(1, sizeof *p);
    if (!p) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a probe");
    const rn_backend_options options = {.max_batch = 1, .thread_count = thread_count, .isa = isa, .precision = "fp32"};
    *p = (rn_tensor_probe){.plan = plan, .signature = signature, .part.rows = 1};
    rn_status status = allocate(p, err);
    if (status == RN_STATUS_OK) status = rn_cpu_backend.prepare(plan, &options, &p->executor, err);
    if (status != RN_STATUS_OK) {
        rn_tensor_probe_destroy(p);
        return status;
    }
    rn_cpu_executor_observe(p->executor, view_outputs, p);
    *out = p;
    return RN_STATUS_OK;
}

rn_status rn_tensor_probe_run(rn_tensor_probe *p, const void *row, rn_tensor_viewer *view, void *context, rn_error *err)
{
    const rn_plan_tensor *feed = &p->plan->tensors[p->signature->feed];
    p->view = view;
    p->context = context;
    p->part.input = row;
    if (feed->dtype == RN_DTYPE_F32) view(context, p->signature->feed, row, rn_plan_tensor_elements(feed));
    return rn_cpu_backend.run(p->executor, p->signature, &p->part, 1, err);
}

void rn_tensor_probe_destroy(rn_tensor_probe *p)
{
    if (!p) return;
    if (p->executor) rn_cpu_backend.destroy(p->executor);
    for (int32_t i = 0; i < RN_PLAN_MAX_OUTPUTS; i++) free(p->part.outputs[i]);
    free(p->values);
    free(p);
}
