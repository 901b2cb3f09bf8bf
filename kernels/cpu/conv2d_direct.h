/* Direct convolution: walks the tiles of a convolution and hands them to a micro-kernel.
 *
 * A convolution is a matrix product whose rows are output pixels. What one row reads is the same for all of them but for where it starts, so
 * nothing is copied: a 3x3 filter is nine taps, a stride is a longer way from pixel to pixel. A dense layer is a 1x1 convolution of a picture
 * one pixel high and as wide as the batch.
 *
 * Filters are packed once into panels of `lanes` output channels, which the micro-kernel reads in storage order:
 *
 *     panel 0: channels 0 .. lanes-1              panel 1: ...
 *     [r][s][steps][lanes][channels of a step], zeros beyond k
 *
 * A step is four bytes of weights (RN_STEP_BYTES): those of one f32, two bf16 or four u8 channels (whose weights are int8), or of two f32 channels as
 * chained bf16, of which each panel is one chain that a line of zeros precedes. With groups a panel may hold channels of several: `steps` covers the
 * input channels of all of them, and the weights between a group's output and another group's input are zeros.
 */
#ifndef RN_KERNELS_CPU_CONV2D_DIRECT_H
#define RN_KERNELS_CPU_CONV2D_DIRECT_H

#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

/* Whether the input channels fill whole steps. */
bool rn_conv2d_direct_fits(const rn_conv2d_args *args);

/* The filter of a convolution, in panels. Depends only on r, s, c, k, groups, the type of x, `chained` and the kernel's lanes. */
typedef struct rn_conv2d_panels {
    int32_t step_channels;
    int32_t lanes, count;   /* count = ceil(k / lanes) */
    int32_t steps;          /* of a tap of one panel */
    int64_t lead, bytes;    /* what precedes a panel's weights; of one panel, all in all */
} rn_conv2d_panels;

/* The micro-kernel for a convolution's maps and weights; no run where the table has none. */
rn_conv2d_tile_kernel rn_conv2d_tile_for(const rn_cpu_kernels *kernels, const rn_conv2d_args *args);

rn_conv2d_panels rn_conv2d_panels_layout(const rn_conv2d_args *args, int32_t lanes);
/* to: panels.count * panels.bytes, 64-byte aligned; reads args->filter. */
void rn_conv2d_panels_pack(const rn_conv2d_args *args, const rn_conv2d_panels *panels, void *to);
/* Panels `begin` to `end` of that: for threads to share. */
void rn_conv2d_panels_pack_range(const rn_conv2d_args *args, const rn_conv2d_panels *panels, int32_t begin, int32_t end, void *to);

/* One convolution cut into tiles. The input map must have zeros (bytes x_zero) around every image as far as the padding reaches; row_begin and row_end of
 * the arguments are not used. */
typedef struct rn_conv2d_direct {
    rn_conv2d_args args;    /* n, h, w, p, q of the picture as it is walked: possibly the whole batch as one row */
    rn_conv2d_tile_kernel kernel;
    rn_conv2d_panels panels;
    const char *packed;
    int32_t tile_count;
    int32_t row_tiles;      /* tiles of one output row; 0 when one tile is two rows */
    bool merged;            /* a filter row is one run of memory, and one tap */
} rn_conv2d_direct;

void rn_conv2d_direct_init(rn_conv2d_direct *direct, const rn_conv2d_args *args, rn_conv2d_tile_kernel kernel,
                           const rn_conv2d_panels *panels, const void *packed);
/* Tiles [tile_begin, tile_end) of output channel panels [panel_begin, panel_end). */
void rn_conv2d_direct_run(const rn_conv2d_direct *direct, int32_t tile_begin, int32_t tile_end, int32_t panel_begin, int32_t panel_end);

#endif
