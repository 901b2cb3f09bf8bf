/* See cuda_plugin.h.
 *
 * The programs link no CUDA library, so that one build runs on every machine. The plug-in lies beside the program or, when that is in a bin
 * folder, in the lib folder next to it. It stays open until the process ends.
 */
#include "engine/cuda_plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };
static const char file[] = "libresnetd-cuda.so";
static const char *const folders[] = {"", "../lib/"}; /* from the program's */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const rn_backend *backend; /* NULL: `failure` says why */
static char failure[RN_ERROR_MESSAGE_BYTES];

/* Folder of the running program, with the slash at its end; empty when the system does not say. */
static void program_folder(char out[PATH_BYTES])
{
    const ssize_t length = readlink("/proc/self/exe", out, PATH_BYTES - 1);
    out[length > 0 ? length : 0] = 0;
    char *slash = strrchr(out, '/');
    out[slash ? slash + 1 - out : 0] = 0;
}

static void open_plugin(void)
{
    char folder[PATH_BYTES], path[PATH_BYTES + sizeof file + 16];
    program_folder(folder);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s%s%s", folder, folders[i], file);
        if (access(path, F_OK) != 0) continue;
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        void *symbol = library ? dlsym(library, RN_BACKEND_ENTRY) : NULL;
        if (!symbol) {
            snprintf(failure, sizeof failure, "the CUDA plug-in cannot be opened: %s", dlerror());
            return;
        }
        rn_backend_entry_fn *entry;
        memcpy(&entry, &symbol, sizeof entry);
        backend = entry(RN_BACKEND_CONTRACT);
        if (!backend) snprintf(failure, sizeof failure, "the CUDA plug-in %.512s is of another build than this program", path);
        return;
    }
    snprintf(failure, sizeof failure, "no CUDA plug-in: %s is neither in %.512s nor in its ../lib", file, folder);
}

static rn_status probe(rn_error *err)
{
    pthread_once(&once, open_plugin);
    if (!backend) return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "%s", failure);
    return backend->probe(err);
}

static rn_status prepare(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    return backend->prepare(plan, options, out, err);
}

static rn_status run(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    return backend->run(executor, signature, parts, part_count, err);
}

static rn_status begin(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count, rn_error *err)
{
    return backend->begin(executor, signature, parts, part_count, err);
}

static rn_status finish(rn_executor *executor, rn_error *err)
{
    return backend->finish(executor, err);
}

static const char *describe(const rn_executor *executor)
{
    return backend->describe(executor);
}

static void destroy(rn_executor *executor)
{
    if (executor) backend->destroy(executor);
}

static rn_status device_state(int32_t device, rn_device_state *out, rn_error *err)
{
    return backend->device_state(device, out, err);
}

static size_t picture_bytes(const rn_executor *executor, const rn_signature *signature)
{
    return backend->picture_bytes(executor, signature);
}

static void memory(const rn_executor *executor, int64_t bytes[RN_MEMORY_COUNT])
{
    backend->memory(executor, bytes);
}

static int32_t device_count(void)
{
    return backend->device_count();
}

const rn_backend rn_cuda_plugin = {
    .name = "cuda",
    .probe = probe,
    .prepare = prepare,
    .run = run,
    .runs_int8 = NULL,
    .describe = describe,
    .destroy = destroy,
    .device_count = device_count,
    .begin = begin,
    .finish = finish,
    .device_state = device_state,
    .picture_bytes = picture_bytes,
    .memory = memory,
};
