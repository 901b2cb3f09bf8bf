/* Whether the process lives and whether it will answer predict calls. Open Inference Protocol v2: empty bodies; 503 rather than 400 when
 * not ready, as KServe's own servers have it and every probe understands. */
#include <string.h>

#include "http/exchange.h"

void rn__health_live(rn_exchange *x)
{
    rn_exchange_answer_empty(x, 200);
}

void rn__health_ready(rn_exchange *x)
{
    rn_exchange_answer_empty(x, rn_serving_is_ready(x->service->serving) ? 200 : 503);
}

/* TensorFlow Serving's paths are looked for below /v1/ only; to all others its HTTP library answers by itself. */
void rn__not_found(rn_exchange *x)
{
    static const char page[] = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n";
    const bool v2 = x->path.bytes >= 3 && memcmp(x->path.at, "/v2", 3) == 0;
    if (!v2) {
        x->content_type = "text/html";
        rn_json_text(&x->answer, rn_text_of(page));
        rn_exchange_answer_code(x, 404);
        return;
    }
    rn_exchange_fail_code(x, 404, "Not found: %.*s %.*s", RN_TEXT_ARG(x->method), RN_TEXT_ARG(x->path));
}
