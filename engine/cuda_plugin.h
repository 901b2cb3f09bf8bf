/* The CUDA backend as the programs see it: a table in front of the plug-in libresnetd-cuda.so. */
#ifndef RN_ENGINE_CUDA_PLUGIN_H
#define RN_ENGINE_CUDA_PLUGIN_H

#include "engine/backend.h"

/* probe opens the plug-in, once for the process, and asks it; the other entries may be called when that was successful. */
extern const rn_backend rn_cuda_plugin;

#endif
