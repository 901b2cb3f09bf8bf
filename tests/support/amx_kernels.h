/* The AMX kernels' sources over stand-ins for the tile instructions. Their epilogues are AVX-512's own, so that they need a processor with AVX-512 BF16:
 * only amx_*_kernel.c is compiled for it. */
#ifndef RN_TESTS_SUPPORT_AMX_KERNELS_H
#define RN_TESTS_SUPPORT_AMX_KERNELS_H

#include "kernels/cpu/cpu_kernels.h"

extern const rn_conv2d_tile_kernel rn_test_amx_bf16_kernel, rn_test_amx_u8_kernel;

#endif
