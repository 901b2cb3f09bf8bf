/* How the threads share one convolution: a grid of tiles x panels of output channels. */
#ifndef RN_ENGINE_CPU_GRID_H
#define RN_ENGINE_CPU_GRID_H

#include <stdint.h>

typedef struct rn__grid {
    int32_t tile_count, panel_count;
    int32_t tile_parts, panel_parts; /* the grid's sides; their product is the number of cells */
} rn__grid;

typedef struct rn__grid_cell {
    int32_t tile_begin, tile_end, panel_begin, panel_end;
} rn__grid_cell;

/* A grid of at least `threads` cells, where there is so much to do. filter_bytes: of all panels together; many_tiles: how many pay for reading them. */
rn__grid rn__grid_make(int32_t threads, int32_t tile_count, int32_t panel_count, int64_t filter_bytes, int32_t many_tiles);
rn__grid_cell rn__grid_cell_at(const rn__grid *grid, int32_t index);

#endif
