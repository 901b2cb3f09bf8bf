/* The CUDA backend, inside its plug-in. */
#ifndef RN_ENGINE_CUDA_CUDA_BACKEND_H
#define RN_ENGINE_CUDA_CUDA_BACKEND_H

#include "engine/backend.h"

extern const rn_backend rn_cuda_backend;

#endif
