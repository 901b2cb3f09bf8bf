/* The tile instructions that AMX kernels use, in plain C: for tests of a kernel's source on processors without them. Include it before that
 * source, in one file. Checks what the processor would fault on. */
#ifndef RN_TESTS_SUPPORT_AMX_STANDIN_H
#define RN_TESTS_SUPPORT_AMX_STANDIN_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/bf16.h"

enum { RN_AMX_TILES = 8, RN_AMX_ROWS = 16, RN_AMX_ROW_BYTES = 64 };

static struct {
    bool configured;
    uint16_t row_bytes[RN_AMX_TILES];
    uint8_t rows[RN_AMX_TILES];
    _Alignas(float) unsigned char tiles[RN_AMX_TILES][RN_AMX_ROWS][RN_AMX_ROW_BYTES];
} rn_amx;

static inline void rn_amx_require(bool condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "AMX stand-in: %s\n", what);
    abort();
}

/* Intel's manual, LDTILECFG: palette 1, bytes 16-31 of row lengths, 48-55 of row counts; the reserved ones are zero. */
static inline void rn_amx_loadconfig(const void *from)
{
    const unsigned char *config = from;
    rn_amx_require(config[0] == 1 && config[1] == 0, "palette 1, starting at row 0");
    for (int i = 2; i < 16; i++) rn_amx_require(config[i] == 0, "reserved bytes are zero");
    for (int i = 16 + 2 * RN_AMX_TILES; i < 48; i++) rn_amx_require(config[i] == 0, "palette 1 has 8 tiles");
    for (int i = 48 + RN_AMX_TILES; i < 64; i++) rn_amx_require(config[i] == 0, "palette 1 has 8 tiles");
    memcpy(rn_amx.row_bytes, config + 16, sizeof rn_amx.row_bytes);
    memcpy(rn_amx.rows, config + 48, sizeof rn_amx.rows);
    for (int i = 0; i < RN_AMX_TILES; i++) {
        rn_amx_require(rn_amx.rows[i] <= RN_AMX_ROWS && rn_amx.row_bytes[i] <= RN_AMX_ROW_BYTES, "a tile has up to 16 rows of 64 bytes");
    }
    memset(rn_amx.tiles, 0, sizeof rn_amx.tiles);
    rn_amx.configured = true;
}

static inline void rn_amx_use(int tile)
{
    rn_amx_require(rn_amx.configured && rn_amx.rows[tile] > 0 && rn_amx.row_bytes[tile] > 0, "a tile in use has a shape");
}

static inline void rn_amx_loadd(int tile, const void *base, ptrdiff_t stride)
{
    rn_amx_use(tile);
    memset(rn_amx.tiles[tile], 0, sizeof rn_amx.tiles[tile]);
    for (int i = 0; i < rn_amx.rows[tile]; i++) memcpy(rn_amx.tiles[tile][i], (const char *)base + i * stride, rn_amx.row_bytes[tile]);
}

static inline void rn_amx_stored(int tile, void *base, ptrdiff_t stride)
{
    rn_amx_use(tile);
    for (int i = 0; i < rn_amx.rows[tile]; i++) memcpy((char *)base + i * stride, rn_amx.tiles[tile][i], rn_amx.row_bytes[tile]);
}

static inline float rn_amx_bf16(int tile, int row, int index)
{
    rn_bf16 value;
    memcpy(&value, rn_amx.tiles[tile][row] + 2 * index, sizeof value);
    return rn_bf16_to_f32(value);
}

/* TDPBF16PS: sum[m][n] += a[m][2k] * b[k][2n] + a[m][2k + 1] * b[k][2n + 1] */
static inline void rn_amx_dpbf16ps(int sum, int a, int b)
{
    rn_amx_use(sum), rn_amx_use(a), rn_amx_use(b);
    rn_amx_require(rn_amx.rows[sum] == rn_amx.rows[a] && rn_amx.row_bytes[sum] == rn_amx.row_bytes[b] &&
                       rn_amx.row_bytes[a] == 4 * rn_amx.rows[b],
                   "the shapes of a product fit");
    for (int m = 0; m < rn_amx.rows[sum]; m++) {
        float *row = (float *)rn_amx.tiles[sum][m];
        for (int k = 0; k < rn_amx.rows[b]; k++) {
            for (int n = 0; n < rn_amx.row_bytes[sum] / 4; n++) {
                row[n] += rn_amx_bf16(a, m, 2 * k) * rn_amx_bf16(b, k, 2 * n);
                row[n] += rn_amx_bf16(a, m, 2 * k + 1) * rn_amx_bf16(b, k, 2 * n + 1);
            }
        }
    }
}

/* TDPBUSD: sum[m][n] += a[m][4k + i] * b[k][4n + i] for i of 0 .. 3, a unsigned, b signed; the sum wraps. */
static inline void rn_amx_dpbusd(int sum, int a, int b)
{
    rn_amx_use(sum), rn_amx_use(a), rn_amx_use(b);
    rn_amx_require(rn_amx.rows[sum] == rn_amx.rows[a] && rn_amx.row_bytes[sum] == rn_amx.row_bytes[b] &&
                       rn_amx.row_bytes[a] == 4 * rn_amx.rows[b],
                   "the shapes of a product fit");
    for (int m = 0; m < rn_amx.rows[sum]; m++) {
        int32_t *row = (int32_t *)rn_amx.tiles[sum][m];
        for (int k = 0; k < rn_amx.rows[b]; k++) {
            const uint8_t *x = rn_amx.tiles[a][m] + 4 * k;
            const int8_t *w = (const int8_t *)rn_amx.tiles[b][k];
            for (int n = 0; n < rn_amx.row_bytes[sum] / 4; n++, w += 4) row[n] += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
        }
    }
}

#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig rn_amx_loadconfig
#define _tile_release() ((void)(rn_amx.configured = false))
#define _tile_loadd(tile, base, stride) rn_amx_loadd(tile, base, stride)
#define _tile_stored(tile, base, stride) rn_amx_stored(tile, base, stride)
#define _tile_dpbf16ps(sum, a, b) rn_amx_dpbf16ps(sum, a, b)
#undef _tile_dpbusd
#define _tile_dpbusd(sum, a, b) rn_amx_dpbusd(sum, a, b)

#endif
