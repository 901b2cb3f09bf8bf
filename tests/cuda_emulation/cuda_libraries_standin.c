/* In place of engine/cuda/cuda_libraries.c (tests only): the emulation needs none of the libraries which that file looks for. */
#include <stddef.h>

#include "engine/cuda/cuda_device.h"
#include "tests/cuda_emulation/emulation_control.h"

static const char *missing;

void rn_emulation_set_missing_library(const char *name)
{
    missing = name;
}

rn_status rn__cuda_libraries_check(rn_error *err)
{
    return missing ? RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "%s is missing", missing) : RN_STATUS_OK;
}
