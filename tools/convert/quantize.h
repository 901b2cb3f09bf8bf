/* Quantising a plan by calibration inputs, and how well the result agrees with what it was made from. */
#ifndef RN_TOOLS_CONVERT_QUANTIZE_H
#define RN_TOOLS_CONVERT_QUANTIZE_H

#include "loader/saved_model.h"

/* Over all calibration inputs: logits of the quantised plan beside those of the fp32 plan. */
typedef struct rn_agreement {
    int64_t rows, same_top1;
    double mean_error, worst_error; /* of a row: Euclidean length of the difference over that of the fp32 logits */
} rn_agreement;

/* Quantises `plan` in place by the inputs in `folder` and measures the agreement on the same inputs. progress may be NULL. */
rn_status rn_quantize_by_folder(rn_plan *plan, const char *folder, const rn_progress *progress, rn_agreement *agreement, rn_error *err);

#endif
