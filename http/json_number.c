/* Text to float, the hot loop of every predict call that sends its pixels as numbers.
 *
 * The digits are gathered in a 64-bit integer and scaled by an exact power of ten. With at most 53 bits of digits the quotient is the
 * nearest double already. With more (Python prints 17 digits) it is off by at most a few units in the last place of a double, which matters
 * only when it lies that close to the middle between two floats: those numbers, one in ten million, and everything unusual go to strtod.
 */
#include "http/json_number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/text/text_kernels.h"

enum { MAX_DIGITS = 18, MAX_EXACT_POWER = 22 };

static const double powers_of_ten[MAX_EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                          1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

/* NaN, Inf or Infinity after the sign: the checker let nothing else through. */
static double not_finite(const char *at, const char *limit, bool minus, const char **end)
{
    if (*at == 'N') {
        *end = at + 3;
        return NAN;
    }
    *end = at + (limit - at > 3 && at[3] == 'i' ? 8 : 3);
    return minus ? -INFINITY : INFINITY;
}

/* The text is not NUL-terminated, but a checked number is always followed by a byte that ends it for strtod: a number is never the root of
 * a request. */
double rn_json_double(const char *at)
{
    const char *end, *digits = at + (*at == '-');
    if (!is_digit(*digits)) return not_finite(digits, digits + 4, *at == '-', &end);
    return strtod(at, NULL);
}

static float slow_float(const char *at, const char **end)
{
    char *stop;
    const double value = strtod(at, &stop);
    *end = stop;
    return (float)value;
}

/* How many of the next eight bytes are digits before the first that is none, and their value: one load. Little-endian. */
static inline int32_t leading_digits(const char *at, uint32_t *value)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    const uint64_t others = ((v + 0x4646464646464646u) | (v - 0x3030303030303030u)) & 0x8080808080808080u;
    const int32_t count = others ? __builtin_ctzll(others) / 8 : 8;
    if (count == 0) return 0;
    v = (v - 0x3030303030303030u) << (64 - 8 * count); /* zeros in front */
    v = v * 10 + (v >> 8);
    v = (((v & 0x000000ff000000ffu) * 0x000f424000000064u) + (((v >> 16) & 0x000000ff000000ffu) * 0x0000271000000001u)) >> 32;
    *value = (uint32_t)v;
    return count;
}

/* Significant digits of the text [at, end), which holds digits and at most one point. */
static int64_t significant_digits(const char *at, const char *end)
{
    while (at < end && (*at == '0' || *at == '.')) at++;
    const bool point = memchr(at, '.', (size_t)(end - at)) != NULL;
    return end - at - point;
}

/* Whether all doubles within a few units of `value` round to the same float. */
static inline bool rounds_alike(double value)
{
    enum { DROPPED_BITS = 52 - 23, SLACK = 8 };
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int64_t middle = (int64_t)1 << (DROPPED_BITS - 1);
    const int64_t dropped = (int64_t)(bits & (((uint64_t)1 << DROPPED_BITS) - 1));
    return llabs(dropped - middle) > SLACK;
}

static inline float read_float(const char *at, const char *limit, const char **end)
{
    const char *p = at;
    const bool minus = *p == '-';
    p += minus;
    if (!is_digit(*p)) return (float)not_finite(p, limit, minus, end);

    const char *digits = p;
    uint64_t mantissa = 0;
    while (is_digit(*p)) mantissa = mantissa * 10 + (uint64_t)(*p++ - '0');
    int64_t exponent = 0;
    if (*p == '.') {
        const char *fraction = ++p;
        for (int32_t count = 8; count == 8 && limit - p >= 8; p += count) {
            static const uint32_t scale[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
            uint32_t value = 0;
            count = leading_digits(p, &value);
            mantissa = mantissa * scale[count] + value;
        }
        while (is_digit(*p)) mantissa = mantissa * 10 + (uint64_t)(*p++ - '0');
        exponent = fraction - p;
    }
    /* Sums that overflowed are thrown away here: the digits are counted before they are believed. */
    if (p - digits > MAX_DIGITS && significant_digits(digits, p) > MAX_DIGITS) return slow_float(at, end);

    if (*p == 'e' || *p == 'E') {
        const bool negative = p[1] == '-';
        p += 1 + (p[1] == '-' || p[1] == '+');
        int32_t written = 0;
        while (is_digit(*p)) {
            if (written < 10000) written = written * 10 + (*p - '0');
            p++;
        }
        exponent += negative ? -written : written;
    }
    *end = p;

    double value = (double)(int64_t)mantissa;
    if (exponent < 0) {
        if (exponent < -MAX_EXACT_POWER) return slow_float(at, end);
        value /= powers_of_ten[-exponent];
    } else {
        if (exponent > MAX_EXACT_POWER) return slow_float(at, end);
        value *= powers_of_ten[exponent];
    }
    if (mantissa > (uint64_t)1 << 53 && !rounds_alike(value)) return slow_float(at, end);
    return (float)(minus ? -value : value);
}

float rn_json_float(const char *at, const char *limit, const char **end)
{
    return read_float(at, limit, end);
}

static inline const char *skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') p++;
    return p;
}

int64_t rn_json_float_run(const char **at, const char *limit, int64_t count, int64_t row, int64_t left, float *out)
{
    const int64_t read = rn_text_kernels_best->json_floats(at, limit, count, row, left, out);
    if (read > 0) return read;
    *out = read_float(*at, limit, at);
    return 1;
}

/* Moves *p past the bytes of `wanted`, blanks before each of them. */
static bool take(const char **p, const char *wanted)
{
    for (; *wanted; wanted++) {
        *p = skip_blanks(*p);
        if (**p != *wanted) return false;
        ++*p;
    }
    return true;
}

/* `rows` arrays of `row` numbers, from the first number on to behind the last one's bracket. */
static const char *read_rows(const char *p, const char *limit, int64_t rows, int64_t row, float *out)
{
    const int64_t count = rows * row;
    int64_t left = row;
    for (int64_t done = 0; done < count;) {
        p = skip_blanks(p);
        if (!is_digit(*p) && *p != '-' && *p != 'N' && *p != 'I') return NULL;
        done += rn_json_float_run(&p, limit, count - done, row, left, out + done);
        left = row - done % row;
        if (!take(&p, left < row ? "," : done < count ? "],[" : "]")) return NULL;
    }
    return p;
}

const char *rn_json_floats(const char *array, const char *limit, int64_t count, float *out)
{
    return *array == '[' ? read_rows(array + 1, limit, 1, count, out) : NULL;
}

const char *rn_json_float_rows(const char *array, const char *limit, int64_t rows, int64_t row, float *out)
{
    const char *p = array;
    if (!take(&p, "[[")) return NULL;
    p = read_rows(p, limit, rows, row, out);
    return p && take(&p, "]") ? p : NULL;
}

bool rn_json_int64(const char *at, const char *limit, int64_t *out)
{
    const bool minus = *at == '-';
    const char *p = at + minus;
    if (!is_digit(*p)) return false;
    uint64_t magnitude = 0;
    while (p < limit && is_digit(*p))
        if (__builtin_mul_overflow(magnitude, 10u, &magnitude) || __builtin_add_overflow(magnitude, (uint64_t)(*p++ - '0'), &magnitude))
            return false;
    if (p < limit && (*p == '.' || *p == 'e' || *p == 'E')) return false;
    if (magnitude > (uint64_t)INT64_MAX + minus) return false;
    *out = minus ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}
