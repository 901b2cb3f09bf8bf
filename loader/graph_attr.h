/* Attributes of nodes, with the default that TensorFlow takes when one is absent or has another kind of value. */
#ifndef RN_LOADER_GRAPH_ATTR_H
#define RN_LOADER_GRAPH_ATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/proto/graph.pb-c.h"

int64_t rn__attr_int(const Sm__NodeDef *node, const char *key, int64_t otherwise);
float rn__attr_float(const Sm__NodeDef *node, const char *key, float otherwise);
bool rn__attr_bool(const Sm__NodeDef *node, const char *key, bool otherwise);
int32_t rn__attr_type(const Sm__NodeDef *node, const char *key, int32_t otherwise); /* a DataType */
/* Whether a byte string, or `otherwise` in its absence, is `text`. */
bool rn__attr_is(const Sm__NodeDef *node, const char *key, const char *otherwise, const char *text);

/* A list of integers, *count of them; NULL when absent. */
const int64_t *rn__attr_ints(const Sm__NodeDef *node, const char *key, size_t *count);
/* NULL when absent. */
const Sm__Tensor *rn__attr_tensor(const Sm__NodeDef *node, const char *key);
const Sm__TensorShape *rn__attr_shape(const Sm__NodeDef *node, const char *key);
const char *rn__attr_function(const Sm__NodeDef *node, const char *key);

#endif
