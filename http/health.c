/* Whether the process lives and whether it will answer predict calls. Open Inference Protocol v2: empty bodies; 503 rather than 400 when
 * not ready, as KServe's own servers have it and every probe understands. */
#include "http/exchange.h"

void rn__health_live(rn_exchange *x)
{
    rn_exchange_answer_empty(x, 200);
}

void rn__health_ready(rn_exchange *x)
{
    rn_exchange_answer_empty(x, rn_serving_is_ready(x->service->serving) ? 200 : 503);
}

void rn__not_found(rn_exchange *x)
{
    rn_exchange_fail_code(x, 404, "Not found: %.*s %.*s", RN_TEXT_ARG(x->method), RN_TEXT_ARG(x->path));
}
