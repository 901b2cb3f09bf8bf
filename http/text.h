/* A run of bytes that somebody else owns: a request's path, a JSON string, a header. Not NUL-terminated; any byte may occur. */
#ifndef RN_HTTP_TEXT_H
#define RN_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct rn_text {
    const char *at; /* may be NULL when bytes is 0 */
    size_t bytes;
} rn_text;

/* The two arguments of a "%.*s". */
#define RN_TEXT_ARG(text) (int)(text).bytes, (text).at

static inline rn_text rn_text_of(const char *string)
{
    return (rn_text){string, strlen(string)};
}

static inline bool rn_text_equals(rn_text text, const char *string)
{
    return strlen(string) == text.bytes && memcmp(text.at, string, text.bytes) == 0;
}

static inline bool rn_text_same(rn_text a, rn_text b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.at, b.at, a.bytes) == 0);
}

#endif
