/* Runs plans as the server's executor thread does, and says what their operations are. */
#include "tools/bench/runner.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/bench/failure.h"

static size_t batch_bytes(const bench_runner *r, int32_t tensor)
{
    return (size_t)r->part.rows * rn_plan_tensor_bytes(&r->plan->tensors[tensor]);
}

static void fill_input(const rn_plan_tensor *feed, int64_t elements, void *input)
{
    uint32_t random = 1;
    for (int64_t i = 0; i < elements; i++) {
        random = random * 1664525u + 1013904223u;
        if (feed->dtype == RN_DTYPE_U8) ((uint8_t *)input)[i] = (uint8_t)(random >> 24);
        else ((float *)input)[i] = (float)(int32_t)random * 0x1p-31f;
    }
}

void bench_runner_init(bench_runner *r, const rn_plan *plan, const rn_backend *backend, const rn_backend_options *options)
{
    rn_error err = {0};
    *r = (bench_runner){.plan = plan, .backend = backend, .signature = rn_plan_signature(plan, "serving_default"), .part.rows = options->max_batch};
    if (!r->signature) r->signature = &plan->signatures[0];
    bench_check(r->backend->prepare(plan, options, &r->executor, &err), &err);
    const rn_plan_tensor *feed = &plan->tensors[r->signature->feed];
    void *input = bench_allocate(batch_bytes(r, r->signature->feed));
    fill_input(feed, r->part.rows * rn_plan_tensor_elements(feed), input);
    r->part.input = input;
    for (int32_t i = 0; i < r->signature->output_count; i++) {
        r->part.outputs[i] = bench_allocate(batch_bytes(r, r->signature->outputs[i].tensor));
    }
}

void bench_runner_explain(bench_runner *r)
{
    const rn_op *map = &r->plan->ops[r->signature->class_map_op];
    r->part.maps = bench_allocate(batch_bytes(r, map->outputs[0]));
    r->part.classes = bench_allocate((size_t)r->part.rows * sizeof *r->part.classes);
    for (int32_t i = 0; i < r->part.rows; i++) r->part.classes[i] = i % r->plan->tensors[map->inputs[1]].c;
}

void bench_runner_deinit(bench_runner *r)
{
    r->backend->destroy(r->executor);
    free((void *)r->part.input);
    for (int32_t i = 0; i < r->signature->output_count; i++) free(r->part.outputs[i]);
    free(r->part.maps);
    free(r->part.classes);
}

void bench_runner_run(void *runner)
{
    const bench_runner *r = runner;
    rn_error err = {0};
    bench_check(r->backend->run(r->executor, r->signature, &r->part, 1, &err), &err);
}

static const rn_plan_tensor *first_output(const rn_plan *plan, const rn_op *op)
{
    return &plan->tensors[op->outputs[op->outputs[0] == RN_NONE]];
}

void bench_op_label(const rn_plan *plan, const rn_op *op, char *label, size_t bytes)
{
    const rn_plan_tensor *x = &plan->tensors[op->inputs[0]], *y = first_output(plan, op);
    char window[64] = "";
    if (op->kind == RN_OP_CONV2D) {
        const rn_conv2d_op *conv = &op->u.conv2d;
        const bool residual = op->inputs[1] != RN_NONE, first = op->outputs[0] != RN_NONE, second = op->outputs[1] != RN_NONE;
        snprintf(window, sizeof window, " %dx%d/%d%s%s", conv->r, conv->s, conv->stride_h, residual ? " +residual" : "",
                 !second ? "" : first ? " +preactivation" : " preactivation only");
    }
    snprintf(label, bytes, "%s%s %dx%dx%d -> %dx%dx%d", rn_op_kind_name(op->kind), window, x->h, x->w, x->c, y->h, y->w, y->c);
}

double bench_op_flops(const rn_plan *plan, const rn_op *op)
{
    const rn_plan_tensor *y = first_output(plan, op);
    if (op->kind == RN_OP_CONV2D) return 2.0 * y->h * y->w * (double)plan->weights[op->u.conv2d.filter].element_count;
    if (op->kind == RN_OP_DENSE) return 2.0 * (double)plan->weights[op->u.dense.weights].element_count;
    return 0;
}

static double weight_bytes(const rn_plan *plan, const rn_op *op)
{
    const int32_t index = op->kind == RN_OP_CONV2D ? op->u.conv2d.filter : op->kind == RN_OP_DENSE ? op->u.dense.weights : RN_NONE;
    return index == RN_NONE ? 0 : (double)plan->weights[index].element_count * (double)rn_dtype_bytes(plan->weights[index].dtype);
}

double bench_op_bytes(const rn_plan *plan, const rn_op *op, int32_t rows)
{
    double bytes = 0;
    for (int i = 0; i < 2; i++) {
        if (op->inputs[i] != RN_NONE) bytes += (double)rn_plan_tensor_bytes(&plan->tensors[op->inputs[i]]);
        if (op->outputs[i] != RN_NONE) bytes += (double)rn_plan_tensor_bytes(&plan->tensors[op->outputs[i]]);
    }
    return bytes * rows + weight_bytes(plan, op);
}
