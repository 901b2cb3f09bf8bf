/* A plan that is prepared for a backend, with buffers for one batch. */
#ifndef RN_TOOLS_BENCH_RUNNER_H
#define RN_TOOLS_BENCH_RUNNER_H

#include "engine/backend.h"

typedef struct bench_runner {
    const rn_plan *plan; /* borrowed */
    const rn_signature *signature;
    const rn_backend *backend;
    rn_executor *executor;
    rn_batch_part part; /* its rows are options->max_batch */
} bench_runner;

/* Prepares the plan's "serving_default", or its first signature, and fills the input: the same numbers for every runner of a plan, uniform
 * in [-1, 1), or bytes. Fails as bench_fail does. */
void bench_runner_init(bench_runner *r, const rn_plan *plan, const rn_backend *backend, const rn_backend_options *options);
void bench_runner_deinit(bench_runner *r);
/* From now on every run explains its rows too, each another class: of signatures that have explanations. */
void bench_runner_explain(bench_runner *r);

void bench_runner_run(void *runner); /* once; for bench_time */

/* What an operation is, whatever its name: layers of one shape share a label. */
void bench_op_label(const rn_plan *plan, const rn_op *op, char *label, size_t bytes);
/* Of one row. A multiply-add counts two. */
double bench_op_flops(const rn_plan *plan, const rn_op *op);
/* Bytes that it has to read and write for so many rows: activations, filter or weights. */
double bench_op_bytes(const rn_plan *plan, const rn_op *op, int32_t rows);

#endif
