/* How a failure travels: a status returned, and a message in the caller's rn_error.
 *
 * A fallible function takes `rn_error *err` last; NULL is allowed. It writes the error exactly once, where the failure is found, with RN_FAIL; the
 * functions above pass the status on with RN_TRY and may put a name in front of the message with rn_error_prefix. On success *err is
 * untouched. A message names the object, what was expected and what was found.
 */
#ifndef RN_KERNELS_BASE_ERROR_H
#define RN_KERNELS_BASE_ERROR_H

#include "kernels/base/status.h"

enum { RN_ERROR_MESSAGE_BYTES = 2048 };

typedef struct rn_error {
    rn_status status;
    const char *file; /* source position of the failure: static string */
    int line;
    char message[RN_ERROR_MESSAGE_BYTES]; /* UTF-8, NUL-terminated; cut with "..." when longer */
} rn_error;

/* Writes *err (when not NULL) and returns `status`. The message is printf-formatted; its arguments may point into err->message. */
rn_status rn_error_set(rn_error *err, rn_status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Puts "<prefix>: " before the message already in *err. No effect when err is NULL. */
void rn_error_prefix(rn_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define RN_FAIL(err, status, ...) rn_error_set((err), (status), __FILE__, __LINE__, __VA_ARGS__)

#define RN_TRY(expression)                                                                                                     \
    do {                                                                                                                       \
        const rn_status rn_try_status = (expression);                                                                          \
        if (rn_try_status != RN_STATUS_OK) return rn_try_status;                                                               \
    } while (0)

/* The same in a function that releases resources at `cleanup:`; `status` is its local rn_status variable. */
#define RN_TRY_CLEANUP(status, expression)                                                                                     \
    do {                                                                                                                       \
        (status) = (expression);                                                                                               \
        if ((status) != RN_STATUS_OK) goto cleanup;                                                                            \
    } while (0)

#endif
