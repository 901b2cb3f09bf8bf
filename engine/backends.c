/* THE list of backends, best first: "auto" takes the first one that works on this machine. */
#include <string.h>

#include "engine/backend.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/cuda_plugin.h"

static const rn_backend *const backends[] = {&rn_cuda_plugin, &rn_cpu_backend};
enum { BACKEND_COUNT = sizeof backends / sizeof *backends };

rn_status rn_backend_select(const char *name, const rn_backend **out, rn_error *err)
{
    const bool any = strcmp(name, "auto") == 0;
    for (int i = 0; i < BACKEND_COUNT; i++) {
        if (!any && strcmp(name, backends[i]->name) != 0) continue;
        const rn_status status = backends[i]->probe(any ? NULL : err);
        if (status == RN_STATUS_OK) *out = backends[i];
        if (status == RN_STATUS_OK || !any) return status;
    }
    char names[256] = "auto";
    for (int i = 0; i < BACKEND_COUNT; i++) {
        strncat(names, ", ", sizeof names - strlen(names) - 1);
        strncat(names, backends[i]->name, sizeof names - strlen(names) - 1);
    }
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "device %s is not known: expected one of %s", name, names);
}
