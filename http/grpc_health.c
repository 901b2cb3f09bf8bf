/* grpc.health.v1.Health: what probes and load balancers ask. Unlike TensorFlow Serving's, it follows readiness. Watch is not offered: its
 * clients then take the server for healthy, as the protocol has it, and go by Check. */
#include "http/grpc_tfs.h"
#include "http/proto/health.pb-c.h"

/* "" is the whole server; the short names are those that TensorFlow Serving registers. */
static const char *const services[] = {"", RN__GRPC_PREDICTION_SERVICE, RN__GRPC_MODEL_SERVICE, "inference.GRPCInferenceService", "PredictionService", "ModelService"};

static bool is_known(rn_text service)
{
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        if (rn_text_equals(service, services[i])) return true;
    return false;
}

void rn__grpc_health_check(rn__grpc_call *call)
{
    const rn_text service = rn__grpc_text(((const Health__CheckRequest *)call->request)->service);
    if (!is_known(service)) {
        rn_error err;
        RN_FAIL(&err, RN_STATUS_NOT_FOUND, "unknown service %.*s", RN_TEXT_ARG(service));
        rn__grpc_fail(call, &err);
        return;
    }
    Health__CheckResponse response = HEALTH__CHECK_RESPONSE__INIT;
    response.status =
        rn_serving_is_ready(call->service->serving) ? HEALTH__CHECK_RESPONSE__STATUS__SERVING : HEALTH__CHECK_RESPONSE__STATUS__NOT_SERVING;
    rn__grpc_answer(call, &response.base);
}
