/* A node's attributes are an unsorted list of at most a dozen: a linear search each time is the shortest program and fast enough. */
#include "loader/graph_attr.h"

#include <string.h>

static const Sm__AttrValue *find(const Sm__NodeDef *node, const char *key, Sm__AttrValue__ValueCase kind)
{
    for (size_t i = 0; i < node->n_attr; i++) {
        if (strcmp(node->attr[i]->key, key) != 0) continue;
        const Sm__AttrValue *value = node->attr[i]->value;
        return value && value->value_case == kind ? value : NULL;
    }
    return NULL;
}

int64_t rn__attr_int(const Sm__NodeDef *node, const char *key, int64_t otherwise)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_I);
    return value ? value->i : otherwise;
}

float rn__attr_float(const Sm__NodeDef *node, const char *key, float otherwise)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_F);
    return value ? value->f : otherwise;
}

bool rn__attr_bool(const Sm__NodeDef *node, const char *key, bool otherwise)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_B);
    return value ? value->b != 0 : otherwise;
}

int32_t rn__attr_type(const Sm__NodeDef *node, const char *key, int32_t otherwise)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_TYPE);
    return value ? value->type : otherwise;
}

bool rn__attr_is(const Sm__NodeDef *node, const char *key, const char *otherwise, const char *text)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_S);
    if (!value) return strcmp(otherwise, text) == 0;
    return value->s.len == strlen(text) && (value->s.len == 0 || memcmp(value->s.data, text, value->s.len) == 0);
}

const int64_t *rn__attr_ints(const Sm__NodeDef *node, const char *key, size_t *count)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_LIST);
    *count = value && value->list ? value->list->n_i : 0;
    return *count ? value->list->i : NULL;
}

const Sm__Tensor *rn__attr_tensor(const Sm__NodeDef *node, const char *key)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_TENSOR);
    return value ? value->tensor : NULL;
}

const Sm__TensorShape *rn__attr_shape(const Sm__NodeDef *node, const char *key)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_SHAPE);
    return value ? value->shape : NULL;
}

const char *rn__attr_function(const Sm__NodeDef *node, const char *key)
{
    const Sm__AttrValue *value = find(node, key, SM__ATTR_VALUE__VALUE_FUNC);
    return value && value->func ? value->func->name : NULL;
}
