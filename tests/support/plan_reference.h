/* A plan run by the reference kernels, one operation after the other on dense tensors: what every backend has to reproduce. */
#ifndef RN_TESTS_SUPPORT_PLAN_REFERENCE_H
#define RN_TESTS_SUPPORT_PLAN_REFERENCE_H

#include "engine/plan.h"

/* input: [rows] of the feed tensor. outputs[i]: [rows] of output i. Exits the test when memory is short. */
void rn_test_plan_run(const rn_plan *plan, const rn_signature *signature, int32_t rows, const void *input, void *const *outputs);

/* The explanation of a signature that has one: classes [rows], of which RN_NONE becomes the class of the largest score; maps [rows][h][w]. */
void rn_test_plan_explain(const rn_plan *plan, const rn_signature *signature, int32_t rows, const void *input, int32_t *classes, float *maps);

#endif
