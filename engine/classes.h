/* What a finished request says about classes, whichever outputs its signature has. Some models sort their classes on their own (labels and
 * probabilities side by side), others give one number for each class. */
#ifndef RN_ENGINE_CLASSES_H
#define RN_ENGINE_CLASSES_H

#include "engine/model.h"

typedef struct rn_classes {
    const float *values;    /* [rows][width], in the request */
    const int32_t *indexes; /* [rows][width] of classes, best first; NULL: a value's place is its class */
    int32_t width;
    bool probabilities; /* results of a softmax; else scores of any range */
} rn_classes;

/* False when the signature has no output that is a number for each class. */
bool rn_classes_find(const rn_request *request, rn_classes *out);

/* The places of `count` values in falling order of value; equal ones in rising order, NaN last. */
void rn_classes_sort(const float *values, int32_t count, int32_t *order);

#endif
