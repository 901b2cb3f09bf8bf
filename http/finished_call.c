/* Calls of both protocols end here, each once. */
#include "http/finished_call.h"

#include "engine/clock.h"
#include "http/access_log.h"
#include "http/exchange.h"
#include "http/status_map.h"

void rn_timings_of_request(const rn_request *request, rn_timings *out)
{
    if (request->pictures) out->decode = request->decode_us;
    out->queue = request->batch.queue_us;
    out->run = request->batch.run_us;
    out->batch_rows = request->batch.batch_rows;
}

void rn_call_finished(const rn_service *service, const rn_finished_call *call)
{
    rn_model_metrics *model = call->model ? call->model : &service->metrics->no_model;
    const bool http = call->protocol == RN_PROTOCOL_HTTP;
    const int32_t code = http ? rn_http_code_index(call->code) : call->code;
    const bool failed = http ? call->code >= 400 : call->code != 0;
    rn_counter_add(&model->calls[call->protocol][call->counted_as][code], 1);
    rn_histogram_observe(&model->duration[call->protocol][call->counted_as][failed], rn_histogram_us, rn_clock_us() - call->begin_us);
    rn_model_metrics_stage(model, RN_STAGE_PARSE, call->timings->parse);
    rn_model_metrics_stage(model, RN_STAGE_WRITE, call->timings->write);
    if (service->access_log) rn_access_log_write(service->access_log, call);
}
