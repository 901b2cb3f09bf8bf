/* Numbers of a checked JSON text (http/json_reader.h) as C values.
 *
 * Every function takes `at`, the first byte of a number, and `limit`, the end of the text that holds it. Nothing here can fail on bad
 * syntax: the checker has been there before.
 */
#ifndef RN_HTTP_JSON_NUMBER_H
#define RN_HTTP_JSON_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* The number as TensorFlow Serving stores it in a float tensor: the nearest double, then the nearest float; too large becomes infinity, too
 * small zero. NaN, Infinity and Inf are numbers here. *end: the first byte after it. */
float rn_json_float(const char *at, const char *limit, const char **end);
double rn_json_double(const char *at);

/* From *at on, the first byte of a number in an array: that one and perhaps more that follow it, up to `count`, in arrays of `row` numbers
 * of which the present one holds `left` more (flat: all three are the same). Returns how many, at least one; *at is behind the last. */
int64_t rn_json_float_run(const char **at, const char *limit, int64_t count, int64_t row, int64_t left, float *out);

/* An array of exactly `count` numbers, or of exactly `rows` arrays of `row` numbers (all at least one), into out. Returns its end, or NULL
 * when it is something else. */
const char *rn_json_floats(const char *array, const char *limit, int64_t count, float *out);
const char *rn_json_float_rows(const char *array, const char *limit, int64_t rows, int64_t row, float *out);

/* Whether it is written as an integer (no fraction, no exponent) that fits into *out. */
bool rn_json_int64(const char *at, const char *limit, int64_t *out);

#endif
