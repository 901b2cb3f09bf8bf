/* What the folding handlers share. */
#ifndef RN_LOADER_FOLD_H
#define RN_LOADER_FOLD_H

#include "loader/graph_ops.h"

/* Counts elements that are about to be computed against the limit of the whole load. */
rn_status rn__fold_spend(const rn__op_call *call, int64_t elements);

/* Makes output `output` a constant of that class and shape; its elements are to be written to *data. */
rn_status rn__fold_result(const rn__op_call *call, int32_t output, rn__element_class element_class, int32_t rank, const int64_t *dims,
                          void **data);

/* Makes output `output` a constant whose element i is element source(context, i) of `from`, of any class, unknown batch sizes included. */
rn_status rn__fold_pick(const rn__op_call *call, int32_t output, const rn__constant *from, int32_t rank, const int64_t *dims,
                        int64_t (*source)(const void *context, int64_t i), const void *context);

/* The integers of input `input`: a known scalar or vector of at most `room`, none of them the batch size. *count is 0 when it fails. */
rn_status rn__fold_ints(const rn__op_call *call, int32_t input, int64_t *out, int32_t room, int32_t *count);

/* `axis`, counted from the end when negative, as 0 <= *out < rank. */
rn_status rn__fold_axis(const rn__op_call *call, int64_t axis, int32_t rank, int32_t *out);

/* What StridedSlice takes of a tensor: start, step and number of elements in each of its dimensions, and which dimensions the result has.
 */
typedef struct rn__slice_spec {
    int64_t start[RN__CONSTANT_MAX_RANK], step[RN__CONSTANT_MAX_RANK], count[RN__CONSTANT_MAX_RANK];
    int32_t out_rank;
    int32_t from[RN__CONSTANT_MAX_RANK]; /* dimension of the tensor behind each of the result's, or RN_NONE for a new one of size 1 */
} rn__slice_spec;

/* Reads begin, end, strides (inputs 1 to 3) and masks of a StridedSlice of a tensor of these dimensions. A dimension of -1 (the batch) may
 * only be taken whole. */
rn_status rn__slice_read(const rn__op_call *call, int32_t rank, const int64_t *dims, rn__slice_spec *out);

#endif
