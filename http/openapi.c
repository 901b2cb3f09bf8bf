/* GET /openapi.json: the description of all REST endpoints, a file of this folder that is part of the program. */
#include "http/exchange.h"

extern const char rn__openapi_begin[], rn__openapi_end[];

__asm__(".pushsection .rodata\n"
        "rn__openapi_begin: .incbin \"http/openapi.json\"\n"
        "rn__openapi_end:\n"
        ".popsection\n");

void rn__openapi(rn_exchange *x)
{
    rn_json_text(&x->answer, (rn_text){rn__openapi_begin, (size_t)(rn__openapi_end - rn__openapi_begin)});
    rn_exchange_answer(x);
}
