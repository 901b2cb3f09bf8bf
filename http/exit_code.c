/* One mapping for the server and its commands. */
#include "http/exit_code.h"

#include <stdlib.h>

int rn_exit_code(rn_status status)
{
    switch (status) {
    case RN_STATUS_OK:
        return EXIT_SUCCESS;
    case RN_STATUS_NOT_FOUND:
        return EXIT_NO_MODEL;
    case RN_STATUS_PERMISSION_DENIED:
        return EXIT_FORBIDDEN;
    case RN_STATUS_UNAVAILABLE:
        return EXIT_UNREACHABLE;
    case RN_STATUS_DEVICE_FAILED:
    case RN_STATUS_DEVICE_LOST:
        return EXIT_DEVICE;
    case RN_STATUS_OUT_OF_MEMORY:
        return EXIT_MEMORY;
    default:
        return EXIT_BAD_MODEL;
    }
}
