/* Numbers from text, without a look at single digits: what the AVX2 and the AVX-512 entry share.
 *
 * For 64 bytes at a time, masks tell which bytes belong to numbers and which are points: finding where the next number begins and ends
 * takes a shift and a count, so that the numbers themselves are worked on side by side. A shuffle moves a number's digits together at the
 * right end of a register and leaves out the point, and three multiplications with additions join sixteen of them to an integer. A longer
 * number (Python prints 17 digits of a float) has its last sixteen characters read that way and the few in front of them one by one.
 *
 * The integer is scaled by an exact power of ten in double precision. Up to 53 bits of it that gives the nearest double. Beyond, the result
 * is off by a few units in the last place of a double at most, which matters only close to the middle between two floats: those numbers are
 * left to the caller. */
#ifndef RN_KERNELS_CPU_AVX2_JSON_FLOATS_H
#define RN_KERNELS_CPU_AVX2_JSON_FLOATS_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/text/text_kernels.h"

enum {
    JSON_WINDOW = 64, /* bytes that are looked at together */
    JSON_PIECE = 16,  /* characters that are converted together */
    JSON_AFTER = 16,  /* bytes behind the window that are read */
    MAX_LEAD = 90,    /* what may stand in front of sixteen digits: 18 digits in all fit into 63 bits */
    MAX_DECIMALS = 22,
};

/* Classes of the bytes of a window. */
typedef struct {
    uint64_t number, point, minus; /* number: digits, points and minuses */
} json_number_masks;

/* `count` characters at `text` (at most 16, and 16 bytes are read): digits, and a point at `point` unless that is `count` or more. */
static inline uint64_t json_convert(const char *text, int32_t count, int32_t point)
{
    const __m128i digits = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)text), _mm_set1_epi8('0'));
    const int32_t digit_count = count - (point < count);
    const __m128i places = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i from = _mm_sub_epi8(places, _mm_set1_epi8((char)(JSON_PIECE - digit_count)));
    from = _mm_sub_epi8(from, _mm_cmpgt_epi8(from, _mm_set1_epi8((char)(point - 1)))); /* behind the point: one further */
    const __m128i ones = _mm_shuffle_epi8(digits, from);                               /* negative: a zero in front */
    const __m128i twos = _mm_maddubs_epi16(ones, _mm_set1_epi16(0x010a));
    const __m128i fours = _mm_madd_epi16(twos, _mm_set1_epi32(0x00010064));
    const __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(0x00012710));
    const uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    return (uint32_t)both * (uint64_t)100000000 + (both >> 32);
}

/* Whether all doubles within a few units of `value` round to the same float. */
static inline bool json_rounds_alike(double value)
{
    enum { DROPPED_BITS = 52 - 23, SLACK = 8 };
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int64_t middle = (int64_t)1 << (DROPPED_BITS - 1);
    return llabs((int64_t)(bits & (((uint64_t)1 << DROPPED_BITS) - 1)) - middle) > SLACK;
}

/* More than 16 characters. False: more digits than are understood here. */
static inline bool json_convert_long(const char *digits, int32_t length, int32_t point, uint64_t *mantissa)
{
    const int32_t lead_length = length - JSON_PIECE;
    const int32_t point_in_piece = point < lead_length ? JSON_PIECE : point - lead_length;
    const uint64_t scale = point_in_piece < JSON_PIECE ? 1000000000000000u : 10000000000000000u;
    uint64_t lead = 0;
    if (length > 2 * JSON_PIECE || length - point - 1 > MAX_DECIMALS) return false;
    for (int32_t i = 0; i < lead_length; i++)
        if (i != point) lead = lead * 10 + (uint64_t)(digits[i] - '0');
    *mantissa = lead * scale + json_convert(digits + lead_length, JSON_PIECE, point_in_piece);
    return lead < MAX_LEAD;
}

/* A number of `length` characters without its sign; `point` is `length` when there is none. False: it is left to the caller. */
static inline bool json_read_plain(const char *digits, int32_t length, int32_t point, bool minus, float *out)
{
    static const double powers_of_ten[MAX_DECIMALS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                           1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t mantissa;
    if (length <= JSON_PIECE)
        mantissa = json_convert(digits, length, point);
    else if (!json_convert_long(digits, length, point, &mantissa))
        return false;
    const double value = (double)(int64_t)mantissa / powers_of_ten[length - point - (point < length)];
    if (mantissa > (uint64_t)1 << 53 && !json_rounds_alike(value)) return false;
    *out = (float)(minus ? -value : value);
    return true;
}

/* From behind a number to the next one: "," or "],[", with or without a blank behind the comma. NULL: it is none of these. */
static inline const char *json_next_number(const char *end, bool row_ends)
{
    const char *comma = end + row_ends, *next = comma + 1;
    if (*comma != ',' || (row_ends && *end != ']')) return NULL;
    if (*next == ' ') next++;
    if (!row_ends) return next;
    return *next == '[' ? next + 1 : NULL;
}

/* rn_json_floats_fn, with the classification of the instruction set. */
static inline int64_t json_read_floats(const char **at, const char *limit, int64_t count, int64_t row, int64_t left, float *out,
                                       json_number_masks (*classify)(const char *window))
{
    const char *window = *at;
    int64_t done = 0;
    while (limit - window > JSON_WINDOW + JSON_AFTER) {
        const json_number_masks m = classify(window);
        const char *p = window;
        while (p - window < JSON_WINDOW) {
            const int from = (int)(p - window);
            const uint64_t others = ~m.number >> from;
            if (!others) break; /* its end is in the next window */
            const int32_t length = __builtin_ctzll(others), point = __builtin_ctzll(m.point >> from | (uint64_t)1 << length);
            const bool minus = m.minus >> from & 1;
            const char *end = p + length;
            if (length <= minus || (*end | 0x20) == 'e') return done;
            if (!json_read_plain(p + minus, length - minus, point - minus, minus, &out[done])) return done;
            *at = end;
            if (++done == count) return done;
            const bool row_ends = --left == 0;
            if (row_ends) left = row;
            p = json_next_number(end, row_ends);
            if (!p) return done;
        }
        if (p == window) return done; /* too long for a window */
        window = p;
    }
    return done;
}

#endif
