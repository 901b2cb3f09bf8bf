/* A picture front end for a model that takes numbers. */
#ifndef RN_TOOLS_CONVERT_IMAGE_INPUT_H
#define RN_TOOLS_CONVERT_IMAGE_INPUT_H

#include "engine/plan.h"

typedef struct rn_image_input {
    const char *mode;     /* what is done to the pixels, RGB of 0 to 255: "caffe" BGR minus ImageNet's means, "tf" -1 to 1, "torch" 0 to 1
                           * normalised by     ImageNet's means and deviations, "unit" 0 to 1 */
    const char *labels;   /* path: one label a line, as many as classes, or one more or less: see rn_add_image_input */
    int32_t resize, crop; /* the shorter side becomes `resize`, the longer one in proportion, and the centre of crop x crop is kept; 0, 0:
                           * the picture's central square is made as large as the input */
} rn_image_input;

/* Whether `mode` is one of the above. */
bool rn_image_input_mode(const char *mode);

/* Adds the signature "serving_preprocess" to an optimised plan: encoded pictures "image_bytes" to "labels" and "probabilities" of the five
 * best classes (fewer where there are fewer), through the network of the only signature that maps floats [-1,h,w,3] to one vector,
 * "serving_default" where there are several. The label files of ImageNet have 1000 entries, or 1001 with "background" first: it is added or
 * left out where the classes ask for it. INVALID_ARGUMENT or UNSUPPORTED says what does not fit. */
rn_status rn_add_image_input(rn_plan *plan, const rn_image_input *input, rn_error *err);

#endif
