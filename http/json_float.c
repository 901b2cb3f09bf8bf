/* Floats as TensorFlow Serving prints them: not the shortest text that reads back, but the shorter of two printf forms.
 *
 * printf is exact and slow. Here the digits come from one multiplication by a power of ten in double precision, which is right unless the
 * rest lies within that multiplication's error of one half; those numbers, and what has an unusual exponent, are left to printf. */
#include "http/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHORT_DIGITS = 6, FULL_DIGITS = 9 };

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static size_t print_slowly(float value, char *out)
{
    int bytes = snprintf(out, RN_JSON_FLOAT_BYTES, "%.*g", SHORT_DIGITS, (double)value);
    if (strtof(out, NULL) != value) bytes = snprintf(out, RN_JSON_FLOAT_BYTES, "%.*g", FULL_DIGITS, (double)value);
    if (!strpbrk(out, ".e")) bytes += sprintf(out + bytes, ".0");
    return (size_t)bytes;
}

/* Decimal exponent of a number between 1e-13 and 1e9. */
static int32_t decimal_exponent(double value)
{
    int32_t exponent = 0;
    if (value >= 1) {
        while (value >= powers_of_ten[exponent + 1]) exponent++;
    } else {
        do exponent--;
        while (value * powers_of_ten[-exponent] < 1);
    }
    return exponent;
}

/* The number's first `digits` decimal digits as an integer, correctly rounded; -1 when that is not certain. `exponent` is its decimal
 * exponent, and becomes one more when rounding carries into a new digit. */
static int64_t round_digits(double value, int32_t digits, int32_t *exponent)
{
    const int32_t shift = digits - 1 - *exponent;
    if (shift < 0 || shift > 22) return -1;
    const double scaled = value * powers_of_ten[shift], whole = floor(scaled), rest = scaled - whole;
    /* The product's rounding may end at one half, and a number that is there exactly goes to the even digit. */
    if (fabs(rest - 0.5) < 1e-6) return -1;
    int64_t rounded = (int64_t)whole + (rest > 0.5);
    if (rounded == (int64_t)powers_of_ten[digits]) {
        rounded /= 10;
        ++*exponent;
    }
    return rounded;
}

static void put_digits(char *out, int64_t number, int32_t count)
{
    for (int32_t i = count - 1; i >= 0; i--, number /= 10) out[i] = (char)('0' + number % 10);
}

/* "%g" of digits * 10^(exponent - count + 1), with ".0" where there is neither point nor exponent. */
static size_t lay_out(int64_t digits, int32_t count, int32_t exponent, int32_t precision, char *out)
{
    while (digits % 10 == 0) { /* %g drops trailing zeros */
        digits /= 10;
        count--;
    }
    char text[FULL_DIGITS] = "", *p = out;
    put_digits(text, digits, count);
    if (exponent < -4 || exponent >= precision) {
        *p++ = text[0];
        if (count > 1) *p++ = '.';
        memcpy(p, text + 1, (size_t)count - 1);
        p += count - 1;
        *p++ = 'e';
        *p++ = exponent < 0 ? '-' : '+';
        put_digits(p, exponent < 0 ? -exponent : exponent, 2);
        return (size_t)(p + 2 - out);
    }
    if (exponent < 0) { /* 0.00012 */
        *p++ = '0';
        *p++ = '.';
        for (int32_t i = exponent; i < -1; i++) *p++ = '0';
        memcpy(p, text, (size_t)count);
        return (size_t)(p + count - out);
    }
    for (int32_t i = 0; i <= exponent || i < count; i++) { /* 12.3, 1200.0 */
        if (i == exponent + 1) *p++ = '.';
        *p++ = i < count ? text[i] : '0';
    }
    if (count <= exponent + 1) {
        *p++ = '.';
        *p++ = '0';
    }
    return (size_t)(p - out);
}

/* Whether six digits read back as the same float: 1, 0, or -1 when double precision cannot tell. */
static int reads_back(int64_t digits, int32_t exponent, float value)
{
    const int32_t shift = SHORT_DIGITS - 1 - exponent;
    if (shift < 0 || shift > 22) return -1;
    const double read = (double)digits / powers_of_ten[shift]; /* the nearest double */
    const double above = (double)nextafterf(value, INFINITY), below = (double)nextafterf(value, -INFINITY);
    const double upper = ((double)value + above) / 2, lower = ((double)value + below) / 2;
    if (read == upper || read == lower) return -1;
    return lower < read && read < upper;
}

static size_t print_positive(float value, char *out)
{
    if (value < 1e-13f || value >= 1e9f) return 0;
    const int32_t exponent = decimal_exponent((double)value);
    int32_t short_exponent = exponent, full_exponent = exponent;
    const int64_t six = round_digits((double)value, SHORT_DIGITS, &short_exponent);
    if (six < 0) return 0;
    const int exact = reads_back(six, short_exponent, value);
    if (exact < 0) return 0;
    if (exact) return lay_out(six, SHORT_DIGITS, short_exponent, SHORT_DIGITS, out);
    const int64_t nine = round_digits((double)value, FULL_DIGITS, &full_exponent);
    return nine < 0 ? 0 : lay_out(nine, FULL_DIGITS, full_exponent, FULL_DIGITS, out);
}

size_t rn_json_print_float(float value, char *out)
{
    if (isnan(value)) return (size_t)sprintf(out, "NaN");
    if (isinf(value)) return (size_t)sprintf(out, value < 0 ? "-Infinity" : "Infinity");
    if (value == 0) return print_slowly(value, out);
    const bool minus = value < 0;
    if (minus) *out = '-';
    const size_t bytes = print_positive(fabsf(value), out + minus);
    return bytes ? bytes + minus : print_slowly(value, out);
}
