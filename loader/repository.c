/* Versions under a base path, and the one place that knows in which forms a version may be stored.
 *
 * A directory is a version when its name is all digits; leading zeros are allowed, as TensorFlow Serving's own examples have them ("00000123").
 * One that holds no model yet is being written, and is not listed.
 */
#include "loader/repository.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/io_error.h"
#include "loader/model_file.h"

enum { PATH_BYTES = 4096 };

/* What may lie in a version's directory; the first that does is loaded. A converted file is the same model and loads faster. */
static const char *const model_names[] = {RN_MODEL_FILE_NAME, "saved_model.pb"};
enum { CONVERTED, MODEL_NAME_COUNT = sizeof model_names / sizeof model_names[0] };

static rn_status join(const char *folder, const char *name, char out[PATH_BYTES], rn_error *err)
{
    if (snprintf(out, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", folder);
}

/* True unless the system is sure that it is absent: what may not be looked at is for the loading to complain about. */
static bool may_exist(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static bool holds_model(const char *folder)
{
    char file[PATH_BYTES];
    for (int i = 0; i < MODEL_NAME_COUNT; i++)
        if (join(folder, model_names[i], file, NULL) == RN_STATUS_OK && may_exist(file)) return true;
    return false;
}

bool rn_repository_is_model(const char *path)
{
    return is_file(path) || holds_model(path);
}

bool rn_repository_parse_version(const char *name, rn_repository_version *out)
{
    const size_t digits = strspn(name, "0123456789");
    if (digits == 0 || name[digits] != '\0' || digits >= sizeof out->name) return false;
    errno = 0;
    out->number = strtoll(name, NULL, 10);
    memcpy(out->name, name, digits + 1);
    return errno == 0;
}

static int descending(const void *a, const void *b)
{
    const int64_t first = ((const rn_repository_version *)a)->number, second = ((const rn_repository_version *)b)->number;
    return (first < second) - (first > second);
}

bool rn_repository_is_model_name(const char *name)
{
    for (int i = 0; i < MODEL_NAME_COUNT; i++)
        if (strcmp(name, model_names[i]) == 0) return true;
    return false;
}

rn_status rn_repository_list_add(rn_repository_list *list, const rn_repository_version *version, rn_error *err)
{
    if ((list->count & (list->count - 1)) == 0) { /* full at every power of two */
        rn_repository_version *grown = realloc(list->at, (list->count ? 2 * (size_t)list->count : 1) * sizeof *grown);
        if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a list of %d versions", list->count);
        list->at = grown;
    }
    list->at[list->count++] = *version;
    return RN_STATUS_OK;
}

/* Sorts the list; two spellings of one number are somebody's mistake, and which of them is meant is not for us to guess. */
rn_status rn_repository_list_sort(const char *base, rn_repository_list *list, rn_error *err)
{
    rn_repository_version *versions = list->at;
    if (list->count) qsort(versions, (size_t)list->count, sizeof *versions, descending);
    for (int32_t i = 1; i < list->count; i++) {
        if (versions[i].number != versions[i - 1].number) continue;
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: directories %s and %s are both version %" PRId64, base, versions[i - 1].name,
                       versions[i].name, versions[i].number);
    }
    return RN_STATUS_OK;
}

static rn_status refuse_url(const char *base, rn_error *err)
{
    const char *colon = strstr(base, "://");
    if (!colon) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: expected a directory; `resnetd fetch` brings models from object storage to one",
                   base);
}

/* The versions in the directory `base`, in any order; none: an empty list. */
static rn_status list_versions(const char *base, rn_repository_list *out, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    rn_repository_version version;
    DIR *folder = opendir(base);
    if (!folder) return rn__io_error(base, err);
    for (struct dirent *entry; (errno = 0, entry = readdir(folder)) != NULL;) {
        char path[PATH_BYTES];
        if (!rn_repository_parse_version(entry->d_name, &version)) continue;
        RN_TRY_CLEANUP(status, join(base, entry->d_name, path, err));
        if (holds_model(path)) RN_TRY_CLEANUP(status, rn_repository_list_add(out, &version, err));
    }
    if (errno != 0) status = rn__io_error(base, err);
cleanup:
    closedir(folder);
    return status;
}

static rn_status find_versions(const char *base, rn_repository_list *out, rn_error *err)
{
    static const rn_repository_version itself = {.number = 1};
    RN_TRY(refuse_url(base, err));
    if (is_file(base)) return rn_repository_list_add(out, &itself, err);
    RN_TRY(list_versions(base, out, err));
    if (out->count > 0) return rn_repository_list_sort(base, out, err);
    if (holds_model(base)) return rn_repository_list_add(out, &itself, err);
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: no versions, expected directories such as %s/1 that hold %s or %s", base, base,
                   model_names[1], model_names[0]);
}

rn_status rn_repository_versions(const char *base, rn_repository_version **out, int32_t *count, rn_error *err)
{
    rn_repository_list list = {0};
    const rn_status status = find_versions(base, &list, err);
    if (status != RN_STATUS_OK) {
        free(list.at);
        return status;
    }
    *out = list.at;
    *count = list.count;
    return RN_STATUS_OK;
}

rn_status rn_repository_version_path(const char *base, const rn_repository_version *version, char *out, size_t out_bytes, rn_error *err)
{
    const char *slash = version->name[0] ? "/" : "";
    if (snprintf(out, out_bytes, "%s%s%s", base, slash, version->name) < (int)out_bytes) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", base);
}

/* ---- whether files changed ---- */

/* FNV-1a. */
static uint64_t mix(uint64_t stamp, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) stamp = (stamp ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return stamp;
}

static uint64_t stamp_of(const char *path, int depth)
{
    struct stat info;
    if (stat(path, &info) != 0) return (uint64_t)errno;
    const int64_t facts[] = {(int64_t)info.st_ino,        info.st_size,           info.st_mtim.tv_sec,
                             info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec};
    uint64_t stamp = mix(0xcbf29ce484222325u, facts, sizeof facts);
    DIR *folder = depth > 0 && S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    if (!folder) return stamp;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char below[PATH_BYTES];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (join(path, entry->d_name, below, NULL) != RN_STATUS_OK) continue;
        /* A sum, because a directory is read in any order. */
        stamp += mix(stamp_of(below, depth - 1), entry->d_name, strlen(entry->d_name));
    }
    closedir(folder);
    return stamp;
}

uint64_t rn_repository_stamp(const char *path)
{
    enum { DEPTH = 3 }; /* assets.extra/ and variables/ hold files */
    return stamp_of(path, DEPTH);
}

/* ---- loading ---- */

rn_status rn_repository_load_ahead(const char *path, const rn_progress *progress, rn_plan **out, rn_error *err)
{
    char converted[PATH_BYTES];
    struct stat info;
    if (stat(path, &info) != 0) return rn__io_error(path, err);
    if (!S_ISDIR(info.st_mode)) return rn_model_file_load_ahead(path, out, err);
    RN_TRY(join(path, model_names[CONVERTED], converted, err));
    if (may_exist(converted)) return rn_model_file_load_ahead(converted, out, err);
    const rn_status status = rn_saved_model_load(path, progress, out, err);
    rn_repository_version *versions;
    int32_t count;
    if (status != RN_STATUS_NOT_FOUND || rn_repository_versions(path, &versions, &count, NULL) != RN_STATUS_OK) return status;
    const rn_repository_version highest = versions[0];
    free(versions);
    if (!highest.name[0]) return status; /* a version that lacks another file than the first */
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: a directory of versions, expected one of them, such as %s/%s", path, path, highest.name);
}

rn_status rn_repository_load(const char *path, const rn_progress *progress, rn_plan **out, rn_error *err)
{
    rn_plan *plan;
    RN_TRY(rn_repository_load_ahead(path, progress, &plan, err));
    const rn_status status = rn_plan_await(plan, err);
    if (status == RN_STATUS_OK) *out = plan;
    else rn_plan_destroy(plan);
    return status;
}

void rn_repository_sha256(const char *path, char out[RN_SHA256_TEXT_BYTES])
{
    char converted[PATH_BYTES];
    struct stat info;
    rn_model_file_origin origin;
    *out = '\0';
    if (stat(path, &info) != 0 || join(path, model_names[CONVERTED], converted, NULL) != RN_STATUS_OK) return;
    const char *file = S_ISDIR(info.st_mode) ? converted : path;
    if (may_exist(file) && rn_model_file_read_origin(file, &origin, NULL) == RN_STATUS_OK) memcpy(out, origin.sha256, RN_SHA256_TEXT_BYTES);
}
