/* GET / and the three files that it loads: a page for people, part of the program. It asks for nothing that is not of this server, and its
 * policy forbids it to. --page=false leaves what TensorFlow Serving answers there. */
#include "http/exchange.h"

void rn__not_found(rn_exchange *x);

#define EMBED(name, file)                                                 \
    extern const char rn__page_##name##_begin[], rn__page_##name##_end[]; \
    __asm__(".pushsection .rodata\n"                                      \
            "rn__page_" #name "_begin: .incbin \"" file "\"\n"            \
            "rn__page_" #name "_end:\n"                                   \
            ".popsection\n");
EMBED(html, "http/page/index.html")
EMBED(css, "http/page/page.css")
EMBED(js, "http/page/page.js")
EMBED(icon, "http/page/icon.svg")
#undef EMBED

static void send(rn_exchange *x, const char *type, const char *begin, const char *end)
{
    if (!x->service->page) {
        rn__not_found(x);
        return;
    }
    x->content_type = type;
    rn_exchange_add_header(
        x, "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'");
    rn_exchange_add_header(x, "x-content-type-options", "nosniff");
    rn_exchange_add_header(x, "referrer-policy", "no-referrer");
    rn_exchange_add_header(x, "cache-control", "no-cache"); /* another version of the server has another page */
    rn_json_text(&x->answer, (rn_text){begin, (size_t)(end - begin)});
    rn_exchange_answer(x);
}

void rn__page(rn_exchange *x)
{
    send(x, "text/html; charset=utf-8", rn__page_html_begin, rn__page_html_end);
}

void rn__page_style(rn_exchange *x)
{
    send(x, "text/css; charset=utf-8", rn__page_css_begin, rn__page_css_end);
}

void rn__page_script(rn_exchange *x)
{
    send(x, "text/javascript; charset=utf-8", rn__page_js_begin, rn__page_js_end);
}

void rn__page_icon(rn_exchange *x)
{
    send(x, "image/svg+xml", rn__page_icon_begin, rn__page_icon_end);
}
