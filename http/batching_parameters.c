/* Checks that TensorFlow makes as well have its words (shared_batch_scheduler.h, batching_session.cc). */
#include "http/batching_parameters.h"

#include <inttypes.h>

#include "http/proto/config.pb-c.h"
#include "http/text_proto.h"

enum { MAX_BATCH = 4096, MAX_WAITING_ROWS = 1000000 };

/* The value of a field that may be missing. */
static rn_status read_number(const Config__Int64Value *field, const char *name, int64_t least, int64_t most, int64_t *out, rn_error *err)
{
    if (!field) return RN_STATUS_OK;
    if (field->value < least || field->value > most)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: expected %" PRId64 " to %" PRId64 ", found %" PRId64, name, least, most,
                       field->value);
    *out = field->value;
    return RN_STATUS_OK;
}

static rn_status check_sizes(const Config__BatchingParameters *p, int64_t largest, rn_error *err)
{
    for (size_t i = 0; i < p->n_allowed_batch_sizes; i++)
        if (p->allowed_batch_sizes[i] <= (i ? p->allowed_batch_sizes[i - 1] : 0))
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "allowed_batch_sizes entries must be monotonically increasing");
    if (p->n_allowed_batch_sizes == 0) return RN_STATUS_OK;
    const int64_t last = p->allowed_batch_sizes[p->n_allowed_batch_sizes - 1];
    if (last == largest) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT,
                   "Last entry in allowed_batch_sizes must match max_batch_size; last entry was %" PRId64 "; expected %" PRId64, last,
                   largest);
}

static rn_status apply(const Config__BatchingParameters *p, rn_model_options *options, rn_error *err)
{
    const bool split = p->enable_large_batch_splitting && p->enable_large_batch_splitting->value;
    int64_t batch = options->backend.max_batch, run = 0, timeout = options->gather_us, queue = 0, threads;
    RN_TRY(read_number(p->max_batch_size, "max_batch_size", 1, MAX_BATCH, &batch, err));
    RN_TRY(read_number(p->max_execution_batch_size, "max_execution_batch_size", 1, batch, &run, err));
    RN_TRY(read_number(p->batch_timeout_micros, "batch_timeout_micros", 0, INT64_C(86400000000), &timeout, err));
    RN_TRY(read_number(p->max_enqueued_batches, "max_enqueued_batches", 1, INT32_MAX, &queue, err));
    RN_TRY(read_number(p->num_batch_threads, "num_batch_threads", 1, INT32_MAX, &threads, err));
    RN_TRY(check_sizes(p, split && run ? run : batch, err));
    if (queue) options->max_waiting_rows = (int32_t)(queue < MAX_WAITING_ROWS / batch ? queue * batch : MAX_WAITING_ROWS);
    if (p->max_batch_size) options->max_request_rows = split ? 0 : (int32_t)batch;
    options->backend.max_batch = (int32_t)(split && run ? run : batch);
    options->gather_us = timeout;
    return RN_STATUS_OK;
}

rn_status rn_batching_parameters_apply(rn_text text, const char *source, rn_model_options *options, rn_error *err)
{
    ProtobufCMessage *message;
    RN_TRY(rn_text_proto_parse(text, source, &config__batching_parameters__descriptor, &message, err));
    const rn_status status = apply((const Config__BatchingParameters *)message, options, err);
    if (status != RN_STATUS_OK) rn_error_prefix(err, "%s", source);
    protobuf_c_message_free_unpacked(message, NULL);
    return status;
}
