/* Which checkpoint tensor a variable's handle stands for. Never decided by name: names repeat and are renumbered by exporters. */
#ifndef RN_LOADER_GRAPH_VARIABLES_H
#define RN_LOADER_GRAPH_VARIABLES_H

#include "loader/checkpoint_data.h"
#include "loader/graph.h"
#include "loader/proto/saved_model.pb-c.h"

typedef struct rn__variables rn__variables;

/* Reads the bindings out of the restore operation. checkpoint: NULL for a model without one. Everything lives in `scratch`, values that
 * have to be converted in `lasting`. All arguments must outlive the result, which needs no release. */
rn_status rn__variables_create(const Sm__MetaGraph *meta_graph, rn__checkpoint *checkpoint, rn__arena *scratch, rn__arena *lasting,
                               rn__variables **out, rn_error *err);

/* The value of the variable that node `node` of the graph stands for; read and checked once. */
rn_status rn__variables_read(rn__variables *variables, int32_t node, const rn__constant **out, rn_error *err);

#endif
