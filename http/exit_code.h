/* What the process and its commands end with. */
#ifndef RN_HTTP_EXIT_CODE_H
#define RN_HTTP_EXIT_CODE_H

#include "kernels/base/status.h"

/* sysexits.h where it has a word for it. */
enum {
    EXIT_USAGE = 2,
    EXIT_BAD_MODEL = 65,
    EXIT_NO_MODEL = 66,
    EXIT_UNREACHABLE = 69, /* also: port in use */
    EXIT_DEVICE = 70,
    EXIT_MEMORY = 71,
    EXIT_FORBIDDEN = 77,
    EXIT_CUT_SHORT = 124, /* the time for draining was over, or somebody lost patience */
};

/* The one for a failure that ends the process. */
int rn_exit_code(rn_status status);

#endif
