/* The AMX kernel for bytes over stand-ins for the tile instructions, by all tests of bytes_test.c: to the bit. */
#include "tests/support/amx_kernels.h"

#define RN_TEST_TILE_KERNEL rn_test_amx_u8_kernel
#define RN_TEST_NEEDS RN_ISA_AVX512_BF16
#include "tests/kernels/bytes_test.c"
