/* The system's refusals as statuses. */
#ifndef RN_LOADER_IO_ERROR_H
#define RN_LOADER_IO_ERROR_H

#include "kernels/base/error.h"

/* Writes "<path>: <the system's words for errno>" and returns NOT_FOUND, PERMISSION_DENIED, OUT_OF_MEMORY, or UNAVAILABLE for the rest. */
rn_status rn__io_error(const char *path, rn_error *err);

#endif
