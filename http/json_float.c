/* Floats as TensorFlow Serving prints them: not the shortest text that reads back, but the shorter of two printf forms.
 *
 * printf is exact and slow. Here nine digits come from one multiplication by a power of ten in double precision, whose error is less than a
 * millionth of the last digit; six digits, and whether they read back as the same float, follow from the nine. Only where that error could
 * decide, one number in some ten thousand, printf is asked. */
#include "http/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHORT_DIGITS = 6, FULL_DIGITS = 9, MAX_POWER = 53 };

/* Up to 10^22 they are exact, the others are the nearest doubles. */
static const double powers_of_ten[MAX_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13,
                                                    1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27,
                                                    1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39, 1e40, 1e41,
                                                    1e42, 1e43, 1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53};

static size_t print_slowly(float value, char *out)
{
    int bytes = snprintf(out, RN_JSON_FLOAT_BYTES, "%.*g", SHORT_DIGITS, (double)value);
    if (strtof(out, NULL) != value) bytes = snprintf(out, RN_JSON_FLOAT_BYTES, "%.*g", FULL_DIGITS, (double)value);
    if (!strpbrk(out, ".e")) bytes += sprintf(out + bytes, ".0");
    return (size_t)bytes;
}

static double scale(double value, int32_t power)
{
    return power < 0 ? value / powers_of_ten[-power] : value * powers_of_ten[power];
}

/* ---- which digits ---- */

/* value = 0.d1 d2 ... d9 * 10^(exponent + 1), of which the first `precision` are wanted. */
typedef struct {
    uint32_t digits; /* nine: 100000000 to 999999999 */
    int32_t exponent, precision;
} decimal;

/* False when double precision cannot tell. value: positive. */
static bool choose_digits(float value, decimal *out)
{
    static const double unsure = 1e-4; /* more than a hundred times the error of the numbers below */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int32_t biased = bits >> 23 ? (int32_t)(bits >> 23) : 1;

    uint64_t wide;
    const double exact = (double)value;
    memcpy(&wide, &exact, sizeof wide);
    int32_t exponent = (int32_t)(((int64_t)(wide >> 52) - 1023) * 78913 >> 18); /* log10 of the power of two, rounded down */
    double scaled = scale(exact, FULL_DIGITS - 1 - exponent);
    if (scaled >= 1e9) scaled = scale(exact, FULL_DIGITS - 1 - ++exponent);

    const uint32_t whole = (uint32_t)scaled;
    const double rest = scaled - whole, last_three = whole % 1000 + rest;
    if (fabs(last_three - 500) < unsure) return false;
    const uint32_t six = (whole / 1000 + (last_three > 500)) * 1000;

    /* The text reads back as this float when it lies within half the distance to the next one; below a power of two that one is nearer. */
    const uint64_t half_bits = (uint64_t)(biased - 151 + 1023) << 52;
    double half;
    memcpy(&half, &half_bits, sizeof half);
    const double away = six - scaled;
    if (!(bits & 0x7fffff) && biased > 1 && away < 0) half /= 2;
    const double allowed = scale(half, FULL_DIGITS - 1 - exponent);
    if (fabs(fabs(away) - allowed) < unsure) return false;

    const bool is_short = fabs(away) < allowed;
    if (!is_short && fabs(rest - 0.5) < unsure) return false; /* exactly one half goes to the even digit */
    *out = (decimal){is_short ? six : whole + (rest > 0.5), exponent, is_short ? SHORT_DIGITS : FULL_DIGITS};
    if (out->digits == 1000000000) {
        out->digits = 100000000;
        out->exponent++;
    }
    return true;
}

/* ---- how they are laid out ---- */

/* Eight digits as text, the first in the lowest byte: halves, quarters and digits by multiplications that divide. */
static uint64_t eight_digits(uint32_t number)
{
    const uint64_t fours = number / 10000 | (uint64_t)(number % 10000) << 32;
    const uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007f0000007fu, twos = hundreds | (fours - 100 * hundreds) << 16;
    const uint64_t tens = (twos * 103 >> 10) & 0x000f000f000f000fu;
    return tens | (twos - 10 * tens) << 8;
}

/* The digits as text without zeros at the end; returns their number. Sixteen bytes are written. */
static int32_t put_digits(uint32_t digits, char *out)
{
    const uint64_t tail = eight_digits(digits % 100000000), text = tail | 0x3030303030303030u;
    memset(out, '0', 16);
    out[0] = (char)('0' + digits / 100000000);
    for (int i = 0; i < 8; i++) out[1 + i] = (char)(text >> (8 * i)); /* whatever the order of bytes: one store where it is little */
    return tail ? FULL_DIGITS - __builtin_clzll(tail) / 8 : 1;
}

/* "%g" with ".0" where there is neither point nor exponent. */
static size_t lay_out(const decimal *d, char *out)
{
    enum { COPIED = 16 }; /* more than there are: copies of a fixed size cost less */
    char text[COPIED];
    const int32_t count = put_digits(d->digits, text), exponent = d->exponent;
    if (exponent >= 0 && exponent < d->precision) { /* 12.3, 1200.0 */
        const int32_t integers = exponent + 1;
        memcpy(out, text, COPIED);
        out[integers] = '.';
        memcpy(out + integers + 1, text + integers, FULL_DIGITS + 1 - integers);
        return (size_t)((count > integers ? count : integers + 1) + 1);
    }
    if (exponent >= -4 && exponent < 0) { /* 0.00012 */
        memcpy(out, "0.00", 4);
        out[4] = '0';
        memcpy(out + 1 - exponent, text, COPIED);
        return (size_t)(1 - exponent + count);
    }
    char *p = out;
    const int32_t magnitude = abs(exponent);
    *p++ = text[0];
    if (count > 1) *p++ = '.';
    memcpy(p, text + 1, FULL_DIGITS - 1);
    p += count - 1;
    *p++ = 'e';
    *p++ = exponent < 0 ? '-' : '+';
    *p++ = (char)('0' + magnitude / 10);
    *p++ = (char)('0' + magnitude % 10);
    return (size_t)(p - out);
}

static size_t print_positive(float value, char *out)
{
    decimal d;
    return choose_digits(value, &d) ? lay_out(&d, out) : 0;
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
