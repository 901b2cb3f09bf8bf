/* Graphs of a few nodes, built in memory and imported, for tests of single operations. */
#ifndef RN_TESTS_SUPPORT_TINY_GRAPH_H
#define RN_TESTS_SUPPORT_TINY_GRAPH_H

#include "loader/graph_import.h"

enum { TINY_MAX_NODES = 64, TINY_MAX_INPUTS = 8, TINY_MAX_ATTRS = 8 };

typedef struct tiny_node {
    Sm__NodeDef def;
    char name[64], op[64], inputs[TINY_MAX_INPUTS][64];
    char *input_list[TINY_MAX_INPUTS];
    Sm__Attr attrs[TINY_MAX_ATTRS], *attr_list[TINY_MAX_ATTRS];
    Sm__AttrValue values[TINY_MAX_ATTRS];
    Sm__AttrValue__ListValue lists[TINY_MAX_ATTRS];
    Sm__AttrValue__FunctionName functions[TINY_MAX_ATTRS];
    char keys[TINY_MAX_ATTRS][32], texts[TINY_MAX_ATTRS][32];
    int64_t numbers[TINY_MAX_ATTRS][8];
    Sm__Tensor tensor;
    Sm__TensorShape shape;
    Sm__TensorShape__Dim dims[RN__CONSTANT_MAX_RANK], *dim_list[RN__CONSTANT_MAX_RANK];
    float floats[64];
    int32_t ints[64];
} tiny_node;

/* The nodes of a graph or of a function. */
typedef struct tiny_body {
    tiny_node nodes[TINY_MAX_NODES];
    Sm__NodeDef *list[TINY_MAX_NODES];
    size_t count;
} tiny_body;

typedef struct tiny_function {
    Sm__FunctionDef def;
    Sm__OpDef signature;
    Sm__ArgDef args[8], outs[8], *arg_list[8], *out_list[8];
    Sm__Return rets[8], *ret_list[8];
    char texts[24][64];
    tiny_body body;
} tiny_function;

typedef struct tiny_graph {
    Sm__GraphDef def;
    Sm__FunctionDefLibrary library;
    Sm__FunctionDef *function_list[8];
    tiny_function functions[8];
    tiny_body body;
    /* after tiny_import */
    rn__arena *scratch, *lasting;
    rn_plan *plan;
    rn__import import;
    rn_error err;
} tiny_graph;

tiny_graph *tiny_create(void);
void tiny_destroy(tiny_graph *graph);

/* Nodes; inputs is a list separated by spaces. */
tiny_node *tiny_add(tiny_body *body, const char *name, const char *op, const char *inputs);
tiny_node *tiny_floats(tiny_body *body, const char *name, int32_t rank, const int64_t *dims, const float *values);
tiny_node *tiny_ints(tiny_body *body, const char *name, int32_t rank, const int64_t *dims, const int32_t *values);
void tiny_attr_int(tiny_node *node, const char *key, int64_t value);
void tiny_attr_float(tiny_node *node, const char *key, float value);
void tiny_attr_bool(tiny_node *node, const char *key, bool value);
void tiny_attr_type(tiny_node *node, const char *key, int32_t value);
void tiny_attr_text(tiny_node *node, const char *key, const char *value);
void tiny_attr_ints(tiny_node *node, const char *key, size_t count, const int64_t *values);
void tiny_attr_function(tiny_node *node, const char *key, const char *name);

/* A function; arguments and returns are lists separated by spaces, a return being "output=node:argument:index". */
tiny_body *tiny_function_add(tiny_graph *graph, const char *name, const char *arguments, const char *returns);

/* Imports output 0 of node `name`. Everything imported lives until tiny_destroy. */
rn_status tiny_import(tiny_graph *graph, const char *name, const rn__value **out);

#endif
