/* Reads tests/shapes/resnet101.txt, whose head explains the columns. In a header, because tools read it too and link no test code. */
#ifndef RN_TESTS_SUPPORT_LAYER_SHAPES_H
#define RN_TESTS_SUPPORT_LAYER_SHAPES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct rn_layer_shape {
    char op[32], flags[8];
    int32_t h, w, c, k, r, s, stride, pad_top, pad_left, pad_bottom, pad_right, groups;
    int32_t v1_count, v2_count;
} rn_layer_shape;

static inline bool rn_layer_shape_has(const rn_layer_shape *shape, char flag)
{
    return strchr(shape->flags, flag) != NULL;
}

static inline int32_t rn_layer_shape_output(int32_t size, int32_t window, int32_t stride, int32_t before, int32_t after)
{
    return window == 0 ? size : (size + before + after - window) / stride + 1;
}

static inline int32_t rn_layer_shape_p(const rn_layer_shape *s)
{
    return rn_layer_shape_output(s->h, s->r, s->stride, s->pad_top, s->pad_bottom);
}

static inline int32_t rn_layer_shape_q(const rn_layer_shape *s)
{
    return rn_layer_shape_output(s->w, s->s, s->stride, s->pad_left, s->pad_right);
}

/* The next shape of the file; false at its end. A line that is no shape ends it too, with *bad set. */
static inline bool rn_layer_shape_read(FILE *file, rn_layer_shape *out, bool *bad)
{
    char line[256];
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#' || line[0] == '\n') continue;
        rn_layer_shape *s = out;
        const int found = sscanf(line, "%31s %d %d %d %d %d %d %d %d %d %d %d %d %7s %d %d", s->op, &s->h, &s->w, &s->c, &s->k, &s->r, &s->s,
                                 &s->stride, &s->pad_top, &s->pad_left, &s->pad_bottom, &s->pad_right, &s->groups, s->flags, &s->v1_count,
                                 &s->v2_count);
        if (found == 16) return true;
        *bad = true;
        return false;
    }
    return false;
}

#endif
