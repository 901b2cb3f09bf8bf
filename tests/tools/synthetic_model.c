/* Writes a published network with made-up weights as a model file, for tests that need a model of a real one's size.
 *
 *   synthetic_model resnet50_v1 OUT.safetensors
 */
#include <stdio.h>

#include "engine/synthetic.h"
#include "loader/model_file.h"

int main(int argc, char **argv)
{
    rn_plan *plan;
    rn_error err;
    if (argc != 3) {
        fprintf(stderr, "usage: synthetic_model NETWORK OUT\n");
        return 2;
    }
    rn_status status = rn_synthetic_by_name(argv[1], &plan, &err);
    if (status == RN_STATUS_OK) {
        status = rn_model_file_write(plan, argv[1], argv[2], &err);
        rn_plan_destroy(plan);
    }
    if (status != RN_STATUS_OK) fprintf(stderr, "%s\n", err.message);
    return status != RN_STATUS_OK;
}
