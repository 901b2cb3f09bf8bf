/* Looks for the libraries that cuDNN opens by itself: without them it fails in the middle of planning, and its message does not say why.
 *
 * libcudnn, libcublasLt and their like are needed to open the plug-in at all; when one of those is missing, dlopen names it. The handles
 * stay open: cuDNN finds libraries by name, and what this plug-in found next to itself or in a Python environment may lie on no search
 * path.
 */
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <dlfcn.h>
#include <stdio.h>

#include "engine/cuda/cuda_device.h"

typedef struct {
    const char *format; /* of the name, given the major version and the minor one */
    int major, minor;
    const char *purpose;
} library;

static const library libraries[] = {
    {"libnvrtc.so.%d", CUDART_VERSION / 1000, 0, "compiles fused convolutions when a model is loaded"},
    {"libnvrtc-builtins.so.%d.%d", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, "is part of the compiler in libnvrtc"},
    {"libcudnn_graph.so.%d", CUDNN_MAJOR, 0, "is part of cuDNN"},
    {"libcudnn_heuristic.so.%d", CUDNN_MAJOR, 0, "is part of cuDNN"},
    {"libcudnn_engines_precompiled.so.%d", CUDNN_MAJOR, 0, "is part of cuDNN"},
    {"libcudnn_engines_runtime_compiled.so.%d", CUDNN_MAJOR, 0, "is part of cuDNN"},
};

rn_status rn__cuda_libraries_check(rn_error *err)
{
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        char name[64];
        snprintf(name, sizeof name, libraries[i].format, libraries[i].major, libraries[i].minor);
        if (dlopen(name, RTLD_LAZY | RTLD_LOCAL)) continue;
        return RN_FAIL(err, RN_STATUS_DEVICE_FAILED, "%s is missing, which %s: %s", name, libraries[i].purpose, dlerror());
    }
    return RN_STATUS_OK;
}
