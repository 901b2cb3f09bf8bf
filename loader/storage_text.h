/* Texts that grow: URLs, request bodies, what a server answered. Running out of memory is remembered, and asked about once at the end. */
#ifndef RN_LOADER_STORAGE_TEXT_H
#define RN_LOADER_STORAGE_TEXT_H

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

/* Zeroed: empty. at: NUL-terminated, or NULL while nothing was added. */
typedef struct rn__buffer {
    char *at;
    size_t bytes, capacity;
    bool failed; /* for want of memory */
} rn__buffer;

void rn__buffer_add(rn__buffer *buffer, const void *bytes, size_t count);
void rn__buffer_put(rn__buffer *buffer, const char *text);
void rn__buffer_format(rn__buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All but letters, digits, "-._~" (and "/" where keep_slash) as %XX: what RFC 3986 calls unreserved, and SigV4 asks for. */
void rn__buffer_encode(rn__buffer *buffer, const char *text, bool keep_slash);
/* Hands the text over, never NULL with OK. OUT_OF_MEMORY frees it. */
rn_status rn__buffer_take(rn__buffer *buffer, char **out, rn_error *err);
/* Overwrites it first: it may have held a secret. */
void rn__buffer_deinit(rn__buffer *buffer);

/* Frees a text after overwriting it; NULL allowed. */
void rn__secret_free(char *text);

/* %XX and + in place. False: not well-formed, or it holds a NUL. */
bool rn__url_decode(char *text);

/* Standard base64. False unless it is exactly out_bytes bytes. */
bool rn__base64_decode_exactly(const char *text, uint8_t *out, size_t out_bytes);
/* The URL-safe alphabet without padding, as RFC 7515 has it. */
void rn__buffer_base64url(rn__buffer *buffer, const void *bytes, size_t count);

void rn__hex_encode(const uint8_t *bytes, size_t count, char *out); /* out: 2 * count + 1 */
bool rn__hex_decode(const char *text, uint8_t *out, size_t count);  /* text: at least 2 * count characters, all of them digits */

/* The environment's variable, where it is set and not empty; otherwise NULL. */
const char *rn__env(const char *name);

#endif
