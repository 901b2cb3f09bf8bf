/* grpc.health.v1.Health: what probes ask and load balancers in clients listen to. Unlike TensorFlow Serving's, it follows readiness. */
#include "http/grpc_tfs.h"
#include "http/proto/health.pb-c.h"

/* "" is the whole server; the short names are those that TensorFlow Serving registers. */
static const char *const services[] = {
    "", RN__GRPC_PREDICTION_SERVICE, RN__GRPC_MODEL_SERVICE, "inference.GRPCInferenceService", "PredictionService", "ModelService"};

static bool is_known(rn_text service)
{
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        if (rn_text_equals(service, services[i])) return true;
    return false;
}

static rn_text asked_service(const rn__grpc_call *call)
{
    return rn__grpc_text(((const Health__CheckRequest *)call->request)->service);
}

static void answer(rn__grpc_call *call, Health__CheckResponse__Status status)
{
    Health__CheckResponse response = HEALTH__CHECK_RESPONSE__INIT;
    response.status = status;
    rn__grpc_answer(call, &response.base);
}

static Health__CheckResponse__Status readiness(const rn__grpc_call *call)
{
    return rn_serving_is_ready(call->service->serving) ? HEALTH__CHECK_RESPONSE__STATUS__SERVING
                                                       : HEALTH__CHECK_RESPONSE__STATUS__NOT_SERVING;
}

void rn__grpc_health_check(rn__grpc_call *call)
{
    const rn_text service = asked_service(call);
    if (!is_known(service)) {
        rn_error err;
        RN_FAIL(&err, RN_STATUS_NOT_FOUND, "unknown service %.*s", RN_TEXT_ARG(service));
        rn__grpc_fail(call, &err);
        return;
    }
    answer(call, readiness(call));
}

/* A service that is not known might be one day, as the protocol has it: the client goes on listening. */
void rn__grpc_health_watch(rn__grpc_call *call)
{
    const Health__CheckResponse__Status now =
        is_known(asked_service(call)) ? readiness(call) : HEALTH__CHECK_RESPONSE__STATUS__SERVICE_UNKNOWN;
    if (call->told == (int32_t)now) return;
    call->told = (int32_t)now;
    answer(call, now);
}
