/* Error messages are formatted into the caller's struct: no allocation, so that even "out of memory" can be reported. */
#include "kernels/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(char *message, int wanted_bytes)
{
    if (wanted_bytes < RN_ERROR_MESSAGE_BYTES) return;
    memcpy(message + RN_ERROR_MESSAGE_BYTES - 4, "...", 4);
}

rn_status rn_error_set(rn_error *err, rn_status status, const char *file, int line, const char *format, ...)
{
    if (!err) return status;
    char message[RN_ERROR_MESSAGE_BYTES]; /* the arguments may point into *err */
    va_list args;
    va_start(args, format);
    const int wanted = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    mark_cut(message, wanted);
    err->status = status;
    err->file = file;
    err->line = line;
    memcpy(err->message, message, sizeof message);
    return status;
}

void rn_error_prefix(rn_error *err, const char *format, ...)
{
    if (!err) return;
    char prefix[RN_ERROR_MESSAGE_BYTES / 2], message[RN_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(message, err->message, sizeof message);
    mark_cut(err->message, snprintf(err->message, sizeof err->message, "%s: %s", prefix, message));
}
