/* A convolution with bias, residual and ReLU as one operation graph of cuDNN 9 (backend API), and the ways that the library offers to run it. */
#ifndef RN_ENGINE_CUDA_CONV_CUDNN_H
#define RN_ENGINE_CUDA_CONV_CUDNN_H

#include <cudnn.h>

#include "engine/cuda/conv.h"
#include "kernels/base/error.h"

typedef struct rn__cudnn_conv rn__cudnn_conv;

/* Describes the graph and asks the heuristics. Ways that are not deterministic, or that round more than the shape allows, are left out; there may be
 * none left. device: a finalized CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, borrowed for the life of the result; it may stand for a device that is only
 * described. Any number of threads may create and build at once, each its own. */
rn_status rn__cudnn_conv_create(const rn__conv_shape *shape, cudnnBackendDescriptor_t device, rn__cudnn_conv **out, rn_error *err);
void rn__cudnn_conv_destroy(rn__cudnn_conv *conv); /* NULL allowed */

/* Ways found, best guess first. */
int32_t rn__cudnn_conv_count(const rn__cudnn_conv *conv);

/* Makes the execution plan of a way: tens of milliseconds, a second when the library compiles. UNSUPPORTED when the library finds that it cannot
 * after all, or needs more workspace than allowed. */
rn_status rn__cudnn_conv_build(rn__cudnn_conv *conv, int32_t way, size_t *workspace_bytes, rn_error *err);

/* Puts a way that was built on the handle's stream. The handle belongs to the device that the plan was made for. */
rn_status rn__cudnn_conv_run(const rn__cudnn_conv *conv, int32_t way, cudnnHandle_t handle, const rn__conv_buffers *buffers, rn_error *err);

/* Drops all plans but that one. */
void rn__cudnn_conv_keep(rn__cudnn_conv *conv, int32_t way);

/* The description of a device that this process can use. The caller destroys it with cudnnBackendDestroyDescriptor. */
rn_status rn__cudnn_device_create(int32_t index, cudnnBackendDescriptor_t *out, rn_error *err);

/* The status of a cuDNN call that failed, with the library's words. */
rn_status rn__cudnn_fail(cudnnStatus_t status, const char *what, rn_error *err);

#endif
