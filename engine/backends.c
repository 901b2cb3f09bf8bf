/* THE list of backends, best first: "auto" takes the first one that works on this machine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/cuda_plugin.h"

static const rn_backend *const backends[] = {&rn_cuda_plugin, &rn_cpu_backend};
enum { BACKEND_COUNT = sizeof backends / sizeof *backends };

/* passed_over: for "auto", why the ones before the chosen one were not. */
static rn_status choose_backend(const char *name, const rn_backend **out, char passed_over[RN_ERROR_MESSAGE_BYTES], rn_error *err)
{
    const bool any = strcmp(name, "auto") == 0;
    passed_over[0] = 0;
    for (int i = 0; i < BACKEND_COUNT; i++) {
        rn_error reason = {0};
        if (!any && strcmp(name, backends[i]->name) != 0) continue;
        const rn_status status = backends[i]->probe(any ? &reason : err);
        if (status == RN_STATUS_OK) *out = backends[i];
        if (status == RN_STATUS_OK || !any) return status;
        const size_t at = strlen(passed_over);
        snprintf(passed_over + at, RN_ERROR_MESSAGE_BYTES - at, "%s%s: %s", at ? "; " : "", backends[i]->name, reason.message);
    }
    char names[256] = "auto";
    for (int i = 0; i < BACKEND_COUNT; i++) {
        strncat(names, ", ", sizeof names - strlen(names) - 1);
        strncat(names, backends[i]->name, sizeof names - strlen(names) - 1);
    }
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "device %s is not known: expected one of %s", name, names);
}

rn_status rn_backend_select(const char *name, const rn_backend **out, rn_error *err)
{
    char passed_over[RN_ERROR_MESSAGE_BYTES];
    return choose_backend(name, out, passed_over, err);
}

/* ---- devices ---- */

static rn_status choose_all(const char *text, int32_t present, rn_device_choice *out, rn_error *err)
{
    if (present > RN_MAX_DEVICES)
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "device %s: %d devices, at most %d are used", text, present, RN_MAX_DEVICES);
    out->count = present;
    for (int32_t i = 0; i < present; i++) out->devices[i] = i;
    return RN_STATUS_OK;
}

static rn_status choose_one(const char *text, const char *number, int32_t present, rn_device_choice *out, rn_error *err)
{
    char *end;
    errno = 0;
    const long index = strtol(number, &end, 10);
    if (*number < '0' || *number > '9' || *end)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "device %s: expected a number or all after the colon, found \"%s\"", text, number);
    if (errno || index >= present)
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "device %s is not there: this process sees %d of them, from %s:0", text, present,
                       out->backend->name);
    out->count = 1;
    out->devices[0] = (int32_t)index;
    return RN_STATUS_OK;
}

rn_status rn_device_choose(const char *text, rn_device_choice *out, rn_error *err)
{
    char name[32];
    const char *colon = strchr(text, ':');
    const size_t length = colon ? (size_t)(colon - text) : strlen(text);
    if (length >= sizeof name) return RN_FAIL(err, RN_STATUS_NOT_FOUND, "device %.64s is not known", text);
    memcpy(name, text, length);
    name[length] = 0;
    *out = (rn_device_choice){.count = 1};
    RN_TRY(choose_backend(name, &out->backend, out->passed_over, err));
    if (!colon) return RN_STATUS_OK;
    const int32_t present = out->backend->device_count ? out->backend->device_count() : 1;
    if (strcmp(colon + 1, "all") == 0) return choose_all(text, present, out, err);
    return choose_one(text, colon + 1, present, out, err);
}
