/* What a tensor of the graph can be while it is imported. */
#ifndef RN_LOADER_GRAPH_VALUE_H
#define RN_LOADER_GRAPH_VALUE_H

#include "engine/plan.h"
#include "loader/constant.h"
#include "loader/proto/graph.pb-c.h"

typedef enum {
    RN__DEAD, /* the side of a switch that is not taken, and all that follows from it */
    RN__CONSTANT,
    RN__VARIABLE,   /* a handle: index of its node in the graph */
    RN__ACTIVATION, /* computed from the caller's input */
    RN__CHANNEL,    /* one channel of an activation, [-1,h,w] */
    RN__PART,       /* some channels of an activation that was split: graph_group.c */
    RN__PART_CONV,  /* a convolution of such a part, to be joined with those of the others */
    RN__SORTED,     /* the k largest of an activation: values or indexes, not yet an operation */
    RN__LABELS,     /* labels of the classes that such indexes name */
    /* ---- the picture front end: graph_loop.c, graph_picture.c ---- */
    RN__ENCODED_BATCH, /* the caller's vector of encoded pictures */
    RN__ENCODED_LIST,  /* the same as a tensor list */
    RN__EMPTY_LIST,    /* a tensor list of as many elements, to be filled */
    RN__FILLED_LIST,   /* that list with a picture at the loop's index */
    RN__PICTURE_LIST,  /* what the loop made: one picture of fixed size for each */
    RN__COUNTER,       /* a loop variable that starts at 0 */
    RN__COUNTER_NEXT,  /* that plus 1 */
    RN__COUNTER_BELOW, /* that < number of pictures */
    RN__ENCODED,       /* one encoded picture */
    RN__PICTURE        /* one decoded picture */
} rn__value_kind;

/* A view of a plan tensor: dims[0] is the batch and reads -1. rank 4: [-1,h,w,c] as the tensor has them, or [-1,c,h,w] with channels_first,
 * which is only how the graph sees it; rank 2: [-1,c] with h = w = 1. pads: a border that a Pad put round it and that the next window
 * operation has to take up; dims include them. */
typedef struct rn__activation {
    int32_t tensor;
    int32_t rank;
    int64_t dims[4];
    int32_t pad_top, pad_left, pad_bottom, pad_right;
    bool pad_low;        /* the border is minus infinity, which only a maximum can take up; else zeros */
    bool channels_first; /* rank 4 only */
    bool pooled;         /* the tensor is a global average or maximum, possibly reshaped */
} rn__activation;

/* Where a rank-4 activation has its height, which its width follows, and its channels (of any rank). */
static inline int32_t rn__height_axis(const rn__activation *x)
{
    return x->channels_first ? 2 : 1;
}
static inline int32_t rn__channel_axis(const rn__activation *x)
{
    return x->channels_first ? 1 : x->rank - 1;
}
static inline bool rn__is_padded(const rn__activation *x)
{
    return x->pad_top || x->pad_left || x->pad_bottom || x->pad_right;
}

typedef struct rn__channel {
    int32_t tensor, index;
    bool first; /* it was cut from [-1,c,h,w] */
} rn__channel;

/* Part `index` of `count` equal ones of an activation's channels. */
typedef struct rn__part {
    rn__activation whole;
    int32_t index, count;
    const Sm__NodeDef *convolution;        /* PART_CONV: what is done to it, */
    const rn__constant *filter;            /* and with what */
} rn__part;

enum { RN__PICTURE_CHANNELS = 4 };

typedef struct rn__sorted {
    int32_t tensor;             /* [1,1,c], what is sorted */
    int32_t classes, k;         /* k <= classes */
    bool indexes;               /* else values */
    bool is_int64;              /* the graph's type of the indexes, int32 otherwise */
    int32_t rank;               /* 2: [-1,k]; 1: [-1], k being 1 */
    const rn__constant *labels; /* LABELS only: string [classes] */
} rn__sorted;

/* One picture at one probed size: which part of it is left, and what it has become. Arithmetic on its values is per channel and commutes with
 * a resize, so it is kept apart: value = scale * what the picture front end gives + shift. */
typedef struct rn__picture {
    int32_t decode_channels;           /* argument of the decoder */
    int64_t source_h, source_w;        /* as decoded */
    int64_t top, left, crop_h, crop_w; /* part that is kept, in source pixels */
    int64_t h, w, c;                   /* now */
    bool resized, is_float, leading_one; /* leading_one: shape [1,h,w,c] */
    bool truncated;                    /* cast to uint8 after the resize; is_float may be true again */
    rn_resize_method method;           /* of the resize */
    rn_resize_grid grid;
    int64_t full_h, full_w, cut_top, cut_left; /* what it was resized to, and where the part of h x w begins that was cut out of that */
    bool reverse;                      /* channels */
    bool clip_low, clip_high;          /* at 0, at 255 */
    double scale[RN__PICTURE_CHANNELS], shift[RN__PICTURE_CHANNELS];
} rn__picture;

/* What a loop made of its pictures: one operation, and what is to be done to its result. */
typedef struct rn__pictures {
    rn_image_op image;
    bool is_float;  /* else uint8 */
    bool unchanged; /* scale 1 and shift 0 */
    double scale[RN__PICTURE_CHANNELS], shift[RN__PICTURE_CHANNELS];
} rn__pictures;

typedef struct rn__value {
    rn__value_kind kind;
    union {
        rn__constant constant;
        int32_t variable;
        rn__activation activation;
        rn__channel channel;
        rn__part part;       /* PART, PART_CONV */
        rn__sorted sorted;   /* SORTED, LABELS */
        rn__picture picture; /* PICTURE, FILLED_LIST */
        rn__pictures pictures; /* PICTURE_LIST */
    } u;
} rn__value;

/* "a constant", "an activation": for messages. */
const char *rn__value_text(const rn__value *value);

#endif
