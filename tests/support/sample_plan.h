/* A small plan for tests that need a whole one: every kind of operation, two signatures, labels, filled weights. */
#ifndef RN_TESTS_SUPPORT_SAMPLE_PLAN_H
#define RN_TESTS_SUPPORT_SAMPLE_PLAN_H

#include "engine/plan.h"

/* Finished; the caller destroys it. Fails the running test when it cannot be built. */
rn_plan *sample_plan(void);

#endif
