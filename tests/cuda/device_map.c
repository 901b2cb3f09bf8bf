/* See device_map.h. Failures here are failures of the test: they are asserted. */
#include "tests/cuda/device_map.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD_BYTES = 64, GUARD = 0xa5 };

static uint64_t random_state = 1;

void random_seed(unsigned seed)
{
    random_state = seed;
}

float *random_values(size_t count, float low, float high)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert(values);
    for (size_t i = 0; i < count; i++) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        values[i] = low + (high - low) * (float)(random_state >> 40) * 0x1p-24f;
    }
    return values;
}

static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void put(rn_dtype dtype, void *to, size_t i, float value)
{
    switch (dtype) {
    case RN_DTYPE_F32:
        ((float *)to)[i] = value;
        break;
    case RN_DTYPE_F16:
        ((_Float16 *)to)[i] = (_Float16)value;
        break;
    case RN_DTYPE_BF16:
        ((uint16_t *)to)[i] = to_bf16(value);
        break;
    case RN_DTYPE_U8:
        ((uint8_t *)to)[i] = (uint8_t)value;
        break;
    case RN_DTYPE_I32:
        ((int32_t *)to)[i] = (int32_t)value;
        break;
    default:
        assert(!"a type of maps");
    }
}

static float get(rn_dtype dtype, const void *from, size_t i)
{
    switch (dtype) {
    case RN_DTYPE_F32:
        return ((const float *)from)[i];
    case RN_DTYPE_F16:
        return (float)((const _Float16 *)from)[i];
    case RN_DTYPE_BF16:
        return from_bf16(((const uint16_t *)from)[i]);
    case RN_DTYPE_U8:
        return (float)((const uint8_t *)from)[i];
    case RN_DTYPE_I32:
        return (float)((const int32_t *)from)[i];
    default:
        assert(!"a type of maps");
        return NAN;
    }
}

float rounded_to(rn_dtype dtype, float value)
{
    char element[8];
    put(dtype, element, 0, value);
    return get(dtype, element, 0);
}

float dtype_epsilon(rn_dtype dtype)
{
    return dtype == RN_DTYPE_F32 ? 0x1p-24f : dtype == RN_DTYPE_F16 ? 0x1p-11f : 0x1p-8f;
}

/* Copies through the stream that kernels under test run on. */
static void copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    const cudaError_t copied = cudaMemcpyAsync(to, from, bytes, kind, NULL);
    const cudaError_t waited = cudaStreamSynchronize(NULL);
    assert(copied == cudaSuccess && waited == cudaSuccess);
}

device_map device_map_new(rn_dtype dtype, size_t elements)
{
    device_map map = {.elements = elements, .dtype = dtype};
    const size_t bytes = elements * rn_dtype_bytes(dtype);
    const cudaError_t allocated = cudaMalloc(&map.data, bytes + GUARD_BYTES);
    assert(allocated == cudaSuccess);
    char *contents = malloc(bytes + GUARD_BYTES);
    assert(contents);
    memset(contents, 0xff, bytes);
    memset(contents + bytes, GUARD, GUARD_BYTES);
    copy(map.data, contents, bytes + GUARD_BYTES, cudaMemcpyHostToDevice);
    free(contents);
    return map;
}

device_map device_map_of(rn_dtype dtype, const float *values, size_t elements)
{
    device_map map = device_map_new(dtype, elements);
    void *contents = malloc(elements * rn_dtype_bytes(dtype) + 1);
    assert(contents);
    for (size_t i = 0; i < elements; i++) put(dtype, contents, i, values[i]);
    copy(map.data, contents, elements * rn_dtype_bytes(dtype), cudaMemcpyHostToDevice);
    free(contents);
    return map;
}

float *device_map_read(const device_map *map)
{
    const size_t bytes = map->elements * rn_dtype_bytes(map->dtype);
    unsigned char *contents = malloc(bytes + GUARD_BYTES);
    float *values = malloc((map->elements + 1) * sizeof *values);
    assert(contents && values);
    copy(contents, map->data, bytes + GUARD_BYTES, cudaMemcpyDeviceToHost);
    for (size_t i = 0; i < GUARD_BYTES; i++) assert(contents[bytes + i] == GUARD && "a kernel wrote beyond its output");
    for (size_t i = 0; i < map->elements; i++) values[i] = get(map->dtype, contents, i);
    free(contents);
    return values;
}

void device_map_free(device_map *map)
{
    cudaFree(map->data);
    *map = (device_map){0};
}
