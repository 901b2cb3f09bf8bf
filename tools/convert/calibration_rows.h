/* Calibration inputs: the files of a folder, as rows of the tensor that a plan is fed with. */
#ifndef RN_TOOLS_CONVERT_CALIBRATION_ROWS_H
#define RN_TOOLS_CONVERT_CALIBRATION_ROWS_H

#include "engine/plan.h"

/* Called for every row; row is [h][w][c] of the signature's feed tensor, until it returns. What is not OK ends the walk. */
typedef rn_status rn_row_visitor(void *context, const void *row, int32_t file, int32_t file_count, rn_error *err);

/* Which signature the files are for: those ending in .npy for the first that takes floats, others for the first that takes pictures. A folder holds one
 * kind, hidden files aside. *out is the plan's. */
rn_status rn_calibration_signature(const char *folder, const rn_plan *plan, const rn_signature **out, rn_error *err);

/* Visits the rows of all files, in the order of their names. Pictures are decoded, cropped and resized as the server does it; a .npy file holds float32
 * in C order, one row or any number of them along a first dimension. A file that is neither fails the walk, by name. */
rn_status rn_calibration_rows_visit(const char *folder, const rn_plan *plan, const rn_signature *signature, rn_row_visitor *visit, void *context,
                                    rn_error *err);

#endif
