/* The outcomes that any fallible function of this project can report.
 *
 * One list, so that code, name and any table built from it cannot drift apart. The numbers are not part of any file or protocol;
 * http/status_map.c alone knows how they appear on the wire.
 */
#ifndef RN_KERNELS_BASE_STATUS_H
#define RN_KERNELS_BASE_STATUS_H

#define RN_STATUS_LIST(X)                                                                                                      \
    X(OK, "ok")                                                                                                                \
    X(INVALID_ARGUMENT, "invalid argument")     /* the caller's input is wrong: a request, a flag, a picture */                \
    X(FAILED_PRECONDITION, "failed precondition") /* a good request for something that what is loaded does not offer */        \
    X(NOT_FOUND, "not found")                   /* a model, version, file or signature does not exist */                       \
    X(PERMISSION_DENIED, "permission denied")   /* it exists and may not be read */                                            \
    X(UNSUPPORTED, "unsupported")               /* well-formed, outside what this software does */                             \
    X(OUT_OF_MEMORY, "out of memory")           /* host or device */                                                           \
    X(DEVICE_FAILED, "device failed")           /* no usable device, or a call to it failed */                                 \
    X(DEVICE_LOST, "device lost")               /* it stopped answering, and will not answer again in this process */          \
    X(OVERLOADED, "overloaded")                 /* a bounded queue is full: try again later */                                 \
    X(DEADLINE_EXCEEDED, "deadline exceeded")                                                                                  \
    X(CANCELLED, "cancelled")                                                                                                  \
    X(DATA_LOSS, "data loss")                   /* stored bytes are truncated or corrupt */                                    \
    X(UNAVAILABLE, "unavailable")               /* storage cannot be reached, or the server is shutting down */                \
    X(UNKNOWN, "unknown error")                 /* several things that went wrong: the message lists them */                   \
    X(INTERNAL, "internal error")               /* a defect of this software */

typedef enum {
#define RN_STATUS_ENUM(name, text) RN_STATUS_##name,
    RN_STATUS_LIST(RN_STATUS_ENUM)
#undef RN_STATUS_ENUM
        RN_STATUS_COUNT
} rn_status;

/* Text of a status, for messages: static, never NULL. */
const char *rn_status_text(rn_status status);

#endif
