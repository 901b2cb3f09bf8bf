/* The answers that a warm-up record brings along. */
#ifndef RN_HTTP_WARMUP_CHECK_H
#define RN_HTTP_WARMUP_CHECK_H

#include "engine/model.h"
#include "http/proto/tfs.pb-c.h"

/* Holds a finished request against a recorded response: numbers within what the device's precision allows, classes and labels equal where
 * it is fp32. Outputs that the response lacks, or that the signature lacks, are not compared. FAILED_PRECONDITION names output, row and
 * difference. */
rn_status rn__warmup_check(const rn_request *request, const Tfs__PredictResponse *response, rn_error *err);

#endif
