/* A picture with a heat map over it, for people to look at. */
#ifndef RN_ENGINE_IMAGE_OVERLAY_H
#define RN_ENGINE_IMAGE_OVERLAY_H

#include "engine/image/image.h"

/* The longest side of the result, in pixels: smaller pictures are enlarged to the first, larger ones reduced to the second. */
enum { RN_OVERLAY_LEAST_SIDE = 448, RN_OVERLAY_MOST_SIDE = 1024 };

/* A map and where it lies: position [0][0] is centred at first_h of the height and first_w of the width, each next one a step further on.
 */
typedef struct rn_overlay_map {
    const float *values; /* [h][w] of any range; what is not finite counts as the smallest */
    int32_t h, w;
    float first_h, first_w, step_h, step_w; /* shares of what `op` gives to the network; steps above 0 */
} rn_overlay_map;

/* An explanation of the signature, with its place. values: borrowed. */
rn_overlay_map rn_overlay_map_of(const rn_plan *plan, const rn_signature *signature, const float *values);

/* What `op` gives to the network: the centre of the picture, so much of its height and width, or of its shorter side for both. */
typedef struct rn_overlay_window {
    bool of_shorter;
    float height, width;
} rn_overlay_window;

rn_overlay_window rn_overlay_window_of(const rn_image_op *op);

/* Decodes the picture, lays the map over the part of it that `op` gives to the network, and encodes the result as an RGB PNG: where the map
 * is largest the picture glows, where it is smallest it is dark. *png: on the heap, the caller frees it. Fails as rn_picture_decode does,
 * and OUT_OF_MEMORY. Any thread. */
rn_status rn_overlay_png(const rn_image_op *op, const rn_picture_source *source, const rn_overlay_map *map, void **png, size_t *png_bytes,
                         rn_error *err);

#endif
