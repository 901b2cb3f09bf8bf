/* A 1x1 convolution with stride 1, or a dense layer, as a matrix product of cuBLASLt with bias, residual and ReLU in its epilogue. */
#ifndef RN_ENGINE_CUDA_CONV_MATMUL_H
#define RN_ENGINE_CUDA_CONV_MATMUL_H

#include <cublasLt.h>

#include "engine/cuda/conv.h"
#include "kernels/base/error.h"

typedef struct rn__matmul rn__matmul;

/* Whether the shape is a matrix product. */
bool rn__matmul_fits(const rn__conv_shape *shape);

/* Describes the product and asks the heuristics; there may be no way. Any number of threads may do so with one handle at once (cuBLAS library, Thread
 * Safety), each its own product. */
rn_status rn__matmul_create(const rn__conv_shape *shape, cublasLtHandle_t handle, rn__matmul **out, rn_error *err);
void rn__matmul_destroy(rn__matmul *matmul); /* NULL allowed */

/* Ways found, best guess first, and the workspace that each needs. */
int32_t rn__matmul_count(const rn__matmul *matmul);
size_t rn__matmul_workspace_bytes(const rn__matmul *matmul, int32_t way);

rn_status rn__matmul_run(rn__matmul *matmul, int32_t way, cublasLtHandle_t handle, const rn__conv_buffers *buffers, cudaStream_t stream,
                         rn_error *err);

/* The status of a cuBLASLt call that failed, with the library's words. */
rn_status rn__cublas_fail(cublasStatus_t status, const char *what, rn_error *err);

#endif
