/* Winograd convolution: 3x3 filters of stride 1 with 2.25 (m = 2), 4 (m = 4) or 4.6 (m = 5) times fewer multiplications, less where m does not
 * divide the picture. winograd_kernels.h has the mathematics.
 *
 * A block of tiles goes through three steps, each of which leaves its result in a cache for the next:
 *
 *     inputs       -> V [n * n][tile][c]       rn_winograd_input; V has the type of the inputs, bf16 where these are bytes
 *     V x filter   -> P [n * n][tile][k]       n * n matrix products by the convolution's micro-kernel, for a group of panels of channels; f32
 *     P            -> outputs                  rn_winograd_output, with bias, residual, ReLU and second output
 *
 * A NaN or an infinity in the input reaches all outputs of its tiles, as NaN, not only those whose windows hold it.
 *
 * The filter is transformed in double precision and packed once, in the order in which it is read:
 *
 *     panel 0: [n * n][steps][lanes][channels of a step]    panel 1: ...
 *
 * Of chained bf16, every point of a panel is one chain that a line of zeros precedes.
 */
#ifndef RN_KERNELS_CPU_CONV2D_WINOGRAD_H
#define RN_KERNELS_CPU_CONV2D_WINOGRAD_H

#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

enum { RN_WINOGRAD_CHANNELS = 16 }; /* input and output channels come in multiples of this: the widest vector */

/* Whether the convolution has the form that this method needs. All its maps have one type. Of bytes, the input's zero is byte 0, and there is neither a
 * residual nor a second output. */
bool rn_conv2d_winograd_fits(const rn_conv2d_args *args);

/* The type of the points of the inputs: what is multiplied. */
rn_dtype rn_conv2d_winograd_point_dtype(const rn_conv2d_args *args);

/* Whether the points of the inputs and of the filter, or of a chained filter alone, may be rounded to bf16. Chained weights are f32 after all where they
 * may not. */
bool rn_conv2d_winograd_bears_bf16(const rn_conv2d_args *args, int32_t m);

/* A convolution with output tiles of m x m: 2 x 2, 4 x 4 or 5 x 5. Input maps need no zeros around them. */
typedef struct rn_conv2d_winograd {
    rn_conv2d_args args;
    rn_conv2d_tile_kernel tile;
    const rn_winograd_input_kernel *input;
    const rn_winograd_output_kernel *output;
    const rn_winograd_filter_kernel *filter;
    const char *packed;
    int32_t m, points;              /* points = (m + 2) * (m + 2) */
    int32_t tiles_h, tiles_w, tile_count; /* of one picture each way; of the batch */
    rn_dtype point_dtype;
    int32_t steps, panel_count;     /* steps: of the tile kernel, at one point */
    int64_t lead, slice_bytes, panel_bytes; /* of the filter: what precedes the weights of one point of a panel, that point in all, all points */
    int32_t block, group;           /* tiles and panels that go through the steps together */
    int64_t v_row, v_plane, p_plane; /* elements between tiles and points */
} rn_conv2d_winograd;

/* packed: NULL until the filter is packed. */
void rn_conv2d_winograd_init(rn_conv2d_winograd *winograd, const rn_conv2d_args *args, int32_t m, const rn_cpu_kernels *kernels,
                             const void *packed);
/* to: panel_count * panel_bytes, 64-byte aligned; reads args.filter, args.filter8 where x is u8. */
void rn_conv2d_winograd_pack(const rn_conv2d_winograd *winograd, void *to);
/* Panels `begin` to `end` of that: for threads to share. */
void rn_conv2d_winograd_pack_panels(const rn_conv2d_winograd *winograd, int32_t begin, int32_t end, void *to);
/* Memory that one call of run needs, for as many pictures as args has or fewer; 64-byte aligned. */
size_t rn_conv2d_winograd_scratch_bytes(const rn_conv2d_winograd *winograd);
/* Tiles [tile_begin, tile_end) of output channel panels [panel_begin, panel_end). */
void rn_conv2d_winograd_run(const rn_conv2d_winograd *winograd, int32_t tile_begin, int32_t tile_end, int32_t panel_begin, int32_t panel_end,
                            void *scratch);

#endif
