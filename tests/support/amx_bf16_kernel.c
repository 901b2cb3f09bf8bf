#include "tests/support/amx_kernels.h"

#include "tests/support/amx_standin.h"
/* After the stand-ins, and by another name than the library's. */
#define rn_conv2d_bf16__amx_28x32 rn_test_conv2d_bf16__amx_28x32
#include "kernels/cpu/amx/conv2d_bf16_28x32.c"

const rn_conv2d_tile_kernel rn_test_amx_bf16_kernel = {rn_test_conv2d_bf16__amx_28x32, "rn_conv2d_bf16__amx_28x32 over stand-ins", RN_ISA_AMX, ROWS, LANES};
