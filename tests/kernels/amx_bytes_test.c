/* The AMX kernel for bytes over stand-ins for the tile instructions, by all tests of bytes_test.c: to the bit. Its epilogue needs AVX-512.
 */
#include "tests/support/amx_standin.h"
/* After the stand-ins: its symbol takes the place of the library's. */
#include "kernels/cpu/amx/conv2d_u8_28x32.c"

#define RN_TEST_NEEDS RN_ISA_AVX512_BF16
#define RN_TEST_TILE_KERNEL                                                         \
    (rn_conv2d_tile_kernel)                                                         \
    {                                                                               \
        rn_conv2d_u8__amx_28x32, "rn_conv2d_u8__amx_28x32", RN_ISA_AMX, ROWS, LANES \
    }
#include "tests/kernels/bytes_test.c"
