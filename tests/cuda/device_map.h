/* Device memory for kernel tests: f32 values on the host, any storage type on the emulated device, guard bytes behind them. */
#ifndef RN_TESTS_CUDA_DEVICE_MAP_H
#define RN_TESTS_CUDA_DEVICE_MAP_H

#include <cuda_runtime_api.h>

#include "kernels/base/dtype.h"

typedef struct device_map {
    void *data;      /* on the device; starts as NaN (0xff bytes) */
    size_t elements;
    rn_dtype dtype;
} device_map;

device_map device_map_new(rn_dtype dtype, size_t elements);
/* Rounds the values to the type, to nearest even. U8 and I32: truncates. */
device_map device_map_of(rn_dtype dtype, const float *values, size_t elements);
/* Waits for the default stream, checks the guard bytes, and returns the values; the caller frees them. */
float *device_map_read(const device_map *map);
void device_map_free(device_map *map);

float rounded_to(rn_dtype dtype, float value); /* what the type makes of it */
/* Largest relative error of one rounding to the type. */
float dtype_epsilon(rn_dtype dtype);

/* Uniform in [low, high), from a fixed seed that the test prints. The caller frees. */
float *random_values(size_t count, float low, float high);
void random_seed(unsigned seed);

#endif
