/* A TensorFlow graph with its function library, as one web of references.
 *
 * A frame is one run of a function: the graph itself, a called function, a chosen branch, a loop body. References are resolved
 * through calls and arguments, so whoever follows inputs never sees where a function begins or ends. Nothing here knows what operations
 * mean, but that calls and branches lead into frames.
 */
#ifndef RN_LOADER_GRAPH_H
#define RN_LOADER_GRAPH_H

#include "loader/arena.h"
#include "loader/graph_value.h"
#include "loader/proto/graph.pb-c.h"

/* Limits on what a graph may unfold to. A ResNet-152 of Keras 3 needs 8 levels and some 20,000 nodes for a signature. */
enum { RN__GRAPH_MAX_DEPTH = 64, RN__GRAPH_MAX_FRAMES = 1 << 16, RN__GRAPH_MAX_NODES = 1 << 21, RN__GRAPH_MAX_STEPS = 1 << 20 };

/* The nodes of a GraphDef or of a FunctionDef. */
typedef struct rn__function {
    const char *name;           /* "" for the graph */
    const Sm__FunctionDef *def; /* NULL for the graph */
    Sm__NodeDef *const *nodes;
    int32_t node_count, argument_count;
    int32_t *nodes_by_name, *arguments_by_name; /* their indexes in rising order of name; NULL until the function is first used */
} rn__function;

/* Output `output` of node `node` in frame `frame`. node < 0: argument ~node of a frame whose arguments are values. */
typedef struct rn__ref {
    int32_t frame, node, output;
} rn__ref;

/* What is known of one node of one frame. Importing moves it from UNSEEN through OPEN to DONE. */
typedef enum { RN__UNSEEN, RN__OPEN, RN__DONE } rn__phase;
typedef struct rn__node_state {
    rn__phase phase;
    int32_t callee;      /* frame that stands for this node: a called function or a chosen branch; or RN_NONE */
    int32_t input_count; /* data inputs; valid from OPEN on */
    rn__ref *inputs;
    int32_t value_count; /* valid when DONE; 0 when another frame stands for the node */
    rn__value *values;
} rn__node_state;

typedef struct rn__frame {
    rn__function *function;
    int32_t depth;
    int32_t parent, call_node, first_input; /* argument i is input first_input + i of that node; or, for the graph and loop bodies: */
    const rn__value *arguments;             /* parent == RN_NONE: values of the arguments, argument_count of them */
    int32_t argument_count;
    rn__node_state *nodes;
} rn__frame;

typedef struct rn__graph {
    rn__arena *arena;
    rn__function root;
    rn__function *functions; /* of the library, in rising order of name */
    int32_t function_count;
    rn__frame *frames; /* frames[0] is the graph */
    int32_t frame_count, frame_capacity;
    int64_t nodes_unfolded, steps; /* spent of the limits */
} rn__graph;

/* Indexes `def`; the result lives in `arena` and points into the message. */
rn_status rn__graph_init(rn__graph *graph, const Sm__GraphDef *def, rn__arena *arena, rn_error *err);
/* Forgets all frames but a fresh one for the graph: what was known of nodes is gone. */
rn_status rn__graph_restart(rn__graph *graph, rn_error *err);

/* A frame for function `name`: arguments from a call node's inputs, or from values. */
rn_status rn__graph_call(rn__graph *graph, const char *name, int32_t parent, int32_t call_node, int32_t first_input, int32_t *out,
                         rn_error *err);
rn_status rn__graph_call_with(rn__graph *graph, const char *name, int32_t depth, const rn__value *arguments, int32_t argument_count,
                              int32_t *out, rn_error *err);
int32_t rn__graph_output_count(const rn__graph *graph, int32_t frame); /* of the frame's function */
/* The reference that output `index` of a function's frame returns. */
rn_status rn__graph_output(rn__graph *graph, int32_t frame, int32_t index, rn__ref *out, rn_error *err);

/* Reads an input as it is written in a frame: "node", "node:1" in the graph, "argument", "node:values:1" in functions. Not for control
 * inputs. */
rn_status rn__graph_parse(rn__graph *graph, int32_t frame, const char *text, rn__ref *out, rn_error *err);
/* Follows *ref through calls and arguments to the node that computes it, or to an argument that has a value. */
rn_status rn__graph_resolve(rn__graph *graph, rn__ref *ref, rn_error *err);

/* Number of inputs of a node that carry data; they come before the control inputs ("^name"). */
int32_t rn__graph_data_inputs(const Sm__NodeDef *node);
/* Index of a node of a frame by its whole name, or RN_NONE. */
int32_t rn__graph_find(const rn__graph *graph, int32_t frame, const char *name);

static inline const Sm__NodeDef *rn__graph_node(const rn__graph *graph, rn__ref ref)
{
    return graph->frames[ref.frame].function->nodes[ref.node];
}

static inline rn__node_state *rn__graph_state(const rn__graph *graph, rn__ref ref)
{
    return &graph->frames[ref.frame].nodes[ref.node];
}

#endif
