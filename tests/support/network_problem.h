/* Small networks of every kind that a backend runs, and what is to come out of them. */
#ifndef RN_TESTS_SUPPORT_NETWORK_PROBLEM_H
#define RN_TESTS_SUPPORT_NETWORK_PROBLEM_H

#include "engine/plan.h"
#include "engine/synthetic.h"

typedef struct rn_test_network {
    const char *name;
    rn_synthetic_options options;
} rn_test_network;

enum { RN_TEST_NETWORK_COUNT = 8 };
/* V1 and V2, groups, thin and wide layers, odd sizes, bytes and floats as inputs. */
extern const rn_test_network rn_test_networks[RN_TEST_NETWORK_COUNT];

typedef struct rn_test_problem {
    const rn_plan *plan; /* borrowed */
    const rn_signature *signature;
    size_t input_bytes;
    unsigned char *input;                /* [rows] of the signature's feed, of input_bytes each */
    void *expected[RN_PLAN_MAX_OUTPUTS]; /* [rows] of each output, or NULL */
} rn_test_problem;

/* Made-up inputs for the plan's first signature, the same in every run, and what the reference makes of them. */
rn_test_problem rn_test_problem_create(const rn_plan *plan, int32_t rows);
/* The inputs alone. */
rn_test_problem rn_test_problem_inputs(const rn_plan *plan, int32_t rows);
void rn_test_problem_destroy(rn_test_problem *p);

size_t rn_test_row_bytes(const rn_test_problem *p, int32_t output);

#endif
