/* Handlers of TensorFlow's operations: the contract between the importer and those who know what an operation means. */
#ifndef RN_LOADER_GRAPH_OPS_H
#define RN_LOADER_GRAPH_OPS_H

#include "loader/graph_attr.h"
#include "loader/graph_import.h"

enum { RN__ANY = -1, RN__AS_INPUTS = -2, RN__BY_ATTR = -3 };

typedef enum {
    RN__ADD,
    RN__SUB,
    RN__MUL,
    RN__DIV,
    RN__FLOOR_DIV,
    RN__FLOOR_MOD,
    RN__MAXIMUM,
    RN__MINIMUM,
    RN__LESS,
    RN__LESS_EQUAL,
    RN__GREATER,
    RN__GREATER_EQUAL,
    RN__EQUAL,
    RN__NOT_EQUAL,
    RN__AND,
    RN__OR,
    RN__NEG,
    RN__ROUND,
    RN__FLOOR,
    RN__CEIL,
    RN__SQRT,
    RN__RSQRT,
    RN__SQUARE,
    RN__RECIPROCAL,
    RN__NOT
} rn__arithmetic;

/* One node being run. in: in_count values, none DEAD but a Merge's, as many as graph_ops.def asks for (`more` of them for some operations,
 * as noted there). out: out_count values to write; DEAD until then. */
typedef struct rn__op_call {
    rn__import *import;
    const Sm__NodeDef *node;
    rn__ref ref;
    int variant;
    const rn__value **in;
    int32_t in_count;
    rn__value *out;
    int32_t out_count;
    rn_error *err;
} rn__op_call;

typedef rn_status rn__op_handler(const rn__op_call *call);

typedef struct rn__op_info {
    const char *name;
    int32_t inputs, outputs;
    const char *output_arguments;
    rn__op_handler *on_constants, *on_others;
    int variant;
} rn__op_info;

/* NULL for an operation that is not in the list. */
const rn__op_info *rn__op_find(const char *name);
/* Index of a named output argument's first output. */
int32_t rn__op_output_argument(const char *op, const char *argument, size_t argument_bytes);

/* Fails with what is wrong; the importer puts node and operation in front. */
#define RN__REFUSE(call, ...) RN_FAIL((call)->err, RN_STATUS_UNSUPPORTED, __VA_ARGS__)

/* graph_flow.c */
rn__op_handler rn__fold_const, rn__op_variable, rn__op_read_variable, rn__op_resource_gather, rn__op_pass, rn__op_switch, rn__op_merge;
/* fold_math.c */
rn__op_handler rn__fold_binary, rn__fold_unary, rn__fold_cast, rn__fold_reduce;
/* fold_shape.c, fold_slice.c */
rn__op_handler rn__fold_shape, rn__fold_reshape, rn__fold_squeeze, rn__fold_expand_dims, rn__fold_pack, rn__fold_unpack, rn__fold_concat,
    rn__fold_transpose, rn__fold_strided_slice, rn__fold_slice, rn__fold_gather, rn__fold_fill, rn__fold_range, rn__fold_rank;
/* graph_scale.c */
rn__op_handler rn__op_add, rn__op_scale, rn__op_negate, rn__op_cast, rn__op_bias_add, rn__op_batch_norm, rn__op_relu;
/* graph_layers.c */
rn__op_handler rn__op_conv2d, rn__op_max_pool, rn__op_average_pool, rn__op_reduce, rn__op_mat_mul, rn__op_pad;
/* graph_group.c. part_conv2d: what conv2d does when its input is a part. */
rn__op_handler rn__fold_split, rn__op_split, rn__op_concat, rn__part_conv2d;
/* graph_view.c */
rn__op_handler rn__op_shape, rn__op_reshape, rn__op_squeeze, rn__op_expand_dims, rn__op_transpose, rn__op_strided_slice, rn__op_slice,
    rn__op_pack, rn__op_rank;
/* graph_head.c */
rn__op_handler rn__op_softmax, rn__op_top_k, rn__op_arg_max, rn__op_gather;
/* graph_loop.c */
rn__op_handler rn__op_list_reserve, rn__op_list_from_tensor, rn__op_while, rn__op_list_get, rn__op_list_set, rn__op_list_stack,
    rn__op_counter_less, rn__op_counter_and;
/* graph_picture.c */
rn__op_handler rn__op_decode, rn__op_resize, rn__picture_reverse;

#endif
