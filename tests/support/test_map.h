/* Feature maps for kernel tests: strided memory in which everything outside the map is a NaN of known bits, so that reading it poisons a result
 * and writing it is found. */
#ifndef RN_TESTS_SUPPORT_TEST_MAP_H
#define RN_TESTS_SUPPORT_TEST_MAP_H

#include <stddef.h>

#include "kernels/cpu/cpu_kernels.h"

typedef struct rn_test_map {
    rn_map map;
    int32_t n, h, w, c;
    size_t elements;        /* of memory, guards included */
    char *memory;
    unsigned char *inside;  /* [elements]: 1 where the map (or its border of zeros) is */
} rn_test_map;

/* [n,h,w,c] with `spare` elements after each pixel and `border` zeros around each image; the map's own elements are NaN. */
rn_test_map rn_test_map_create_typed(rn_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c, int32_t spare, int32_t border);
rn_test_map rn_test_map_create(int32_t n, int32_t h, int32_t w, int32_t c, int32_t spare, int32_t border); /* f32 */
void rn_test_map_destroy(rn_test_map *map);

float *rn_test_map_at(const rn_test_map *map, int32_t i, int32_t y, int32_t x, int32_t c); /* of an f32 map */
float rn_test_map_get(const rn_test_map *map, int32_t i, int32_t y, int32_t x, int32_t c); /* of any map */
/* Writes values that fit: nothing is rounded. */
void rn_test_map_set(rn_test_map *map, int32_t i, int32_t y, int32_t x, int32_t c, float value);

/* Rounds f32 values to what the type can hold. */
void rn_test_round(float *values, size_t count, rn_dtype dtype);
void rn_test_map_round(rn_test_map *map, rn_dtype dtype);
/* A map of the type with the f32 map's values, which fit, and its own spare elements and border. */
rn_test_map rn_test_map_convert(const rn_test_map *from, rn_dtype dtype, int32_t spare, int32_t border);

/* Uniform in [-1, 1). */
void rn_test_map_fill(rn_test_map *map, uint32_t seed);
void rn_test_fill(float *values, size_t count, uint32_t seed);

/* Fails the test when anything outside the map has changed. */
void rn_test_map_check_outside(const rn_test_map *map);

/* Largest difference over rows [row_begin, row_end) of the n * h rows, and the largest expected magnitude; a NaN on one side only is infinite.
 * Both are raised, so that several calls gather one result. */
void rn_test_map_compare(const rn_test_map *expected, const rn_test_map *got, int32_t row_begin, int32_t row_end, double *worst, double *largest);

/* Prints one line of result and fails the test when `worst` exceeds `allowance`. */
void rn_test_report(const char *kernel, const char *what, double worst, double allowance);

#endif
