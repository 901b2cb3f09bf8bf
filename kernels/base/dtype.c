/* Properties of element types, expanded from the one list in dtype.h. */
#include "kernels/base/dtype.h"

#include <string.h>

typedef struct {
    const char *name, *tf_name;
    int tf_number;
} dtype_info;

static const dtype_info infos[RN_DTYPE_COUNT] = {
#define RN_DTYPE_INFO(name, bytes, safetensors, tensorflow, tf_name) [RN_DTYPE_##name] = {safetensors, tf_name, tensorflow},
    RN_DTYPE_LIST(RN_DTYPE_INFO)
#undef RN_DTYPE_INFO
};

const char *rn_dtype_name(rn_dtype dtype)
{
    return infos[dtype].name;
}

const char *rn_dtype_tf_name(rn_dtype dtype)
{
    return infos[dtype].tf_name;
}

int rn_dtype_tf_number(rn_dtype dtype)
{
    return infos[dtype].tf_number;
}

int rn_dtype_from_name(const char *name, rn_dtype *out)
{
    for (int i = 0; i < RN_DTYPE_COUNT; i++) {
        if (strcmp(infos[i].name, name) != 0) continue;
        *out = (rn_dtype)i;
        return 1;
    }
    return 0;
}

int rn_dtype_from_tf(int number, rn_dtype *out)
{
    for (int i = 0; i < RN_DTYPE_COUNT; i++) {
        if (infos[i].tf_number != number) continue;
        *out = (rn_dtype)i;
        return 1;
    }
    return 0;
}
