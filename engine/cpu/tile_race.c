/* Which of two micro-kernels multiplies faster here. Processors with instructions for bf16 differ: Zen 4 multiplies it at twice the rate of f32, AMX at
 * many times that, a Xeon of 2023 without AMX (family 6, model 207) at half of it. So it is tried, on a tile that the first cache level holds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/cpu/cpu_executor.h"

enum { CHANNELS = 128, MOST_ROWS = 32, MOST_LANES = 32, LINE_BYTES = 64, ROUNDS = 20 }; /* a round takes some 3 us, and the fastest one counts */

typedef struct {
    char lead[LINE_BYTES];
    float panel[CHANNELS * MOST_LANES], pixels[MOST_ROWS * CHANNELS], sums[MOST_ROWS * MOST_LANES];
} scratch;

/* Of one product. */
static double tile_seconds(const rn_conv2d_tile_kernel *kernel, const rn_conv2d_args *args, scratch *s)
{
    const int64_t bytes = (int64_t)rn_dtype_bytes(args->x.dtype), half = kernel->rows / 2;
    const rn_conv2d_tile_args tile = {
        .a0 = s->pixels, .a1 = (char *)s->pixels + half * CHANNELS * bytes, .a_pixel = CHANNELS,
        .tap_rows = 1, .tap_columns = 1, .steps = CHANNELS / rn_conv2d_step_channels(args), .pixels = kernel->rows, .channels = kernel->lanes,
        .panel = s->panel, .y0 = s->sums, .y1 = s->sums + half * kernel->lanes, .y_dtype = RN_DTYPE_F32, .y_pixel = kernel->lanes,
    };
    const double start = rn_clock_seconds();
    kernel->run(&tile);
    return (rn_clock_seconds() - start) / ((double)kernel->rows * kernel->lanes * CHANNELS);
}

rn_status rn__cpu_bf16_is_faster(const rn_cpu_kernels *kernels, bool *out, rn_error *err)
{
    const rn_conv2d_args args[2] = {{.x = {.dtype = RN_DTYPE_BF16}}, {.x = {.dtype = RN_DTYPE_F32}, .chained = true}};
    const rn_conv2d_tile_kernel tiles[2] = {rn_conv2d_tile_for(kernels, &args[0]), rn_conv2d_tile_for(kernels, &args[1])};
    *out = tiles[0].run != NULL;
    if (!tiles[0].run || !tiles[1].run) return RN_STATUS_OK;
    scratch *s = aligned_alloc(LINE_BYTES, sizeof *s);
    if (!s) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to time the micro-kernels");
    memset(s, 0, sizeof *s);
    double fastest[2] = {INFINITY, INFINITY};
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 2; i++) fastest[i] = fmin(fastest[i], tile_seconds(&tiles[i], &args[i], s));
    }
    *out = fastest[0] < fastest[1];
    free(s);
    return RN_STATUS_OK;
}
