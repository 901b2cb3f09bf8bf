/* Status texts, expanded from the one list in status.h. */
#include "kernels/base/status.h"

const char *rn_status_text(rn_status status)
{
    static const char *const texts[RN_STATUS_COUNT] = {
#define RN_STATUS_TEXT(name, text) [RN_STATUS_##name] = text,
        RN_STATUS_LIST(RN_STATUS_TEXT)
#undef RN_STATUS_TEXT
    };
    return (unsigned)status < RN_STATUS_COUNT ? texts[status] : "unknown status";
}
