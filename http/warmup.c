/* A record is run as a request that came over gRPC would be. Limits and texts are those of servables/tensorflow/saved_model_warmup_util.cc.
 */
#include "http/warmup.h"

#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "http/grpc_message.h"
#include "http/grpc_tfs.h"
#include "http/warmup_check.h"
#include "loader/tf_record.h"

enum { MAX_RECORDS = 1000, PATH_BYTES = 4096 };

static void on_done(rn_request *request)
{
    sem_post(request->context);
}

static rn_status run_request(const Tfs__PredictLog *log, rn_model *model, size_t max_bytes, rn_error *err)
{
    const Tfs__PredictRequest *message = log->request;
    const rn_signature *signature;
    const Sm__Tensor *tensor;
    rn_request *request;
    sem_t done;
    RN_TRY(rn__grpc_predict_input(message, model, &signature, &tensor, err));
    RN_TRY(rn__grpc_read_input(tensor, model, signature, max_bytes, &request, err));
    sem_init(&done, 0, 0);
    request->context = &done;
    request->done = on_done;
    rn_request_submit(request);
    while (sem_wait(&done) != 0) continue;
    sem_destroy(&done);
    rn_status status = request->status;
    if (status != RN_STATUS_OK && err) *err = request->error;
    if (status == RN_STATUS_OK && log->response) status = rn__warmup_check(request, log->response, err);
    rn_request_destroy(request);
    return status;
}

static rn_status run_record(const uint8_t *bytes, size_t count, rn_model *model, const rn_warmup_options *options, rn_error *err)
{
    ProtobufCMessage *message;
    if (rn__grpc_decode(&tfs__prediction_log__descriptor, (const char *)bytes, count, &message, err) != RN_STATUS_OK)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Failed to parse warmup record");
    const Tfs__PredictionLog *log = (const Tfs__PredictionLog *)message;
    rn_status status = RN_STATUS_OK;
    if (log->log_type_case != TFS__PREDICTION_LOG__LOG_TYPE_PREDICT_LOG || !log->predict_log->request ||
        !log->predict_log->request->model_spec)
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "expected a predict_log with a request");
    for (int32_t i = 0; status == RN_STATUS_OK && (i == 0 || i < options->iterations); i++)
        status = run_request(log->predict_log, model, options->max_record_bytes, err);
    rn__grpc_free_message(message);
    return status;
}

static rn_status run_records(rn_tf_records *records, rn_model *model, const rn_warmup_options *options, int32_t *count, rn_error *err)
{
    for (*count = 0;; ++*count) {
        const uint8_t *bytes;
        size_t byte_count;
        const rn_status read = rn_tf_records_next(records, &bytes, &byte_count, err);
        if (read == RN_STATUS_DATA_LOSS)
            return RN_FAIL(err, read, "%s. Please verify your warmup data is in TFRecord format.", err ? err->message : "");
        if (read != RN_STATUS_OK || !bytes) return read;
        if (*count == MAX_RECORDS)
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Number of warmup records exceeds the maximum (%d)", MAX_RECORDS);
        const rn_status status = run_record(bytes, byte_count, model, options, err);
        if (status == RN_STATUS_OK) continue;
        rn_error_prefix(err, "warm-up record %d", *count + 1);
        return status;
    }
}

rn_status rn_warmup_run(rn_model *model, const char *path, const rn_warmup_options *options, int32_t *count, rn_error *err)
{
    char file[PATH_BYTES];
    rn_tf_records *records;
    *count = 0;
    if (snprintf(file, sizeof file, "%s/assets.extra/tf_serving_warmup_requests", path) >= (int)sizeof file || access(file, F_OK) != 0)
        return RN_STATUS_OK;
    RN_TRY(rn_tf_records_open(file, options->max_record_bytes, &records, err));
    const rn_status status = run_records(records, model, options, count, err);
    rn_tf_records_close(records);
    return status;
}
