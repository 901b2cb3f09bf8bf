/* Turning a signature's graph into plan operations.
 *
 * Import is an interpretation of the graph: each node is run once, on values that are constants where the graph's own arithmetic can be
 * done now, and stand for tensors of the plan where it depends on the caller's input. Running a layer on such a tensor adds an operation to
 * the plan.
 */
#ifndef RN_LOADER_GRAPH_IMPORT_H
#define RN_LOADER_GRAPH_IMPORT_H

#include "loader/graph.h"
#include "loader/graph_variables.h"

/* Elements that folding may compute in one load: a bound on time, as the arenas' limits are on memory. */
#define RN__FOLD_MAX_ELEMENTS ((int64_t)1 << 31)

typedef struct rn__import {
    rn__graph graph;
    rn__variables *variables;
    rn_plan *plan;
    rn__arena *scratch;    /* values, frames: for the import */
    rn__arena *lasting;    /* constants that weights may point into: for the plan's life */
    uint32_t *weight_sums; /* of how each of the plan's weights begins, to find equal ones */
    int32_t weight_sums_capacity;
    const rn__picture *probe; /* size of the picture that a loop body is being run on; NULL outside */
    int32_t input_tensor;     /* of the plan: what the caller of the signature at hand fills */
    int64_t folded_elements;
} rn__import;

/* Prepares to import from `def`. Both arenas and the variables stay the caller's. */
rn_status rn__import_init(rn__import *import, const Sm__GraphDef *def, rn__variables *variables, rn__arena *scratch, rn__arena *lasting,
                          rn_plan *plan, rn_error *err);
void rn__import_deinit(rn__import *import);

/* Imports one signature: its operations and itself are added to the plan. Signatures do not see each other's operations. graph_signature.c.
 */
rn_status rn__import_signature(rn__import *import, const char *name, const Sm__Signature *signature, rn_error *err);

/* The value of a reference, importing all that it needs. Lives as long as the import. */
rn_status rn__import_value(rn__import *import, rn__ref ref, const rn__value **out, rn_error *err);

/* Name of a node with the scopes of the calls that led to it, for operations of the plan. Returns `out`. */
const char *rn__import_node_name(const rn__import *import, int32_t frame, const Sm__NodeDef *node, char out[RN_PLAN_NAME_BYTES]);

#endif
