/* Whether the process lives and whether it will answer predict calls: 503 rather than 400 when not ready, as KServe's own servers have it
 * and every probe understands. The paths of the Open Inference Protocol say the same in a body. Triton and the first drafts of the protocol
 * have none; KServe's client reads it, and clients that go by the code do not mind. */
#include "http/exchange.h"

void rn__health_live(rn_exchange *x)
{
    rn_exchange_answer_empty(x, 200);
}

void rn__health_ready(rn_exchange *x)
{
    const char *reason = rn_serving_why_not_ready(x->service->serving);
    if (!reason) {
        rn_exchange_answer_empty(x, 200);
        return;
    }
    x->answer.compact = true;
    rn_json_begin_object(&x->answer);
    rn_json_string_member(&x->answer, "reason", reason);
    rn_json_end_object(&x->answer);
    rn_exchange_answer_code(x, 503);
}

static void answer_body(rn_exchange *x, const char *key, bool value)
{
    x->answer.compact = true;
    rn_json_begin_object(&x->answer);
    rn_json_key(&x->answer, rn_text_of(key));
    rn_json_bool_value(&x->answer, value);
    rn_json_end_object(&x->answer);
    rn_exchange_answer_code(x, value ? 200 : 503);
}

void rn__v2_live(rn_exchange *x)
{
    answer_body(x, "live", true);
}

void rn__v2_ready(rn_exchange *x)
{
    answer_body(x, "ready", rn_serving_is_ready(x->service->serving));
}

/* TensorFlow Serving's paths are looked for below /v1/ only; to all others its HTTP library answers by itself. */
void rn__not_found(rn_exchange *x)
{
    static const char page[] = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n";
    x->content_type = "text/html";
    rn_json_text(&x->answer, rn_text_of(page));
    rn_exchange_answer_code(x, 404);
}
