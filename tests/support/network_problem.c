#include "tests/support/network_problem.h"

#include <stdlib.h>

#include "tests/support/plan_reference.h"

const rn_test_network rn_test_networks[RN_TEST_NETWORK_COUNT] = {
    {"v1, thin", {.version = 1, .blocks = {1, 2, 1, 1}, .width = 8, .groups = 1, .side = 64, .classes = 10, .seed = 1}},
    {"v1, 224 wide", {.version = 1, .blocks = {1, 1, 1, 1}, .width = 16, .groups = 1, .side = 224, .classes = 37, .top_k = 5, .seed = 2}},
    {"v1, groups, u8", {.version = 1, .blocks = {1, 1, 2, 1}, .width = 32, .groups = 8, .side = 48, .classes = 100, .u8_input = true, .seed = 3}},
    {"v1, width 24", {.version = 1, .blocks = {1, 1, 1, 2}, .width = 24, .groups = 2, .side = 75, .classes = 7, .top_k = 7, .seed = 4}},
    {"v2", {.version = 2, .blocks = {2, 2, 2, 1}, .width = 16, .groups = 1, .side = 96, .classes = 11, .top_k = 3, .seed = 5}},
    {"v2, odd, u8", {.version = 2, .blocks = {1, 2, 1, 2}, .width = 12, .groups = 3, .side = 61, .classes = 5, .u8_input = true, .seed = 6}},
    {"v1, wide", {.version = 1, .blocks = {1, 1, 2, 1}, .width = 64, .groups = 1, .side = 64, .classes = 9, .seed = 8}}, /* large Winograd tiles in bf16 */
    {"v2, tiny picture", {.version = 2, .blocks = {1, 1, 1, 1}, .width = 8, .groups = 1, .side = 16, .classes = 3, .seed = 7}},
};

size_t rn_test_row_bytes(const rn_test_problem *p, int32_t output)
{
    return rn_plan_tensor_bytes(&p->plan->tensors[p->signature->outputs[output].tensor]);
}

rn_test_problem rn_test_problem_inputs(const rn_plan *plan, int32_t rows)
{
    rn_test_problem p = {.plan = plan, .signature = &plan->signatures[0]};
    const rn_plan_tensor *feed = &plan->tensors[p.signature->feed];
    p.input_bytes = rn_plan_tensor_bytes(feed);
    p.input = malloc((size_t)rows * p.input_bytes);
    srand(11);
    for (size_t i = 0; i < (size_t)rows * (size_t)rn_plan_tensor_elements(feed); i++) {
        if (feed->dtype == RN_DTYPE_U8) p.input[i] = (unsigned char)rand();
        else ((float *)p.input)[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
    }
    return p;
}

rn_test_problem rn_test_problem_create(const rn_plan *plan, int32_t rows)
{
    rn_test_problem p = rn_test_problem_inputs(plan, rows);
    for (int32_t o = 0; o < p.signature->output_count; o++) p.expected[o] = malloc((size_t)rows * rn_test_row_bytes(&p, o));
    rn_test_plan_run(plan, p.signature, rows, p.input, p.expected);
    return p;
}

void rn_test_problem_destroy(rn_test_problem *p)
{
    free(p->input);
    for (int32_t o = 0; o < p->signature->output_count; o++) free(p->expected[o]);
}
