/* The inner block of int8 convolutions for AMX. Not run on AMX hardware yet: tests/kernels/amx_bytes_test.c runs this source over stand-ins
 * for the tile instructions.
 */
#define RN_TILE_PRODUCT(sum, pixels, weights) _tile_dpbusd(sum, pixels, weights)
#include "kernels/cpu/amx/tile_sums.h"
#include "kernels/cpu/avx512_vnni/tile_epilogue_u8.h"

void rn_conv2d_u8__amx_28x32(const rn_conv2d_tile_args *t)
{
    _Alignas(64) int32_t sums[ROWS][LANES];
    sum_tile(t, 1, sums);
    epilogue((const int32_t(*)[LANES])sums, t);
}
