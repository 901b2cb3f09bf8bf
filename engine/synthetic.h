/* ResNets of any size with random weights, as a loader would hand them over: for benchmarks and tests that have no model at hand. */
#ifndef RN_ENGINE_SYNTHETIC_H
#define RN_ENGINE_SYNTHETIC_H

#include "engine/plan.h"

typedef struct rn_synthetic_options {
    int32_t version;        /* 1: Keras ResNet V1; 2: TF-slim ResNet V2 (pre-activation) */
    int32_t blocks[4];      /* bottleneck blocks of conv2 .. conv5: 3, 4, 23, 3 for ResNet-101 */
    int32_t width;          /* channels of the stem, 64 in the paper; a block widens its input to 4 times its own */
    int32_t groups;         /* of the 3x3 convolutions, 1 in the paper */
    int32_t side;           /* height and width of the input */
    int32_t classes;
    int32_t top_k;          /* 0: none; else the second and third output are the top classes */
    bool u8_input;          /* uint8 pixels, normalised per channel by the plan's first operation */
    uint64_t seed;
} rn_synthetic_options;

/* A finished plan with one signature, "serving_default": convolutions, batch norms and additions apart, nothing folded yet. */
rn_status rn_synthetic_resnet(const rn_synthetic_options *options, rn_plan **out, rn_error *err);

/* "resnet101_v1", "resnet101_v2", "resnet50_v1" ...: the published networks at 224x224 with 1000 classes. NOT_FOUND for other names. */
rn_status rn_synthetic_by_name(const char *name, rn_plan **out, rn_error *err);

/* Quantises an optimised plan by the values that its tensors take on the host for a few made-up inputs: good for timing and for tests of plans with
 * random weights, not for serving. */
rn_status rn_synthetic_quantize(rn_plan *plan, rn_error *err);

#endif
