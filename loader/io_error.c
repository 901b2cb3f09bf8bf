/* One mapping from errno to statuses for everything that the loader opens, lists and writes. */
#include "loader/io_error.h"

#include <errno.h>
#include <string.h>

rn_status rn__io_error(const char *path, rn_error *err)
{
    const int cause = errno;
    const rn_status status = cause == ENOENT || cause == ENOTDIR                   ? RN_STATUS_NOT_FOUND
                             : cause == EACCES || cause == EPERM || cause == EROFS ? RN_STATUS_PERMISSION_DENIED
                             : cause == ENOMEM                                     ? RN_STATUS_OUT_OF_MEMORY
                                                                                   : RN_STATUS_UNAVAILABLE;
    return RN_FAIL(err, status, "%s: %s", path, strerror(cause));
}
