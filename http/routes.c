/* A dozen patterns compared one after the other: cheaper than the system call that brought the request. */
#include "http/routes.h"

#include <stdlib.h>
#include <strings.h>

#include "http/serving.h"

#define RN_ROUTE(method, path, handler, counted_as, runs_on, port) void handler(rn_exchange *exchange);
#include "http/routes.def"
#undef RN_ROUTE

static const rn_route routes[] = {
#define RN_ROUTE(method, path, handler, counted_as, runs_on, port) \
    {method, path, handler, RN_METHOD_##counted_as, RN_RUNS_ON_##runs_on, RN_PORT_##port},
#include "http/routes.def"
#undef RN_ROUTE
};

static bool begins_with(rn_text text, const char *prefix)
{
    const size_t bytes = strlen(prefix);
    return text.bytes >= bytes && strncasecmp(text.at, prefix, bytes) == 0;
}

static rn_text after(rn_text text, size_t bytes)
{
    return (rn_text){text.at + bytes, text.bytes - bytes};
}

/* The longest prefix without '/' and ':'. */
static rn_text word(rn_text text)
{
    size_t bytes = 0;
    while (bytes < text.bytes && text.at[bytes] != '/' && text.at[bytes] != ':') bytes++;
    return (rn_text){text.at, bytes};
}

static rn_text digits(rn_text text)
{
    size_t bytes = 0;
    while (bytes < text.bytes && text.at[bytes] >= '0' && text.at[bytes] <= '9') bytes++;
    return (rn_text){text.at, bytes};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Writes `text` to *out with %XX replaced, and moves *out on. A '%' without two hex digits stays. */
static rn_text percent_decode(rn_text text, char **out)
{
    char *const begin = *out;
    for (size_t i = 0; i < text.bytes; i++) {
        const bool escape = text.at[i] == '%' && i + 2 < text.bytes && hex_digit(text.at[i + 1]) >= 0 && hex_digit(text.at[i + 2]) >= 0;
        *(*out)++ = escape ? (char)(hex_digit(text.at[i + 1]) * 16 + hex_digit(text.at[i + 2])) : text.at[i];
        if (escape) i += 2;
    }
    return (rn_text){begin, (size_t)(*out - begin)};
}

static bool parse_version(rn_text text, int64_t *out)
{
    int64_t version = 0;
    for (size_t i = 0; i < text.bytes; i++)
        if (__builtin_mul_overflow(version, 10, &version) || __builtin_add_overflow(version, text.at[i] - '0', &version)) return false;
    *out = version;
    return true;
}

/* The parts of a target at the beginning of `text`, undecoded; the number of bytes in all, 0 when there is none. */
static size_t split_target(rn_text text, rn_text *model, rn_text *version, rn_text *label)
{
    *model = word(text);
    *version = *label = (rn_text){NULL, 0};
    if (model->bytes == 0) return 0;
    const rn_text rest = after(text, model->bytes);
    if (begins_with(rest, "/versions/")) {
        *version = digits(after(rest, strlen("/versions/")));
        if (version->bytes > 0) return model->bytes + strlen("/versions/") + version->bytes;
    } else if (begins_with(rest, "/labels/")) {
        *label = word(after(rest, strlen("/labels/")));
        if (label->bytes > 0) return model->bytes + strlen("/labels/") + label->bytes;
    }
    *version = *label = (rn_text){NULL, 0};
    return model->bytes;
}

static bool match_rest(const char *pattern, rn_text text)
{
    const size_t bytes = strlen(pattern), any = strlen("{any}");
    if (bytes > any && strcmp(pattern + bytes - any, "{any}") == 0) /* letters behind a ':' match as they are */
        return text.bytes >= bytes - any && memcmp(text.at, pattern, bytes - any) == 0;
    if (*pattern == ':') return rn_text_equals(text, pattern);
    return text.bytes == strlen(pattern) && strncasecmp(text.at, pattern, text.bytes) == 0;
}

static bool match(const char *pattern, rn_text path, char *decoded, rn_target *target)
{
    const char *brace = strchr(pattern, '{');
    if (!brace) return match_rest(pattern, path);
    const size_t fixed = (size_t)(brace - pattern);
    if (path.bytes < fixed || strncasecmp(path.at, pattern, fixed) != 0) return false;
    if (strcmp(brace, "{any}") == 0) return true;

    rn_text model, version, label;
    const rn_text text = after(path, fixed);
    const size_t bytes = split_target(text, &model, &version, &label);
    const rn_text rest = after(text, bytes);
    if (bytes == 0 || !match_rest(brace + strlen("{target}"), rest)) return false;
    target->model = percent_decode(model, &decoded);
    if (label.at) target->label = percent_decode(label, &decoded);
    if (version.at) target->version_overflow = !parse_version(version, &target->version);
    target->rest = rest;
    return true;
}

const rn_route *rn_route_find(rn_text method, rn_text path, rn_port port, const char *metrics, char *decoded, rn_target *target)
{
    const char *query = memchr(path.at, '?', path.bytes);
    const rn_text without = {path.at, query ? (size_t)(query - path.at) : path.bytes};
    const bool is_metrics = metrics && rn_text_equals(without, metrics);
    if (!begins_with(path, "/v1/")) path = without;
    const rn_route *route = routes;
    for (;; route++) {
        *target = (rn_target){.version = RN_LATEST_VERSION};
        const bool fits = (route->port & port) && (*route->method == '*' || rn_text_equals(method, route->method));
        if (!fits) continue;
        if (strcmp(route->path, "{metrics}") == 0 ? is_metrics : match(route->path, path, decoded, target)) return route;
    }
}
