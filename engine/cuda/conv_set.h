/* All convolutions of a prepared plan, each with the fastest way that the libraries offer for it.
 *
 * A convolution is added for every layer and batch; layers of one shape share an entry. Planning runs on several host threads, measuring on the
 * device. Everything happens at load: afterwards the set is only run from.
 */
#ifndef RN_ENGINE_CUDA_CONV_SET_H
#define RN_ENGINE_CUDA_CONV_SET_H

#include <cublasLt.h>
#include <cudnn.h>

#include "engine/cuda/conv.h"
#include "engine/cuda/cuda_device.h"
#include "engine/cuda/tuning_cache.h"

/* What a set works with: borrowed, one thread at a time. */
typedef struct rn__conv_context {
    const rn__cuda_device *device;
    cudnnBackendDescriptor_t description; /* of the device */
    cudnnHandle_t cudnn;                  /* on `stream` */
    cublasLtHandle_t cublas;
    cudaStream_t stream;
    size_t memory_limit_bytes;            /* that measuring may take, before anything else is there; 0: what is free */
    rn__log_fn *log; /* or NULL */
    void *log_context;
} rn__conv_context;

typedef struct rn__conv_set rn__conv_set;

rn_status rn__conv_set_create(const rn__conv_context *context, rn__conv_set **out, rn_error *err); /* context: copied */
void rn__conv_set_destroy(rn__conv_set *set);                                                      /* NULL allowed */

/* name: of the layer, for messages; lives as long as the set. *out: the convolution's index. */
rn_status rn__conv_set_add(rn__conv_set *set, const rn__conv_shape *shape, const char *name, int32_t *out, rn_error *err);

/* Finds the ways of every convolution, measures those that the cache does not know, and keeps the fastest. UNSUPPORTED names a layer for which there
 * is none. A way that fails on the device is logged and left out. */
rn_status rn__conv_set_prepare(rn__conv_set *set, rn__tuning_cache *cache, int32_t thread_count, rn_error *err);

int32_t rn__conv_set_count(const rn__conv_set *set);
int32_t rn__conv_set_measured(const rn__conv_set *set);         /* how many the cache did not know */
int32_t rn__conv_set_own(const rn__conv_set *set);              /* how many a kernel of our own computes; after prepare */
size_t rn__conv_set_workspace_bytes(const rn__conv_set *set);   /* that any way still in question needs */

/* Puts a prepared convolution on the stream; legal during capture. */
rn_status rn__conv_set_run(const rn__conv_set *set, int32_t index, const rn__conv_buffers *buffers, rn_error *err);

#endif
