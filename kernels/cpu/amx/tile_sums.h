/* The sums of a convolution tile on AMX: up to 28 output pixels x 32 output channels. The including file defines
 *
 *     RN_TILE_PRODUCT(sum, pixels, weights)    the instruction: TDPBF16PS or TDPBUSD
 *
 * Four tiles hold sums, two hold pixels, two hold weights:
 *
 *                      weights 0 .. 15   16 .. 31
 *     pixels  0 .. 13        sum 0         sum 1
 *     pixels 14 .. 27        sum 2         sum 3
 *
 * so that every loaded tile is used twice. A tile of pixels is read where the pixels are, a row of up to 64 bytes from each; a panel is
 * laid out as the instructions want their second factor, the channels of a step side by side. Rows are 14, not the 16 that a tile has,
 * because 14 divides 56, 28 and two rows of 14.
 */
#include <immintrin.h>
#include <stddef.h>
#include <string.h>

#include "kernels/cpu/cpu_kernels.h"

enum { ROWS = 28, HALF = ROWS / 2, LANES = 32, VECTOR = 16, MAX_CHUNK = 16, PANEL_STEP_BYTES = LANES * RN_STEP_BYTES };

/* The intrinsics paste these into instructions. */
#define SUM_00 0
#define SUM_01 1
#define SUM_10 2
#define SUM_11 3
#define PIXELS_0 4
#define PIXELS_1 5
#define WEIGHTS_0 6
#define WEIGHTS_1 7

#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

/* The operand of LDTILECFG. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "the processor reads 64 bytes");

static void set_shape(tile_config *config, int tile, int rows, int row_bytes)
{
    config->rows[tile] = (uint8_t)rows;
    config->row_bytes[tile] = (uint16_t)row_bytes;
}

/* Shapes for `pixels` pixels and `chunk` steps at a time. A tile without rows may not be used. Zeroes all tiles. */
static void configure(int pixels, int chunk)
{
    const int first = pixels < HALF ? pixels : HALF, second = pixels - first;
    tile_config config = {.palette = 1};
    for (int tile = SUM_00; tile <= SUM_11; tile++) set_shape(&config, tile, tile < SUM_10 ? first : second, VECTOR * (int)sizeof(float));
    set_shape(&config, PIXELS_0, first, chunk * RN_STEP_BYTES);
    set_shape(&config, PIXELS_1, second, chunk * RN_STEP_BYTES);
    set_shape(&config, WEIGHTS_0, chunk, VECTOR * RN_STEP_BYTES);
    set_shape(&config, WEIGHTS_1, chunk, VECTOR * RN_STEP_BYTES);
    __asm__ volatile("" ::: "memory"); /* the compiler's header declares only eight bytes of the configuration as read */
    _tile_loadconfig(&config);
}

/* The shapes are fixed while sums are held, so that the steps of a tap are cut into equal parts. */
static int chunk_of(int steps)
{
    int chunk = steps < MAX_CHUNK ? steps : MAX_CHUNK;
    while (steps % chunk != 0) chunk--;
    return chunk;
}

/* One tap; l: bytes between pixels. Returns the next tap's weights. */
INLINE const char *multiply(const bool two, const char *a0, const char *a1, ptrdiff_t l, const char *panel, int steps, int chunk)
{
    for (int step = 0; step < steps; step += chunk, panel += chunk * PANEL_STEP_BYTES) {
        _tile_loadd(WEIGHTS_0, panel, PANEL_STEP_BYTES);
        _tile_loadd(WEIGHTS_1, panel + VECTOR * RN_STEP_BYTES, PANEL_STEP_BYTES);
        _tile_loadd(PIXELS_0, a0 + step * RN_STEP_BYTES, l);
        RN_TILE_PRODUCT(SUM_00, PIXELS_0, WEIGHTS_0);
        RN_TILE_PRODUCT(SUM_01, PIXELS_0, WEIGHTS_1);
        if (!two) continue;
        _tile_loadd(PIXELS_1, a1 + step * RN_STEP_BYTES, l);
        RN_TILE_PRODUCT(SUM_10, PIXELS_1, WEIGHTS_0);
        RN_TILE_PRODUCT(SUM_11, PIXELS_1, WEIGHTS_1);
    }
    return panel;
}

/* All taps; size: bytes of a pixel's element. `ahead` is prefetched evenly over them. */
INLINE void multiply_taps(const bool two, const rn_conv2d_tile_args *t, ptrdiff_t size, int chunk)
{
    enum { LINE_BYTES = 64 };
    const char *panel = t->panel, *ahead = t->ahead;
    for (int32_t r = 0; r < t->tap_rows; r++) {
        for (int32_t s = 0; s < t->tap_columns; s++) {
            const ptrdiff_t tap = (r * t->a_tap_row + s * t->a_tap_column) * size;
            for (int32_t i = 0; i < t->steps * t->ahead_bytes; i += LINE_BYTES, ahead += LINE_BYTES) _mm_prefetch(ahead, _MM_HINT_T1);
            panel = multiply(two, (const char *)t->a0 + tap, (const char *)t->a1 + tap, t->a_pixel * size, panel, t->steps, chunk);
        }
    }
}

/* sums: [ROWS][LANES] of four bytes, of which the tile's pixels are written, without bias; size: bytes of an input element. */
static void sum_tile(const rn_conv2d_tile_args *t, ptrdiff_t size, void *sums)
{
    const int chunk = t->steps > 0 ? chunk_of(t->steps) : 1;
    const bool two = t->pixels > HALF;
    char *to = sums;
    configure(t->pixels, chunk);
    if (two)
        multiply_taps(true, t, size, chunk);
    else
        multiply_taps(false, t, size, chunk);
    _tile_stored(SUM_00, to, PANEL_STEP_BYTES);
    _tile_stored(SUM_01, to + VECTOR * RN_STEP_BYTES, PANEL_STEP_BYTES);
    if (two) {
        _tile_stored(SUM_10, to + HALF * PANEL_STEP_BYTES, PANEL_STEP_BYTES);
        _tile_stored(SUM_11, to + HALF * PANEL_STEP_BYTES + VECTOR * RN_STEP_BYTES, PANEL_STEP_BYTES);
    }
    _tile_release(); /* idle tiles make the system save 8 KiB more at every change of threads */
}
